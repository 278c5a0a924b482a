//! Single packets for what boxes do not cover: states, forwarding, and the essential traffic.

use super::Difference;
use crate::policy::{
    AddressRange, Decision, Direction, Packet, Policy, PortSet, Protocol, Reason, Rule, Service,
    State,
};
use crate::ruleset::walk::Walker;
use rustc_hash::FxHashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const STATES: [State; 8] = [
    State::New,
    State::Established,
    State::Unjudged,
    State::UnjudgedReply,
    State::IcmpError,
    State::Related,
    State::Invalid,
    State::Untracked,
];

/// Compares the decisions about all samples at an interface; gives how many there were.
pub fn check(
    policy: &Policy,
    walker: &Walker,
    direction: Direction,
    interface: &str,
) -> Result<usize, Difference> {
    let samples = samples(direction, interface);
    // Most samples differ in what the list does not ask for, and the list may be long.
    let mut listed = FxHashMap::default();
    for packet in &samples {
        let decided = policy.decide_before_list(packet).unwrap_or_else(|binding| {
            let asked = match packet.state {
                State::UnjudgedReply => (packet.protocol, packet.remote, packet.source_port, true),
                _ => (
                    packet.protocol,
                    packet.remote,
                    packet.destination_port,
                    false,
                ),
            };
            let decided = listed.entry(asked);
            decided
                .or_insert_with(|| policy.decide_by_list(binding, packet))
                .clone()
        });
        compare(decided, walker, packet)?;
    }
    Ok(samples.len())
}

/// Comparisons of a packet with a rule, for the boundary packets of one interface: about a second.
const COMPARISONS: usize = 200_000_000;

/// A prime beyond every number of rules: steps of it visit each rule once.
const STRIDE: usize = 1_000_003;

/// Compares the decisions about packets on the edges of rules: each rule's own ports and addresses and those next to
/// them, crossed with those of the rules after it. Gives how many packets there were.
pub fn boundaries(
    policy: &Policy,
    walker: &Walker,
    direction: Direction,
    interface: &str,
) -> Result<usize, Difference> {
    let binding = policy
        .bindings
        .iter()
        .find(|binding| binding.interface.matches(interface));
    let groups = binding
        .map(|binding| binding.groups.as_slice())
        .unwrap_or_default();
    let rules: Vec<&Rule> = groups
        .iter()
        .flat_map(|group| group.rules(direction))
        .collect();
    let edges: Vec<Edges> = rules.iter().map(|rule| Edges::of(rule)).collect();
    let budget = COMPARISONS / rules.len().max(1);
    let mut packets = 0;
    // Distances between the two rules that are crossed: near ones first, then ever farther.
    for distance in (0..)
        .map_while(|power| (1_usize << power).checked_sub(1))
        .take_while(|distance| *distance < rules.len())
    {
        // Not from the front: where not all are looked at, it shall be some of everywhere.
        for at in (0..edges.len()).map(|at| at * STRIDE % edges.len()) {
            let own = &edges[at];
            let other = &edges[(at + distance) % edges.len()];
            for (protocol, port) in &own.services {
                for remote in &other.addresses {
                    if packets >= budget {
                        return Ok(packets);
                    }
                    let packet = Packet::opening(direction, interface, *protocol, *remote, *port);
                    compare(policy.decide(&packet), walker, &packet)?;
                    packets += 1;
                }
            }
        }
    }
    Ok(packets)
}

/// What a rule's packets look like at its edges.
struct Edges {
    services: Vec<(Protocol, u16)>,
    addresses: Vec<IpAddr>,
}

impl Edges {
    fn of(rule: &Rule) -> Self {
        let ports = |ports: &PortSet| -> Vec<u16> {
            let list = ports.intervals();
            let ends = [list.first(), list.last()].into_iter().flatten();
            ends.flat_map(|i| {
                [
                    i.first.saturating_sub(1),
                    i.first,
                    i.last,
                    i.last.saturating_add(1),
                ]
            })
            .collect()
        };
        let services = rule.services.iter().flat_map(|service| match service {
            Service::Tcp(set) => ports(set)
                .into_iter()
                .map(|port| (Protocol::TCP, port))
                .collect(),
            Service::Udp(set) => ports(set)
                .into_iter()
                .map(|port| (Protocol::UDP, port))
                .collect(),
            Service::All => vec![(Protocol::TCP, 9), (Protocol::UDP, 9), (Protocol(253), 0)],
            other => other
                .protocol()
                .map(|protocol| (protocol, 0))
                .into_iter()
                .collect::<Vec<_>>(),
        });
        let ranges: Vec<AddressRange> = rule
            .remote
            .iter()
            .flat_map(|remote| remote.ranges())
            .collect();
        let ends = [ranges.first(), ranges.last()].into_iter().flatten();
        let addresses = ends.flat_map(|range| match range {
            AddressRange::V4(i) => [
                i.first.saturating_sub(1),
                i.first,
                i.last,
                i.last.saturating_add(1),
            ]
            .map(|number| IpAddr::V4(Ipv4Addr::from(number))),
            AddressRange::V6(i) => [
                i.first.saturating_sub(1),
                i.first,
                i.last,
                i.last.saturating_add(1),
            ]
            .map(|number| IpAddr::V6(Ipv6Addr::from(number))),
        });
        let mut edges = Edges {
            services: services.collect(),
            addresses: addresses.collect(),
        };
        edges
            .services
            .sort_unstable_by_key(|(protocol, port)| (protocol.0, *port));
        edges.services.dedup();
        edges.addresses.sort_unstable();
        edges.addresses.dedup();
        edges
    }
}

fn compare(decided: Decision, walker: &Walker, packet: &Packet) -> Result<(), Difference> {
    let (verdict, reason) = walker.walk(packet);
    let reason = reason.unwrap_or(&Reason::Unmanaged);
    match (decided.verdict, &decided.reason) == (verdict, reason) {
        true => Ok(()),
        false => Err(Difference {
            packet: format!("{packet:?}"),
            policy: decided.to_string(),
            ruleset: format!("{verdict} by {reason}"),
        }),
    }
}

fn samples(direction: Direction, interface: &str) -> Vec<Packet> {
    let v4 = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));
    let global = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 7));
    let link_local = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7));
    let agents = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2));
    let opening =
        |protocol, remote, port| Packet::opening(direction, interface, protocol, remote, port);
    let mut packets = Vec::new();
    for remote in [v4, global, link_local] {
        packets.push(opening(Protocol::TCP, remote, 9));
        for (source, destination) in [(67, 68), (68, 67), (547, 546), (546, 547)] {
            packets.push(Packet {
                source_port: source,
                ..opening(Protocol::UDP, remote, destination)
            });
        }
    }
    packets.push(Packet {
        source_port: 546,
        ..opening(Protocol::UDP, agents, 547)
    });
    for icmp_type in 127..=144 {
        for hop_limit in [1, 2, 64, 255] {
            packets.push(Packet {
                icmp_type,
                hop_limit,
                ..opening(Protocol::ICMPV6, link_local, 0)
            });
        }
    }
    for (remote, icmp_type) in [
        (v4, 3),
        (v4, 11),
        (v4, 12),
        (global, 1),
        (global, 2),
        (global, 3),
        (global, 4),
    ] {
        let protocol = if remote.is_ipv4() {
            Protocol::ICMP
        } else {
            Protocol::ICMPV6
        };
        packets.push(Packet {
            icmp_type,
            ..opening(protocol, remote, 0)
        });
    }
    let is_error = |packet: &Packet| match packet.protocol {
        Protocol::ICMP => matches!(packet.icmp_type, 3 | 11 | 12),
        Protocol::ICMPV6 => matches!(packet.icmp_type, 1..=4),
        _ => false,
    };
    let mut samples = Vec::new();
    for packet in packets {
        for state in STATES {
            for forwarded in [false, true] {
                // Only an ICMP error is one, a helper expects no error, and forwarding takes one from the hop limit.
                let possible = (state == State::IcmpError) <= is_error(&packet)
                    && !(state == State::Related && is_error(&packet));
                let leaves = forwarded && direction == Direction::Outbound;
                // By how far it came a packet is told apart before its state is asked for: of these two are enough.
                let tracked = !matches!(state, State::New | State::Untracked);
                let alike = tracked && matches!(packet.hop_limit, 1 | 2);
                if possible && !alike && !(leaves && packet.hop_limit == 255) {
                    samples.push(Packet {
                        state,
                        forwarded,
                        ..packet.clone()
                    });
                }
            }
        }
    }
    samples
}
