//! The saved policy, enforced at start and at boot before the definition is read.

use super::base::{Enforced, Host};
use super::commit::{Commit, Source};
use super::enforce::Way;
use super::report::{RuleEnd, Summary, now};
use super::saved::SavedRuleset;
use crate::policy::{Policy, Until};
use crate::ruleset::Generation;
use crate::state::boot::boot_id;
use crate::state::in_force::InForce;
use crate::state::saved_policy::{POLICY, SavedPolicy};
use std::path::PathBuf;
use tracing::{info, warn};

/// What became of the saved policy at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// There is none.
    Nothing,
    /// The kernel has it in force, and nothing was changed.
    Standing(u64),
    /// It was enforced, as this generation.
    Enforced(u64),
    /// The kernel has a later policy in force, which there was no time or room to save. It stays.
    Later(u64),
}

/// Transactions of a change in place: load, edit, delete, and the adoption at this start.
const MOST_OF_A_CHANGE: u32 = 4;

impl Host {
    /// Enforces the saved policy, unless it is in force already; or the candidate whose trial goes on.
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
                    self.enforce_nothing().map_err(|error| error.to_string())?;
                }
                self.trial = None;
                self.taken_back = Some(trial.candidate.clone());
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
        let meant = self.ruleset_of(saved).map_err(|error| error.to_string())?;
        let there = self.kernel.in_force().map_err(|error| error.to_string())?;
        let record = InForce::read(&self.state);
        let in_change = self.is_in_change();
        // No number comes twice, over starts of the machine either: of the same policy it is saved in the record alone.
        let saved_as = [
            saved.summary().map(|summary: Summary| summary.generation),
            record.as_ref().map(|record| record.generation),
        ];
        let record = record.filter(|record| record.boot == boot_id());
        let saved_as = saved_as.into_iter().flatten().max().unwrap_or(0);
        let record = record.filter(|record| {
            meant.without_ended.is_none()
                && record.key == *saved.key()
                && self.is_untouched(record)
                && self.take_up(saved, record)
        });
        let resumed = match (record, there) {
            (Some(record), _) => {
                let generation = record.generation;
                self.commit(None, commit_of(saved, Some(record), generation));
                Resumed::Standing(generation)
            }
            // A change in place, in the midst of which the last process was killed, enters the same chains.
            (None, Some(generation)) if !back && (generation.0 > saved_as || in_change) => {
                return Ok(Resumed::Later(generation.0));
            }
            _ => Resumed::Enforced(self.enforce_again(saved, &meant, saved_as)?),
        };
        self.settle_hits();
        Ok(resumed)
    }

    /// Whether the last process was killed in the midst of a change in place.
    fn is_in_change(&self) -> bool {
        InForce::before_change(&self.state).is_some_and(|before| {
            before.boot == boot_id()
                && self.is_by_one_change(before.transaction)
                && self.kernel.enters(&before.names)
        })
    }

    fn enforce_again(
        &mut self,
        saved: &SavedPolicy,
        meant: &SavedRuleset,
        saved_as: u64,
    ) -> Result<u64, String> {
        let mut at_least = Generation(saved_as.max(1));
        if meant.without_ended.is_some() {
            self.write_time();
            at_least = at_least.next();
        }
        let switched = self
            .enforce_saved(&meant.ruleset, at_least, Way::Whole)
            .map_err(|error| error.to_string())?;
        let mut commit = commit_of(saved, None, switched.generation.0);
        if let Some(policy) = &meant.without_ended {
            commit = self.without_ended(commit, saved, policy);
        }
        self.commit(Some(&switched), commit);
        Ok(switched.generation.0)
    }

    /// The same for a saved policy that rules have ended of since. The file of a candidate stays as it is.
    pub(super) fn without_ended(
        &self,
        commit: Commit,
        saved: &SavedPolicy,
        policy: &Policy,
    ) -> Commit {
        let trial = self.trial.as_ref();
        let is_candidate = trial.is_some_and(|trial| trial.key == *saved.key());
        let origin = (!is_candidate).then(|| saved.origin(policy, self.time()));
        let ended = policy.rules_that_end().filter(|rule| rule.ended.is_some());
        let ended: Vec<String> = ended.map(|rule| rule.id.to_string()).collect();
        info!(
            "these rules of the kept policy have ended: {}",
            ended.join(", ")
        );
        Commit {
            ends: policy.next_end().map(Until::seconds),
            summary: Summary {
                ending: RuleEnd::of(policy),
                ..commit.summary
            },
            source: Source::RulesEnded {
                origin,
                from_saved: true,
            },
            ..commit
        }
    }

    /// Reads the saved policy's definition, for the places of its rules. What is enforced does not wait for it.
    pub fn recollect(&mut self) {
        let wanted = |enforced: &Enforced| enforced.from_saved && enforced.policy.is_none();
        if !self.enforced.as_ref().is_some_and(wanted) {
            return;
        }
        let saved = self.state.read(self.saved_in()).ok().flatten();
        let Some(Ok(saved)) = saved.map(SavedPolicy::read) else {
            return;
        };
        match (saved.policy(self.time()), &mut self.enforced) {
            (Ok(policy), Some(enforced)) => {
                enforced.policy = Some(policy.clone());
                let generation = Generation(enforced.summary.generation);
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

    /// Whether what has happened since this transaction may all be a change of ours: others would have changed more, or
    /// could not.
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
}

/// A saved policy is enforced, as this generation; its definition is read later.
fn commit_of(saved: &SavedPolicy, record: Option<InForce>, generation: u64) -> Commit {
    Commit {
        policy: None,
        summary: Summary {
            generation,
            ..summary_of(saved)
        },
        ends: saved.ends(),
        source: Source::Saved(saved.key().clone(), record),
    }
}

/// What was said of a saved policy; what can be said of it where another version has said that.
pub(super) fn summary_of(saved: &SavedPolicy) -> Summary {
    let said = saved.summary();
    said.unwrap_or_else(|| {
        let mut plain = match saved.policy(saved.at()) {
            Ok(policy) => Summary::of(&policy),
            Err(_) => Summary::default(),
        };
        plain.definition = PathBuf::from("(kept)");
        plain.instance = saved.instance().to_string();
        plain.since = now();
        plain
    })
}
