//! One packet three ways: the evaluator, a walk through the compiled ruleset, and the kernel.

use crate::generate::Edges;
use crate::support::{End, Host, Injector, Link, Outbound, Probe, join, kernel};
use secgroupd::netfilter::enforce::Kernel;
use secgroupd::netfilter::hits::rule_hits;
use secgroupd::policy::{
    AclEntryId, Action, Direction, Own, Packet, Policy, Protocol, Reason, State,
};
use secgroupd::ruleset::{Generation, Ruleset, TABLE, Walker};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU16, Ordering};

/// Eats what our hooks let pass, so that nothing answers and connection tracking stays empty.
const SINK: &str = "table inet sink {
    chain inbound { type filter hook prerouting priority -150; policy accept; iifname \"eth0\" counter drop comment \"passed\"; }
    chain outbound { type filter hook postrouting priority 260; policy accept; oifname \"eth0\" counter drop comment \"passed\"; }
}";

/// A policy, what it compiled to, and how to name it in a failure.
pub struct Case<'c> {
    pub policy: &'c Policy,
    pub ruleset: &'c Ruleset,
    pub walker: Walker<'c>,
    pub name: String,
}

impl<'c> Case<'c> {
    pub fn new(policy: &'c Policy, ruleset: &'c Ruleset, name: String) -> Self {
        Case {
            policy,
            ruleset,
            walker: Walker::new(ruleset),
            name,
        }
    }

    /// Evaluator and walk; the deciding reason.
    pub fn two_ways(&self, packet: &Packet) -> String {
        let decided = self.policy.decide(packet);
        let (verdict, reason) = self.walker.walk(packet);
        let reason = reason.cloned().unwrap_or(Reason::Unmanaged);
        assert!(
            decided.agrees(verdict, &reason),
            "{decided}, not {verdict} by {reason}: {}\n{packet:?}",
            self.name
        );
        reason.to_string()
    }
}

/// A host that judges, and a world that sends. The host's address is none that a policy names: what is sent there would not
/// leave the host.
pub struct Bench {
    host: Host,
    link: Link,
    injector: Injector,
    outbound: Outbound,
    kernel: Kernel,
    seen: BTreeMap<String, u64>,
}

impl Bench {
    pub fn new() -> Self {
        let (host, world) = (Host::new("host"), Host::new("world"));
        let link = join(
            &host,
            "eth0",
            &["198.18.0.105/24", "2001:db8:ffff::5/64"],
            &world,
            "wire",
            &["198.18.0.109/24", "2001:db8:ffff::9/64"],
        );
        host.ip("route add 0.0.0.0/0 dev eth0\nroute add ::/0 dev eth0");
        host.nft(SINK);
        Bench {
            injector: Injector::new(&link.b, &link.a),
            outbound: Outbound::new(&link.a),
            kernel: host.enter(kernel),
            seen: BTreeMap::new(),
            host,
            link,
        }
    }

    /// What is sent from now on is judged by this.
    pub fn enforce(&mut self, case: &Case) {
        let kernel = &self.kernel;
        self.host
            .enter(|| kernel.enforce(case.ruleset, Generation(1)))
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        self.seen = self.host.enter(counters);
    }

    /// Sends a packet, and compares who decided in the kernel with what the others say.
    pub fn three_ways(&mut self, case: &Case, packet: &Packet) {
        let packet = &Packet {
            local: own_address(packet, &self.link.a),
            ..packet.clone()
        };
        let reason = case.two_ways(packet);
        let mut all = behind_acl(case.policy, packet);
        all.insert(reason);
        let mut wanted: BTreeSet<&str> = all.iter().map(String::as_str).collect();
        if case.policy.decide(packet).verdict.passes() {
            wanted.insert("sink");
        }
        // The kernel's own multicast reports may come between; twice in a row they do not.
        for attempt in 1.. {
            let probe = probe(packet);
            match packet.direction {
                Direction::Inbound => {
                    self.injector.send(&probe);
                    self.injector.wait();
                }
                Direction::Outbound => {
                    self.outbound.send(&probe);
                }
            }
            let now = self.host.enter(counters);
            let moved: BTreeSet<&str> = now
                .iter()
                .filter(|(name, count)| self.seen.get(*name) != Some(count))
                .map(|(name, _)| name.as_str())
                .collect();
            let agree = moved == wanted;
            assert!(
                agree || attempt < 3,
                "{}\nthe kernel decided {moved:?}, not {wanted:?}\n{packet:?}",
                case.name
            );
            self.seen = now;
            if agree {
                break;
            }
        }
    }
}

/// What counts a packet beside the reason of its decision, where a network ACL is asked: the entry that lets it pass,
/// and the groups that are asked before or after it.
fn behind_acl(policy: &Policy, packet: &Packet) -> BTreeSet<String> {
    let binding = policy.binding(&packet.interface);
    let Some(acl) = binding.and_then(|binding| binding.acl.as_ref()) else {
        return BTreeSet::new();
    };
    let mut without = policy.clone();
    without.bindings.iter_mut().for_each(|each| each.acl = None);
    let groups = without.decide(packet);
    let essential = groups.reason == Reason::Essential;
    let decided = acl.decide(packet);
    // What is exempt is not refused. An entry that allows it may count it first.
    let decided = decided.filter(|(action, _)| *action == Action::Allow || !essential);
    let entry = |(_, entry): (Action, AclEntryId)| Reason::Acl(entry);
    let refused = decided.as_ref().map(|(action, _)| *action) == Some(Action::Refuse);
    let acl_is_asked = match packet.direction {
        Direction::Inbound => true,
        // What is invalid, and only observed, passes unasked.
        Direction::Outbound => {
            groups.verdict.passes() && !essential && groups.reason != Reason::Invalid
        }
    };
    let groups_are_asked = match packet.direction {
        Direction::Inbound => !refused || policy.platform.observe,
        Direction::Outbound => true,
    };
    let acl = decided.filter(|_| acl_is_asked).map(entry);
    let groups = Some(groups.reason).filter(|_| groups_are_asked);
    let counted = |reason: &Reason| !matches!(reason, Reason::Established | Reason::Unmanaged);
    let both = acl.into_iter().chain(groups).filter(counted);
    both.map(|reason| reason.to_string()).collect()
}

/// Packets by comment, over our table, and of the sink.
fn counters() -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for hits in rule_hits(TABLE).expect("our table") {
        *counters
            .entry(hits.comment.unwrap_or_default())
            .or_default() += hits.packets;
    }
    let sink: u64 = rule_hits("sink")
        .expect("the sink")
        .iter()
        .map(|hits| hits.packets)
        .sum();
    counters.insert("sink".into(), sink);
    counters
}

/// A packet at `eth0` that can really be sent with the state that the kernel will give it: openings, and
/// ICMPv6 and DHCP around the edges of the essential traffic.
pub fn sendable(edges: &Edges, rng: &mut fastrand::Rng) -> Packet {
    let mut packet = edges.opening(rng, "eth0");
    let v6 = packet.remote.is_ipv6();
    if v6 && rng.u8(..) < 30 {
        packet.protocol = Protocol::ICMPV6;
        packet.icmp_type =
            [128, 129, 130, 131, 132, 133, 134, 135, 136, 138, 143, 144][rng.usize(..12)];
        packet.hop_limit = [1, 2, 64, 254, 255][rng.usize(..5)];
        // nf_conntrack_proto_icmpv6.c: discovery and multicast membership are not tracked, only questions open a flow.
        packet.state = match packet.icmp_type {
            130..=136 | 143 => State::Untracked,
            128 => State::New,
            _ => State::Invalid,
        };
    } else if rng.u8(..) < 15 {
        packet.protocol = Protocol::UDP;
        (packet.source_port, packet.destination_port) =
            [(67, 68), (68, 67), (547, 546), (546, 547)][rng.usize(..4)];
        packet.own = near_end(rng, &packet);
    } else if !v6 && rng.u8(..) < 10 {
        packet.protocol = Protocol::IGMP;
        packet.hop_limit = rng.u8(1..=2);
        packet.own = near_end(rng, &packet);
    }
    // A route to another link's scope would need a zone.
    if let IpAddr::V6(address) = packet.remote
        && address.is_unicast_link_local()
    {
        packet.remote = "fe80::77".parse().unwrap();
    }
    packet
}

/// What the near end of a packet can be that needs neither a machine behind the host nor a host without addresses.
fn near_end(rng: &mut fastrand::Rng, packet: &Packet) -> Own {
    let ends = match (packet.direction, packet.remote.is_ipv6()) {
        (Direction::Inbound, false) => [Own::Host, Own::Broadcast, Own::Multicast].as_slice(),
        (Direction::Inbound, true) => &[Own::Host, Own::LinkLocal, Own::Multicast],
        (Direction::Outbound, false) => &[Own::Host],
        (Direction::Outbound, true) => &[Own::Host, Own::LinkLocal],
    };
    ends[rng.usize(..ends.len())]
}

/// The near end of a packet.
fn own_address(packet: &Packet, own: &End) -> IpAddr {
    let v6 = packet.remote.is_ipv6();
    let given = own.addresses.iter().copied();
    match packet.own {
        Own::LinkLocal => IpAddr::V6(own.link_local),
        Own::Broadcast => IpAddr::V4(Ipv4Addr::BROADCAST),
        Own::Multicast if v6 => "ff02::1".parse().unwrap(),
        Own::Multicast => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
        _ => given
            .into_iter()
            .find(|address| address.is_ipv6() == v6)
            .unwrap(),
    }
}

fn probe(packet: &Packet) -> Probe {
    /// Each packet is a flow of its own.
    static IDENTIFIER: AtomicU16 = AtomicU16::new(1);
    let identifier = IDENTIFIER.fetch_add(1, Ordering::Relaxed);
    let (own, remote) = (packet.local, packet.remote);
    let (source, destination) = match packet.direction {
        Direction::Inbound => (remote, own),
        Direction::Outbound => (own, remote),
    };
    let (from, to) = (
        std::net::SocketAddr::new(source, packet.source_port),
        std::net::SocketAddr::new(destination, packet.destination_port),
    );
    let probe = match packet.protocol {
        Protocol::TCP => Probe::tcp(from, to),
        Protocol::UDP => Probe::udp(from, to),
        Protocol::ICMP => Probe::echo(source, destination, identifier),
        Protocol::ICMPV6 if packet.icmp_type == 128 => Probe::echo(source, destination, identifier),
        Protocol::ICMPV6 => Probe::icmp(source, destination, packet.icmp_type, 0),
        Protocol::GRE => Probe::gre(source, destination),
        Protocol(number) => Probe::other(source, destination, number),
    };
    probe.hop_limit(packet.hop_limit)
}
