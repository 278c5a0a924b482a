//! The socket on which a lab is asked. Its name is abstract: it belongs to the machine's network namespace, in which it
//! is bound before the lab leaves it, and it has gone when the lab has. Only the user who made the lab may ask.

pub mod client;
pub mod server;

use super::reach::Wanted;
use super::service::LabService;
use serde::{Deserialize, Serialize};

/// How the names of labs begin; the user's number and the lab's name follow.
const PREFIX: &str = "secgroupd-lab/";
/// The most that a request may hold, in bytes.
const REQUEST_AT_MOST: u64 = 1 << 20;

/// What is asked. One line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum LabRequest {
    /// What there is.
    Status,
    /// The descriptors to enter a node by.
    Enter {
        /// Which.
        node: String,
    },
    /// One thing tried.
    Probe {
        /// From a node or an address.
        from: String,
        /// To a node or an address.
        to: String,
        /// What.
        service: LabService,
    },
    /// The matrix.
    Reach {
        /// Which part of it.
        wanted: Wanted,
    },
    /// The end.
    Down,
}

/// What is answered. Lines of JSON: any number of the first, and one of the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Reply {
    /// How far it is.
    Progress {
        /// Cells that are done.
        done: usize,
        /// All cells.
        total: usize,
    },
    /// What was asked for.
    Done {
        /// By the kind of request.
        payload: serde_json::Value,
    },
    /// Why not.
    Error {
        /// One line.
        message: String,
    },
}

/// The socket's name.
fn name_of(uid: u32, lab: &str) -> String {
    format!("{PREFIX}{uid}/{lab}")
}

/// Whether a lab may be called so.
pub fn is_name(lab: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !lab.is_empty() && lab.len() <= 64 && lab.bytes().all(allowed)
}
