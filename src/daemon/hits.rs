//! What the rules and layers have met, over all generations that this process has enforced.

use super::host::{Host, Standing};
use super::report::Hits;
use crate::netfilter::hits::RuleHits;
use crate::policy::{Action, Direction, Policy, SecurityGroup};
use std::collections::BTreeMap;
use tracing::warn;

impl Host {
    /// Hits of every layer and rule that was met, and of every rule of the bound groups.
    pub fn hits(&self) -> Vec<Hits> {
        let Some(standing) = &self.enforced else {
            return Vec::new();
        };
        let mut counts = self.past_hits.clone();
        match self.kernel.hits() {
            Ok(hits) => add(&mut counts, &hits),
            Err(error) => warn!("cannot read the hits: {error}"),
        }
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
                let (packets, bytes) = counts.remove(&reason).unwrap_or_default();
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
                }
            })
            .collect();
        // What is left are layers, and rules that the definition no longer has.
        let layers = counts.into_iter().filter(|(reason, (packets, _))| {
            *packets > 0 && (standing.policy.is_none() || !reason.starts_with("sg-"))
        });
        hits.extend(layers.map(|(reason, (packets, bytes))| Hits {
            action: would_refuse(standing, &reason).then(|| "observe".into()),
            reason,
            place: None,
            packets,
            bytes,
        }));
        hits
    }

    pub(super) fn add_hits(&mut self, hits: &[RuleHits]) {
        add(&mut self.past_hits, hits);
    }
}

/// Whether a layer refuses nothing because the host observes.
fn would_refuse(standing: &Standing, layer: &str) -> bool {
    let refuses = matches!(
        layer,
        "invalid" | "blocked-ports" | "smtp" | "default" | "unmanaged"
    );
    refuses && standing.summary.observe
}

fn add(counts: &mut BTreeMap<String, (u64, u64)>, hits: &[RuleHits]) {
    for hit in hits {
        let Some(comment) = &hit.comment else {
            continue;
        };
        let (packets, bytes) = counts.entry(comment.clone()).or_default();
        *packets += hit.packets;
        *bytes += hit.bytes;
    }
}
