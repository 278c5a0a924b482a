//! `in-force`: what the kernel had when this process last looked. By it the next process knows that the saved policy is
//! in force, and goes on with it without replacing anything.
//!
//! It is renamed to `before-change` before each change and written after it: where it stands, no process was killed in
//! between.

use super::directory::{State, StateError};
use super::saved_policy::Key;
use super::seal::{seal, sealed_begin, unseal};
use crate::ruleset::batch::Names;
use serde::{Deserialize, Serialize};

/// The file's name in the state directory.
const FILE: &str = "in-force";
/// Its name from the beginning of a change until it is written again.
const ASIDE: &str = "before-change";

/// A policy in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// Which policy.
    pub key: Key,
    /// Since which start of the machine.
    pub boot: String,
    /// The number of the kernel's last transaction.
    pub transaction: u32,
    /// The generation, as it was reported.
    pub generation: u64,
    /// The kernel's names of its objects.
    pub names: Names,
}

impl InForce {
    /// What was written last; `None` also where it cannot be read, since then all is only loaded anew.
    pub fn read(state: &State) -> Option<Self> {
        Self::read_from(state, FILE)
    }

    /// What was in force before a change in which the last process was killed.
    pub fn before_change(state: &State) -> Option<Self> {
        match state.read(FILE) {
            Ok(None) => Self::read_from(state, ASIDE),
            _ => None,
        }
    }

    fn read_from(state: &State, file: &str) -> Option<Self> {
        let bytes = state.read(file).ok()??;
        postcard::from_bytes(unseal(&bytes).ok()?).ok()
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        // Names and numbers can always be said.
        let bytes = postcard::to_extend(self, sealed_begin()).unwrap_or_default();
        state.write_for_now(FILE, &seal(bytes))?;
        state.remove_for_now(ASIDE)
    }

    /// A change begins.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn set_aside(state: &State) -> Result<(), StateError> {
        // What stands there would be believed: rather nothing than that.
        state
            .rename(FILE, ASIDE)
            .or_else(|_| state.remove_for_now(FILE))
    }

    /// Takes it away.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn remove(state: &State) -> Result<(), StateError> {
        state.remove_for_now(FILE)?;
        state.remove_for_now(ASIDE)
    }
}
