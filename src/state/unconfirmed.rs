//! `unconfirmed.json`: contents that were tried and not confirmed.

use super::directory::State;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

/// The file's name in the state directory.
const FILE: &str = "unconfirmed.json";
/// How many contents are remembered, the latest.
const REMEMBERED: usize = 100;

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Unconfirmed(Vec<Candidate>);

/// A content that was tried and not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Candidate {
    content: String,
    /// When it was taken back, in seconds since 1970.
    at: u64,
}

impl Unconfirmed {
    /// Reads the file. A damaged one is logged, and begun anew.
    pub fn read(state: &State) -> Self {
        let bytes = state.read(FILE).ok().flatten();
        let list = bytes.map(|bytes| serde_json::from_slice(&bytes));
        match list {
            None => Unconfirmed::default(),
            Some(Ok(list)) => list,
            Some(Err(error)) => {
                warn!("what was not confirmed is forgotten: {FILE} is damaged ({error})");
                Unconfirmed::default()
            }
        }
    }

    /// Whether everything was confirmed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this content was tried and not confirmed.
    pub fn has(&self, content: &str) -> bool {
        self.0.iter().any(|each| each.content == content)
    }

    fn write(&self, state: &State) {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = state.write_atomically(FILE, &bytes) {
            error!("an unconfirmed candidate is not remembered: {error}");
        }
    }
}

/// Adds a content that was taken back now, in seconds since 1970.
pub fn add(state: &State, content: &str, now: u64) {
    let mut list = Unconfirmed::read(state);
    list.0.retain(|each| each.content != content);
    list.0.push(Candidate {
        content: content.to_owned(),
        at: now,
    });
    let surplus = list.0.len().saturating_sub(REMEMBERED);
    list.0.drain(..surplus);
    list.write(state);
}

/// Removes a content: it may be enforced after all.
pub fn clear(state: &State, content: &str) {
    let mut list = Unconfirmed::read(state);
    let before = list.0.len();
    list.0.retain(|each| each.content != content);
    if list.0.len() != before {
        list.write(state);
    }
}
