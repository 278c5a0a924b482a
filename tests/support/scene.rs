//! A host between two silent machines, and what it decides about one packet.
//!
//! The machines send only what the test injects: no answer and no multicast report disturbs a counter.

use std::collections::BTreeMap;

use super::{Host, Injector, Link, Outbound, Probe, Side, join};

/// A host that forwards: `eth0` leads to the world, `eth1` to a machine inside.
pub struct Scene {
    /// The host under test: 10.0.0.5 and 2001:db8::5, inside 10.1.0.5 and 2001:db8:1::5.
    pub host: Host,
    /// The cable to the world: 10.0.0.9 and 2001:db8::9.
    pub outer: Link,
    /// The cable inside: 10.1.0.9 and 2001:db8:1::9.
    pub inner: Link,
    world: Injector,
    wire: Outbound,
}

impl Scene {
    /// Hosts, cables, and counters behind the place of our chains.
    pub fn new() -> Self {
        let [host, world, inside] = ["host", "world", "inside"].map(Host::new);
        for silent in [&world, &inside] {
            silent.nft("table inet silent { chain c { type filter hook output priority 0; policy drop; }; }");
        }
        // The kernel's own multicast reports carry a router alert; those of a test need not.
        host.nft(
            "table inet scene {
                counter inbound { }
                counter outbound { }
                chain silent { type filter hook output priority 300; exthdr hbh exists icmpv6 type 143 drop; }
                chain inbound { type filter hook prerouting priority -155; iifname eth0 counter name inbound; }
                chain outbound { type filter hook postrouting priority 260; oifname { eth0, eth1 } counter name outbound; }
            }",
        );
        let outer = join(
            &host,
            "eth0",
            &["10.0.0.5/24", "2001:db8::5/64"],
            &world,
            "wire",
            &["10.0.0.9/24", "2001:db8::9/64"],
        );
        let inner = join(
            &host,
            "eth1",
            &["10.1.0.5/24", "2001:db8:1::5/64"],
            &inside,
            "wire",
            &["10.1.0.9/24", "2001:db8:1::9/64"],
        );
        host.forwards();
        Self {
            world: Injector::new(&outer.b, &outer.a),
            wire: Outbound::new(&outer.a),
            host,
            outer,
            inner,
        }
    }

    /// What the inbound chain decides about a packet that comes from the world: `pass sg-a/in/0`, `drop default`;
    /// `pass unjudged` when no counting rule saw it.
    pub fn inbound(&self, probe: &Probe) -> String {
        self.decided(Side::Inbound, || {
            self.world.send(probe);
            self.world.wait();
        })
    }

    /// What the outbound chain decides about a packet that the host sends to the world.
    pub fn outbound(&self, probe: &Probe) -> String {
        self.decided(Side::Outbound, || {
            self.wire.send(probe);
        })
    }

    /// What the outbound chain decides about a packet from the world that the host forwards.
    pub fn forwarded(&self, probe: &Probe) -> String {
        self.decided(Side::Outbound, || {
            self.world.send(probe);
            self.world.wait();
        })
    }

    fn decided(&self, side: Side, send: impl FnOnce()) -> String {
        let read = || {
            let passed = self.host.counters("inet scene");
            let name = match side {
                Side::Inbound => "inbound",
                Side::Outbound => "outbound",
            };
            (self.host.hits(side), passed[name])
        };
        let (hits, passed) = read();
        send();
        let (hits_after, passed_after) = read();
        let verdict = match passed_after - passed {
            0 => "drop",
            _ => "pass",
        };
        format!("{verdict} {}", reason(&hits, &hits_after))
    }
}

/// The one reason whose count has grown.
fn reason(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> String {
    let grown: Vec<_> = after
        .iter()
        .filter(|(reason, packets)| before.get(*reason) != Some(packets))
        .map(|(reason, _)| reason.as_str())
        .collect();
    match grown[..] {
        [] => "unjudged".into(),
        _ => grown.join(" and "),
    }
}
