//! Single packets for what boxes do not cover: states, forwarding, and the essential traffic.

use super::covered::EPHEMERAL;
use super::difference::Difference;
use crate::policy::{
    About, AddressRange, AddressSet, Decision, Direction, Flow, Interval, Own, Packet, Point,
    Policy, PortSet, Protocol, Reason, Rule, Service, State, SubnetAcl, Way,
};
use crate::ruleset::walk::Walker;
use rustc_hash::FxHashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// States in which no chain asks about the packet's flow.
const STATES: [State; 7] = [
    State::New,
    State::IcmpError(About::Passes),
    State::IcmpError(About::Refused),
    State::IcmpError(About::Unknown),
    State::Related,
    State::Invalid,
    State::Untracked,
];

/// Compares the decisions about all samples at an interface. Returns how many there were.
pub fn check(
    policy: &Policy,
    walker: &Walker,
    direction: Direction,
    interface: &str,
) -> Result<usize, Difference> {
    let mut samples = samples(direction, interface);
    samples.extend(tracked(policy, direction, interface));
    let acl = policy.binding(interface).and_then(|each| each.acl.as_ref());
    if let Some(acl) = acl {
        // What the ACL refuses comes to no group. Inside the subnet it refuses nothing.
        let inside = edges_of(&acl.networks);
        let moved = samples.iter().filter_map(|packet| {
            let mut same_family = inside.iter();
            let address = same_family.find(|each| {
                each.is_ipv4() == packet.remote.is_ipv4() && acl.networks.contains(**each)
            })?;
            Some(Packet {
                remote: *address,
                local: *address,
                ..packet.clone()
            })
        });
        let moved: Vec<Packet> = moved.collect();
        samples.extend(moved);
    }
    // Most samples differ in what the list does not ask for, and the list may be long.
    let mut listed = FxHashMap::default();
    for packet in &samples {
        let decided = policy.decide_with(packet, &mut |list, packet| {
            let asked = (
                list.map(|binding| binding.interface.clone()),
                packet.direction,
                packet.protocol,
                packet.remote,
                packet.destination_port,
            );
            let decided = listed.entry(asked);
            decided
                .or_insert_with(|| policy.decide_by(list, packet))
                .clone()
        });
        compare(decided, walker, packet)?;
    }
    Ok(samples.len())
}

/// Packets of tracked flows that were opened here, elsewhere, or nobody knows where, and of a flow that is lost.
fn tracked(policy: &Policy, direction: Direction, interface: &str) -> Vec<Packet> {
    let mut places = vec![
        None,
        Some(vec!["lo".to_owned()]),
        Some(vec!["~".to_owned()]),
    ];
    for binding in policy.bindings.iter().take(OTHER_BINDINGS) {
        let name = sample_name(policy, &binding.interface.to_string());
        places.push(Some(vec![name]));
    }
    places.push(Some(vec![interface.to_owned(), "lo".to_owned()]));
    let flow = |opened: Option<Vec<String>>, own_of_another, passes: Option<Arc<str>>| {
        [Way::Opening, Way::Answer].map(|way| Flow {
            way,
            opened: opened.clone(),
            own_of_another,
            passes: passes.clone(),
        })
    };
    let mut states = Vec::new();
    for key in [None, policy.list_key(interface), Some("another".into())] {
        for opened in &places {
            states.extend(flow(opened.clone(), false, key.clone()));
        }
    }
    // Whose address the host's end is matters only where neither a label nor a mark knows more.
    states.extend(flow(None, true, None));
    let mut packets = Vec::new();
    // A port that no rule can open, so that something is refused where all is allowed.
    let blocked = policy.platform.blocked_ports.tcp.iter();
    let blocked = blocked.flat_map(|ports| ports.intervals()).map(|i| i.first);
    let blocked = blocked
        .take(1)
        .flat_map(|port| [(Protocol::TCP, port, 49152), (Protocol::TCP, 49152, port)]);
    let blocked: Vec<(Protocol, u16, u16)> = blocked.collect();
    for remote in [V4, GLOBAL] {
        let usual = [
            (Protocol::TCP, 22, 49152),
            (Protocol::TCP, 49152, 80),
            (Protocol::UDP, 53, 53),
            (icmp_of(remote), 0, 0),
        ];
        for (protocol, source, destination) in usual.into_iter().chain(blocked.iter().copied()) {
            let packet = Packet {
                source_port: source,
                without_syn: protocol == Protocol::TCP,
                ..Packet::opening(direction, interface, protocol, remote, destination)
            };
            packets.extend(states.iter().cloned().map(|flow| Packet {
                state: State::Tracked(flow),
                ..packet.clone()
            }));
            // It is lost, if it leaves from a port at which the host was asked.
            packets.push(packet);
        }
    }
    packets
}

/// How many bindings are tried as the place where a flow was opened.
const OTHER_BINDINGS: usize = 8;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));
const GLOBAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 7));

fn icmp_of(remote: IpAddr) -> Protocol {
    match remote {
        IpAddr::V4(_) => Protocol::ICMP,
        IpAddr::V6(_) => Protocol::ICMPV6,
    }
}

/// An interface that this name or glob binds, and no more specific one if that can be helped.
pub fn sample_name(policy: &Policy, name: &str) -> String {
    let Some(prefix) = name.strip_suffix('*') else {
        return name.to_owned();
    };
    let candidates = [
        format!("{prefix}~"),
        prefix.to_owned(),
        format!("{prefix}0"),
    ];
    let holds = |candidate: &&String| {
        candidate.len() <= 15
            && policy
                .binding(candidate)
                .is_some_and(|binding| binding.interface.to_string() == name)
    };
    candidates
        .iter()
        .find(holds)
        .unwrap_or(&candidates[0])
        .clone()
}

/// A flow of which nobody knows anything: the chains that only say whether a list allows it are asked.
pub fn unmarked() -> Flow {
    Flow {
        way: Way::Opening,
        opened: None,
        own_of_another: false,
        passes: None,
    }
}

/// So many packets are walked for an ACL in a direction.
const MOST_OF_ACL: usize = 4000;

/// Compares the decisions about packets at the edges of an ACL's entries, in every state that a packet can have, inside
/// the subnet and outside. Returns how many there were.
pub fn of_acl(
    policy: &Policy,
    acl: &SubnetAcl,
    walker: &Walker,
    (direction, interface): (Direction, &str),
) -> Result<usize, Difference> {
    let known = |way, name: &str| {
        State::Tracked(Flow {
            way,
            opened: Some(vec![name.to_owned()]),
            own_of_another: false,
            passes: policy.list_key(interface),
        })
    };
    let states = [
        State::New,
        known(Way::Opening, interface),
        known(Way::Answer, interface),
        known(Way::Answer, "lo"),
        State::Untracked,
        State::Invalid,
    ];
    let inside = edges_of(&acl.networks);
    let mut packets = 0;
    let entries = acl.acl.entries(direction);
    // Of very many entries some of everywhere.
    let step = entries.len().div_ceil(MOST_OF_ACL / 200).max(1);
    let any = AddressSet::any();
    let lists = entries.iter().step_by(step).map(|entry| {
        let services = services_of(&entry.service);
        let ports = PortSet::intervals(&entry.source_ports);
        let ports = ports.first().into_iter().flat_map(around).collect();
        (services, ports, edges_of(entry.remote()), entry.local())
    });
    let usual = vec![(Protocol::TCP, 80), (Protocol(253), 0)];
    let usual = (usual, vec![EPHEMERAL], edges_of(&acl.networks), &any);
    for (services, ports, remotes, local) in lists.chain([usual]) {
        let mut ports: Vec<u16> = ports;
        ports.dedup();
        let locals = [edges_of(local), inside.clone()].concat();
        for (at, (protocol, port)) in services.iter().enumerate() {
            for (number, remote) in remotes.iter().enumerate() {
                let family = locals
                    .iter()
                    .filter(|each| each.is_ipv4() == remote.is_ipv4());
                for (turn, local) in family.enumerate() {
                    // One state and one source port for each, in turn.
                    let turn = at + number + turn;
                    let packet = Packet {
                        state: states[turn % states.len()].clone(),
                        source_port: ports[turn % ports.len()],
                        local: *local,
                        without_syn: *protocol == Protocol::TCP && turn % 2 == 0,
                        ..Packet::opening(direction, interface, *protocol, *remote, *port)
                    };
                    compare(policy.decide(&packet), walker, &packet)?;
                    packets += 1;
                }
            }
        }
    }
    Ok(packets)
}

/// Addresses at the edges of a set: of its first range and its last.
fn edges_of(set: &AddressSet) -> Vec<IpAddr> {
    let ranges: Vec<AddressRange> = set.ranges().collect();
    let ends = [ranges.first(), ranges.last()].into_iter().flatten();
    let mut addresses: Vec<IpAddr> = ends
        .flat_map(|range| match range {
            AddressRange::V4(i) => around(i).map(|number| IpAddr::V4(Ipv4Addr::from(number))),
            AddressRange::V6(i) => around(i).map(|number| IpAddr::V6(Ipv6Addr::from(number))),
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Protocol and ports at the edges of a service.
fn services_of(service: &Service) -> Vec<(Protocol, u16)> {
    let at_ports = |protocol, ports: &PortSet| -> Vec<(Protocol, u16)> {
        let list = ports.intervals();
        let ends = [list.first(), list.last()].into_iter().flatten();
        ends.flat_map(around).map(|port| (protocol, port)).collect()
    };
    match service {
        Service::Tcp(set) => at_ports(Protocol::TCP, set),
        Service::Udp(set) => at_ports(Protocol::UDP, set),
        Service::All => vec![(Protocol::TCP, 9), (Protocol::UDP, 9), (Protocol(253), 0)],
        other => Vec::from_iter(other.protocol().map(|protocol| (protocol, 0))),
    }
}

/// Comparisons of a packet with a rule, for the boundary packets of one interface: about a second.
const COMPARISONS: usize = 200_000_000;

/// A prime beyond every number of rules: steps of it visit each rule once.
const STRIDE: usize = 1_000_003;

/// Compares the decisions about packets on the edges of rules: each rule's own ports and addresses and those next to
/// them, crossed with those of the rules after it. Returns how many packets there were.
pub fn boundaries(
    policy: &Policy,
    walker: &Walker,
    (direction, interface): (Direction, &str),
    state: &State,
) -> Result<usize, Difference> {
    let groups = policy.binding(interface).map(|binding| &binding.groups);
    let groups = groups.into_iter().flatten();
    let rules: Vec<&Rule> = groups.flat_map(|group| group.rules(direction)).collect();
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
                    let packet = Packet {
                        state: state.clone(),
                        ..Packet::opening(direction, interface, *protocol, *remote, *port)
                    };
                    compare(policy.decide(&packet), walker, &packet)?;
                    packets += 1;
                }
            }
        }
    }
    Ok(packets)
}

/// The ends of an interval, and what lies next to them.
fn around<T: Point>(interval: &Interval<T>) -> [T; 4] {
    let Interval { first, last } = *interval;
    let before = if first == T::WHOLE.first {
        first
    } else {
        first.before()
    };
    [before, first, last, last.successor().unwrap_or(last)]
}

/// What a rule's packets look like at its edges.
struct Edges {
    services: Vec<(Protocol, u16)>,
    addresses: Vec<IpAddr>,
}

impl Edges {
    fn of(rule: &Rule) -> Self {
        let remote = rule.remote.iter().flat_map(edges_of);
        let mut edges = Edges {
            services: rule.services.iter().flat_map(services_of).collect(),
            addresses: remote.collect(),
        };
        edges.services.sort_unstable();
        edges.services.dedup();
        edges
    }
}

fn compare(decided: Decision, walker: &Walker, packet: &Packet) -> Result<(), Difference> {
    let (verdict, reason) = walker.walk(packet);
    let reason = reason.unwrap_or(&Reason::Unmanaged);
    match decided.agrees(verdict, reason) {
        true => Ok(()),
        false => Err(Difference {
            packet: format!("{packet:?}"),
            policy: decided.to_string(),
            ruleset: format!("{verdict} by {reason}"),
        }),
    }
}

/// What the near end of a packet can be.
fn near_ends(direction: Direction, packet: &Packet) -> impl Iterator<Item = Own> {
    let v6 = packet.remote.is_ipv6();
    let apart = match (direction, v6) {
        (Direction::Inbound, false) => [Own::Broadcast, Own::Multicast],
        (Direction::Inbound, true) => [Own::LinkLocal, Own::Multicast],
        (Direction::Outbound, false) => [Own::Unspecified; 2],
        (Direction::Outbound, true) => [Own::LinkLocal, Own::Unspecified],
    };
    let several = if apart[0] == apart[1] { 1 } else { 2 };
    [Own::Host, Own::Forwarded]
        .into_iter()
        .chain(apart.into_iter().take(several))
}

fn samples(direction: Direction, interface: &str) -> Vec<Packet> {
    let (v4, global) = (V4, GLOBAL);
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
    let everyone = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 22));
    for remote in [v4, everyone] {
        for hop_limit in [1, 2] {
            packets.push(Packet {
                hop_limit,
                ..opening(Protocol::IGMP, remote, 0)
            });
        }
    }
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
        packets.push(Packet {
            icmp_type,
            ..opening(icmp_of(remote), remote, 0)
        });
    }
    let is_error = |packet: &Packet| match packet.protocol {
        Protocol::ICMP => matches!(packet.icmp_type, 3 | 11 | 12),
        Protocol::ICMPV6 => matches!(packet.icmp_type, 1..=4),
        _ => false,
    };
    let mut samples = Vec::new();
    for packet in packets {
        for state in &STATES {
            for own in near_ends(direction, &packet) {
                // Only an ICMP error is one, and a helper expects no error.
                let possible = matches!(state, State::IcmpError(_)) <= is_error(&packet)
                    && !(*state == State::Related && is_error(&packet));
                // Few packets of these states are enough: what distinguishes them is asked before the state.
                let tracked = !matches!(state, State::New | State::Untracked);
                let alike = tracked
                    && (matches!(packet.hop_limit, 1 | 2)
                        || !matches!(own, Own::Host | Own::Forwarded));
                if possible && !alike {
                    samples.push(Packet {
                        state: state.clone(),
                        own,
                        ..packet.clone()
                    });
                }
            }
        }
    }
    samples
}
