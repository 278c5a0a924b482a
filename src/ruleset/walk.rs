//! A packet's way through a compiled ruleset, in plain steps: the second opinion beside
//! [`Policy::decide`](crate::policy::Policy::decide) and the kernel. It shares nothing with the compiler.

use super::ir::*;
use crate::policy::interval::contains;
use crate::policy::{
    About, Direction, Flow, InterfaceName, Interval, Own, Packet, Protocol, Reason, State, Verdict,
    Way,
};
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::net::IpAddr;

/// The deepest nesting of chains that nftables follows.
const DEEPEST: usize = 16;

/// The objects of a ruleset by name.
#[derive(Debug)]
pub(super) struct ByName<'r> {
    pub chains: FxHashMap<&'r str, &'r Chain>,
    pub sets: FxHashMap<&'r str, &'r Addresses>,
    pub maps: FxHashMap<&'r str, &'r MapElements>,
}

impl<'r> ByName<'r> {
    pub fn new(ruleset: &'r Ruleset) -> Self {
        let chains = ruleset.chains.iter().map(|chain| (&*chain.name, chain));
        let sets = ruleset.sets.iter();
        let maps = ruleset.maps.iter().map(|map| (&*map.name, &map.elements));
        ByName {
            chains: chains.collect(),
            sets: sets.map(|set| (set.name.as_str(), &set.elements)).collect(),
            maps: maps.collect(),
        }
    }
}

/// A ruleset that packets walk through.
#[derive(Debug)]
pub struct Walker<'r> {
    objects: ByName<'r>,
    /// The interfaces that have a slot, the most specific name first.
    slots: Vec<&'r InterfaceName>,
}

/// Where a chain ended without a verdict: at its end or a return, with the base chain's acceptance to follow.
type ChainEnd<'r> = Option<(Verdict, Option<&'r Reason>)>;

impl<'r> Walker<'r> {
    /// Reads the names once.
    pub fn new(ruleset: &'r Ruleset) -> Self {
        Walker {
            objects: ByName::new(ruleset),
            slots: slots(ruleset),
        }
    }

    /// What became of a packet: the verdict, and the reason of the rule that gave it; no reason if it fell
    /// off the end, where the base chain accepts.
    pub fn walk(&self, packet: &Packet) -> (Verdict, Option<&'r Reason>) {
        let entry = match packet.direction {
            Direction::Inbound => INBOUND,
            Direction::Outbound => OUTBOUND,
        };
        let observed = Cell::new(None);
        let end = self.in_chain(entry, packet, 0, &observed);
        let (verdict, reason) = end.unwrap_or((Verdict::Allow, None));
        match observed.get() {
            Some(reason) if verdict != Verdict::Refuse => (Verdict::Observe, Some(reason)),
            _ => (verdict, reason),
        }
    }

    /// `observed` is what would have refused the packet first, and let it go on.
    fn in_chain(
        &self,
        name: &str,
        packet: &Packet,
        depth: usize,
        observed: &Cell<Option<&'r Reason>>,
    ) -> ChainEnd<'r> {
        // A chain that is missing refuses, so that no test takes a lost one for a pass.
        let (Some(chain), true) = (self.objects.chains.get(name), depth <= DEEPEST) else {
            return Some((Verdict::Refuse, None));
        };
        for rule in &chain.rules {
            if !rule.matches.iter().all(|each| self.holds(each, packet)) {
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
                NftVerdict::Accept => return Some((Verdict::Allow, reason)),
                // What passes without a name passes because its flow is allowed.
                NftVerdict::Pass(chain) => {
                    // It comes back with a flow that was lost.
                    return match self.in_chain(chain, packet, depth, observed)? {
                        (Verdict::Allow, _) => {
                            Some((Verdict::Allow, reason.or(Some(&Reason::Established))))
                        }
                        otherwise => Some(otherwise),
                    };
                }
                NftVerdict::Observe(None) => return Some((Verdict::Observe, reason)),
                // What is only counted goes on, and may be refused there.
                NftVerdict::Observe(Some(chain)) => {
                    observed.set(observed.get().or(reason));
                    return self.in_chain(chain, packet, depth, observed);
                }
                NftVerdict::Drop => return Some((Verdict::Refuse, reason)),
                NftVerdict::Return => return None,
                NftVerdict::Goto(chain) => return self.in_chain(chain, packet, depth, observed),
                NftVerdict::Jump(chain) => {
                    if let Some(end) = self.in_chain(chain, packet, depth + 1, observed) {
                        return Some(end);
                    }
                }
            }
        }
        None
    }

    /// What an element says, and what it decides for itself.
    fn look_up(&self, key: MapKey, map: &str, packet: &Packet) -> Option<ElementVerdict<'r>> {
        let elements = *self.objects.maps.get(map)?;
        let is_of = |transport: Transport| packet.protocol == transport.protocol();
        let port = match key {
            MapKey::Port(transport) if is_of(transport) => packet.destination_port,
            MapKey::Address(side, _) if side == remote_side(packet) => packet.destination_port,
            MapKey::Pair(side, .., transport)
                if side == remote_side(packet) && is_of(transport) =>
            {
                packet.destination_port
            }
            MapKey::FlowAddress(key, _) => flow_port(packet, key)?,
            MapKey::FlowPort(key, transport) | MapKey::FlowPair(key, .., transport)
                if is_of(transport) =>
            {
                flow_port(packet, key)?
            }
            _ => return None,
        };
        use {IpAddr as Ip, MapElements as Of, MapKey as Key};
        match (key, elements, packet.remote) {
            (Key::Port(_) | Key::FlowPort(..), Of::Ports(list), _) => find(list, port),
            (
                Key::Address(_, Family::V4) | Key::FlowAddress(_, Family::V4),
                Of::V4(list),
                Ip::V4(address),
            ) => find(list, address.into()),
            (
                Key::Address(_, Family::V6) | Key::FlowAddress(_, Family::V6),
                Of::V6(list),
                Ip::V6(address),
            ) => find(list, address.into()),
            (
                Key::Pair(.., bits, _) | Key::FlowPair(.., bits, _),
                Of::PairsV4(list),
                Ip::V4(address),
            ) => find_pair(list, port, address.into(), bits),
            (
                Key::Pair(.., bits, _) | Key::FlowPair(.., bits, _),
                Of::PairsV6(list),
                Ip::V6(address),
            ) => find_pair(list, port, address.into(), bits),
            _ => None,
        }
    }

    fn holds(&self, each: &Match, packet: &Packet) -> bool {
        let v6 = packet.remote.is_ipv6();
        let is_type = |types: &[(u8, u8)]| {
            types
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&packet.icmp_type))
        };
        let remote = remote_side(packet);
        let leaves = packet.direction == Direction::Outbound;
        match each {
            Match::Interface(side, name) => *side == remote && name.matches(&packet.interface),
            Match::Loopback(side) => *side == remote && packet.interface == "lo",
            Match::State(state) => match packet.state {
                State::Tracked(_) => *state == CtState::Established,
                State::IcmpError(_) | State::Related => *state == CtState::Related,
                State::Invalid => *state == CtState::Invalid,
                State::New => *state == CtState::New,
                State::Untracked => false,
            },
            Match::NotEstablished => !matches!(packet.state, State::Tracked(_)),
            Match::FlowSide(side) => match &packet.state {
                State::Invalid | State::Untracked => false,
                State::Tracked(Flow {
                    way: Way::Answer, ..
                }) => *side == FlowSide::Reply,
                _ => *side == FlowSide::Original,
            },
            Match::Marked(marks) => marks.iter().any(|mark| self.is_marked(packet, mark)),
            Match::MarkedOr(marks, others) => {
                let marks = if marks.is_empty() { others } else { marks };
                marks.iter().any(|mark| self.is_marked(packet, mark))
            }
            Match::OpenedSomewhere => match &packet.state {
                State::Tracked(flow) => flow.opened.is_some(),
                State::IcmpError(about) => *about != About::Unknown,
                _ => false,
            },
            Match::OwnOfAnother(direction) => match &packet.state {
                State::Tracked(flow) => flow.own_of_another && *direction == packet.direction,
                _ => false,
            },
            Match::WithoutSyn => packet.protocol == Protocol::TCP && packet.without_syn,
            Match::PortOutside(range) => {
                packet.protocol == Protocol::TCP && !range.contains(packet.source_port)
            }
            Match::Family(family) => (*family == Family::V6) == v6,
            Match::Protocol(protocol) => packet.protocol.0 == *protocol,
            Match::Port(transport, side, ports) => {
                let port = match side {
                    Side::Source => packet.source_port,
                    Side::Destination => packet.destination_port,
                };
                packet.protocol == transport.protocol() && ports.contains(port)
            }
            Match::Address {
                side,
                with,
                negated,
            } => {
                let address = if *side == remote {
                    packet.remote
                } else {
                    packet.local
                };
                is_among(&self.objects.sets, with, address) == Some(!negated)
            }
            Match::FlowPort(key, transport, ports) => {
                packet.protocol == transport.protocol()
                    && flow_port(packet, *key).is_some_and(|port| ports.contains(port))
            }
            Match::FlowAddress { key, with, negated } => {
                flow_port(packet, *key).is_some()
                    && is_among(&self.objects.sets, with, packet.remote) == Some(!negated)
            }
            Match::IcmpType(types) => !v6 && packet.protocol == Protocol::ICMP && is_type(types),
            Match::Icmpv6Type(types) => v6 && packet.protocol == Protocol::ICMPV6 && is_type(types),
            Match::HopLimit(hops) => v6 && packet.hop_limit == *hops,
            Match::ToThisHost => !leaves && packet.own != Own::Forwarded,
            Match::FromProcess => leaves && packet.own != Own::Forwarded,
            Match::FromLinkToMany => {
                let from_link = matches!(packet.own, Own::LinkLocal | Own::Unspecified);
                leaves && v6 && from_link && packet.remote.is_multicast()
            }
            Match::FromOwnAddress => leaves && packet.own.is_address(),
            Match::FromUnspecified => leaves && !v6 && packet.own == Own::Unspecified,
            Match::ToOwnOrBroadcast => {
                !leaves && (packet.own.is_address() || packet.own == Own::Broadcast)
            }
            Match::ToOwnLinkLocal => !leaves && v6 && packet.own == Own::LinkLocal,
            Match::LinkIgmp => {
                let to_many = match packet.direction {
                    Direction::Inbound => packet.own == Own::Multicast,
                    Direction::Outbound => packet.remote.is_multicast(),
                };
                !v6 && packet.protocol == Protocol::IGMP && packet.hop_limit == 1 && to_many
            }
            // In the model every packet has come by a wire, or leaves.
            Match::HasLinkHeader => !leaves,
            Match::Told(_) | Match::SetMarks(_) => true,
            // Such packets are never filtered and have no place in the model.
            Match::EnteredByEthernet | Match::EnteredByKind(_) => false,
            Match::Decrypted | Match::WillEncrypt | Match::LoopedBack => false,
        }
    }

    /// Whether the packet's flow carries a mark, as far as the packet says.
    fn is_marked(&self, packet: &Packet, mark: &Mark) -> bool {
        let opened_in = |flow: &Flow| match flow.way {
            Way::Opening => packet.direction,
            Way::Answer => packet.direction.opposite(),
        };
        match (&packet.state, mark) {
            (State::Tracked(flow), Mark::Passes(direction, key)) => {
                flow.passes.as_ref() == Some(key) && opened_in(flow) == *direction
            }
            (State::Tracked(flow), Mark::Opened(direction, slot)) => {
                let opened = flow.opened.iter().flatten();
                opened_in(flow) == *direction && opened.clone().any(|name| self.slot(name) == *slot)
            }
            (State::IcmpError(about), Mark::Passes(..) | Mark::Opened(..)) => {
                *about == About::Passes
            }
            _ => false,
        }
    }

    /// The slot of an interface.
    fn slot(&self, interface: &str) -> Slot {
        if interface == "lo" {
            return Slot::Elsewhere;
        }
        let mut slots = self.slots.iter();
        match slots.find(|name| name.matches(interface)) {
            Some(name) => Slot::Interface((*name).clone()),
            None if self.entry_names(interface) => Slot::Rest,
            None => Slot::Others,
        }
    }

    /// Whether an interface is bound: packets are told by its name where they enter.
    fn entry_names(&self, interface: &str) -> bool {
        let entries = [INBOUND, "inbound_interfaces"];
        let chains = entries
            .iter()
            .filter_map(|name| self.objects.chains.get(name));
        let mut matches = chains
            .flat_map(|chain| &chain.rules)
            .flat_map(|rule| &rule.matches);
        matches.any(|each| matches!(each, Match::Interface(_, name) if name.matches(interface)))
    }
}

/// The interfaces that have a slot, the most specific name first.
fn slots(ruleset: &Ruleset) -> Vec<&InterfaceName> {
    let names = ruleset.marks.iter().filter_map(|mark| match mark {
        Mark::Opened(_, Slot::Interface(name)) => Some(name),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The port that the packet's flow was opened to, if its remote is that of this key.
fn flow_port(packet: &Packet, key: FlowKey) -> Option<u16> {
    match (&packet.state, key) {
        (State::Tracked(flow), FlowKey::Opened(direction)) => match flow.way {
            Way::Opening => (direction == packet.direction).then_some(packet.destination_port),
            Way::Answer => (direction != packet.direction).then_some(packet.source_port),
        },
        (State::New, FlowKey::Lost) => {
            (packet.direction == Direction::Outbound).then_some(packet.source_port)
        }
        _ => None,
    }
}

/// What an element says, and what it decides for itself.
type ElementVerdict<'r> = (&'r NftVerdict, Option<&'r Reason>);

fn find<T: Copy + Ord>(list: &[(Interval<T>, NftVerdict)], point: T) -> Option<ElementVerdict<'_>> {
    let at = list.partition_point(|(interval, _)| interval.last < point);
    let found = list.get(at).filter(|(interval, _)| interval.first <= point);
    found.map(|(_, verdict)| (verdict, None))
}

fn find_pair<T: Prefixed>(
    list: &[Pair<T>],
    port: u16,
    address: T,
    bits: u8,
) -> Option<ElementVerdict<'_>> {
    let wanted = (port, address.under(bits));
    let at = list.partition_point(|pair| (pair.port, pair.network) < wanted);
    let found = list
        .get(at)
        .filter(|pair| (pair.port, pair.network) == wanted);
    found.map(|pair| (&pair.verdict, pair.reason.as_ref()))
}

/// Whether an address is among these; `None` for one of the other family, which matches nothing, negated or not: the
/// kernel asks for the family first.
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
        (Some(Addresses::V4(list)), IpAddr::V4(address)) => Some(contains(list, address.into())),
        (Some(Addresses::V6(list)), IpAddr::V6(address)) => Some(contains(list, address.into())),
        _ => None,
    }
}

/// Which address of a packet is the remote's. The compiler has a table of its own: what is walked is compared with it.
fn remote_side(packet: &Packet) -> Side {
    match packet.direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}
