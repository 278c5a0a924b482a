//! What is remembered of ended flows, and until when.

use super::Found;
use super::look::room;
use crate::ruleset::ended::{EndedFlow, remembered_for};
use crate::ruleset::ir::Transport;
use std::collections::BTreeMap;
use std::time::Instant;

/// Remembered flows, and until when each is.
pub type Memory = BTreeMap<EndedFlow, Instant>;

/// What becomes of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is refused.
    Ends,
    /// It is allowed.
    GoesOn,
    /// By which interface it comes or goes is not known now.
    Unknown,
}

/// What a look finds remembered.
#[derive(Debug)]
pub struct Remembered<'k> {
    /// When it was.
    pub now: Instant,
    /// By the kernel.
    pub by_kernel: Memory,
    /// What it was to remember after the last look.
    pub known: &'k Memory,
}

impl Remembered<'_> {
    /// Whether a flow is among them.
    pub fn names(&self, flow: &EndedFlow) -> bool {
        self.by_kernel.contains_key(flow) || self.known.contains_key(flow)
    }

    /// What the kernel is to be told, and what it remembers then. `tracked` are the flows that connection tracking knows; what becomes of
    /// another one `lost` says.
    pub fn sort(
        &self,
        tracked: &BTreeMap<EndedFlow, Fate>,
        mut lost: impl FnMut(&EndedFlow) -> Fate,
    ) -> (Found, Memory) {
        let (mut on, mut again) = (Vec::new(), Vec::new());
        let (mut fresh, mut after) = (Memory::new(), Memory::new());
        let mut fate = |flow: &EndedFlow| match tracked.get(flow) {
            Some(fate) => *fate,
            None => lost(flow),
        };
        let from_now = |flow: &EndedFlow| self.now + remembered_for(flow.transport);
        for (flow, until) in &self.by_kernel {
            match fate(flow) {
                Fate::GoesOn => on.push(*flow),
                // The set is not asked for what is tracked: the time begins anew.
                Fate::Ends if tracked.contains_key(flow) => {
                    let is_half_over =
                        until.duration_since(self.now) < remembered_for(flow.transport) / 2;
                    if is_half_over {
                        again.push(*flow);
                    }
                    let until = if is_half_over { from_now(flow) } else { *until };
                    after.insert(*flow, until);
                }
                _ => {
                    let until = self.until(flow, *until);
                    match until > self.now {
                        true => drop(after.insert(*flow, until)),
                        false => on.push(*flow),
                    }
                }
            }
        }
        let unknown = |flow: &EndedFlow| !self.by_kernel.contains_key(flow);
        for (flow, _) in tracked.iter().filter(|(_, fate)| **fate == Fate::Ends) {
            if unknown(flow) {
                fresh.insert(*flow, from_now(flow));
            }
        }
        // The table was made anew, or another look began before the kernel was told.
        for (flow, until) in self.known {
            if unknown(flow) && *until > self.now && fate(flow) != Fate::GoesOn {
                fresh.entry(*flow).or_insert(*until);
            }
        }
        let mut ended = room(fresh.keys().copied().collect(), &self.by_kernel);
        after.extend(ended.iter().map(|flow| (*flow, fresh[flow])));
        ended.extend(&again);
        on.extend(again);
        (Found { ended, on }, after)
    }

    /// Until when a lost flow is remembered. Of TCP no table that is made anew prolongs it; of UDP its packets do, as the kernel says.
    fn until(&self, flow: &EndedFlow, by_kernel: Instant) -> Instant {
        match (flow.transport, self.known.get(flow)) {
            (Transport::Tcp, Some(known)) => by_kernel.min(*known),
            _ => by_kernel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn flow(transport: Transport, port: u16) -> EndedFlow {
        EndedFlow {
            transport,
            source: "10.0.0.5:22".parse().unwrap(),
            destination: ([10, 0, 0, 9], port).into(),
        }
    }

    fn tcp(port: u16) -> EndedFlow {
        flow(Transport::Tcp, port)
    }

    fn udp(port: u16) -> EndedFlow {
        flow(Transport::Udp, port)
    }

    fn remembered<'k>(now: Instant, by_kernel: Memory, known: &'k Memory) -> Remembered<'k> {
        Remembered {
            now,
            by_kernel,
            known,
        }
    }

    #[test]
    fn what_nobody_refuses_any_more_is_forgotten() {
        let (now, known) = (Instant::now(), Memory::new());
        let until = now + 2 * MINUTE;
        let by_kernel = Memory::from([1, 2, 3, 4].map(|port| (udp(port), until)));
        let tracked = BTreeMap::from([(udp(1), Fate::GoesOn), (udp(2), Fate::Unknown)]);
        let lost = |flow: &EndedFlow| match flow.destination.port() {
            3 => Fate::GoesOn,
            4 => Fate::Ends,
            port => panic!("{port} is tracked"),
        };
        let (found, after) = remembered(now, by_kernel, &known).sort(&tracked, lost);
        assert_eq!(found.on, [udp(1), udp(3)]);
        assert_eq!(found.ended, []);
        assert_eq!(after, Memory::from([(udp(2), until), (udp(4), until)]));
    }

    #[test]
    fn a_table_that_is_made_anew_remembers_what_is_left_to_be_refused() {
        let now = Instant::now();
        let known = Memory::from([
            (tcp(1), now + DAY),
            (tcp(2), now),
            (tcp(3), now + DAY),
            (tcp(4), now + DAY),
            (udp(5), now - MINUTE),
        ]);
        // Since then one goes on, and of one it is not known.
        let lost = |flow: &EndedFlow| match flow.destination.port() {
            3 => Fate::GoesOn,
            4 => Fate::Unknown,
            _ => Fate::Ends,
        };
        let found = remembered(now, Memory::new(), &known).sort(&BTreeMap::new(), lost);
        let (found, after) = found;
        assert_eq!(found.ended, [tcp(1), tcp(4)]);
        assert_eq!(found.on, []);
        assert_eq!(
            after,
            Memory::from([(tcp(1), now + DAY), (tcp(4), now + DAY)])
        );

        // The kernel has five days for it from then on, and it is forgotten after one.
        for (days, on) in [(0, vec![]), (1, vec![tcp(1)])] {
            let later = now + days * DAY;
            let by_kernel = Memory::from([(tcp(1), now + 5 * DAY)]);
            let (found, _) =
                remembered(later, by_kernel, &after).sort(&BTreeMap::new(), |_| Fate::Ends);
            assert_eq!(found.on, on, "after {days} days");
        }
    }

    #[test]
    fn packets_of_udp_prolong_it() {
        let now = Instant::now();
        let known = Memory::from([(udp(1), now - MINUTE)]);
        let by_kernel = Memory::from([(udp(1), now + 3 * MINUTE)]);
        let (found, after) =
            remembered(now, by_kernel.clone(), &known).sort(&BTreeMap::new(), |_| Fate::Ends);
        assert_eq!((found.ended, found.on), (vec![], vec![]));
        assert_eq!(after, by_kernel);
    }

    #[test]
    fn what_is_tracked_is_remembered_anew_once_half_of_its_time_is_over() {
        let (now, known) = (Instant::now(), Memory::new());
        let by_kernel = Memory::from([
            (tcp(1), now + 2 * DAY),
            (tcp(2), now + 3 * DAY),
            (udp(3), now + MINUTE),
            (udp(4), now + MINUTE),
            (udp(5), now + 2 * MINUTE),
        ]);
        // The fourth is lost.
        let tracked = [tcp(1), tcp(2), udp(3), udp(5), udp(6)].map(|flow| (flow, Fate::Ends));
        let (found, after) =
            remembered(now, by_kernel, &known).sort(&BTreeMap::from(tracked), |_| Fate::Ends);
        assert_eq!(found.on, [tcp(1), udp(3)]);
        assert_eq!(
            found.ended,
            [udp(6), tcp(1), udp(3)],
            "deleted, and added again"
        );
        assert_eq!(
            after,
            Memory::from([
                (tcp(1), now + 5 * DAY),
                (tcp(2), now + 3 * DAY),
                (udp(3), now + 3 * MINUTE),
                (udp(4), now + MINUTE),
                (udp(5), now + 2 * MINUTE),
                (udp(6), now + 3 * MINUTE),
            ])
        );
    }
}
