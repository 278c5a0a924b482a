//! What the rules and layers have met: read from the kernel, saved, and reported.

use super::base::Host;
use super::report::{Hits, now};
use crate::policy::{Action, Direction, Policy, Reason, SecurityGroup};
use crate::ruleset::Generation;
use crate::state::counts::{Counts, Rules, reason};
use crate::state::hits::{Unwritten, remove};
use tracing::{debug, warn};

impl Host {
    /// Hits of every layer and rule that was met, and of every rule of the bound groups.
    pub fn hits(&mut self) -> Vec<Hits> {
        self.look_at_hits();
        let Some(standing) = &self.enforced else {
            return Vec::new();
        };
        let mut totals = self.counts.totals();
        let mut of = |reason: &str| totals.remove(reason).unwrap_or_default();
        let observes = |group: &SecurityGroup| {
            let policy = standing.policy.as_ref();
            group.observe || policy.is_some_and(|policy| policy.platform.observe)
        };
        let observes = &observes;
        let rules = [Direction::Inbound, Direction::Outbound]
            .into_iter()
            .flat_map(|direction| {
                let groups = standing.policy.iter().flat_map(Policy::groups);
                groups
                    .flat_map(move |group| {
                        let rules = group.rules(direction).iter();
                        rules.map(move |rule| (rule, observes(group)))
                    })
                    .collect::<Vec<_>>()
            });
        let mut hits: Vec<Hits> = rules
            .map(|(rule, observes)| {
                let reason = rule.id.to_string();
                let (packets, bytes, last) = of(&reason);
                let action = match (rule.action, observes) {
                    (Action::Allow, _) => "allow",
                    (Action::Refuse, true) => "observe",
                    (Action::Refuse, false) => "refuse",
                };
                Hits {
                    reason,
                    action: Some(action.into()),
                    place: Some(rule.place.to_string()),
                    packets,
                    bytes,
                    last,
                }
            })
            .collect();
        // What is left are layers, and rules that the definition no longer has.
        let layers = totals.into_iter().filter(|(name, (packets, ..))| {
            // Earlier versions have counted packets of tracked flows. That count grows no more.
            let is_counted = *name != Reason::Established.layer();
            *packets > 0 && is_counted && (standing.policy.is_none() || !name.starts_with("sg-"))
        });
        hits.extend(layers.map(|(name, (packets, bytes, last))| {
            let (reason, observed) = reason(name);
            Hits {
                reason: reason.to_owned(),
                action: observed.then(|| "observe".into()),
                place: None,
                packets,
                bytes,
                last,
            }
        }));
        hits
    }

    /// Reads what the kernel has counted by now.
    pub fn look_at_hits(&mut self) {
        if self.enforced.is_none() {
            return;
        }
        match self.kernel.hits() {
            Ok(hits) => self.counts.look(&hits, now()),
            Err(error) => warn!("cannot read the hits: {error}"),
        }
    }

    /// The same, after something else than this process may have deleted chains of ours.
    pub(super) fn settle_hits(&mut self) {
        match self.kernel.hits() {
            Ok(hits) => {
                self.counts.settle(&hits);
                self.counts.look(&hits, now());
            }
            Err(error) => debug!("the hits are looked at later: {error}"),
        }
    }

    /// Counts follow their rules to the ids of the policy that is enforced as this generation now.
    pub(super) fn follow_rules(&mut self, policy: &Policy, generation: Generation) {
        let rules = Rules::of(policy);
        if self.counts.would_move(&rules) {
            self.look_at_hits();
        }
        self.counts.follow(rules, generation);
    }

    /// Nothing has met anything: the policy was taken off this host on request.
    pub(super) fn forget_hits(&mut self) {
        self.counts = Counts::default();
        if let Err(error) = remove(&self.state) {
            warn!("the hits of the policy that was removed are still there: {error}");
        }
    }

    /// What has to be written so that a restart continues the counts; `None` if nothing is new.
    pub fn unwritten_hits(&mut self) -> Option<Unwritten> {
        if !self.counts.has_changed() {
            return None;
        }
        Unwritten::of(&self.state, &self.counts)
    }

    /// Records the result of a write. Logs the same failure once.
    pub fn hits_written(&mut self, result: Result<(), String>) {
        let error = result.err();
        if let Some(error) = &error {
            self.counts.is_unwritten();
            if self.hits_not_saved.as_ref() != Some(error) {
                warn!("the hits are not kept for the next start: {error}");
            }
        }
        self.hits_not_saved = error;
    }

    /// Keeps the hits, and waits for it.
    pub fn save_hits(&mut self) {
        self.look_at_hits();
        if let Some(unwritten) = self.unwritten_hits() {
            self.hits_written(unwritten.write());
        }
    }
}
