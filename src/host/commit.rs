//! The one record of what the kernel enforces now: for a definition, a candidate, the saved policy at a start, the old
//! policy after a trial, and one that another program had changed.

use super::base::{Enforced, Host, Written};
use super::report::{Summary, now};
use crate::flows::ended::{Before, PolicyChange};
use crate::netfilter::enforce::Switched;
use crate::policy::Policy;
use crate::ruleset::marks::Bits;
use crate::ruleset::{Generation, Ruleset};
use crate::state::in_force::InForce;
use crate::state::saved_policy::{Key, Origin};
use crate::state::trial::Trial;
use tracing::warn;

/// What the kernel enforces now.
#[derive(Debug)]
pub(super) struct Commit {
    /// `None` for a saved policy whose definition was not read yet.
    pub policy: Option<NewPolicy>,
    pub summary: Summary,
    /// When the next of its rules ends, in seconds since 1970.
    pub ends: Option<u64>,
    pub source: Source,
}

/// A policy in place of another.
#[derive(Debug)]
pub(super) struct NewPolicy {
    pub policy: Policy,
    pub ruleset: Ruleset,
    pub was: Was,
}

/// Where it comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A definition, for good; it ends a trial, and has to be saved.
    Definition(Origin),
    /// A candidate, which is on the disk.
    Candidate(Trial),
    /// A saved policy, and the record that the kernel has it, if that still holds.
    Saved(Key, Option<InForce>),
    /// What was enforced or saved, without the rules that have ended since. No file says that yet.
    RulesEnded {
        /// What has to be saved, if anything has.
        origin: Option<Origin>,
        /// Whether it is the saved policy, and no definition was enforced since.
        from_saved: bool,
    },
}

/// What the kernel had before a change.
#[derive(Debug)]
pub(super) struct Was {
    /// The labels of the flows that passed, if they are known.
    marks: Option<Bits>,
    /// Whether nothing was in force.
    pub is_first: bool,
}

impl Host {
    /// What the kernel has before a change.
    pub(super) fn was(&self, is_first: bool) -> Was {
        let marks = self.marks();
        Was { marks, is_first }
    }

    fn marks(&self) -> Option<Bits> {
        self.kernel
            .look(|loaded| Some(loaded?.names.bits().clone()))
    }

    /// Records that the kernel enforces this; `switched` is how it came to, `None` if an earlier process did it.
    /// Returns the summary, with the generation and the time of the switch.
    pub(super) fn commit(&mut self, switched: Option<&Switched>, commit: Commit) -> Summary {
        let Commit {
            policy,
            mut summary,
            ends,
            source,
        } = commit;
        if let Some(switched) = switched {
            self.take_counts(switched);
            stamp(&mut summary, switched);
        }
        if let Some(new) = &policy {
            self.follow_rules(&new.policy, Generation(summary.generation));
        }
        self.highest = summary.generation;
        let from_saved = match &source {
            Source::Saved(..) => true,
            Source::RulesEnded { from_saved, .. } => *from_saved,
            Source::Definition(_) | Source::Candidate(_) => false,
        };
        self.record_source(source);
        self.closed = false;
        let policy = policy.map(|new| self.count_ended(new));
        self.enforced = Some(Enforced {
            policy,
            summary: summary.clone(),
            ends,
            origin: self.origin.clone(),
            from_saved,
        });
        summary
    }

    /// Records that the same policy is enforced again: another program had changed or deleted it.
    pub(super) fn commit_again(&mut self, switched: &Switched) {
        self.take_counts(switched);
        if let Some(enforced) = &mut self.enforced {
            stamp(&mut enforced.summary, switched);
            self.highest = enforced.summary.generation;
        }
    }

    /// Records that the same policy has another generation now.
    pub(super) fn commit_generation(&mut self, generation: Generation) {
        if let Some(enforced) = &mut self.enforced {
            enforced.summary.generation = generation.0;
            self.highest = generation.0;
        }
    }

    /// What replaced chains had counted is in no kernel any more.
    fn take_counts(&mut self, switched: &Switched) {
        self.counts.replaced(&switched.replaced_hits, now());
        if let Some(left) = &switched.left_behind {
            warn!("the old generation was not cleaned up: {left}");
        }
    }

    fn record_source(&mut self, source: Source) {
        match source {
            Source::Definition(origin) => {
                self.end_trial();
                self.origin = Some(origin);
            }
            Source::Candidate(trial) => {
                self.written = Written::of(trial.key.clone());
                self.origin = None;
                self.trial = Some(trial);
            }
            Source::Saved(key, in_force) => {
                self.written = Written {
                    key: Some(key),
                    in_force,
                };
                self.origin = None;
            }
            Source::RulesEnded { origin, .. } => {
                self.written = Written::default();
                self.origin = origin;
            }
        }
    }

    /// Counts the live flows that a change ends.
    fn count_ended(&mut self, new: NewPolicy) -> Policy {
        let NewPolicy {
            policy,
            ruleset,
            was,
        } = new;
        let before = match self.enforced.take() {
            // No flow was evaluated again.
            _ if was.marks.is_some() && was.marks == self.marks() => Before::Unknown,
            None if was.is_first => Before::Nothing,
            old => Before::of(old.and_then(|enforced| enforced.policy)),
        };
        self.ended.count(PolicyChange {
            before,
            policy: policy.clone(),
            ruleset,
        });
        policy
    }
}

/// The generation and the time of the switch.
fn stamp(summary: &mut Summary, switched: &Switched) {
    summary.generation = switched.generation.0;
    summary.switched_after_ms = switched.switched_after.as_secs_f64() * 1000.0;
}
