//! This host's live flows, which follow the policy.

use super::{Host, Standing};
use crate::daemon::ended::{Before, Look};
use crate::policy::Policy;
use crate::ruleset::Ruleset;
use std::time::Duration;
use tracing::warn;

impl Host {
    /// Looks at the flows that end, or go on, with another policy.
    pub(in crate::daemon) fn look_at_ended(
        &self,
        before: Before,
        policy: Policy,
        ruleset: Ruleset,
    ) {
        self.ended.look(Look {
            before,
            policy: Some(policy),
            ruleset,
        });
    }

    /// Has the kernel remember what has ended, if that is found in time. Gives whether it was told anything.
    pub fn remember_ended(&mut self, at_most: Duration) -> bool {
        self.ended.finish(at_most);
        let Some(found) = self.ended.take() else {
            return false;
        };
        if let Err(error) = self.kernel.remember(&found.ended, &found.on) {
            warn!(
                "flows that have ended may come to life again should connection tracking lose them: {error}"
            );
        }
        true
    }

    /// Has a table that was made anew remember what the one before it did, if that was anything: who fights for the table does not make
    /// us read all flows each time.
    pub(in crate::daemon) fn recall_ended(&self) {
        if self.ended.are_remembered() {
            self.look_at_remembered();
        }
    }

    /// Looks again at what is remembered, where that was long ago: connection tracking may know an ended flow for longer.
    pub(in crate::daemon) fn renew_ended(&self) {
        if self.ended.is_due() {
            self.look_at_remembered();
        }
    }

    pub(in crate::daemon) fn look_at_remembered(&self) {
        // After a failure the kernel's room may not know it.
        let loaded = self.kernel.look(|loaded| Some(loaded?.ruleset.clone()));
        if let Some(ruleset) = loaded.or_else(|| self.enforced_ruleset().ok()) {
            self.look_at_flows(ruleset);
        }
    }

    /// Looks at the tracked flows where the policy is the same, and the kernel's memory may be another.
    pub(in crate::daemon) fn look_at_flows(&self, ruleset: Ruleset) {
        let standing = self.enforced.as_ref();
        self.ended.look(Look {
            before: Before::Unknown,
            policy: standing.and_then(|standing| standing.policy.clone()),
            ruleset,
        });
    }

    /// How many live flows changes of the policy have ended.
    pub fn ended_flows(&self) -> u64 {
        self.ended.total()
    }

    /// How many live flows changes of the policy had judged again.
    pub fn judged_again_flows(&self) -> u64 {
        self.ended.judged_again()
    }
}

impl Before {
    /// What this process has enforced; what an earlier one has is not known.
    pub(in crate::daemon) fn of(standing: Option<Standing>) -> Self {
        match standing.and_then(|standing| standing.policy) {
            Some(policy) => Before::Policy(Box::new(policy)),
            None => Before::Unknown,
        }
    }
}
