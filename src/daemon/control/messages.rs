//! What is asked, and what is answered.

use crate::source::texts::Texts;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// What a daemon can be asked: `{"command":"reload","force":true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// What is enforced, and how it goes.
    Status,
    /// The refused packets that are logged, from this number on if one is named.
    Events {
        /// What the last answer gave as `next`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// Read the definition again, and enforce it.
    Reload {
        /// Also if it was tried as a candidate and not confirmed.
        #[serde(default)]
        force: bool,
    },
    /// Do not follow the definition until the next reload.
    Hold,
    /// Enforce another definition.
    Apply {
        /// Its name: the path that whoever asks has read, absolute.
        path: PathBuf,
        /// What it says: the daemon may not be able to read it.
        texts: Texts,
        /// As this instance, instead of the daemon's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// For so many seconds, unless it is confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u32>,
    },
    /// The candidate has taken the definition's place.
    Confirm {
        /// The hash of its texts, as the status says.
        content: String,
    },
    /// Take the policy off this host.
    Remove,
    /// A definition with this content is about to be saved or applied, by this command. Root or the definition's owner may
    /// say so; it is for the history.
    Announce {
        /// The hash of its texts.
        content: String,
        /// The command as it was called.
        line: String,
        /// Where it was called from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
        /// The user that root stands for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sudo_user: Option<String>,
    },
}

impl Request {
    /// Whether it changes anything, which only root may.
    pub fn changes(&self) -> bool {
        match self {
            Request::Status | Request::Events { .. } | Request::Announce { .. } => false,
            Request::Reload { .. }
            | Request::Hold
            | Request::Apply { .. }
            | Request::Confirm { .. }
            | Request::Remove => true,
        }
    }
}

/// What a daemon answers: `{"outcome":"ok","payload":{...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Response {
    /// Done; the answer.
    Ok {
        /// What was asked for; `null` where there is nothing to say.
        #[serde(default)]
        payload: Value,
    },
    /// Understood, and not done: a definition with errors, or somebody who may not.
    Refused {
        /// One line for a person.
        message: String,
        /// The same for a program, as the diagnostics of a definition.
        #[serde(default)]
        details: Value,
    },
    /// It did not work.
    Error {
        /// One line for a person.
        message: String,
    },
}
