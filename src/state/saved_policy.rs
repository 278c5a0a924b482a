//! `policy`, the last good policy, and `candidate`, one on trial.
//!
//! Each file is written whole or not at all, and [sealed](super::seal):
//!
//! ```text
//! length of the header, 4 bytes, little-endian | header, JSON | texts | ruleset
//! ```
//!
//! The texts of the definition stand in it as they were read: a program that compiles them to another ruleset can do
//! so. The ruleset is the compiled one: what is enforced at start and at boot passes no parser of this program, unless
//! rules have ended since.

use super::author::Author;
use super::seal::{BODY, SealError, seal, sealed_begin, unseal};
use crate::definition::Sources;
use crate::policy::{HostFacts, InstanceId, Policy, RuleId, Until};
use crate::ruleset::Ruleset;
use crate::ruleset::table::LAYOUT;
use crate::source::content::{content, hex};
use crate::source::load::{Loaded, in_one_line, judge_at};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The file's name in the state directory.
pub const POLICY: &str = "policy";
/// The file of a candidate that waits for its confirmation.
pub const CANDIDATE: &str = "candidate";

/// Why a saved policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedPolicyError {
    /// It is damaged, or a later program wrote it.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// It could not be written down.
    #[error("it cannot be written down: {0}")]
    Unsayable(String),
}

/// Identifies a saved policy: by what it is made of, whenever it was enforced.
pub type Key = String;

/// What stands before the texts. Fields may be added with a default, and none taken away.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    program: String,
    layout: u32,
    key: Key,
    /// See [`content`].
    content: String,
    instance: InstanceId,
    unblocked: BTreeSet<InstanceId>,
    /// Path and length of each text, in bytes.
    files: Vec<(String, usize)>,
    /// How many of them are files of the definition itself; the others are of templates.
    definition_files: usize,
    /// The time at which it was enforced, in seconds since 1970: rules that had ended then are ended.
    #[serde(default)]
    at: u64,
    /// When the next of its rules ends.
    #[serde(default)]
    ends: Option<u64>,
    /// What the daemon says of it, which another version may read in part or not at all.
    summary: Value,
}

/// What a policy was made of beside its ruleset.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The texts.
    pub sources: Sources,
    /// How many of them are files of the definition itself.
    pub definition_files: usize,
    /// The instance.
    pub instance: InstanceId,
    /// The instances whose TCP 25 was unblocked.
    pub unblocked: BTreeSet<InstanceId>,
    /// What the ruleset asks of the host.
    pub host: HostFacts,
    /// The time at which it was enforced, in seconds since 1970.
    pub at: u64,
    /// The rules that had ended then.
    pub ended: Vec<RuleId>,
    /// When the next one ends.
    pub ends: Option<u64>,
    /// Who has changed it, if somebody has said so.
    pub author: Option<Author>,
}

/// A saved policy.
#[derive(Debug)]
pub struct SavedPolicy {
    header: Header,
    bytes: Vec<u8>,
    /// Where the texts begin.
    texts: usize,
}

impl Origin {
    /// What a definition was that is enforced for this instance from now on, in seconds since 1970.
    pub fn of(
        loaded: &Loaded,
        policy: &Policy,
        unblocked: &BTreeSet<InstanceId>,
        now: u64,
    ) -> Self {
        Origin {
            sources: loaded.sources.clone(),
            definition_files: loaded.definition_files,
            instance: policy.instance.clone(),
            unblocked: unblocked.clone(),
            host: HostFacts::default(),
            at: now,
            ended: Vec::new(),
            ends: None,
            author: None,
        }
        .as_of(policy, now)
    }

    /// The same without the rules that have ended since, in seconds since 1970, as the policy says.
    pub fn as_of(self, policy: &Policy, now: u64) -> Self {
        let rules = policy.rules_that_end();
        let ended = rules.filter(|rule| rule.ended.is_some());
        Origin {
            host: policy.host.clone(),
            at: now,
            ended: ended.map(|rule| rule.id.clone()).collect(),
            ends: policy.next_end().map(Until::seconds),
            ..self
        }
    }

    /// The same with its hashes, which take a while for long texts.
    pub fn hashed(self) -> Hashed {
        let content = content(&self.sources);
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(env!("CARGO_PKG_VERSION"));
        add(&LAYOUT.to_string());
        add(self.instance.as_str());
        add(&format!("{:?}", self.unblocked));
        add(&format!("{:?}", self.host));
        add(&content);
        self.sources.iter().for_each(|source| add(&source.path));
        self.ended.iter().for_each(|rule| add(&rule.to_string()));
        Hashed {
            key: hex(&hash.finalize()),
            content,
            origin: self,
        }
    }
}

/// What a policy was made of, and the hashes of that.
#[derive(Debug)]
pub struct Hashed {
    origin: Origin,
    /// See [`content`].
    pub content: String,
    /// Tells this policy from any other, under this version of the program.
    pub key: Key,
}

/// A policy that is written down, all but its seal.
#[derive(Debug)]
pub struct Unsealed(Vec<u8>);

impl Unsealed {
    /// The whole file.
    pub fn seal(self) -> Vec<u8> {
        seal(self.0)
    }
}

impl Hashed {
    /// What it was made of.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What it was made of.
    pub fn into_origin(self) -> Origin {
        self.origin
    }

    /// Writes down the policy, with what is to be said of it.
    ///
    /// # Errors
    ///
    /// [`SavedPolicyError::Unsayable`].
    pub fn write_down(
        &self,
        summary: &impl Serialize,
        ruleset: &Ruleset,
    ) -> Result<Unsealed, SavedPolicyError> {
        let unsayable =
            |error: &dyn std::fmt::Display| SavedPolicyError::Unsayable(error.to_string());
        let origin = &self.origin;
        let files = origin.sources.iter();
        let header = Header {
            program: env!("CARGO_PKG_VERSION").into(),
            layout: LAYOUT,
            key: self.key.clone(),
            content: self.content.clone(),
            instance: origin.instance.clone(),
            unblocked: origin.unblocked.clone(),
            files: files
                .map(|source| (source.path.to_string(), source.text.len()))
                .collect(),
            definition_files: origin.definition_files,
            at: origin.at,
            ends: origin.ends,
            summary: serde_json::to_value(summary).map_err(|error| unsayable(&error))?,
        };
        let header = serde_json::to_vec(&header).map_err(|error| unsayable(&error))?;
        let mut bytes = sealed_begin();
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        for source in origin.sources.iter() {
            bytes.extend(source.text.as_bytes());
        }
        let bytes = postcard::to_extend(ruleset, bytes).map_err(|error| unsayable(&error))?;
        Ok(Unsealed(bytes))
    }
}

impl SavedPolicy {
    /// Reads what [`Hashed::write_down`] and [`Unsealed::seal`] wrote.
    ///
    /// # Errors
    ///
    /// [`SavedPolicyError::Sealed`].
    pub fn read(bytes: Vec<u8>) -> Result<Self, SavedPolicyError> {
        const SHORT: SavedPolicyError =
            SavedPolicyError::Sealed(SealError::Damaged("it is cut short"));
        let body = unseal(&bytes)?;
        let (length, rest) = body.split_first_chunk::<4>().ok_or(SHORT)?;
        let length = u32::from_le_bytes(*length) as usize;
        let header = rest.get(..length).ok_or(SHORT)?;
        let header: Header = serde_json::from_slice(header)
            .map_err(|_| SealError::Damaged("its header cannot be read"))?;
        let texts = BODY + 4 + length;
        let saved = SavedPolicy {
            texts,
            header,
            bytes,
        };
        match saved.bytes.get(saved.end_of_texts()..) {
            Some(_) => Ok(saved),
            None => Err(SHORT),
        }
    }

    /// What tells it from another.
    pub fn key(&self) -> &Key {
        &self.header.key
    }

    /// The hash of its definition's texts, see [`content`].
    pub fn content(&self) -> &str {
        &self.header.content
    }

    /// The instance that it is of.
    pub fn instance(&self) -> &InstanceId {
        &self.header.instance
    }

    /// The version of the program that saved it.
    pub fn program(&self) -> &str {
        &self.header.program
    }

    /// What was said of it when it was enforced; not always readable for another version.
    pub fn summary<S: DeserializeOwned>(&self) -> Option<S> {
        serde_json::from_value(self.header.summary.clone()).ok()
    }

    /// The ruleset as it was compiled, if this program would say the same by it.
    pub fn compiled(&self) -> Option<Ruleset> {
        (self.header.program == env!("CARGO_PKG_VERSION")).then(|| self.decoded())?
    }

    /// The ruleset as it was compiled, by whichever version.
    pub fn decoded(&self) -> Option<Ruleset> {
        if self.header.layout != LAYOUT {
            return None;
        }
        let bytes = self.bytes.get(self.end_of_texts()..)?;
        postcard::from_bytes(bytes).ok()
    }

    /// The time at which it was enforced, in seconds since 1970.
    pub fn at(&self) -> u64 {
        self.header.at
    }

    /// When the next of its rules ends, in seconds since 1970.
    pub fn ends(&self) -> Option<u64> {
        self.header.ends
    }

    /// Whether one of its rules has ended since it was enforced.
    pub fn has_ended_rules(&self, now: u64) -> bool {
        self.ends().is_some_and(|ends| ends <= now)
    }

    /// What it was made of, with the policy that is made of it now.
    pub fn origin(&self, policy: &Policy, now: u64) -> Origin {
        let unblocked = &self.header.unblocked;
        Origin::of(&self.loaded(), policy, unblocked, now)
    }

    /// The policy, from the texts, as at this time, in seconds since 1970; else the first error.
    ///
    /// # Errors
    ///
    /// Why this program makes no policy of the texts.
    pub fn policy(&self, now: u64) -> Result<Policy, String> {
        let loaded = self.loaded();
        let Some(account) = &loaded.account else {
            let first = loaded.diagnostics.first();
            return Err(first.map_or_else(String::new, |first| {
                in_one_line(&first.to_json(&loaded.sources))
            }));
        };
        let policy = account.policy(&self.header.instance, &self.header.unblocked);
        let mut policy = policy.ok_or_else(|| format!("it has no {}", self.header.instance))?;
        policy.end_rules(now);
        Ok(policy)
    }

    /// The definition, read again from the texts and judged as at the time at which it was enforced: what has ended since
    /// breaks no promise of it.
    fn loaded(&self) -> Loaded {
        let texts: Vec<(&str, &str)> = self.files().collect();
        let (definition, templates) = texts.split_at(self.header.definition_files.min(texts.len()));
        let templates: BTreeMap<&str, &str> = templates.iter().copied().collect();
        let template = |path: &Path| match templates.get(&*path.to_string_lossy()) {
            Some(text) => Ok((*text).to_owned()),
            None => Err("it was not kept".to_owned()),
        };
        let files = definition.iter().copied();
        judge_at(files, template, Vec::new(), self.header.at)
    }

    /// Path and text of each file; a text that is none is empty.
    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = self.texts;
        self.header.files.iter().map(move |(path, length)| {
            let text = self.bytes.get(start..start.saturating_add(*length));
            start = start.saturating_add(*length);
            let text = std::str::from_utf8(text.unwrap_or_default());
            (path.as_str(), text.unwrap_or_default())
        })
    }

    fn end_of_texts(&self) -> usize {
        let lengths = self.header.files.iter().map(|(_, length)| *length);
        lengths.fold(self.texts, usize::saturating_add)
    }
}

#[cfg(test)]
pub(crate) mod tests;
