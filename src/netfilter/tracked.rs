//! How full the table of tracked flows is, of this network namespace.

use serde::{Deserialize, Serialize};

/// From so many percent on it is warned about: a full table refuses new flows, whatever the groups allow.
const WARNED_AT: u64 = 80;

/// Tracked flows, and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedFlows {
    /// `nf_conntrack_count`.
    pub count: u64,
    /// `nf_conntrack_max`; 0 is no limit.
    pub max: u64,
}

/// Asks the kernel; `None` while it tracks nothing, or does not say.
pub fn tracked_flows() -> Option<TrackedFlows> {
    let read = |name: &str| {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    Some(TrackedFlows {
        count: read("count")?,
        max: read("max")?,
    })
}

impl TrackedFlows {
    /// In percent, rounded down.
    pub fn percent(&self) -> u64 {
        match self.max {
            0 => 0,
            max => self.count.saturating_mul(100) / max,
        }
    }

    /// What to do while there is room, from 80 % on.
    pub fn warning(&self) -> Option<String> {
        (self.percent() >= WARNED_AT).then(|| {
            format!(
                "the table of tracked flows is {} % full ({} of {}): when it is full, new flows are refused whatever the groups \
                 allow; raise net.netfilter.nf_conntrack_max",
                self.percent(),
                self.count,
                self.max
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TrackedFlows;

    #[test]
    fn warned_from_80_percent_on() {
        let warned = |count, max| TrackedFlows { count, max }.warning();
        assert_eq!(warned(799, 1000), None);
        let warning = warned(800, 1000).unwrap_or_default();
        assert!(warning.contains("80 % full (800 of 1000)"), "{warning}");
        assert!(warned(1000, 1000).is_some());
        assert_eq!(warned(5, 0), None, "no limit");
        assert!(warned(u64::MAX, 10).is_some());
    }
}
