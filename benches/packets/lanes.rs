//! A lane is a host of its own for each contestant, with a cable from the world: nothing has to be reloaded between two
//! measurements.

use super::burst::{Burst, Wire};
use super::traffic::{Ends, Sample};
use crate::support::{End, Host, Injector, Outbound, Probe, Sent, join};
use secgroupd::netfilter::hits::rule_hits;
use std::sync::atomic::{AtomicU32, Ordering};

/// Behind all contestants: it eats what they let pass, so that no flow becomes tracked and every packet opens one anew.
pub const EATER: &str = "table inet eater {
    chain c { type filter hook prerouting priority -140; meta nfproto ipv4 counter drop; }
}";

/// Rules that no packet meets; they make the kernel track connections, with room for labels.
const TRACKING: &str = "table inet tracking { chain unused { ct state new; ct label set 0; }; }";

/// An empty hook where a contestant would stand; the packet passes, or is dropped by the chain's policy.
pub const EMPTY: &str =
    "table inet empty { chain c { type filter hook prerouting priority -160; policy accept; }; }";
pub const EMPTY_DROPS: &str =
    "table inet empty { chain c { type filter hook prerouting priority -160; policy drop; }; }";

/// The one rule that every contestant begins with.
pub const ESTABLISHED: &str = "table inet bare { chain c { type filter hook prerouting priority -160; policy accept; \
                               ct state established accept; }; }";

/// A host that judges, and its cable.
pub struct Lane {
    pub host: Host,
    pub wire: Wire,
    ends: Ends,
    injector: Injector,
    outbound: Outbound,
}

impl Lane {
    /// With connection tracking, and a few flows that have seen a reply.
    pub fn new(world: &Host) -> Self {
        Self::several(world, 1).swap_remove(0)
    }

    /// The same without connection tracking.
    pub fn untracked(world: &Host) -> Self {
        let host = Host::new("host");
        let lane = Self::cable(world, host, 0).0;
        lane.host.nft(EATER);
        lane
    }

    /// One host with so many interfaces, `eth0` and so on, each with a cable of its own: a lane for each of them.
    pub fn several(world: &Host, interfaces: u8) -> Vec<Self> {
        let host = Host::new("host");
        host.nft(TRACKING);
        let lanes = (0..interfaces).map(|number| {
            let (lane, far) = Self::cable(world, host.clone(), number);
            lane.track(&far);
            lane
        });
        let lanes = lanes.collect();
        host.nft(EATER);
        lanes
    }

    fn cable(world: &Host, host: Host, interface: u8) -> (Self, End) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let ends = Ends::of(interface);
        let address = format!("{}/24", ends.own);
        let link = join(
            &host,
            &format!("eth{interface}"),
            &[&address],
            world,
            &format!("wire{number}"),
            &[],
        );
        let lane = Lane {
            wire: Wire::new(&link.b),
            injector: Injector::new(&link.b, &link.a),
            outbound: Outbound::new(&link.a),
            ends,
            host,
        };
        (lane, link.b)
    }

    /// Flows that each side opens, and that the other answers.
    fn track(&self, far: &End) {
        let mac = far.mac.map(|byte| format!("{byte:02x}")).join(":");
        self.host.ip(&format!(
            "neigh replace {} lladdr {mac} dev {} nud permanent",
            self.ends.peer,
            self.interface()
        ));
        for timeout in [
            "nf_conntrack_udp_timeout",
            "nf_conntrack_udp_timeout_stream",
        ] {
            self.host.set(&format!("net/netfilter/{timeout}"), "3600");
        }
        self.speak();
        for (own, peer) in self.ends.opened_here() {
            self.injector.send(&Probe::udp(peer, own));
        }
        for (own, peer) in self.ends.opened_there() {
            self.outbound.send(&Probe::udp(own, peer));
        }
        self.injector.wait();
    }

    /// Who has opened a flow sends once more: what judges flows again after a change has judged these then.
    pub fn speak(&self) {
        for (own, peer) in self.ends.opened_here() {
            self.outbound.send(&Probe::udp(own, peer));
        }
        for (own, peer) in self.ends.opened_there() {
            self.injector.send(&Probe::udp(peer, own));
        }
        self.injector.wait();
    }

    /// `eth0`
    pub fn interface(&self) -> String {
        format!("eth{}", self.ends.own.octets()[2])
    }

    /// The host sends a packet by this interface.
    #[allow(
        dead_code,
        reason = "one of the benchmarks asks so whether a save is in force"
    )]
    pub fn send(&self, probe: &Probe) -> Sent {
        self.outbound.send(probe)
    }

    /// The bytes of a packet for this lane.
    pub fn frame(&self, probe: &Probe) -> Vec<u8> {
        self.injector.frames(probe).swap_remove(0)
    }

    /// Packets for this lane.
    pub fn burst(&self, samples: &[Sample]) -> Burst {
        let frames: Vec<Vec<u8>> = samples
            .iter()
            .map(|sample| self.injector.frames(&sample.probe).swap_remove(0))
            .collect();
        Burst::new(&frames)
    }

    /// Panics unless exactly those packets pass that the policy lets pass: all contestants enforce the same.
    pub fn verify(&self, who: &str, samples: &[Sample]) {
        for passes in [true, false] {
            let before = self.passed();
            let chosen = samples.iter().filter(|sample| sample.passes == passes);
            let sent = chosen
                .map(|sample| self.injector.send(&sample.probe))
                .count() as u64;
            self.injector.wait();
            let passed = self.passed() - before;
            let wanted = if passes { sent } else { 0 };
            assert_eq!(
                passed,
                wanted,
                "{who}: of {sent} packets that the policy {} so many passed",
                if passes { "allows" } else { "refuses" }
            );
        }
    }

    /// Whether everything sent so far has been judged, in this thread.
    pub fn is_quiet(&self) -> bool {
        self.injector.is_judged_at_once()
    }

    fn passed(&self) -> u64 {
        // nft would list everything that the contestant has loaded.
        let hits = self.host.enter(|| rule_hits("eater"));
        hits.expect("the eater")
            .iter()
            .map(|hits| hits.packets)
            .sum()
    }
}
