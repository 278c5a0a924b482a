//! A packet's way through a compiled ruleset, in plain steps: the second opinion beside
//! [`Policy::decide`](crate::policy::Policy::decide) and the kernel. It shares nothing with the compiler.

use super::ir::*;
use crate::policy::{Direction, Interval, Packet, Protocol, Reason, State, Verdict};
use rustc_hash::FxHashMap;
use std::net::IpAddr;

/// The deepest nesting of chains that nftables follows.
const DEEPEST: usize = 16;

/// A ruleset that packets walk through.
#[derive(Debug)]
pub struct Walker<'r> {
    chains: FxHashMap<&'r str, &'r Chain>,
    sets: FxHashMap<&'r str, &'r Addresses>,
    maps: FxHashMap<&'r str, &'r MapElements>,
}

/// Where a chain ended without a verdict: at its end or a return, with the base chain's acceptance to follow.
type Ended<'r> = Option<(Verdict, Option<&'r Reason>)>;

impl<'r> Walker<'r> {
    /// Reads the names once.
    pub fn new(ruleset: &'r Ruleset) -> Self {
        Walker {
            chains: ruleset
                .chains
                .iter()
                .map(|chain| (&*chain.name, chain))
                .collect(),
            sets: ruleset
                .sets
                .iter()
                .map(|set| (set.name.as_str(), &set.elements))
                .collect(),
            maps: ruleset
                .maps
                .iter()
                .map(|map| (&*map.name, &map.elements))
                .collect(),
        }
    }

    /// What became of a packet: the verdict, and the reason of the rule that gave it; no reason if it fell
    /// off the end, where the base chain accepts.
    pub fn walk(&self, packet: &Packet) -> (Verdict, Option<&'r Reason>) {
        let entry = match packet.direction {
            Direction::Inbound => INBOUND,
            Direction::Outbound => OUTBOUND,
        };
        self.in_chain(entry, packet, 0)
            .unwrap_or((Verdict::Allow, None))
    }

    fn in_chain(&self, name: &str, packet: &Packet, depth: usize) -> Ended<'r> {
        // A chain that is missing refuses, so that no test takes a lost one for a pass.
        let (Some(chain), true) = (self.chains.get(name), depth <= DEEPEST) else {
            return Some((Verdict::Refuse, None));
        };
        for rule in &chain.rules {
            if !rule
                .matches
                .iter()
                .all(|each| holds(&self.sets, each, packet))
            {
                continue;
            }
            let (verdict, reason) = match &rule.verdict {
                NftVerdict::Map(key, map) => match self.look_up(*key, map, packet) {
                    Some(found) => found,
                    // The map has nothing: the next rule.
                    None => continue,
                },
                verdict => (verdict, rule.reason.as_ref()),
            };
            match verdict {
                // An element cannot look up.
                NftVerdict::Map(..) => {}
                NftVerdict::Accept | NftVerdict::Pass(_) => return Some((Verdict::Allow, reason)),
                NftVerdict::Observe(_) => return Some((Verdict::Observe, reason)),
                NftVerdict::Drop => return Some((Verdict::Refuse, reason)),
                NftVerdict::Return => return None,
                NftVerdict::Goto(chain) => return self.in_chain(chain, packet, depth),
                NftVerdict::Jump(chain) => {
                    if let Some(end) = self.in_chain(chain, packet, depth + 1) {
                        return Some(end);
                    }
                }
            }
        }
        None
    }

    /// What an element says, and what it decides for itself.
    fn look_up(&self, key: MapKey, map: &str, packet: &Packet) -> Option<Found<'r>> {
        let elements = *self.maps.get(map)?;
        match (key, elements, packet.remote) {
            (MapKey::Port(transport), MapElements::Ports(list), _) => {
                let asked = packet.protocol == transport.protocol();
                asked.then(|| find(list, packet.destination_port))?
            }
            (MapKey::FlowPort(direction, transport), MapElements::Ports(list), _) => {
                let asked =
                    is_of_flow(packet, direction) && packet.protocol == transport.protocol();
                asked.then(|| find(list, flow_port(packet)))?
            }
            (
                MapKey::FlowAddress(direction, Family::V4),
                MapElements::V4(list),
                IpAddr::V4(address),
            ) if is_of_flow(packet, direction) => find(list, address.into()),
            (
                MapKey::FlowAddress(direction, Family::V6),
                MapElements::V6(list),
                IpAddr::V6(address),
            ) if is_of_flow(packet, direction) => find(list, address.into()),
            (MapKey::Address(side, Family::V4), MapElements::V4(list), IpAddr::V4(address))
                if side == remote_side(packet) =>
            {
                find(list, address.into())
            }
            (MapKey::Address(side, Family::V6), MapElements::V6(list), IpAddr::V6(address))
                if side == remote_side(packet) =>
            {
                find(list, address.into())
            }
            (
                MapKey::Pair(side, _, bits, transport),
                MapElements::PairsV4(list),
                IpAddr::V4(address),
            ) if side == remote_side(packet) && packet.protocol == transport.protocol() => {
                find_pair(list, packet.destination_port, address.into(), bits)
            }
            (
                MapKey::Pair(side, _, bits, transport),
                MapElements::PairsV6(list),
                IpAddr::V6(address),
            ) if side == remote_side(packet) && packet.protocol == transport.protocol() => {
                find_pair(list, packet.destination_port, address.into(), bits)
            }
            (
                MapKey::FlowPair(direction, _, bits, transport),
                MapElements::PairsV4(list),
                IpAddr::V4(address),
            ) if is_of_flow(packet, direction) && packet.protocol == transport.protocol() => {
                find_pair(list, flow_port(packet), address.into(), bits)
            }
            (
                MapKey::FlowPair(direction, _, bits, transport),
                MapElements::PairsV6(list),
                IpAddr::V6(address),
            ) if is_of_flow(packet, direction) && packet.protocol == transport.protocol() => {
                find_pair(list, flow_port(packet), address.into(), bits)
            }
            _ => None,
        }
    }
}

/// What an element says, and what it decides for itself.
type Found<'r> = (&'r NftVerdict, Option<&'r Reason>);

fn find<T: Copy + Ord>(list: &[(Interval<T>, NftVerdict)], point: T) -> Option<Found<'_>> {
    let at = list.partition_point(|(interval, _)| interval.last < point);
    let found = list.get(at).filter(|(interval, _)| interval.first <= point);
    found.map(|(_, verdict)| (verdict, None))
}

fn find_pair<T: Prefixed>(list: &[Pair<T>], port: u16, address: T, bits: u8) -> Option<Found<'_>> {
    let wanted = (port, address.under(bits));
    let at = list.partition_point(|pair| (pair.port, pair.network) < wanted);
    let found = list
        .get(at)
        .filter(|pair| (pair.port, pair.network) == wanted);
    found.map(|pair| (&pair.verdict, pair.reason.as_ref()))
}

fn holds_point<T: Copy + Ord>(list: &[Interval<T>], point: T) -> bool {
    let at = list.partition_point(|interval| interval.last < point);
    list.get(at).is_some_and(|interval| interval.first <= point)
}

/// The walk knows the remote only; nothing compiled asks for the own address.
fn remote_side(packet: &Packet) -> Side {
    match packet.direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}

/// Whether what is known of the packet's flow is that it was opened in this direction. An ICMP message about a flow
/// tells nothing of that flow here.
fn is_of_flow(packet: &Packet, direction: Direction) -> bool {
    let about_another = matches!(packet.protocol, Protocol::ICMP | Protocol::ICMPV6)
        && matches!(packet.state, State::IcmpError | State::Related);
    match packet.state {
        State::Invalid | State::Untracked => false,
        State::UnjudgedReply => packet.direction != direction,
        _ => packet.direction == direction && !about_another,
    }
}

/// The port that the packet's flow was opened to.
fn flow_port(packet: &Packet) -> u16 {
    match packet.state {
        State::UnjudgedReply => packet.source_port,
        _ => packet.destination_port,
    }
}

fn holds(sets: &FxHashMap<&str, &Addresses>, each: &Match, packet: &Packet) -> bool {
    let v6 = packet.remote.is_ipv6();
    let is_type = |types: &[(u8, u8)]| {
        types
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&packet.icmp_type))
    };
    let remote = remote_side(packet);
    match each {
        Match::Interface(side, name) => *side == remote && name.matches(&packet.interface),
        Match::Loopback(side) => *side == remote && packet.interface == "lo",
        Match::State(state) => match packet.state {
            State::Established | State::Unjudged | State::UnjudgedReply => {
                *state == CtState::Established
            }
            State::IcmpError | State::Related => *state == CtState::Related,
            State::Invalid => *state == CtState::Invalid,
            State::New => *state == CtState::New,
            State::Untracked => false,
        },
        Match::NotEstablished => !matches!(
            packet.state,
            State::Established | State::Unjudged | State::UnjudgedReply
        ),
        Match::FlowSide(side) => match packet.state {
            State::Invalid | State::Untracked => false,
            State::UnjudgedReply => *side == FlowSide::Reply,
            _ => *side == FlowSide::Original,
        },
        Match::Stamp(_) => matches!(packet.state, State::Established | State::IcmpError),
        Match::Family(family) => (*family == Family::V6) == v6,
        Match::Protocol(protocol) => packet.protocol.0 == *protocol,
        Match::Port(transport, side, ports) => {
            let port = match side {
                Side::Source => packet.source_port,
                Side::Destination => packet.destination_port,
            };
            packet.protocol == transport.protocol()
                && ports
                    .intervals()
                    .iter()
                    .any(|interval| interval.contains(port))
        }
        Match::Address {
            side,
            with,
            negated,
        } => *side == remote && is_among(sets, with, packet.remote) == Some(!negated),
        Match::FlowPort(direction, transport, ports) => {
            is_of_flow(packet, *direction)
                && packet.protocol == transport.protocol()
                && ports.contains(flow_port(packet))
        }
        Match::FlowAddress {
            direction,
            with,
            negated,
        } => {
            is_of_flow(packet, *direction) && is_among(sets, with, packet.remote) == Some(!negated)
        }
        Match::IcmpType(types) => !v6 && packet.protocol == Protocol::ICMP && is_type(types),
        Match::Icmpv6Type(types) => v6 && packet.protocol == Protocol::ICMPV6 && is_type(types),
        Match::HopLimit(hops) => v6 && packet.hop_limit == *hops,
        Match::ToThisHost => packet.direction == Direction::Inbound && !packet.forwarded,
        Match::FromProcess => packet.direction == Direction::Outbound && !packet.forwarded,
        Match::FromLinkToMany => !packet.forwarded && v6 && packet.remote.is_multicast(),
        Match::Told(_) => true,
        // Such packets are never filtered and have no place in the model.
        Match::Decrypted | Match::WillEncrypt | Match::LoopedBack => false,
    }
}

/// Whether an address is among these; `None` for one of the other family, which matches nothing, negated or not: the kernel
/// asks for the family first.
fn is_among(
    sets: &FxHashMap<&str, &Addresses>,
    with: &AddressMatch,
    remote: IpAddr,
) -> Option<bool> {
    let addresses = match with {
        AddressMatch::Inline(addresses) => Some(addresses),
        AddressMatch::Set(name, _) => sets.get(name.as_str()).copied(),
    };
    match (addresses, remote) {
        (Some(Addresses::V4(list)), IpAddr::V4(address)) => Some(holds_point(list, address.into())),
        (Some(Addresses::V6(list)), IpAddr::V6(address)) => Some(holds_point(list, address.into())),
        _ => None,
    }
}
