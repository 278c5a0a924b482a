//! How many flows a change ends, and by which rule, for the log.

use super::judge::Refusal;
use crate::netfilter::flows::Flow;
use crate::policy::Packet;
use std::collections::BTreeMap;
use std::fmt;

/// The rules that are named one by one; the rest is counted together.
const NAMED: usize = 5;

/// What a change of the policy ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many flows were looked at.
    pub looked_at: usize,
    /// How many of them end, by what refuses them.
    pub by_reason: BTreeMap<String, usize>,
}

impl Ended {
    /// None yet.
    pub fn of(flows: &[Flow]) -> Self {
        Ended {
            looked_at: flows.len(),
            ..Ended::default()
        }
    }

    /// Counts a flow that is refused, if it was allowed before.
    pub fn add(&mut self, refusal: Option<Refusal>, allowed: impl Fn(&Packet) -> bool) {
        if let Some(refusal) = refusal
            && let (reason, packet) = &*refusal
            && allowed(packet)
        {
            *self.by_reason.entry(reason.to_string()).or_default() += 1;
        }
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
