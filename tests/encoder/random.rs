//! Random rulesets, straight in the language of rulesets.

use fastrand::Rng;
use secgroupd::policy::{Direction, GroupId, InterfaceName, Interval, PortSet, Reason, RuleId};
use secgroupd::ruleset::Ruleset;
use secgroupd::ruleset::ir::*;

/// Chains, in an order in which each leads only to later ones.
const CHAINS: &[&str] = &[INBOUND, OUTBOUND, "c_0", "c_1", "c_2", "c_3"];
/// Chains that ask maps; the others are where maps lead.
const ASKING: usize = 3;

/// A ruleset with sets and maps of every kind, and rules with every condition.
pub fn ruleset(rng: &mut Rng) -> Ruleset {
    let mut sets = Vec::new();
    for at in 0..rng.usize(..4) {
        let elements = match rng.bool() {
            true => Addresses::V4(apart(rng, 1, 40).into()),
            false => Addresses::V6(apart(rng, 1, 40).into()),
        };
        sets.push(Set {
            name: format!("s_{at}"),
            elements,
        });
    }
    let maps: Vec<Map> = (0..rng.usize(..6)).map(|at| map(rng, at)).collect();
    let chains = CHAINS.iter().enumerate().map(|(at, name)| Chain {
        name: (*name).into(),
        rules: (0..rng.usize(..8))
            .map(|_| rule(rng, at, &sets, &maps))
            .collect(),
    });
    Ruleset {
        chains: chains.collect(),
        sets,
        maps,
        marks: all_marks(),
        recheck: true,
        ..Ruleset::default()
    }
}

fn map(rng: &mut Rng, at: usize) -> Map {
    let (count, points) = (rng.usize(1..60), rng.bool());
    fn mapped<T: Number>(
        rng: &mut Rng,
        count: usize,
        points: bool,
    ) -> Vec<(Interval<T>, NftVerdict)> {
        let list = touching(rng, count, points);
        list.into_iter()
            .map(|interval| (interval, verdict(rng, ASKING)))
            .collect()
    }
    let side = side(rng);
    fn paired<T: Number + Prefixed>(rng: &mut Rng, count: usize, bits: u8) -> Vec<Pair<T>> {
        let mut pairs: Vec<Pair<T>> = touching(rng, count, true)
            .into_iter()
            .map(|interval: Interval<T>| Pair {
                port: rng.u16(..3),
                network: interval.first.under(bits),
                verdict: verdict(rng, ASKING),
                reason: reason(rng),
            })
            .collect();
        pairs.sort_unstable_by_key(|pair| (pair.port, pair.network));
        pairs.dedup_by_key(|pair| (pair.port, pair.network));
        pairs
    }
    let (key, elements) = match rng.u8(..6) {
        4 => {
            let bits = *rng.choice(&[1, 8, 22, 24, 31, 32]).unwrap();
            (
                pair_key(rng, Family::V4, bits),
                MapElements::PairsV4(paired(rng, count, bits)),
            )
        }
        5 => {
            let bits = *rng.choice(&[1, 32, 48, 64, 127, 128]).unwrap();
            (
                pair_key(rng, Family::V6, bits),
                MapElements::PairsV6(paired(rng, count, bits)),
            )
        }
        0 => (
            MapKey::Port(transport(rng)),
            MapElements::Ports(mapped(rng, count, points)),
        ),
        1 => (
            MapKey::Address(side, Family::V4),
            MapElements::V4(mapped(rng, count, points)),
        ),
        _ => (
            MapKey::Address(side, Family::V6),
            MapElements::V6(mapped(rng, count, points)),
        ),
    };
    Map {
        name: format!("m_{at}").into(),
        key,
        elements,
    }
}

fn pair_key(rng: &mut Rng, family: Family, bits: u8) -> MapKey {
    match rng.bool() {
        true => MapKey::Pair(side(rng), family, bits, transport(rng)),
        false => MapKey::FlowPair(flow_key(rng), family, bits, transport(rng)),
    }
}

/// What may stand in a comment.
fn reason(rng: &mut Rng) -> Option<Reason> {
    match rng.u8(..3) {
        0 => None,
        1 => Some(Reason::Essential),
        _ => Some(Reason::ApprovedService("a-service_with.name".into())),
    }
}

/// A rule of the chain `at`.
fn rule(rng: &mut Rng, at: usize, sets: &[Set], maps: &[Map]) -> NftRule {
    let mut matches = Vec::new();
    if rng.u8(..) < 80 {
        matches.push(interface(rng));
    }
    if rng.u8(..) < 60 {
        let states = [
            CtState::Established,
            CtState::Related,
            CtState::Invalid,
            CtState::New,
        ];
        matches.push(Match::State(states[rng.usize(..4)]));
    }
    match rng.u8(..30) {
        16 => matches.extend([Match::FlowSide(flow_side(rng)), Match::Marked(marks(rng))]),
        22 => matches.extend([Match::OpenedSomewhere, Match::SetMarks(marks(rng))]),
        23 => matches.extend([Match::NotEstablished, Match::SetMarks(marks(rng))]),
        28 => matches.extend([Match::WithoutSyn, Match::PortOutside(PORTS)]),
        29 => matches.push(Match::MarkedOr(Vec::new(), marks(rng))),
        17 => matches.push(flow_port(rng)),
        18 | 19 => matches.push(flow_address(rng, sets)),
        20 => matches.extend([flow_port(rng), flow_address(rng, sets)]),
        21 => matches.extend([flow_address(rng, sets), flow_port(rng)]),
        0 => matches.push(Match::Protocol(rng.u8(..))),
        1 => matches.extend([Match::Protocol(6), port_of(rng, Transport::Tcp)]),
        2 => matches.extend([Match::Family(Family::V4), icmp(rng)]),
        3 => matches.push(icmp(rng)),
        4 => matches.extend([
            Match::Icmpv6Type([(134, 136)].as_slice().into()),
            Match::HopLimit(255),
            Match::ToThisHost,
        ]),
        5 => matches.extend([Match::Icmpv6Type([(1, 4), (128, 128)].as_slice().into())]),
        6 => matches.extend([
            Match::Icmpv6Type([(143, 143)].as_slice().into()),
            Match::FromProcess,
        ]),
        7 => matches.extend([Match::HopLimit(1), Match::FromLinkToMany]),
        // What leaves was never decrypted, says the kernel.
        8 if at == 0 => matches.push(Match::Decrypted),
        9 => matches.push(Match::WillEncrypt),
        10 => matches.push(Match::LoopedBack),
        24 => matches.extend([Match::LinkIgmp, Match::FromOwnAddress]),
        25 => matches.extend([port_of(rng, Transport::Udp), Match::ToOwnLinkLocal]),
        26 => matches.extend([Match::Family(Family::V4), Match::ToOwnOrBroadcast]),
        27 => matches.push(match rng.u8(..5) {
            0 => Match::LinkIgmp,
            1 => Match::FromUnspecified,
            2 => Match::HasLinkHeader,
            3 => Match::EnteredByEthernet,
            _ => Match::EnteredByKind(DeviceKind::Wireguard),
        }),
        11 => matches.push(Match::Family(family(rng))),
        12 => matches.extend(both_ports(rng)),
        13 => matches.extend([address(rng, sets), port(rng)]),
        14 => matches.extend([port(rng), address(rng, sets)]),
        _ => matches.push(address(rng, sets)),
    }
    let verdict = match maps {
        [_, ..] if at < ASKING && matches.len() < 2 && rng.bool() => {
            // The packet may be of another kind, but not by the rule's own words.
            matches.clear();
            let map = &maps[rng.usize(..maps.len())];
            let key = match map.key {
                MapKey::Port(transport) if rng.bool() => MapKey::FlowPort(flow_key(rng), transport),
                MapKey::Address(_, family) if rng.bool() => {
                    MapKey::FlowAddress(flow_key(rng), family)
                }
                key => key,
            };
            NftVerdict::Map(key, map.name.clone())
        }
        _ if at + 1 < CHAINS.len() && matches.is_empty() => NftVerdict::Return,
        _ => verdict(rng, at + 1),
    };
    let reason = reason(rng);
    if rng.u8(..) < 30 {
        // As short and as long as a reason can be.
        let reason = match rng.bool() {
            true => Reason::Default,
            false => Reason::Rule(RuleId {
                group: GroupId::parse(&format!("sg-{}", "a".repeat(61))).unwrap(),
                direction: Direction::Outbound,
                index: u32::MAX,
            }),
        };
        let observed = rng.bool();
        matches.push(Match::Told(Told { reason, observed }));
    }
    NftRule {
        matches,
        verdict,
        reason,
    }
}

/// A verdict that leads at most to chains from `from` on.
fn verdict(rng: &mut Rng, from: usize) -> NftVerdict {
    let later = CHAINS.get(from..).unwrap_or_default();
    match rng.u8(..7) {
        0 => NftVerdict::Accept,
        1 => NftVerdict::Drop,
        4 => NftVerdict::Observe(None),
        5 if !later.is_empty() => NftVerdict::Pass(later[rng.usize(..later.len())].into()),
        6 if !later.is_empty() => NftVerdict::Observe(Some(later[rng.usize(..later.len())].into())),
        2 | 3 if !later.is_empty() => {
            let chain = later[rng.usize(..later.len())].into();
            match rng.bool() {
                true => NftVerdict::Jump(chain),
                false => NftVerdict::Goto(chain),
            }
        }
        _ => NftVerdict::Return,
    }
}

fn interface(rng: &mut Rng) -> Match {
    let names = ["eth0", "e*", "veth*", "abcdefghijklmno", "lo*"];
    match rng.usize(..names.len() + 1) {
        at if at < names.len() => {
            Match::Interface(side(rng), InterfaceName::parse(names[at]).unwrap())
        }
        _ => Match::Loopback(side(rng)),
    }
}

fn icmp(rng: &mut Rng) -> Match {
    let lists: [&[(u8, u8)]; 5] = [
        &[(3, 3), (11, 12)],
        &[(0, 0)],
        &[(0, 3), (250, 255)],
        &[(0, 0), (8, 8)],
        &[(0, 255)],
    ];
    Match::IcmpType(lists[rng.usize(..lists.len())].into())
}

fn port(rng: &mut Rng) -> Match {
    let transport = transport(rng);
    port_of(rng, transport)
}

fn port_of(rng: &mut Rng, transport: Transport) -> Match {
    let most = if rng.bool() { 1 } else { 12 };
    Match::Port(
        transport,
        side(rng),
        PortSet::new(apart(rng, 1, most)).unwrap(),
    )
}

fn flow_port(rng: &mut Rng) -> Match {
    let most = if rng.bool() { 1 } else { 12 };
    let ports = PortSet::new(apart(rng, 1, most)).unwrap();
    Match::FlowPort(flow_key(rng), transport(rng), ports)
}

fn flow_address(rng: &mut Rng, sets: &[Set]) -> Match {
    let Match::Address { with, negated, .. } = address(rng, sets) else {
        unreachable!("an address is one");
    };
    Match::FlowAddress {
        key: flow_key(rng),
        with,
        negated,
    }
}

fn direction(rng: &mut Rng) -> Direction {
    [Direction::Inbound, Direction::Outbound][rng.usize(..2)]
}

fn flow_key(rng: &mut Rng) -> FlowKey {
    match rng.u8(..3) {
        0 => FlowKey::Lost,
        _ => FlowKey::Opened(direction(rng)),
    }
}

/// The marks of a ruleset.
fn all_marks() -> Vec<Mark> {
    [Direction::Inbound, Direction::Outbound]
        .into_iter()
        .flat_map(|direction| {
            [
                Mark::Opened(direction, Slot::Elsewhere),
                Mark::Opened(direction, Slot::Others),
                Mark::Passes(direction, "sg-a".into()),
            ]
        })
        .collect()
}

/// Some of them, at least one.
fn marks(rng: &mut Rng) -> Vec<Mark> {
    let mut marks = all_marks();
    rng.shuffle(&mut marks);
    marks.truncate(rng.usize(1..4));
    marks
}

const PORTS: Interval<u16> = Interval {
    first: 32768,
    last: 60999,
};

fn flow_side(rng: &mut Rng) -> FlowSide {
    [FlowSide::Original, FlowSide::Reply][rng.usize(..2)]
}

fn both_ports(rng: &mut Rng) -> [Match; 2] {
    let transport = transport(rng);
    let most = if rng.u8(..) < 200 { 1 } else { 3 };
    [Side::Source, Side::Destination].map(|side| {
        Match::Port(
            transport,
            side,
            match rng.bool() {
                true => PortSet::single(rng.u16(..)),
                false => PortSet::new(apart(rng, 1, most)).unwrap(),
            },
        )
    })
}

fn address(rng: &mut Rng, sets: &[Set]) -> Match {
    let with = match sets {
        [_, ..] if rng.bool() => {
            let set = &sets[rng.usize(..sets.len())];
            AddressMatch::Set(set.name.clone(), set.elements.family())
        }
        _ => {
            let most = if rng.bool() { 1 } else { 12 };
            AddressMatch::Inline(match rng.bool() {
                true => Addresses::V4(apart(rng, 1, most).into()),
                false => Addresses::V6(apart(rng, 1, most).into()),
            })
        }
    };
    Match::Address {
        side: side(rng),
        with,
        negated: rng.u8(..) < 60,
    }
}

fn transport(rng: &mut Rng) -> Transport {
    [Transport::Tcp, Transport::Udp][rng.usize(..2)]
}

fn side(rng: &mut Rng) -> Side {
    [Side::Source, Side::Destination][rng.usize(..2)]
}

fn family(rng: &mut Rng) -> Family {
    [Family::V4, Family::V6][rng.usize(..2)]
}

/// A key of a list.
trait Number: Copy + Ord {
    const MAX: u128;
    fn from(number: u128) -> Self;
}

macro_rules! number {
    ($($number:ty),*) => { $(
        impl Number for $number {
            const MAX: u128 = <$number>::MAX as u128;
            fn from(number: u128) -> Self {
                number as $number
            }
        }
    )* };
}
number!(u16, u32, u128);

/// Intervals that neither overlap nor touch.
fn apart<T: Number>(rng: &mut Rng, least: usize, most: usize) -> Vec<Interval<T>> {
    let (count, points) = (rng.usize(least..=most), rng.u8(..4) == 0);
    let mut list: Vec<Interval<u128>> = intervals::<T>(rng, count, points);
    let mut end = None;
    list.retain(|interval| {
        let apart = end.is_none_or(|end: u128| end < T::MAX && end + 1 < interval.first);
        if apart {
            end = Some(interval.last);
        }
        apart
    });
    narrow(list)
}

/// Intervals that do not overlap, but may touch.
fn touching<T: Number>(rng: &mut Rng, count: usize, points: bool) -> Vec<Interval<T>> {
    let mut list = intervals::<T>(rng, count, points);
    let mut end = None;
    list.retain(|interval| {
        let after = end.is_none_or(|end: u128| end < interval.first);
        if after {
            end = Some(interval.last);
        }
        after
    });
    narrow(list)
}

fn narrow<T: Number>(list: Vec<Interval<u128>>) -> Vec<Interval<T>> {
    list.into_iter()
        .map(|interval| Interval {
            first: T::from(interval.first),
            last: T::from(interval.last),
        })
        .collect()
}

/// Points, networks and ranges, many of them neighbours and some at the ends of the number line; at least one.
fn intervals<T: Number>(rng: &mut Rng, count: usize, points: bool) -> Vec<Interval<u128>> {
    let mut list = Vec::new();
    let bits = T::MAX.count_ones();
    for _ in 0..count {
        let first = match rng.u8(..5) {
            0 => 0,
            1 => T::MAX,
            2 => rng.u128(..) & T::MAX & 0xff,
            _ => rng.u128(..) & T::MAX,
        };
        let (first, last) = match rng.u8(..4) {
            _ if points => (first, first),
            0 => {
                let host = (1u128 << rng.u32(..bits)) - 1;
                (first & !host, first | host)
            }
            1 => (first, first.saturating_add(rng.u128(..9)).min(T::MAX)),
            2 => (first.min(T::MAX / 2), T::MAX),
            _ => (first, first),
        };
        list.push(Interval { first, last });
    }
    list.sort_by_key(|interval| (interval.first, interval.last));
    list
}
