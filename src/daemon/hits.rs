//! What the rules and layers have met, over all generations that this process has enforced.

use super::host::Host;
use super::report::Hits;
use crate::netfilter::hits::RuleHits;
use crate::policy::{Action, Direction, Policy};
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
        let rules = [Direction::Inbound, Direction::Outbound]
            .into_iter()
            .flat_map(|direction| {
                let groups = standing.policy.iter().flat_map(Policy::groups);
                groups
                    .flat_map(move |group| group.rules(direction))
                    .collect::<Vec<_>>()
            });
        let mut hits: Vec<Hits> = rules
            .map(|rule| {
                let reason = rule.id.to_string();
                let (packets, bytes) = counts.remove(&reason).unwrap_or_default();
                let action = if rule.action == Action::Allow {
                    "allow"
                } else {
                    "refuse"
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
            reason,
            action: None,
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
