//! Counts how many of the tracked flows a change ends, and by which rule.

use super::evaluate::Evaluator;
use crate::netfilter::flows::each_flow;
use crate::netfilter::links::LinkError;
use crate::netfilter::netlink::{NetlinkError, Reader};
use crate::policy::{Packet, Policy};
use crate::ruleset::Ruleset;
use std::collections::BTreeMap;
use std::fmt;

/// The rules that are named one by one; the rest is counted together.
const NAMED: usize = 5;

/// Why they could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum EndedError {
    /// The flows.
    #[error("the tracked flows cannot be listed: {0}")]
    Flows(#[from] NetlinkError),
    /// The interfaces.
    #[error(transparent)]
    Links(#[from] LinkError),
}

/// What a change of the policy ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many flows were looked at.
    pub looked_at: usize,
    /// How many of them end, by what refuses them.
    pub by_reason: BTreeMap<String, usize>,
}

/// Counts the flows that the old policy allowed and the new one does not.
///
/// # Errors
///
/// See [`EndedError`].
pub fn ended(old: &Policy, new: &Policy, ruleset: &Ruleset) -> Result<Ended, EndedError> {
    let allowed = |packet: &Packet| allowed_by(old, new, packet);
    Ended::between(&Reader::netfilter()?, allowed, new, ruleset)
}

/// Whether the flow of this packet lived under the old policy. Where the new one leaves live flows to the groups that
/// let them pass, only a network ACL ended any.
pub(super) fn allowed_by(old: &Policy, new: &Policy, packet: &Packet) -> bool {
    match new.platform.recheck {
        true => old.decide_flow(packet).verdict.passes(),
        false => old.ended_by_acl(packet).is_none(),
    }
}

impl Ended {
    /// Counts the flows that were `allowed` before and that the new policy refuses.
    ///
    /// A tracked flow does not say by which interface it came. The one by which its remote is reached now stands for
    /// it.
    pub(super) fn between(
        reader: &Reader,
        allowed: impl Fn(&Packet) -> bool,
        new: &Policy,
        ruleset: &Ruleset,
    ) -> Result<Self, EndedError> {
        let mut evaluator = Evaluator::new(new, ruleset)?;
        let mut ended = Ended::default();
        each_flow(reader, |flow| {
            let Some(flow) = flow else {
                ended = Ended::default();
                return;
            };
            ended.looked_at += 1;
            if let Some(refusal) = evaluator.refusal_of(&flow)
                && let (reason, packet) = &*refusal
                && allowed(packet)
            {
                *ended.by_reason.entry(reason.to_string()).or_default() += 1;
            }
        })?;
        Ok(ended)
    }

    /// How many flows end.
    pub fn count(&self) -> usize {
        self.by_reason.values().sum()
    }
}

/// `3 of 120 tracked flows end: 2 by sg-web/in/3, 1 by default`
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        let end = if count == 1 { "ends" } else { "end" };
        write!(f, "{count} of {} tracked flows {end}", self.looked_at)?;
        let mut reasons: Vec<_> = self.by_reason.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut separator = ": ";
        for (reason, count) in reasons.iter().take(NAMED) {
            write!(f, "{separator}{count} by {reason}")?;
            separator = ", ";
        }
        match reasons.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, ", and by {more} others"),
        }
    }
}
