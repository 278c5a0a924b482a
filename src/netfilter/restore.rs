//! What another program has changed or deleted, enforced again.

use super::enforce::{EnforceError, Enforced, Kernel};
use super::native::{Native, Written};
use super::objects::objects_over;
use super::transport::Transport;
use crate::ruleset::batch::{self, Names};
use crate::ruleset::change::{Change, Loaded};
use crate::ruleset::{Generation, Ruleset};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of longer rulesets nothing is written down: this much is about 2 MB of messages.
const LONGEST: usize = 3_000;

/// All of what is enforced as one transaction, of the next generation: load, switch and stamps.
#[derive(Debug)]
pub struct Standby {
    written: Written,
    names: Names,
}

impl Kernel {
    /// Enforces whole what another program has changed, as [`Self::enforce_with`] does.
    ///
    /// # Errors
    ///
    /// See [`EnforceError`].
    pub fn restore_with(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
        before_switch: impl FnMut(),
    ) -> Result<Enforced, EnforceError> {
        self.forget();
        self.enforce_with(ruleset, at_least, before_switch)
    }

    /// Enforces whole what another program has deleted, in one transaction: where nothing is in force nothing can be lost by
    /// that. Load and switch would each wait, some 10 ms, for what the kernel does when that program ends
    /// (`nft_rcv_nl_event` in `net/netfilter/nf_tables_api.c` holds the lock of all transactions over a grace period).
    ///
    /// Gives nothing where that way is not open, and [`Self::restore_with`] is.
    pub fn restore_at_once(&self, ruleset: &Ruleset, generation: Generation) -> Option<Enforced> {
        let start = Instant::now();
        let table = self.changeable().ok()?;
        // A table that is to be owned is made first.
        if table.is_none_or(|table| table.is_orphan() || table.before_sleep().is_some())
            && self.transport.may_own()
        {
            return None;
        }
        let names = self.stamped(Change::all(generation), ruleset).names;
        self.transport.apply(&whole(ruleset, &names), &names).ok()?;
        self.stamps_in_force(ruleset, &names);
        let switched_after = start.elapsed();
        let left_over = objects_over(&self.reader).map(|objects| objects.but(generation));
        let deleted = left_over
            .map_err(EnforceError::from)
            .and_then(|left_over| self.delete(&left_over));
        let left_behind = deleted.err().map(|error| error.to_string());
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded = left_behind.is_none().then(|| Loaded {
            ruleset: ruleset.clone(),
            names,
        });
        Some(Enforced {
            left_behind,
            ..Enforced::again(generation, switched_after)
        })
    }

    /// Writes down what is enforced, so that [`Self::restore_written`] only has to send it; where that would do: what is owned
    /// cannot be deleted, and nft reads text.
    pub fn stand_by(&self) {
        *self.standby() = self.written();
    }

    fn written(&self) -> Option<Standby> {
        let Transport::Native(_) = &self.transport else {
            return None;
        };
        self.look(|loaded| {
            let loaded = loaded?;
            let rules = loaded.ruleset.rule_count() + loaded.ruleset.element_count();
            if rules > LONGEST {
                return None;
            }
            // The policy stays the same, and so do the flows that it has allowed.
            let generation = loaded.names.generation().next();
            let names = Names::new(generation).stamped(loaded.names.stamp());
            let commands = whole(&loaded.ruleset, &names);
            let written = Native::write_down(&commands, &names);
            Some(Standby { written, names })
        })
    }

    /// Sends what was written down, and nothing else: each question would be time in which the host is open, and the lock of all
    /// transactions is soon held for some 10 ms by the end of the program that has deleted the table (see
    /// [`Self::restore_at_once`]). Gives nothing where that is not open; what is left over then is for [`Self::restored`].
    pub fn restore_written(&self) -> Option<Enforced> {
        let start = Instant::now();
        let Transport::Native(native) = &self.transport else {
            return None;
        };
        let Standby { written, names } = self.standby().take()?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &mut Loaded| known.names.generation().next() == names.generation();
        let known = loaded.take_if(is_same)?;
        // Its objects must be new: where others of these names are left, nothing was deleted, and nothing is done.
        if native.send(&written).is_err() {
            return None;
        }
        let generation = names.generation();
        *loaded = Some(Loaded {
            ruleset: known.ruleset,
            names,
        });
        Some(Enforced::again(generation, start.elapsed()))
    }

    fn standby(&self) -> MutexGuard<'_, Option<Standby>> {
        self.standby.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of a ruleset as one transaction.
fn whole<'r>(ruleset: &'r Ruleset, names: &Names) -> Vec<batch::Command<'r>> {
    let mut all = batch::load(ruleset, names);
    all.extend(batch::switch());
    all.extend(batch::restamp(ruleset, names));
    all
}

impl Enforced {
    /// What was deleted stands again.
    fn again(generation: Generation, switched_after: Duration) -> Self {
        Enforced {
            generation,
            replaced_hits: Vec::new(),
            left_behind: None,
            switched_after,
        }
    }
}
