//! What the rules and layers have met: read from the kernel, saved, and reported.

use super::base::Host;
use super::report::{Hits, now};
use crate::definition::Place;
use crate::policy::{Action, Direction, Policy, Reason, Rule};
use crate::ruleset::Generation;
use crate::state::counts::{Counts, Rules, reason};
use crate::state::hits::{Unwritten, remove};
use tracing::{debug, warn};

impl Host {
    /// Hits of every layer and rule that was met, and of every rule of the bound groups.
    pub fn hits(&mut self) -> Vec<Hits> {
        self.look_at_hits();
        let Some(enforced) = &self.enforced else {
            return Vec::new();
        };
        let mut totals = self.counts.totals();
        let policy = enforced.policy.as_ref();
        let mut hits: Vec<Hits> = policy
            .into_iter()
            .flat_map(bound_rules)
            .map(|(rule, observes)| {
                let met = totals.remove(rule.id.to_string().as_str());
                of_rule(rule, observes, met.unwrap_or_default())
            })
            .collect();
        let acls = policy.into_iter().flat_map(acl_entries);
        hits.extend(acls.map(|(name, action, place)| {
            let met = totals.remove(name.as_str());
            named(name, action, place, met.unwrap_or_default())
        }));
        // What is left are layers, and rules that the definition no longer has.
        let layers = totals.into_iter().filter(|(name, (packets, ..))| {
            // Earlier versions have counted packets of tracked flows. That count grows no more.
            let is_counted = *name != Reason::Established.layer();
            let is_named = name.starts_with("sg-") || name.starts_with("acl-");
            *packets > 0 && is_counted && (policy.is_none() || !is_named)
        });
        hits.extend(layers.map(|(name, met)| of_layer(name, met)));
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

/// Packets, bytes, and when they were last seen to grow.
type Met = (u64, u64, Option<u64>);

/// The rules of the bound groups, each with whether it observes; inbound ones first.
fn bound_rules(policy: &Policy) -> impl Iterator<Item = (&Rule, bool)> {
    let directions = [Direction::Inbound, Direction::Outbound].into_iter();
    directions.flat_map(move |direction| {
        policy.groups().into_iter().flat_map(move |group| {
            let observes = group.observe || policy.platform.observe;
            let rules = group.rules(direction).iter();
            rules.map(move |rule| (rule, observes))
        })
    })
}

fn of_rule(rule: &Rule, observes: bool, met: Met) -> Hits {
    let action = match (rule.action, observes) {
        (Action::Allow, _) => "allow",
        (Action::Refuse, true) => "observe",
        (Action::Refuse, false) => "refuse",
    };
    named(rule.id.to_string(), action, &rule.place, met)
}

fn named(reason: String, action: &'static str, place: &Place, (packets, bytes, last): Met) -> Hits {
    Hits {
        reason,
        action: Some(action.into()),
        place: Some(place.to_string()),
        packets,
        bytes,
        last,
    }
}

/// The entries of the network ACLs, each with what it does, and what refuses where none of them matches; inbound ones
/// first.
fn acl_entries(policy: &Policy) -> Vec<(String, &'static str, &Place)> {
    let refuses = match policy.platform.observe {
        true => "observe",
        false => "refuse",
    };
    let mut all = Vec::new();
    for direction in [Direction::Inbound, Direction::Outbound] {
        for acl in policy.network_acls() {
            let entries = acl.entries(direction).iter().map(|entry| {
                let action = match entry.action {
                    Action::Allow => "allow",
                    Action::Refuse => refuses,
                };
                (entry.id.to_string(), action, &entry.place)
            });
            all.extend(entries);
            let default = acl.default_entry(direction).to_string();
            all.push((default, refuses, &acl.place));
        }
    }
    all
}

fn of_layer(name: &str, (packets, bytes, last): Met) -> Hits {
    let (reason, observed) = reason(name);
    Hits {
        reason: reason.to_owned(),
        action: observed.then(|| "observe".into()),
        place: None,
        packets,
        bytes,
        last,
    }
}
