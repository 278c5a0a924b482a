//! What another program has changed or deleted, enforced again.

use super::enforce::{EnforceError, Switched};
use super::kernel::Kernel;
use super::standby::Written;
use crate::ruleset::batch::{self, Names};
use crate::ruleset::change::{Change, Loaded};
use crate::ruleset::{Generation, Ruleset};
use std::time::{Duration, Instant};

/// Of longer rulesets nothing is written down: this much is about 2 MB of messages.
const LONGEST: usize = 3_000;

impl Kernel {
    /// Enforces whole what another program has changed, as [`Self::enforce_with`] does.
    pub fn restore_with(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
        before_switch: impl FnMut(),
    ) -> Result<Switched, EnforceError> {
        self.forget();
        self.enforce_with(ruleset, at_least, before_switch)
    }

    /// Enforces whole what another program has deleted, in one transaction: where nothing is in force nothing can be
    /// lost by that. Load and switch would each wait, some 10 ms, for what the kernel does when that program ends
    /// (`nft_rcv_nl_event` in `net/netfilter/nf_tables_api.c` holds the lock of all transactions over a grace period).
    ///
    /// Gives nothing where that way is not open, and [`Self::restore_with`] is.
    pub fn restore_at_once(&self, ruleset: &Ruleset, generation: Generation) -> Option<Switched> {
        let start = Instant::now();
        let table = self.changeable().ok()?;
        // A table that is to be owned is made first.
        if table.is_none_or(|table| table.is_orphan() || table.before_sleep().is_some())
            && self.backend.can_own().unwrap_or(true)
        {
            return None;
        }
        let names = self.marked(Change::all(generation), ruleset).names;
        if self.backend.apply(&whole(ruleset, &names), &names).is_err() {
            // It may be in force all the same.
            self.labels.hold(names.bits().of_the_generation());
            return None;
        }
        self.marks_in_force(&names);
        let switched_after = start.elapsed();
        let left_over = self.view.objects().map(|objects| objects.but(generation));
        let deleted = left_over
            .map_err(EnforceError::from)
            .and_then(|left_over| self.delete(&left_over));
        let left_behind = deleted.err().map(|error| error.to_string());
        let mut loaded = self.loaded.lock();
        *loaded = left_behind.is_none().then(|| Loaded {
            ruleset: ruleset.clone(),
            names,
        });
        Some(Switched {
            left_behind,
            ..Switched::again(generation, switched_after)
        })
    }

    /// Writes down what is enforced, so that it only has to be sent when another program deletes it.
    pub fn stand_by(&self) {
        self.take_note();
        *self.standby.written() = self.written().unwrap_or_default();
    }

    fn written(&self) -> Option<Written> {
        self.look(|loaded| {
            let loaded = loaded?;
            let length = loaded.ruleset.rule_count() + loaded.ruleset.element_count();
            if length > LONGEST {
                return None;
            }
            // The policy stays the same, and so do the flows that it has allowed.
            let generation = loaded.names.generation().next();
            let names = Names::new(generation).marked(loaded.names.bits().clone());
            let commands = whole(&loaded.ruleset, &names);
            let transaction = self.backend.write_down(&commands, &names)?;
            Some(Written::Ready(transaction, names))
        })
    }

    /// Whether what was written down was sent because another program has `deleted` our table: by the sentinel before
    /// this, or by this, which asks nothing before. What is left over then is for the caller.
    pub fn restore_written(&self, deleted: bool) -> Option<Switched> {
        if deleted {
            self.standby
                .send(|transaction| self.backend.send(transaction));
        }
        self.take_note()
            .map(|(generation, took)| Switched::again(generation, took))
    }

    /// Whether what this has enforced last is in force, as far as the base chains tell.
    pub fn stands(&self) -> bool {
        self.look(|loaded| {
            loaded.is_some_and(|loaded| self.is_entered(&loaded.names).unwrap_or(false))
        })
    }

    /// Deletes what is no part of what is enforced: what another program has left in our table, or put there when it
    /// made it again. Where that fails, the next ruleset is loaded whole.
    pub fn clear_left_over(&self) {
        let Some(generation) = self.look(|loaded| Some(loaded?.names.generation())) else {
            return;
        };
        let deleted = self
            .view
            .objects()
            .map_err(EnforceError::from)
            .and_then(|objects| self.delete(&objects.but(generation)));
        if let Err(error) = deleted {
            tracing::debug!("what was left over is deleted by the next load: {error}");
            self.forget();
        }
    }

    /// Makes our table anew as one that belongs to us, with all that is enforced, in one transaction: after a deletion,
    /// when what was written down has been sent, which cannot say that. Sets that are made and asked in one transaction
    /// miss for some microseconds, in which an allowed packet can be lost: that is once, and then nobody can delete it
    /// again. Gives the new generation; nothing where that is not open.
    pub fn make_anew(&self) -> Option<Generation> {
        if !self.backend.can_own().unwrap_or(true) {
            return None;
        }
        self.take_note();
        let mut loaded = self.loaded.lock();
        let known = loaded.as_mut()?;
        let generation = known.names.generation().next();
        let names = Names::new(generation).marked(known.names.bits().clone());
        let mut commands = vec![batch::Command::DeleteTable];
        commands.extend(whole(&known.ruleset, &names));
        self.backend.apply_owning(&commands, &names).ok()?;
        known.names = names;
        Some(generation)
    }

    /// Nothing is sent behind the back of what comes now; what was, is known from now on, and how long it took.
    pub(super) fn take_note(&self) -> Option<(Generation, Duration)> {
        let Written::Sent(names, took) = std::mem::take(&mut *self.standby.written()) else {
            return None;
        };
        let generation = names.generation();
        let mut loaded = self.loaded.lock();
        if let Some(loaded) = &mut *loaded {
            loaded.names = names;
        }
        Some((generation, took))
    }
}

/// All of a ruleset as one transaction.
fn whole<'r>(ruleset: &'r Ruleset, names: &Names) -> Vec<batch::Command<'r>> {
    let mut all = batch::load(ruleset, names);
    all.extend(batch::switch());
    all.extend(batch::mark_again(ruleset, names));
    all
}

impl Switched {
    /// What was deleted stands again.
    fn again(generation: Generation, switched_after: Duration) -> Self {
        Switched {
            generation,
            replaced_hits: Vec::new(),
            left_behind: None,
            switched_after,
        }
    }
}
