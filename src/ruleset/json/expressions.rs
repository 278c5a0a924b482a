//! The conditions of rules, and what stands in sets and maps.

use crate::policy::{AddressRange, Interval, Protocol};
use crate::ruleset::batch::Names;
use crate::ruleset::ir::*;
use crate::ruleset::table::EVENTS_GROUP;
use crate::ruleset::text::{own_of_another, prefix_mask};
use serde::Serialize;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

/// `10.7.0.0 . 80 comment "sg-web/in/7"`
pub(super) fn pair_element<T: Prefixed>(of: MapKey, pair: &Pair<T>) -> Value {
    let key = json!({ "concat": [pair.network.address().to_string(), pair.port] });
    match of.named(pair) {
        None => key,
        Some(reason) => json!({ "elem": { "val": key, "comment": reason.to_string() } }),
    }
}

/// What a verdict map is asked with.
pub(super) fn field(key: MapKey) -> Value {
    match key {
        MapKey::Port(transport) => payload(transport.name(), "dport"),
        MapKey::Address(side, family) => payload(family.header(), side.address()),
        MapKey::FlowPort(key, _) => flow_port(key),
        MapKey::FlowAddress(key, family) => flow_address(key, family),
        MapKey::Pair(side, family, bits, transport) => {
            let address = payload(family.header(), side.address());
            pair_key(address, family, bits, payload(transport.name(), "dport"))
        }
        MapKey::FlowPair(key, family, bits, _) => {
            pair_key(flow_address(key, family), family, bits, flow_port(key))
        }
    }
}

/// `ip saddr & 255.255.255.0 . tcp dport`
fn pair_key(address: Value, family: Family, bits: u8, port: Value) -> Value {
    let network = match prefix_mask(family, bits) {
        Some(mask) => json!({ "&": [address, mask.to_string()] }),
        None => address,
    };
    json!({ "concat": [network, port] })
}

/// `ct original proto-dst`, which must stand behind the protocol.
fn flow_port(key: FlowKey) -> Value {
    let (tuple, field) = key.port_words();
    json!({ "ct": { "key": field, "dir": tuple } })
}

/// `ct original ip saddr`
fn flow_address(key: FlowKey, family: Family) -> Value {
    let field = format!("{} saddr", family.header());
    json!({ "ct": { "key": field, "dir": key.address().name() } })
}

/// `meta l4proto tcp`
pub(super) fn protocol(number: u8) -> Value {
    is(meta("l4proto"), number)
}

/// A condition, which may take several statements.
pub(super) fn statements(each: &Match, names: &Names) -> Vec<Value> {
    let interface = |side: &Side| match side {
        Side::Source => meta("iifname"),
        Side::Destination => meta("oifname"),
    };
    let state = || json!({ "ct": { "key": "state" } });
    let source = || fib(&["saddr"]);
    let destination = || fib(&["daddr"]);
    let one = match each {
        Match::Interface(side, name) => is(interface(side), name.to_string()),
        Match::Loopback(side) => is(interface(side), "lo"),
        Match::State(is) => compare("in", state(), is.name()),
        Match::NotEstablished => compare("!=", state(), CtState::Established.name()),
        Match::Told(told) => {
            json!({ "log": { "prefix": told.to_string(), "group": EVENTS_GROUP } })
        }
        Match::FlowSide(side) => is(json!({ "ct": { "key": "direction" } }), side.name()),
        Match::Marked(_) | Match::MarkedOr(..) | Match::OpenedSomewhere => {
            let bits = names.bits().asked(each).unwrap_or_default();
            compare("in", json!({ "ct": { "key": "label" } }), bits)
        }
        Match::SetMarks(_) => {
            // Two at a time, as nft 1.0.6 reads it.
            let bits = names.bits().asked(each).unwrap_or_default().into_iter();
            let bits = bits.map(|bit| json!(bit));
            let Some(value) = bits.reduce(|all, bit| json!({ "|": [all, bit] })) else {
                // Nothing to set.
                return Vec::new();
            };
            json!({ "mangle": { "key": { "ct": { "key": "label" } }, "value": value } })
        }
        Match::OwnOfAnother(direction) => {
            let (address, device) = own_of_another(*direction);
            let another = compare("!=", fib(&[address, device]), "local");
            return vec![is(fib(&[address]), "local"), another];
        }
        Match::WithoutSyn => is(json!({ "&": [payload("tcp", "flags"), "syn"] }), 0),
        Match::PortOutside(range) => compare("!=", payload("tcp", "sport"), number_interval(range)),
        Match::FlowPort(key, transport, ports) => {
            let ports = elements(ports.intervals().iter().map(number_interval));
            return vec![protocol(transport.protocol().0), is(flow_port(*key), ports)];
        }
        Match::FlowAddress { key, with, negated } => {
            let field = flow_address(*key, with.family());
            compare(equal(*negated), field, compared(with, names))
        }
        Match::Family(family) => is(meta("nfproto"), family.nfproto()),
        Match::Protocol(number) => protocol(*number),
        Match::Port(transport, side, ports) => {
            let field = match side {
                Side::Source => "sport",
                Side::Destination => "dport",
            };
            let ports = elements(ports.intervals().iter().map(number_interval));
            is(payload(transport.name(), field), ports)
        }
        Match::Address {
            side,
            with,
            negated,
        } => {
            let field = payload(with.family().header(), side.address());
            compare(equal(*negated), field, compared(with, names))
        }
        Match::IcmpType(types) => is(payload("icmp", "type"), types_set(types)),
        Match::Icmpv6Type(types) => is(payload("icmpv6", "type"), types_set(types)),
        Match::HopLimit(hops) => is(payload("ip6", "hoplimit"), *hops),
        Match::ToThisHost => is(
            destination(),
            json!({ "set": ["local", "broadcast", "anycast", "multicast"] }),
        ),
        Match::FromProcess => is(meta("iif"), 0),
        Match::FromLinkToMany => {
            let from_link = json!({ "set": ["::", prefix("fe80::", 10)] });
            return vec![
                is(payload("ip6", "saddr"), from_link),
                is(payload("ip6", "daddr"), prefix("ff00::", 8)),
            ];
        }
        // nft's older word for `meta ipsec`, which every nft reads.
        Match::Decrypted => is(meta("secpath"), true),
        Match::WillEncrypt => rt_ipsec(true),
        Match::LoopedBack => {
            let to_many = json!({ "set": ["broadcast", "multicast"] });
            return vec![
                rt_ipsec(false),
                is(source(), "local"),
                is(destination(), to_many),
            ];
        }
        Match::FromOwnAddress => is(source(), "local"),
        Match::FromUnspecified => is(payload("ip", "saddr"), "0.0.0.0"),
        Match::ToOwnOrBroadcast => is(destination(), json!({ "set": ["local", "broadcast"] })),
        Match::ToOwnLinkLocal => {
            return vec![
                is(payload("ip6", "daddr"), prefix("fe80::", 10)),
                is(destination(), "local"),
            ];
        }
        Match::LinkIgmp => {
            return vec![
                protocol(Protocol::IGMP.0),
                is(payload("ip", "ttl"), 1),
                is(payload("ip", "daddr"), prefix("224.0.0.0", 4)),
            ];
        }
        Match::HasLinkHeader => {
            let first = json!({ "payload": { "base": "ll", "offset": 0, "len": 8 } });
            compare(">=", first, 0)
        }
        Match::EnteredByEthernet => is(meta("iiftype"), "ether"),
        Match::EnteredByKind(kind) => is(meta("iifkind"), kind.name()),
    };
    vec![one]
}

fn is(left: Value, right: impl Serialize) -> Value {
    compare("==", left, right)
}

fn compare(op: &str, left: Value, right: impl Serialize) -> Value {
    json!({ "match": { "op": op, "left": left, "right": right } })
}

fn equal(negated: bool) -> &'static str {
    if negated { "!=" } else { "==" }
}

/// What an address is compared with.
fn compared(with: &AddressMatch, names: &Names) -> Value {
    match with {
        AddressMatch::Inline(addresses) => elements(address_list(addresses)),
        AddressMatch::Set(name, _) => json!(format!("@{}", names.of(name))),
    }
}

fn meta(key: &str) -> Value {
    json!({ "meta": { "key": key } })
}

fn rt_ipsec(exists: bool) -> Value {
    is(json!({ "rt": { "key": "ipsec" } }), exists)
}

fn payload(protocol: &str, field: &str) -> Value {
    json!({ "payload": { "protocol": protocol, "field": field } })
}

fn fib(flags: &[&str]) -> Value {
    json!({ "fib": { "result": "type", "flags": flags } })
}

/// One element as it is, several as an anonymous set.
fn elements(list: impl IntoIterator<Item = Value>) -> Value {
    let mut list: Vec<Value> = list.into_iter().collect();
    match list.len() {
        1 => list.swap_remove(0),
        _ => json!({ "set": list }),
    }
}

fn types_set(types: &[(u8, u8)]) -> Value {
    let types = types.iter();
    elements(types.map(|(first, last)| number_interval(&Interval::between(*first, *last))))
}

pub(super) fn number_interval<T: Serialize + PartialEq>(interval: &Interval<T>) -> Value {
    match interval.first == interval.last {
        true => json!(interval.first),
        false => json!({ "range": [interval.first, interval.last] }),
    }
}

pub(super) fn address_list(addresses: &Addresses) -> Vec<Value> {
    match addresses {
        Addresses::V4(list) => list.iter().map(|i| address(AddressRange::V4(*i))).collect(),
        Addresses::V6(list) => list.iter().map(|i| address(AddressRange::V6(*i))).collect(),
    }
}

fn prefix(network: &str, length: u8) -> Value {
    json!({ "prefix": { "addr": network, "len": length } })
}

/// A range as nft reads it: an address, a prefix, or two addresses.
pub(super) fn address(range: AddressRange) -> Value {
    let (first, last) = match range {
        AddressRange::V4(i) => (
            Ipv4Addr::from(i.first).to_string(),
            Ipv4Addr::from(i.last).to_string(),
        ),
        AddressRange::V6(i) => (
            Ipv6Addr::from(i.first).to_string(),
            Ipv6Addr::from(i.last).to_string(),
        ),
    };
    match range.prefix_length() {
        _ if first == last => json!(first),
        Some(length) => prefix(&first, length),
        None => json!({ "range": [first, last] }),
    }
}
