//! Saves the last good policy after each enforcement, for [`resume`](super::resume).

use super::base::{Host, Written};
use crate::ruleset::compile;
use crate::state::author::Author;
use crate::state::boot::boot_id;
use crate::state::directory::{State, StateError};
use crate::state::history::{self, entry::Enforced};
use crate::state::in_force::InForce;
use crate::state::saved_policy::{Hashed, Key, Origin, POLICY, Unsealed};
use std::path::PathBuf;
use tracing::{debug, warn};

/// A policy that is to be written, when nobody waits for it.
#[derive(Debug)]
pub struct Writing {
    state: State,
    hashed: Hashed,
    /// What `policy` is to hold; `None` where it does.
    bytes: Option<Result<Unsealed, String>>,
    /// Of what is enforced.
    generation: u64,
    definition: PathBuf,
}

/// A policy that could not be written, and why.
#[derive(Debug)]
pub struct Unwritten {
    hashed: Box<Hashed>,
    why: String,
}

impl Host {
    /// Takes what was enforced since anything was saved last.
    pub fn unsaved(&mut self) -> Option<Origin> {
        self.origin.take()
    }

    /// What has to be written so that what is enforced outlives the machine; `None` if something else is enforced by now.
    pub fn to_save(&self, hashed: Hashed) -> Option<Writing> {
        let standing = self.enforced.as_ref()?;
        if self.origin.is_some() {
            return None;
        }
        let is_written = self.written.key.as_ref() == Some(&hashed.key);
        let write_down = || {
            let bytes = self.kernel.look(|loaded| match loaded {
                Some(loaded) => hashed.write_down(&standing.summary, &loaded.ruleset),
                None => {
                    let ruleset = standing.policy.as_ref().map(compile).unwrap_or_default();
                    hashed.write_down(&standing.summary, &ruleset)
                }
            });
            bytes.map_err(|error| error.to_string())
        };
        Some(Writing {
            state: self.state.clone(),
            bytes: (!is_written).then(write_down),
            generation: standing.summary.generation,
            definition: standing.summary.definition.clone(),
            hashed,
        })
    }

    /// Records the result of a save, and what the kernel has. Tries again what could not be written, unless there is
    /// something newer; logs the same failure once.
    pub fn saved(&mut self, result: Option<Result<Key, Unwritten>>) {
        match result {
            None => {}
            Some(Ok(key)) => {
                self.written.key = Some(key);
                self.not_saved = None;
            }
            Some(Err(Unwritten { hashed, why })) => {
                self.written = Written::default();
                self.origin.get_or_insert(hashed.into_origin());
                if self.not_saved.as_ref() != Some(&why) {
                    warn!("the enforced policy is not kept for the next start: {why}");
                }
                self.not_saved = Some(why);
            }
        }
        // If a newer policy is waiting, the saved file does not describe the enforced one.
        if self.origin.is_none()
            && let Some(key) = self.written.key.clone()
            && let Err(error) = self.record(key)
        {
            debug!("the next start will load the policy anew: {error}");
        }
    }

    /// Saves what is enforced, and waits for it.
    pub fn save(&mut self) {
        let hashed = self.unsaved().map(Origin::hashed);
        let writing = hashed.and_then(|hashed| self.to_save(hashed));
        self.saved(writing.map(Writing::write));
        self.save_hits();
    }

    /// Writes what the kernel has now.
    fn record(&mut self, key: Key) -> Result<(), StateError> {
        let Some(standing) = &self.enforced else {
            return Ok(());
        };
        let names = self.kernel.look(|loaded| Some(loaded?.names.clone()));
        let (Some(names), Ok(transaction)) = (names, self.kernel.transaction()) else {
            return Ok(());
        };
        let in_force = InForce {
            key,
            boot: boot_id(),
            transaction,
            generation: standing.summary.generation,
            names,
        };
        if self.written.in_force.as_ref() != Some(&in_force) {
            in_force.write(&self.state)?;
            self.written.in_force = Some(in_force);
        }
        Ok(())
    }

    /// Forgets the saved policy: it was taken off this host on request.
    pub(super) fn forget_saved(&mut self) {
        self.written = Written::default();
        (self.origin, self.not_saved) = (None, None);
        let removed = self
            .state
            .remove(POLICY)
            .and_then(|()| InForce::remove(&self.state));
        if let Err(error) = removed {
            warn!("the kept policy is still there, and the next start enforces it: {error}");
        }
    }
}

impl Writing {
    /// Writes the policy, then its definition into the history. Returns its key.
    ///
    /// # Errors
    ///
    /// Why the policy could not be written; the file then holds what it held.
    pub fn write(mut self) -> Result<Key, Unwritten> {
        let written = match self.bytes.take() {
            Some(bytes) => bytes.and_then(|bytes| write_policy(&self.state, &bytes.seal())),
            None => Ok(()),
        };
        match written {
            Ok(()) => {
                self.record();
                Ok(self.hashed.key)
            }
            Err(why) => Err(Unwritten {
                hashed: Box::new(self.hashed),
                why,
            }),
        }
    }

    fn record(&self) {
        let origin = self.hashed.origin();
        let files = origin.sources.iter();
        let by_hand = || Author::of_files(files.map(|source| &*source.path));
        let enforced = Enforced {
            at: origin.at,
            generation: self.generation,
            definition: self.definition.clone(),
            instance: origin.instance.clone(),
            unblocked: origin.unblocked.clone(),
            author: origin.author.clone().unwrap_or_else(by_hand),
            content: self.hashed.content.clone(),
            definition_files: origin.definition_files,
        };
        if let Err(error) = history::record(&self.state, enforced, &origin.sources) {
            warn!("what is enforced is not kept in the history: {error}");
        }
    }
}

/// Writes the policy. On a full disk the history gives way to it: all but the newest entry, and then that one.
fn write_policy(state: &State, bytes: &[u8]) -> Result<(), String> {
    let mut written = state.write_atomically(POLICY, bytes);
    for left in [1, 0] {
        if written.as_ref().is_err_and(StateError::is_full)
            && history::shrink(state, left, u64::MAX)
        {
            warn!("the disk is full: older entries of the history were removed");
            written = state.write_atomically(POLICY, bytes);
        }
    }
    written.map_err(|error| error.to_string())
}
