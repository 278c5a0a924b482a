//! The kept policy, enforced at start and at boot before the definition is read.

use super::first;
use super::host::{Host, Standing, interface_summaries};
use super::report::{Summary, now};
use crate::netfilter::enforce::{EnforceError, Enforced};
use crate::policy::{Direction, Policy};
use crate::ruleset::{Generation, Ruleset, Walker, compile};
use crate::state::boot::boot_id;
use crate::state::in_force::InForce;
use crate::state::saved_policy::{POLICY, SavedPolicy};
use std::path::PathBuf;
use tracing::warn;

/// What became of the kept policy at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// There is none.
    Nothing,
    /// The kernel has it in force, and nothing was changed.
    Standing(u64),
    /// It was enforced, as this generation.
    Enforced(u64),
    /// The kernel has a later policy in force, which there was no time or room to keep. It stays.
    Later(u64),
}

/// Transactions of a change in place: load, edit, delete, and the adoption at this start.
const MOST_OF_A_CHANGE: u32 = 4;

impl Host {
    /// Enforces the kept policy, unless it is in force already; or the candidate whose trial goes on.
    ///
    /// # Errors
    ///
    /// Why there is one that cannot be used or not be enforced; what was in force still is.
    pub fn resume(&mut self) -> Result<Resumed, String> {
        match self.trial_at_start() {
            None => self.resume_saved(false),
            // Also where that fails, its time goes on, and so it does below.
            Some((trial, Some(candidate))) => {
                self.trial = Some(trial);
                self.resume_from(&candidate, true)
            }
            // Its time was up before this start, or the machine was started again.
            Some((trial, None)) => {
                let old = self.state.read(POLICY).ok().flatten();
                self.remember(
                    &trial,
                    old.and_then(|old| SavedPolicy::read(old).ok()).as_ref(),
                );
                self.trial = Some(trial.clone());
                let resumed = self.resume_saved(true)?;
                if resumed == Resumed::Nothing {
                    self.kernel.remove().map_err(|error| error.to_string())?;
                }
                self.trial = None;
                self.save();
                self.end_trial();
                warn!(
                    "the candidate {} was not confirmed in time: the old policy is back",
                    trial.candidate.display()
                );
                Ok(resumed)
            }
        }
    }

    /// With `back`, whatever else is in force gives way to it.
    fn resume_saved(&mut self, back: bool) -> Result<Resumed, String> {
        let path = self.state.directory().join(POLICY);
        let bytes = self.state.read(POLICY).map_err(|error| error.to_string())?;
        let Some(bytes) = bytes else {
            return Ok(Resumed::Nothing);
        };
        let saved = SavedPolicy::read(bytes).map_err(|error| error.to_string());
        saved.and_then(|saved| self.resume_from(&saved, back)).map_err(|why| {
            format!(
                "the kept policy {} cannot be used: {why}; the next definition that is enforced takes its place",
                path.display()
            )
        })
    }

    fn resume_from(&mut self, saved: &SavedPolicy, back: bool) -> Result<Resumed, String> {
        let ruleset = saved.ruleset().map_err(|error| error.to_string())?;
        let there = self.kernel.in_force().map_err(|error| error.to_string())?;
        let record = InForce::read(&self.state).filter(|record| record.boot == boot_id());
        let in_change = InForce::before_change(&self.state).is_some_and(|before| {
            before.boot == boot_id()
                && self.is_by_one_change(before.transaction)
                && self.kernel.enters(&before.names)
        });
        let saved_as = [
            saved.summary().map(|summary: Summary| summary.generation),
            record.as_ref().map(|record| record.generation),
        ];
        let saved_as = saved_as.into_iter().flatten().max().unwrap_or(0);
        let record = record.filter(|record| {
            record.key == *saved.key() && self.is_untouched(record) && self.take_up(saved, record)
        });
        let resumed = match (record, there) {
            (Some(record), _) => {
                let generation = record.generation;
                self.written.in_force = Some(record);
                Resumed::Standing(generation)
            }
            // A change in place, in the midst of which the last process was killed, enters the same chains.
            (None, Some(generation)) if !back && (generation.0 > saved_as || in_change) => {
                return Ok(Resumed::Later(generation.0));
            }
            _ => {
                let enforced = self
                    .enforce_saved(&ruleset, Generation(saved_as.max(1)), false)
                    .map_err(|error| error.to_string())?;
                Resumed::Enforced(enforced.generation.0)
            }
        };
        if let Resumed::Standing(generation) | Resumed::Enforced(generation) = resumed {
            self.stand_saved(saved, generation);
            self.settle_hits();
        }
        Ok(resumed)
    }

    /// What is enforced is this kept policy, as this generation.
    pub(super) fn stand_saved(&mut self, saved: &SavedPolicy, generation: u64) {
        let summary = saved.summary().unwrap_or_else(|| plain_summary(saved));
        self.written.key = Some(saved.key().clone());
        self.closed = false;
        self.enforced = Some(Standing {
            summary: Summary {
                generation,
                ..summary
            },
            policy: None,
            from_saved: true,
        });
    }

    /// Reads the kept policy's definition, which tells the places of its rules. What is enforced does not wait for it.
    pub fn recollect(&mut self) {
        let wanted = |standing: &Standing| standing.from_saved && standing.policy.is_none();
        if !self.enforced.as_ref().is_some_and(wanted) {
            return;
        }
        let saved = self.state.read(self.saved_in()).ok().flatten();
        let Some(Ok(saved)) = saved.map(SavedPolicy::read) else {
            return;
        };
        match (saved.policy(), &mut self.enforced) {
            (Ok(policy), Some(standing)) => {
                standing.policy = Some(policy.clone());
                let generation = Generation(standing.summary.generation);
                self.follow_rules(&policy, generation);
            }
            (Err(why), _) => warn!(
                "the kept policy is enforced as it was compiled by secgroupd {}; this version refuses its definition: {why}",
                saved.program()
            ),
            (Ok(_), None) => {}
        }
    }

    /// Whether nobody can have changed our table since this was written.
    fn is_untouched(&self, record: &InForce) -> bool {
        if self.owned_at_start {
            return true;
        }
        let Ok(now) = self.kernel.transaction() else {
            return false;
        };
        // One more if it was adopted, which this process does at its start.
        let by_us = u32::from(self.adopted);
        now.wrapping_sub(record.transaction) == by_us
    }

    /// Whether what has happened since this transaction may all be a change of ours: others would have changed more, or could not.
    fn is_by_one_change(&self, transaction: u32) -> bool {
        let since = |now: u32| now.wrapping_sub(transaction);
        self.owned_at_start
            || self
                .kernel
                .transaction()
                .is_ok_and(|now| since(now) <= MOST_OF_A_CHANGE)
    }

    fn take_up(&self, saved: &SavedPolicy, record: &InForce) -> bool {
        // Only what this program would say the same by can be changed in part.
        let Some(ruleset) = saved.compiled() else {
            return false;
        };
        let taken = self.kernel.take_up(ruleset, record.names.clone());
        taken.unwrap_or(false)
    }

    /// Enforces a ruleset whose policy need not be known.
    pub(super) fn enforce_saved(
        &mut self,
        ruleset: &Ruleset,
        at_least: Generation,
        deleted: bool,
    ) -> Result<Enforced, EnforceError> {
        if let Err(why) = self.assign_slots(ruleset) {
            warn!("cannot write down which labels stand for which interface: {why}");
        }
        let walker = Walker::new(ruleset);
        let seed = || first::seed(|packet| walker.walk(packet).0.passes());
        self.before_change();
        if deleted && let Some(enforced) = self.kernel.restore_at_once(ruleset, at_least) {
            // Flows that connection tracking knew it still knows; those that opened meanwhile it is told of.
            seed();
            return Ok(enforced);
        }
        let first = matches!(self.kernel.in_force(), Ok(None));
        let seed = || {
            if first {
                seed();
            }
        };
        seed();
        let enforced = self.kernel.restore_with(ruleset, at_least, seed)?;
        self.counts.replaced(&enforced.replaced_hits, now());
        if let Some(left) = &enforced.left_behind {
            warn!("the old generation was not cleaned up: {left}");
        }
        Ok(enforced)
    }

    /// The ruleset that is enforced, when the kernel's room no longer knows it.
    pub(super) fn enforced_ruleset(&self) -> Result<Ruleset, String> {
        match self.enforced.as_ref().map(|standing| &standing.policy) {
            Some(Some(policy)) => Ok(compile(policy)),
            _ => {
                let bytes = self.state.read(self.saved_in());
                let bytes = bytes.map_err(|error| error.to_string())?;
                let saved = bytes
                    .map(SavedPolicy::read)
                    .ok_or("the kept policy is gone")?;
                saved
                    .and_then(|saved| saved.ruleset())
                    .map_err(|error| error.to_string())
            }
        }
    }
}

/// A summary where that of another version cannot be read.
fn plain_summary(saved: &SavedPolicy) -> Summary {
    let policy: Option<Policy> = saved.policy().ok();
    let rules = |direction| {
        policy
            .as_ref()
            .map_or(0, |policy| policy.rule_count(direction))
    };
    Summary {
        generation: 0,
        definition: PathBuf::from("(kept)"),
        instance: saved.instance().to_string(),
        since: now(),
        interfaces: policy.as_ref().map(interface_summaries).unwrap_or_default(),
        rules: [rules(Direction::Inbound), rules(Direction::Outbound)],
        smtp_blocked: policy.as_ref().is_some_and(|policy| policy.smtp_blocked),
        observe: policy
            .as_ref()
            .is_some_and(|policy| policy.platform.observe),
        unblocks: [0, 0],
        switched_after_ms: 0.0,
        remarks: Vec::new(),
    }
}
