//! One rule, or one element of a set or a map, as text.

use crate::policy::{AddressRange, Direction, Interval, PortSet};
use crate::ruleset::batch::{Elements, Names};
use crate::ruleset::ir::*;
use crate::ruleset::table::{BaseChain, EVENTS_GROUP};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One rule: its conditions, its counter, its verdict, and the reason as comment.
pub fn rule_text(rule: &NftRule, names: &Names) -> String {
    let mut words: Vec<String> = rule
        .matches
        .iter()
        .map(|each| match_text(each, names))
        .filter(|text| !text.is_empty())
        .collect();
    if rule.counts() {
        words.push("counter".into());
    }
    words.push(verdict_text(&rule.verdict, names));
    if let Some(reason) = rule.named() {
        words.push(format!("comment \"{reason}\""));
    }
    words.join(" ")
}

pub(super) fn verdict_text(verdict: &NftVerdict, names: &Names) -> String {
    match verdict {
        NftVerdict::Accept | NftVerdict::Observe(None) => "accept".into(),
        NftVerdict::Drop => "drop".into(),
        NftVerdict::Return => "return".into(),
        NftVerdict::Jump(chain) => format!("jump {}", names.of(chain)),
        NftVerdict::Goto(chain) | NftVerdict::Pass(chain) | NftVerdict::Observe(Some(chain)) => {
            format!("goto {}", names.of(chain))
        }
        NftVerdict::Map(key, map) => format!("{} vmap @{}", key_text(*key), names.of(map)),
    }
}

pub(super) fn key_text(key: MapKey) -> String {
    match key {
        MapKey::Port(transport) => format!("{} dport", transport.name()),
        MapKey::Address(side, family) => format!("{} {}", family.header(), side.address()),
        MapKey::FlowPort(key, transport) => flow_port(key, transport),
        MapKey::FlowAddress(key, family) => flow_address(key, family),
        MapKey::Pair(side, family, bits, transport) => format!(
            "{} {}{} . {} dport",
            family.header(),
            side.address(),
            mask(family, bits),
            transport.name()
        ),
        MapKey::FlowPair(key, family, bits, transport) => format!(
            "meta l4proto {} {}{} . {}",
            transport.name(),
            flow_address(key, family),
            mask(family, bits),
            key.port_field()
        ),
    }
}

/// ` & 255.255.255.0`; nothing for a whole address.
fn mask(family: Family, bits: u8) -> String {
    match prefix_mask(family, bits) {
        Some(mask) => format!(" & {mask}"),
        None => String::new(),
    }
}

/// `255.255.255.0`; nothing for a whole address.
pub fn prefix_mask(family: Family, bits: u8) -> Option<IpAddr> {
    match family {
        Family::V4 => (bits < 32).then(|| Ipv4Addr::from(u32::mask(bits)).into()),
        Family::V6 => (bits < 128).then(|| Ipv6Addr::from(u128::mask(bits)).into()),
    }
}

/// `meta l4proto tcp ct original proto-dst`: nft takes a port of connection tracking for one only behind its protocol.
fn flow_port(key: FlowKey, transport: Transport) -> String {
    format!("meta l4proto {} {}", transport.name(), key.port_field())
}

/// `ct original ip saddr`
fn flow_address(key: FlowKey, family: Family) -> String {
    format!("ct {} {} saddr", key.address().name(), family.header())
}

pub(super) fn map_type(key: MapKey) -> String {
    match key {
        MapKey::Port(_) | MapKey::FlowPort(..) => "inet_service".into(),
        MapKey::Address(_, family) | MapKey::FlowAddress(_, family) => family.address_type().into(),
        MapKey::Pair(_, family, ..) | MapKey::FlowPair(_, family, ..) => {
            format!("{} . inet_service", family.address_type())
        }
    }
}

/// `type filter hook prerouting priority -160; policy accept;`
pub(super) fn base_head(base: &BaseChain) -> String {
    let (hook, priority) = (base.hook, base.priority);
    format!("type filter hook {hook} priority {priority}; policy accept;")
}

/// `type ipv4_addr`, `flags interval`
pub(super) fn set_head(family: Family, intervals: bool) -> Vec<String> {
    head(family.address_type().into(), intervals, false)
}

/// `type ipv4_addr : verdict`, `flags interval`; `type ipv4_addr . inet_service : verdict`, `counter`
pub(super) fn map_head(key: MapKey, intervals: bool) -> Vec<String> {
    head(
        format!("{} : verdict", map_type(key)),
        intervals,
        key.counts(),
    )
}

/// Intervals need a tree, single points a hash.
fn head(kind: String, intervals: bool, counts: bool) -> Vec<String> {
    let mut lines = vec![format!("type {kind}")];
    lines.extend(intervals.then(|| "flags interval".into()));
    lines.extend(counts.then(|| "counter".into()));
    lines
}

/// `10.0.0.0/8 : goto g7_in_0_3`, `10.7.0.0 . 80 comment "sg-web/in/7" : drop`; the keys alone without names.
pub(super) fn element_list(elements: Elements, names: Option<&Names>) -> Vec<String> {
    let mapped = |key: String, verdict: &NftVerdict| match names {
        Some(names) => format!("{key} : {}", verdict_text(verdict, names)),
        None => key,
    };
    let v4 = |i: &Interval<u32>| AddressRange::V4(*i).to_string();
    let v6 = |i: &Interval<u128>| AddressRange::V6(*i).to_string();
    match elements {
        Elements::V4(list) => list.iter().map(v4).collect(),
        Elements::V6(list) => list.iter().map(v6).collect(),
        Elements::PortMap(list) => list.iter().map(|(i, to)| mapped(interval(i), to)).collect(),
        Elements::V4Map(list) => list.iter().map(|(i, to)| mapped(v4(i), to)).collect(),
        Elements::V6Map(list) => list.iter().map(|(i, to)| mapped(v6(i), to)).collect(),
        Elements::V4Pairs(of, list) => list
            .iter()
            .map(|pair| mapped(pair_text(of, pair, names), &pair.verdict))
            .collect(),
        Elements::V6Pairs(of, list) => list
            .iter()
            .map(|pair| mapped(pair_text(of, pair, names), &pair.verdict))
            .collect(),
    }
}

/// `10.7.0.0 . 80 comment "sg-web/in/7"`; the key alone without names.
pub(super) fn pair_text<T: Prefixed>(of: MapKey, pair: &Pair<T>, names: Option<&Names>) -> String {
    let key = format!("{} . {}", pair.network.address(), pair.port);
    match of.named(pair).filter(|_| names.is_some()) {
        Some(reason) => format!("{key} comment \"{reason}\""),
        None => key,
    }
}

pub(super) fn match_text(each: &Match, names: &Names) -> String {
    let name = |side: &Side, source: &'static str, destination: &'static str| match side {
        Side::Source => source,
        Side::Destination => destination,
    };
    match each {
        Match::Interface(side, interface) => {
            format!("{} \"{interface}\"", name(side, "iifname", "oifname"))
        }
        Match::Loopback(side) => format!("{} \"lo\"", name(side, "iifname", "oifname")),
        Match::State(state) => format!("ct state {}", state.name()),
        Match::Told(told) => format!("log prefix \"{told}\" group {EVENTS_GROUP}"),
        Match::NotEstablished => format!("ct state != {}", CtState::Established.name()),
        Match::FlowSide(side) => format!("ct direction {}", side.name()),
        Match::Marked(_) | Match::MarkedOr(..) | Match::OpenedSomewhere => {
            let bits = names.bits().asked(each).unwrap_or_default();
            format!("ct label {}", joined(&bits, ","))
        }
        Match::SetMarks(_) => match names.bits().asked(each).unwrap_or_default().as_slice() {
            // Nothing to set.
            [] => String::new(),
            bits => format!("ct label set {}", joined(bits, " | ")),
        },
        Match::Family(family) => format!("meta nfproto {}", family.nfproto()),
        Match::Protocol(protocol) => format!("meta l4proto {protocol}"),
        Match::Port(transport, side, ports) => format!(
            "{} {} {}",
            transport.name(),
            name(side, "sport", "dport"),
            elements(&port_list(ports))
        ),
        Match::Address {
            side,
            with,
            negated,
        } => {
            let (family, value) = compared(with, names);
            let header = family.header();
            let not = if *negated { "!= " } else { "" };
            format!("{header} {} {not}{value}", name(side, "saddr", "daddr"))
        }
        Match::FlowPort(key, transport, ports) => {
            let field = flow_port(*key, *transport);
            format!("{field} {}", elements(&port_list(ports)))
        }
        Match::FlowAddress { key, with, negated } => {
            let (family, value) = compared(with, names);
            let not = if *negated { "!= " } else { "" };
            format!("{} {not}{value}", flow_address(*key, family))
        }
        Match::IcmpType(types) => format!("icmp type {}", elements(&pairs(types))),
        Match::Icmpv6Type(types) => format!("icmpv6 type {}", elements(&pairs(types))),
        Match::HopLimit(hops) => format!("ip6 hoplimit {hops}"),
        Match::ToThisHost => "fib daddr type { local, broadcast, anycast, multicast }".into(),
        Match::FromProcess => "meta iif 0".into(),
        Match::OwnOfAnother(direction) => {
            let (address, device) = own_of_another(*direction);
            format!("fib {address} type local fib {address} . {device} type != local")
        }
        Match::WithoutSyn => "tcp flags ! syn".into(),
        Match::PortOutside(range) => format!("tcp sport != {}", interval(range)),
        Match::FromLinkToMany => "ip6 saddr { ::, fe80::/10 } ip6 daddr ff00::/8".into(),
        Match::Decrypted => "meta ipsec exists".into(),
        Match::WillEncrypt => "rt ipsec exists".into(),
        Match::LoopedBack => {
            "rt ipsec missing fib saddr type local fib daddr type { broadcast, multicast }".into()
        }
        Match::FromOwnAddress => "fib saddr type local".into(),
        Match::FromUnspecified => "ip saddr 0.0.0.0".into(),
        Match::ToOwnOrBroadcast => "fib daddr type { local, broadcast }".into(),
        Match::ToOwnLinkLocal => "ip6 daddr fe80::/10 fib daddr type local".into(),
        Match::LinkIgmp => "meta l4proto 2 ip ttl 1 ip daddr 224.0.0.0/4".into(),
        Match::HasLinkHeader => "@ll,0,8 >= 0".into(),
        Match::EnteredByEthernet => "meta iiftype ether".into(),
        Match::EnteredByKind(kind) => format!("meta iifkind \"{}\"", kind.name()),
    }
}

/// The host's end of a packet, and the interface that it crosses, in the words of `fib`.
pub fn own_of_another(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Inbound => ("daddr", "iif"),
        Direction::Outbound => ("saddr", "oif"),
    }
}

fn joined(bits: &[u8], separator: &str) -> String {
    let texts: Vec<String> = bits.iter().map(u8::to_string).collect();
    texts.join(separator)
}

/// What an address is compared with.
fn compared(with: &AddressMatch, names: &Names) -> (Family, String) {
    match with {
        AddressMatch::Inline(addresses) => (addresses.family(), elements(&address_list(addresses))),
        AddressMatch::Set(set, family) => (*family, format!("@{}", names.of(set))),
    }
}

/// One element as it is, several in braces.
pub(super) fn elements(list: &[String]) -> String {
    match list {
        [one] => one.clone(),
        many => format!("{{ {} }}", many.join(", ")),
    }
}

pub(super) fn address_list(addresses: &Addresses) -> Vec<String> {
    element_list(
        match addresses {
            Addresses::V4(intervals) => Elements::V4(intervals),
            Addresses::V6(intervals) => Elements::V6(intervals),
        },
        None,
    )
}

fn port_list(ports: &PortSet) -> Vec<String> {
    ports.intervals().iter().map(interval).collect()
}

fn pairs(types: &[(u8, u8)]) -> Vec<String> {
    types
        .iter()
        .map(|(first, last)| interval(&Interval::between(*first, *last)))
        .collect()
}

pub(super) fn interval<T: Display + PartialEq>(interval: &Interval<T>) -> String {
    match interval.first == interval.last {
        true => interval.first.to_string(),
        false => format!("{}-{}", interval.first, interval.last),
    }
}
