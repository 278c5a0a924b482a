//! `trial.json`: the candidate on trial and its deadline.

use super::boot::boot_id;
use super::directory::{State, StateError};
use super::saved_policy::{CANDIDATE, Hashed, Key, SavedPolicy, Unsealed};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file's name in the state directory.
const FILE: &str = "trial.json";

/// A candidate that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Where it was read.
    pub candidate: PathBuf,
    /// The hash of its texts.
    pub content: String,
    /// Which policy it is.
    pub key: Key,
    /// The start of the machine in which it runs.
    boot: String,
    /// When it ends, in milliseconds since that start, sleep included: no clock that is set moves it.
    ends: u64,
}

impl Trial {
    /// Begins now, and ends after this time.
    pub fn new(candidate: &Path, hashed: &Hashed, time: Duration) -> Self {
        Trial {
            candidate: candidate.to_owned(),
            content: hashed.content.clone(),
            key: hashed.key.clone(),
            boot: boot_id(),
            ends: since_start().saturating_add(time).as_millis() as u64,
        }
    }

    /// The time that is left; none at another start of the machine.
    pub fn left(&self) -> Duration {
        match self.boot == boot_id() {
            true => Duration::from_millis(self.ends).saturating_sub(since_start()),
            false => Duration::ZERO,
        }
    }

    /// Reads the file, if there is one.
    pub fn read(state: &State) -> Option<Self> {
        let bytes = state.read(FILE).ok()??;
        // One that cannot be read is one whose time is up.
        Some(serde_json::from_slice(&bytes).unwrap_or(Trial {
            candidate: PathBuf::new(),
            content: String::new(),
            key: String::new(),
            boot: String::new(),
            ends: 0,
        }))
    }

    /// Writes the candidate, then its deadline.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn write(&self, state: &State, candidate: Unsealed) -> Result<(), String> {
        let deadline = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        let written = state.write_atomically(CANDIDATE, &candidate.seal());
        written
            .and_then(|()| state.write_atomically(FILE, &deadline))
            .map_err(|error| error.to_string())
    }

    /// Removes the deadline, then the candidate.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn remove(state: &State) -> Result<(), StateError> {
        state.remove(FILE)?;
        state.remove(CANDIDATE)
    }

    /// Reads the candidate; `None` also where the file holds another one.
    pub fn candidate(&self, state: &State) -> Option<SavedPolicy> {
        let saved = SavedPolicy::read(state.read(CANDIDATE).ok()??).ok()?;
        (*saved.key() == self.key).then_some(saved)
    }
}

/// Since the start of the machine, sleep included.
fn since_start() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of day is no part of it: it ends as long after the machine's start as it was told to, whatever is set
    /// meanwhile.
    #[test]
    fn a_trial_ends_by_a_clock_that_nobody_sets() {
        let minute = Duration::from_secs(60);
        let before = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
        let ends = Duration::from(before) + minute;
        let trial = Trial {
            candidate: "new.yaml".into(),
            content: String::new(),
            key: String::new(),
            boot: boot_id(),
            ends: ends.as_millis() as u64,
        };
        let left = trial.left();
        assert!(left <= minute && left > minute / 2, "{left:?}");
        let read: Trial = serde_json::from_slice(&serde_json::to_vec(&trial).unwrap()).unwrap();
        assert!(read.left() <= left, "it goes on in another process");
        let over = Trial {
            ends: 1,
            ..trial.clone()
        };
        assert_eq!(over.left(), Duration::ZERO);
        let another_start = Trial {
            boot: "another".into(),
            ..trial
        };
        assert_eq!(another_start.left(), Duration::ZERO);
    }
}
