//! The conditions of rules, and what stands in sets and maps, in the types of the crate.

use crate::policy::{AddressRange, Interval, Protocol};
use crate::ruleset::batch::Names;
use crate::ruleset::ir::*;
use crate::ruleset::table::EVENTS_GROUP;
use crate::ruleset::text::{own_of_another, prefix_mask};
use nftables::expr::{
    BinaryOperation, CT, CTDir, Elem, Expression, Fib, FibFlag, FibResult, Meta, MetaKey,
    NamedExpression, Payload, PayloadBase, PayloadField, PayloadRaw, Prefix, Range, SetItem,
};
use nftables::stmt::{Log, Match as NfMatch, Operator, Statement as NfStatement};
use serde::Serialize;
use serde_json::json;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A statement of a rule: as the crate has it, or as it lacks it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Statement {
    Known(NfStatement<'static>),
    Own(serde_json::Value),
}

/// `10.7.0.0 . 80 comment "sg-web/in/7"`
pub(super) fn pair_element<T: Prefixed>(of: MapKey, pair: &Pair<T>) -> Expression<'static> {
    let port = Expression::Number(pair.port.into());
    let key = named(NamedExpression::Concat(vec![
        text(pair.network.address()),
        port,
    ]));
    match of.named(pair) {
        None => key,
        Some(reason) => named(NamedExpression::Elem(Elem {
            val: Box::new(key),
            timeout: None,
            expires: None,
            comment: Some(reason.to_string().into()),
            counter: None,
        })),
    }
}

pub(super) fn key_expression(key: MapKey) -> Expression<'static> {
    match key {
        MapKey::Port(transport) => payload(transport.name(), "dport"),
        MapKey::Address(side, family) => payload(family.header(), side.address()),
        MapKey::FlowPort(key, _) => flow_port(key),
        MapKey::FlowAddress(key, family) => flow_address(key, family),
        MapKey::Pair(side, family, bits, transport) => {
            let address = payload(family.header(), side.address());
            let port = payload(transport.name(), "dport");
            pair_key(address, family, bits, port)
        }
        MapKey::FlowPair(key, family, bits, _) => {
            let address = flow_address(key, family);
            pair_key(address, family, bits, flow_port(key))
        }
    }
}

/// `ip saddr & 255.255.255.0 . tcp dport`
fn pair_key(
    address: Expression<'static>,
    family: Family,
    bits: u8,
    port: Expression<'static>,
) -> Expression<'static> {
    let network = match prefix_mask(family, bits) {
        Some(mask) => {
            Expression::BinaryOperation(Box::new(BinaryOperation::AND(address, text(mask))))
        }
        None => address,
    };
    named(NamedExpression::Concat(vec![network, port]))
}

/// `ct original proto-dst`, which must stand behind the protocol.
fn flow_port(key: FlowKey) -> Expression<'static> {
    let (tuple, field) = key.port_words();
    ct(field, Some(tuple))
}

/// `ct original ip saddr`
fn flow_address(key: FlowKey, family: Family) -> Expression<'static> {
    let field = match family {
        Family::V4 => "ip saddr",
        Family::V6 => "ip6 saddr",
    };
    ct(field, Some(key.address().name()))
}

pub(super) fn ct(key: &'static str, side: Option<&'static str>) -> Expression<'static> {
    let dir = side.map(|side| match side {
        "original" => CTDir::Original,
        _ => CTDir::Reply,
    });
    named(NamedExpression::CT(CT {
        key: key.into(),
        family: None,
        dir,
    }))
}

/// `meta l4proto tcp`
pub(super) fn protocol(number: u8) -> Statement {
    let meta = named(NamedExpression::Meta(Meta {
        key: MetaKey::L4proto,
    }));
    matches(Operator::EQ, meta, Expression::Number(u32::from(number)))
}

/// A condition, which may take several statements.
pub(super) fn statements(each: &Match, names: &Names) -> Vec<Statement> {
    let meta = |key| named(NamedExpression::Meta(Meta { key }));
    let interface = |side: &Side| {
        meta(if *side == Side::Source {
            MetaKey::Iifname
        } else {
            MetaKey::Oifname
        })
    };
    let one = |left, right| vec![matches(Operator::EQ, left, right)];
    match each {
        Match::Interface(side, name) => one(interface(side), text(name)),
        Match::Loopback(side) => one(interface(side), text("lo")),
        Match::State(state) => {
            vec![matches(Operator::IN, ct("state", None), text(state.name()))]
        }
        Match::Told(told) => vec![Statement::Known(NfStatement::Log(Some(Log {
            prefix: Some(told.to_string().into()),
            ..Log::new(Some(EVENTS_GROUP.into()))
        })))],
        Match::NotEstablished => vec![matches(
            Operator::NEQ,
            ct("state", None),
            text(CtState::Established.name()),
        )],
        Match::FlowSide(side) => one(ct("direction", None), text(side.name())),
        Match::Marked(_) | Match::MarkedOr(..) | Match::OpenedSomewhere => {
            let bits = names.bits().asked(each).unwrap_or_default();
            let labels = json!({ "match": { "op": "in", "left": { "ct": { "key": "label" } }, "right": bits } });
            vec![Statement::Own(labels)]
        }
        Match::SetMarks(_) => match names.bits().asked(each).unwrap_or_default() {
            // Nothing to set.
            bits if bits.is_empty() => Vec::new(),
            bits => {
                // Two at a time, as nft 1.0.6 reads it.
                let mut bits = bits.into_iter().map(|bit| json!(bit));
                let first = bits.next().unwrap_or_default();
                let value = bits.fold(first, |all, bit| json!({ "|": [all, bit] }));
                let set =
                    json!({ "mangle": { "key": { "ct": { "key": "label" } }, "value": value } });
                vec![Statement::Own(set)]
            }
        },
        Match::OwnOfAnother(direction) => {
            let (address, device) = own_of_another(*direction);
            let fib = |flags: &[&str]| json!({ "fib": { "result": "type", "flags": flags } });
            let is = |op, left| {
                Statement::Own(json!({ "match": { "op": op, "left": left, "right": "local" } }))
            };
            vec![is("==", fib(&[address])), is("!=", fib(&[address, device]))]
        }
        Match::WithoutSyn => vec![Statement::Own(json!({ "match": {
            "op": "==",
            "left": { "&": [{ "payload": { "protocol": "tcp", "field": "flags" } }, "syn"] },
            "right": 0,
        } }))],
        Match::PortOutside(range) => vec![matches(
            Operator::NEQ,
            payload("tcp", "sport"),
            number_interval(range),
        )],
        Match::FlowPort(key, transport, ports) => vec![
            protocol(transport.protocol().0),
            matches(
                Operator::EQ,
                flow_port(*key),
                elements(ports.intervals().iter().map(number_interval).collect()),
            ),
        ],
        Match::FlowAddress { key, with, negated } => {
            let left = flow_address(*key, with.family());
            vec![matches(equal(*negated), left, compared(with, names))]
        }
        Match::Family(family) => one(meta(MetaKey::Nfproto), text(family.nfproto())),
        Match::Protocol(protocol) => one(
            meta(MetaKey::L4proto),
            Expression::Number(u32::from(*protocol)),
        ),
        Match::Port(transport, side, ports) => {
            let field = if *side == Side::Source {
                "sport"
            } else {
                "dport"
            };
            one(
                payload(transport.name(), field),
                elements(ports.intervals().iter().map(number_interval).collect()),
            )
        }
        Match::Address {
            side,
            with,
            negated,
        } => {
            let left = payload(with.family().header(), side.address());
            vec![matches(equal(*negated), left, compared(with, names))]
        }
        Match::IcmpType(types) => one(payload("icmp", "type"), types_set(types)),
        Match::Icmpv6Type(types) => one(payload("icmpv6", "type"), types_set(types)),
        Match::HopLimit(hops) => one(
            payload("ip6", "hoplimit"),
            Expression::Number(u32::from(*hops)),
        ),
        Match::ToThisHost => one(
            fib(&[FibFlag::Daddr]),
            words(&["local", "broadcast", "anycast", "multicast"]),
        ),
        Match::FromProcess => one(meta(MetaKey::Iif), Expression::Number(0)),
        Match::FromLinkToMany => vec![
            matches(
                Operator::EQ,
                payload("ip6", "saddr"),
                elements(vec![text("::"), prefix("fe80::", 10)]),
            ),
            matches(Operator::EQ, payload("ip6", "daddr"), prefix("ff00::", 8)),
        ],
        // nft's older word for `meta ipsec`, which the crate knows and every nft reads.
        Match::Decrypted => one(meta(MetaKey::Secpath), Expression::Boolean(true)),
        Match::WillEncrypt => vec![rt_ipsec(true)],
        Match::LoopedBack => vec![
            rt_ipsec(false),
            matches(Operator::EQ, fib(&[FibFlag::Saddr]), text("local")),
            matches(
                Operator::EQ,
                fib(&[FibFlag::Daddr]),
                words(&["broadcast", "multicast"]),
            ),
        ],
        Match::FromOwnAddress => one(fib(&[FibFlag::Saddr]), text("local")),
        Match::FromUnspecified => one(payload("ip", "saddr"), text("0.0.0.0")),
        Match::ToOwnOrBroadcast => one(fib(&[FibFlag::Daddr]), words(&["local", "broadcast"])),
        Match::ToOwnLinkLocal => vec![
            matches(Operator::EQ, payload("ip6", "daddr"), prefix("fe80::", 10)),
            matches(Operator::EQ, fib(&[FibFlag::Daddr]), text("local")),
        ],
        Match::LinkIgmp => vec![
            protocol(Protocol::IGMP.0),
            matches(Operator::EQ, payload("ip", "ttl"), Expression::Number(1)),
            matches(Operator::EQ, payload("ip", "daddr"), prefix("224.0.0.0", 4)),
        ],
        Match::HasLinkHeader => vec![matches(
            Operator::GEQ,
            named(NamedExpression::Payload(Payload::PayloadRaw(PayloadRaw {
                base: PayloadBase::LL,
                offset: 0,
                len: 8,
            }))),
            Expression::Number(0),
        )],
        Match::EnteredByEthernet => one(meta(MetaKey::Iiftype), text("ether")),
        Match::EnteredByKind(kind) => one(meta(MetaKey::Iifkind), text(kind.name())),
    }
}

fn equal(negated: bool) -> Operator {
    match negated {
        true => Operator::NEQ,
        false => Operator::EQ,
    }
}

/// What an address is compared with.
fn compared(with: &AddressMatch, names: &Names) -> Expression<'static> {
    match with {
        AddressMatch::Inline(addresses) => elements(address_list(addresses)),
        AddressMatch::Set(name, _) => text(format!("@{}", names.of(name))),
    }
}

/// `rt ipsec exists`, which the crate's `RTKey` lacks.
fn rt_ipsec(exists: bool) -> Statement {
    Statement::Own(
        json!({ "match": { "op": "==", "left": { "rt": { "key": "ipsec" } }, "right": exists } }),
    )
}

pub(super) fn matches(
    op: Operator,
    left: Expression<'static>,
    right: Expression<'static>,
) -> Statement {
    Statement::Known(NfStatement::Match(NfMatch { left, right, op }))
}

fn named(expression: NamedExpression<'static>) -> Expression<'static> {
    Expression::Named(expression)
}

pub(super) fn text(text: impl ToString) -> Expression<'static> {
    Expression::String(text.to_string().into())
}

fn words(list: &[&'static str]) -> Expression<'static> {
    elements(list.iter().map(text).collect())
}

fn payload(protocol: &'static str, field: &'static str) -> Expression<'static> {
    named(NamedExpression::Payload(Payload::PayloadField(
        PayloadField {
            protocol: protocol.into(),
            field: field.into(),
        },
    )))
}

fn fib(flags: &[FibFlag]) -> Expression<'static> {
    named(NamedExpression::Fib(Fib {
        result: FibResult::Type,
        flags: flags.iter().copied().collect(),
    }))
}

/// One element as it is, several as an anonymous set.
fn elements(mut list: Vec<Expression<'static>>) -> Expression<'static> {
    match list.len() {
        1 => list.swap_remove(0),
        _ => named(NamedExpression::Set(
            list.into_iter().map(SetItem::Element).collect(),
        )),
    }
}

fn types_set(types: &[(u8, u8)]) -> Expression<'static> {
    elements(
        types
            .iter()
            .map(|(first, last)| {
                number_interval(&Interval::between(u16::from(*first), u16::from(*last)))
            })
            .collect(),
    )
}

pub(super) fn number_interval(interval: &Interval<u16>) -> Expression<'static> {
    let number = |number: u16| Expression::Number(u32::from(number));
    match interval.first == interval.last {
        true => number(interval.first),
        false => range(number(interval.first), number(interval.last)),
    }
}

fn range(first: Expression<'static>, last: Expression<'static>) -> Expression<'static> {
    Expression::Range(Box::new(Range {
        range: [first, last],
    }))
}

pub(super) fn address_list(addresses: &Addresses) -> Vec<Expression<'static>> {
    match addresses {
        Addresses::V4(intervals) => intervals
            .iter()
            .map(|i| address(AddressRange::V4(*i)))
            .collect(),
        Addresses::V6(intervals) => intervals
            .iter()
            .map(|i| address(AddressRange::V6(*i)))
            .collect(),
    }
}

fn prefix(network: &str, len: u32) -> Expression<'static> {
    named(NamedExpression::Prefix(Prefix {
        addr: Box::new(text(network)),
        len,
    }))
}

/// A range as nft wants it: an address, a prefix, or two addresses.
pub(super) fn address(each: AddressRange) -> Expression<'static> {
    let written = each.to_string();
    if let Some((network, length)) = written.split_once('/') {
        return prefix(network, length.parse().unwrap_or(0));
    }
    if !written.contains('-') {
        return text(written);
    }
    match each {
        AddressRange::V4(i) => range(text(Ipv4Addr::from(i.first)), text(Ipv4Addr::from(i.last))),
        AddressRange::V6(i) => range(text(Ipv6Addr::from(i.first)), text(Ipv6Addr::from(i.last))),
    }
}
