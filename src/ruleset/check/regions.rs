//! Follows a ruleset with boxes of packets: ports × remote addresses, all else fixed.

use super::Difference;
use crate::policy::interval::Point;
use crate::policy::{AddressSet, Decision, Direction, Interval, Protocol, Reason, Verdict};
use crate::ruleset::ir::*;
use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Packets of one protocol at one interface that open a flow from port 49152 with hop limit 64, not forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Run<'i> {
    /// Which way.
    pub direction: Direction,
    /// The interface.
    pub interface: &'i str,
    /// The protocol.
    pub protocol: Protocol,
}

/// A box of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region<T> {
    /// Destination ports; port 0 alone where the protocol has none.
    pub ports: Interval<u16>,
    /// Remote addresses.
    pub addresses: Interval<T>,
}

/// Addresses of a family, as numbers.
pub trait Line: Point {
    /// The family.
    const FAMILY: Family;
    /// All of them.
    const WHOLE: Interval<Self>;
    /// The point before; asked only where there is one.
    fn before(self) -> Self;
    /// As an address.
    fn address(self) -> IpAddr;
    /// The part of this family in a set.
    fn in_set(set: &AddressSet) -> Arc<[Interval<Self>]>;
    /// The elements of this family in a list of addresses.
    fn of(addresses: &Addresses) -> Option<&[Interval<Self>]>;
    /// The elements of this family in a map.
    fn of_map(elements: &MapElements) -> Option<&[(Interval<Self>, NftVerdict)]>;
}

macro_rules! line {
    ($number:ty, $family:ident, $address:ident, $shared:ident) => {
        impl Line for $number {
            const FAMILY: Family = Family::$family;
            const WHOLE: Interval<Self> = Interval {
                first: 0,
                last: <$number>::MAX,
            };
            fn before(self) -> Self {
                self - 1
            }
            fn address(self) -> IpAddr {
                $address::from(self).into()
            }
            fn in_set(set: &AddressSet) -> Arc<[Interval<Self>]> {
                set.$shared()
            }
            fn of(addresses: &Addresses) -> Option<&[Interval<Self>]> {
                match addresses {
                    Addresses::$family(list) => Some(list),
                    _ => None,
                }
            }
            fn of_map(elements: &MapElements) -> Option<&[(Interval<Self>, NftVerdict)]> {
                match elements {
                    MapElements::$family(list) => Some(list),
                    _ => None,
                }
            }
        }
    };
}
line!(u32, V4, Ipv4Addr, shared_v4);
line!(u128, V6, Ipv6Addr, shared_v6);

/// What the caller does with each box that is decided.
pub type Decide<'d, T> = &'d mut dyn FnMut(Region<T>, &Decision) -> Result<(), Difference>;

/// Steps that one run may take, about half a second. What needs more is compared on boundary packets instead.
const STEPS: usize = 3_000_000;

/// A ruleset, by names.
#[derive(Debug)]
pub struct Regions<'r> {
    /// Steps left of the present run.
    steps: Cell<usize>,
    chains: HashMap<&'r str, &'r Chain>,
    sets: HashMap<&'r str, &'r Addresses>,
    maps: HashMap<&'r str, &'r MapElements>,
}

/// Whether a condition on the interface holds; no other condition does.
pub fn at_interface(each: &Match, direction: Direction, interface: &str) -> bool {
    let side = |side: &Side| (*side == Side::Source) == (direction == Direction::Inbound);
    match each {
        Match::Interface(of, name) => side(of) && name.matches(interface),
        Match::Loopback(of) => side(of) && interface == "lo",
        _ => false,
    }
}

impl<'r> Regions<'r> {
    /// Reads the names once.
    pub fn new(ruleset: &'r Ruleset) -> Self {
        Regions {
            steps: Cell::new(0),
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

    /// The chain with this name.
    pub fn chain(&self, name: &str) -> Option<&'r Chain> {
        self.chains.get(name).copied()
    }

    /// Gives every box of the run's packets to `decide`, with what becomes of it. Gives whether that was all of them:
    /// a run that takes more than [`STEPS`] ends early.
    pub fn follow<T: Line>(&self, run: &Run, decide: Decide<T>) -> Result<bool, Difference> {
        self.steps.set(STEPS);
        let entry = if run.direction == Direction::Inbound {
            INBOUND
        } else {
            OUTBOUND
        };
        let has_ports = matches!(run.protocol, Protocol::TCP | Protocol::UDP);
        let ports = Interval {
            first: 0,
            last: if has_ports { u16::MAX } else { 0 },
        };
        let mut fell = Vec::new();
        self.in_chain(
            entry,
            Region {
                ports,
                addresses: T::WHOLE,
            },
            run,
            &mut fell,
            decide,
        )?;
        // The base chain accepts what falls off the end.
        let accepted = Decision {
            verdict: Verdict::Allow,
            reason: Reason::Unmanaged,
        };
        for region in fell {
            decide(region, &accepted)?;
        }
        Ok(self.steps.get() > 0)
    }

    /// Follows one box through a chain; what comes back undecided goes into `fell`.
    fn in_chain<T: Line>(
        &self,
        name: &str,
        region: Region<T>,
        run: &Run,
        fell: &mut Vec<Region<T>>,
        decide: Decide<T>,
    ) -> Result<(), Difference> {
        let Some(chain) = self.chains.get(name) else {
            return Err(missing(run, region, name));
        };
        let mut waiting = vec![region];
        for rule in &chain.rules {
            let mut rest = Vec::new();
            for region in waiting {
                self.steps.set(self.steps.get().saturating_sub(1));
                if self.steps.get() == 0 {
                    return Ok(());
                }
                let mut matching = Vec::new();
                self.split(&rule.matches, region, run, &mut matching, &mut rest);
                for region in matching {
                    self.verdict(rule, region, run, fell, &mut rest, decide)?;
                }
            }
            if rest.is_empty() {
                return Ok(());
            }
            waiting = rest;
        }
        fell.append(&mut waiting);
        Ok(())
    }

    /// What a rule does with a box that matches. What goes on to the next rule goes into `rest`.
    fn verdict<T: Line>(
        &self,
        rule: &NftRule,
        region: Region<T>,
        run: &Run,
        fell: &mut Vec<Region<T>>,
        rest: &mut Vec<Region<T>>,
        decide: Decide<T>,
    ) -> Result<(), Difference> {
        let decision = |verdict| Decision {
            verdict,
            reason: rule.reason.clone().unwrap_or(Reason::Unmanaged),
        };
        match &rule.verdict {
            NftVerdict::Accept => decide(region, &decision(Verdict::Allow)),
            NftVerdict::Drop => decide(region, &decision(Verdict::Refuse)),
            NftVerdict::Return => {
                fell.push(region);
                Ok(())
            }
            NftVerdict::Goto(chain) => self.in_chain(chain, region, run, fell, decide),
            NftVerdict::Jump(chain) => self.in_chain(chain, region, run, rest, decide),
            NftVerdict::Protocols(list) => match list
                .iter()
                .find(|(protocol, _)| *protocol == run.protocol.0)
            {
                Some((_, chain)) => self.in_chain(chain, region, run, fell, decide),
                None => {
                    rest.push(region);
                    Ok(())
                }
            },
            NftVerdict::Map(key, map) => {
                let Some(elements) = self.maps.get(&**map) else {
                    return Err(missing(run, region, map));
                };
                let remote = remote_side(run.direction);
                match (key, elements) {
                    (MapKey::Port(transport), MapElements::Ports(list))
                        if transport.protocol() == run.protocol =>
                    {
                        let boxed = |ports| Region { ports, ..region };
                        let parts = parts(list, region.ports, |port| port - 1);
                        parts.into_iter().try_for_each(|(ports, to)| {
                            self.element(to, boxed(ports), run, fell, rest, decide)
                        })
                    }
                    (MapKey::Address(side, family), elements)
                        if *side == remote && *family == T::FAMILY =>
                    {
                        let boxed = |addresses| Region {
                            addresses,
                            ..region
                        };
                        let list = T::of_map(elements).unwrap_or_default();
                        let parts = parts(list, region.addresses, T::before);
                        parts.into_iter().try_for_each(|(addresses, to)| {
                            self.element(to, boxed(addresses), run, fell, rest, decide)
                        })
                    }
                    _ => {
                        rest.push(region);
                        Ok(())
                    }
                }
            }
        }
    }

    fn element<T: Line>(
        &self,
        to: Option<&NftVerdict>,
        region: Region<T>,
        run: &Run,
        fell: &mut Vec<Region<T>>,
        rest: &mut Vec<Region<T>>,
        decide: Decide<T>,
    ) -> Result<(), Difference> {
        let Some(verdict) = to else {
            rest.push(region);
            return Ok(());
        };
        let rule = NftRule {
            matches: Vec::new(),
            verdict: verdict.clone(),
            reason: None,
        };
        self.verdict(&rule, region, run, fell, rest, decide)
    }

    /// Cuts a box by the conditions of a rule: what meets all of them, and the rest.
    fn split<T: Line>(
        &self,
        matches: &[Match],
        region: Region<T>,
        run: &Run,
        matching: &mut Vec<Region<T>>,
        rest: &mut Vec<Region<T>>,
    ) {
        let Some((first, others)) = matches.split_first() else {
            return matching.push(region);
        };
        match first {
            Match::Port(transport, Side::Destination, ports) => {
                if transport.protocol() != run.protocol {
                    return rest.push(region);
                }
                for (ports, inside) in cut(ports.intervals(), region.ports, |port| port - 1) {
                    let region = Region { ports, ..region };
                    if inside {
                        self.split(others, region, run, matching, rest)
                    } else {
                        rest.push(region)
                    }
                }
            }
            Match::Address {
                side,
                with,
                negated,
            } if *side == remote_side(run.direction) => {
                let list = match with {
                    AddressMatch::Inline(list) => Some(list),
                    AddressMatch::Set(name, _) => self.sets.get(name.as_str()).copied(),
                };
                let Some(list) = list.and_then(T::of) else {
                    return rest.push(region);
                };
                for (addresses, inside) in cut(list, region.addresses, T::before) {
                    let region = Region {
                        addresses,
                        ..region
                    };
                    if inside != *negated {
                        self.split(others, region, run, matching, rest)
                    } else {
                        rest.push(region)
                    }
                }
            }
            each if holds::<T>(each, run) => self.split(others, region, run, matching, rest),
            _ => rest.push(region),
        }
    }
}

/// Conditions that hold for all packets of a run or for none.
fn holds<T: Line>(each: &Match, run: &Run) -> bool {
    let of_type = |protocol, types: &[(u8, u8)], wanted| {
        run.protocol == protocol && types.iter().any(|(a, b)| (*a..=*b).contains(&wanted))
    };
    match each {
        Match::Interface(..) | Match::Loopback(_) => {
            at_interface(each, run.direction, run.interface)
        }
        Match::Family(family) => *family == T::FAMILY,
        Match::Protocol(protocol) => run.protocol.0 == *protocol,
        // A flow is opened from an ephemeral port.
        Match::Port(transport, _, ports) => {
            transport.protocol() == run.protocol && ports.contains(49152)
        }
        Match::HopLimit(hops) => T::FAMILY == Family::V6 && *hops == 64,
        Match::IcmpType(types) => T::FAMILY == Family::V4 && of_type(Protocol::ICMP, types, 8),
        Match::Icmpv6Type(types) => {
            T::FAMILY == Family::V6 && of_type(Protocol::ICMPV6, types, 128)
        }
        Match::ToThisHost => run.direction == Direction::Inbound,
        Match::FromProcess => run.direction == Direction::Outbound,
        // New flows have none of these.
        Match::State(_)
        | Match::Decrypted
        | Match::WillEncrypt
        | Match::LoopedBack
        | Match::FromLinkToMany => false,
        // Nothing compiled asks for the own address.
        Match::Address { .. } => false,
    }
}

fn remote_side(direction: Direction) -> Side {
    match direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}

/// Cuts an interval along a sorted list: pieces inside and outside of it.
fn cut<T: Point>(
    list: &[Interval<T>],
    whole: Interval<T>,
    before: impl Fn(T) -> T,
) -> Vec<(Interval<T>, bool)> {
    let start = list.partition_point(|each| each.last < whole.first);
    let touching = list[start..]
        .iter()
        .take_while(|each| each.first <= whole.last);
    pieces(touching.map(|each| (*each, true)), whole, false, before)
}

/// Cuts an interval along a map's elements: pieces with their verdict, and gaps.
fn parts<T: Point>(
    list: &[(Interval<T>, NftVerdict)],
    whole: Interval<T>,
    before: impl Fn(T) -> T,
) -> Vec<(Interval<T>, Option<&NftVerdict>)> {
    let start = list.partition_point(|(each, _)| each.last < whole.first);
    let touching = list[start..]
        .iter()
        .take_while(|(each, _)| each.first <= whole.last);
    pieces(
        touching.map(|(each, verdict)| (*each, Some(verdict))),
        whole,
        None,
        before,
    )
}

fn pieces<T: Point, V: Copy>(
    touching: impl Iterator<Item = (Interval<T>, V)>,
    whole: Interval<T>,
    gap: V,
    before: impl Fn(T) -> T,
) -> Vec<(Interval<T>, V)> {
    let mut out = Vec::new();
    let mut at = Some(whole.first);
    for (each, value) in touching {
        let Some(point) = at else { break };
        if each.first > point {
            out.push((
                Interval {
                    first: point,
                    last: before(each.first),
                },
                gap,
            ));
        }
        let last = each.last.min(whole.last);
        out.push((
            Interval {
                first: each.first.max(point),
                last,
            },
            value,
        ));
        at = last.successor().filter(|after| *after <= whole.last);
    }
    out.extend(at.map(|point| {
        (
            Interval {
                first: point,
                last: whole.last,
            },
            gap,
        )
    }));
    out
}

fn missing<T: Line>(run: &Run, region: Region<T>, name: &str) -> Difference {
    Difference {
        packet: super::words(run, region.addresses.first.address(), region.ports.first),
        policy: "to be decided".into(),
        ruleset: format!("leads to `{name}`, which is missing"),
    }
}
