//! The ruleset as nft's JSON, through the types of the `nftables` crate.
//!
//! What the crate cannot say (`rt ipsec`) has a serde type of its own; see [`Statement`].

use super::ended::{FAMILIES, ended_set, remembered_for};
use super::ir::*;
use super::table::{
    BASE_CHAINS, DIRECTIONS, EVENTS_GROUP, Generation, Hook, Stamp, TABLE, passed_chain,
};
use super::text::prefix_mask;
use crate::policy::{AddressRange, Direction, Interval};
use nftables::expr::{
    BinaryOperation, CT, CTDir, Elem, Expression, Fib, FibFlag, FibResult, Meta, MetaKey,
    NamedExpression, Payload, PayloadField, Prefix, Range, SetItem,
};
use nftables::schema::{
    Chain as NfChain, NfListObject, Set as NfSet, SetFlag, SetType, SetTypeValue, Table,
};
use nftables::stmt::{
    AnonymousCounter, Counter, JumpTarget, Log, Match as NfMatch, Operator,
    Statement as NfStatement, VerdictMap,
};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use serde::Serialize;
use serde_json::json;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A batch for `nft -j -f -`.
#[derive(Debug, Serialize)]
pub struct Batch {
    nftables: Vec<Command>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Command {
    Add(Object),
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Object {
    Known(Box<NfListObject<'static>>),
    Rule { rule: RuleObject },
    Map { map: MapObject },
}

/// The crate's rule, but with [`Statement`]s.
#[derive(Debug, Serialize)]
struct RuleObject {
    family: NfFamily,
    table: &'static str,
    chain: String,
    expr: Vec<Statement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// A verdict map, which the crate's types of sets lack.
#[derive(Debug, Serialize)]
struct MapObject {
    family: NfFamily,
    table: &'static str,
    name: String,
    #[serde(rename = "type")]
    key: SetTypeValue<'static>,
    map: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flags: Vec<SetFlag>,
    /// `[{ "counter": null }]` where each element counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stmt: Vec<serde_json::Value>,
    elem: Vec<(Expression<'static>, serde_json::Value)>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Statement {
    Known(NfStatement<'static>),
    Own(serde_json::Value),
}

/// The whole table with one generation switched in, as [`super::text::table`] prints it.
pub fn table(ruleset: &Ruleset, generation: Generation) -> Batch {
    let mut commands = vec![known(NfListObject::Table(Table {
        family: NfFamily::INet,
        name: TABLE.into(),
        handle: None,
    }))];
    commands.extend(ruleset.sets.iter().map(|each| set(each, generation)));
    let remembers = FAMILIES.into_iter().filter(|_| ruleset.recheck);
    commands.extend(remembers.map(|family| {
        let address = match family {
            Family::V4 => SetType::Ipv4Addr,
            Family::V6 => SetType::Ipv6Addr,
        };
        let port = SetType::InetService;
        known(NfListObject::Set(Box::new(NfSet {
            family: NfFamily::INet,
            table: TABLE.into(),
            name: ended_set(family).into(),
            set_type: SetTypeValue::Concatenated(
                vec![address, port, address, port, SetType::InetProto].into(),
            ),
            // nft 1.0.6 has no word for `dynamic` in JSON, and takes it from the rules.
            flags: Some([SetFlag::Timeout].into()),
            ..NfSet::default()
        })))
    }));
    commands.extend(DIRECTIONS.map(|direction| {
        let name = passed_chain(direction).to_owned();
        known(NfListObject::Chain(own_chain(name)))
    }));
    let chains = ruleset.chains.iter();
    commands.extend(chains.clone().map(|chain| {
        known(NfListObject::Chain(own_chain(
            generation.object(&chain.name),
        )))
    }));
    commands.extend(BASE_CHAINS.iter().map(|base| {
        known(NfListObject::Chain(NfChain {
            _type: Some(NfChainType::Filter),
            hook: Some(match base.hook {
                Hook::Prerouting => NfHook::Prerouting,
                Hook::Input => NfHook::Input,
                Hook::Postrouting => NfHook::Postrouting,
            }),
            prio: Some(base.priority),
            policy: Some(NfChainPolicy::Accept),
            ..own_chain(base.name.to_owned())
        }))
    }));
    commands.extend(ruleset.maps.iter().map(|each| map(each, generation)));
    if ruleset.recheck {
        commands.extend(DIRECTIONS.into_iter().flat_map(passed_rules));
    }
    for chain in chains {
        commands.extend(
            chain
                .rules
                .iter()
                .map(|each| rule(each, generation.object(&chain.name), generation)),
        );
    }
    for base in BASE_CHAINS {
        let jump = NftRule {
            matches: vec![],
            verdict: NftVerdict::Jump(base.name.into()),
            reason: None,
        };
        commands.push(rule(&jump, base.name.to_owned(), generation));
    }
    Batch { nftables: commands }
}

/// `ct direction original ct label set 64 accept`, and `accept`
fn passed_rules(direction: Direction) -> [Command; 2] {
    let label = Stamp::default().label(direction);
    let set = json!({ "mangle": { "key": { "ct": { "key": "label" } }, "value": label } });
    let original = matches(Operator::EQ, ct("direction", None), text("original"));
    let accept = || Statement::Known(NfStatement::Accept(None));
    let stamping = vec![original, Statement::Own(set), accept()];
    [stamping, vec![accept()]].map(|expr| {
        Command::Add(Object::Rule {
            rule: RuleObject {
                family: NfFamily::INet,
                table: TABLE,
                chain: passed_chain(direction).to_owned(),
                expr,
                comment: None,
            },
        })
    })
}

fn known(object: NfListObject<'static>) -> Command {
    Command::Add(Object::Known(Box::new(object)))
}

fn own_chain(name: String) -> NfChain<'static> {
    NfChain {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: name.into(),
        ..NfChain::default()
    }
}

fn set(each: &Set, generation: Generation) -> Command {
    let set_type = match each.elements.family() {
        Family::V4 => SetType::Ipv4Addr,
        Family::V6 => SetType::Ipv6Addr,
    };
    let flags = (!each.elements.are_points()).then(|| [SetFlag::Interval].into());
    known(NfListObject::Set(Box::new(NfSet {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: generation.object(&each.name).into(),
        set_type: SetTypeValue::Single(set_type),
        flags,
        elem: Some(address_list(&each.elements).into()),
        ..NfSet::default()
    })))
}

fn map(each: &Map, generation: Generation) -> Command {
    // The crate writes a verdict without a target as a word, which nft does not read.
    let verdict = |verdict: &NftVerdict| match verdict {
        NftVerdict::Goto(chain) => json!({ "goto": { "target": generation.object(chain) } }),
        NftVerdict::Pass(direction) | NftVerdict::Observe(Some(direction)) => {
            json!({ "goto": { "target": passed_chain(*direction) } })
        }
        NftVerdict::Accept | NftVerdict::Observe(None) => json!({ "accept": null }),
        NftVerdict::Drop => json!({ "drop": null }),
        // No other stands in a map.
        NftVerdict::Return | NftVerdict::Jump(_) | NftVerdict::Map(..) => json!({ "return": null }),
    };
    let elem = match &each.elements {
        MapElements::Ports(list) => list
            .iter()
            .map(|(i, to)| (number_interval(i), verdict(to)))
            .collect(),
        MapElements::V4(list) => list
            .iter()
            .map(|(i, to)| (address(AddressRange::V4(*i)), verdict(to)))
            .collect(),
        MapElements::V6(list) => list
            .iter()
            .map(|(i, to)| (address(AddressRange::V6(*i)), verdict(to)))
            .collect(),
        MapElements::PairsV4(list) => list
            .iter()
            .map(|pair| (pair_element(each.key, pair), verdict(&pair.verdict)))
            .collect(),
        MapElements::PairsV6(list) => list
            .iter()
            .map(|pair| (pair_element(each.key, pair), verdict(&pair.verdict)))
            .collect(),
    };
    let of_address = |family| match family {
        Family::V4 => SetType::Ipv4Addr,
        Family::V6 => SetType::Ipv6Addr,
    };
    let key = match each.key {
        MapKey::Port(_) | MapKey::FlowPort(..) => SetTypeValue::Single(SetType::InetService),
        MapKey::Address(_, family) | MapKey::FlowAddress(_, family) => {
            SetTypeValue::Single(of_address(family))
        }
        MapKey::Pair(_, family, ..) | MapKey::FlowPair(_, family, ..) => {
            SetTypeValue::Concatenated(vec![of_address(family), SetType::InetService].into())
        }
    };
    let flags = if each.elements.are_points() {
        vec![]
    } else {
        vec![SetFlag::Interval]
    };
    let name = generation.object(&each.name);
    Command::Add(Object::Map {
        map: MapObject {
            family: NfFamily::INet,
            table: TABLE,
            name,
            key,
            map: "verdict",
            flags,
            stmt: match each.key.counts() {
                true => vec![json!({ "counter": null })],
                false => vec![],
            },
            elem,
        },
    })
}

/// `10.7.0.0 . 80 comment "sg-web/in/7"`
fn pair_element<T: Prefixed>(of: MapKey, pair: &Pair<T>) -> Expression<'static> {
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

fn key_expression(key: MapKey) -> Expression<'static> {
    match key {
        MapKey::Port(transport) => payload(transport.name(), "dport"),
        MapKey::Address(side, family) => payload(family.header(), side.address()),
        MapKey::FlowPort(direction, _) => flow_port(direction),
        MapKey::FlowAddress(direction, family) => flow_address(direction, family),
        MapKey::Pair(side, family, bits, transport) => {
            let address = payload(family.header(), side.address());
            let port = payload(transport.name(), "dport");
            pair_key(address, family, bits, port)
        }
        MapKey::FlowPair(direction, family, bits, _) => {
            let address = flow_address(direction, family);
            pair_key(address, family, bits, flow_port(direction))
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
fn flow_port(direction: Direction) -> Expression<'static> {
    let (side, field) = direction.of_flow();
    ct(field, Some(side))
}

/// `ct original ip saddr`
fn flow_address(direction: Direction, family: Family) -> Expression<'static> {
    let key = match family {
        Family::V4 => "ip saddr",
        Family::V6 => "ip6 saddr",
    };
    ct(key, Some(direction.of_flow().0))
}

fn ct(key: &'static str, side: Option<&'static str>) -> Expression<'static> {
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
fn protocol(number: u8) -> Statement {
    let meta = named(NamedExpression::Meta(Meta {
        key: MetaKey::L4proto,
    }));
    matches(Operator::EQ, meta, Expression::Number(u32::from(number)))
}

fn rule(each: &NftRule, chain: String, generation: Generation) -> Command {
    let mut expr: Vec<Statement> = each
        .matches
        .iter()
        .flat_map(|condition| statements(condition, generation))
        .collect();
    if each.counts() {
        expr.push(Statement::Known(NfStatement::Counter(Counter::Anonymous(
            Some(AnonymousCounter::default()),
        ))));
    }
    if let NftVerdict::Map(MapKey::FlowPort(_, transport) | MapKey::FlowPair(.., transport), _) =
        &each.verdict
    {
        expr.push(protocol(transport.protocol().0));
    }
    let target = |name: &str| JumpTarget {
        target: generation.object(name).into(),
    };
    expr.push(Statement::Known(match &each.verdict {
        NftVerdict::Accept | NftVerdict::Observe(None) => NfStatement::Accept(None),
        NftVerdict::Drop => NfStatement::Drop(None),
        NftVerdict::Return => NfStatement::Return(None),
        NftVerdict::Pass(direction) | NftVerdict::Observe(Some(direction)) => {
            NfStatement::Goto(JumpTarget {
                target: passed_chain(*direction).into(),
            })
        }
        NftVerdict::Jump(chain) => NfStatement::Jump(target(chain)),
        NftVerdict::Goto(chain) => NfStatement::Goto(target(chain)),
        NftVerdict::Map(key, map) => NfStatement::VerdictMap(VerdictMap {
            key: key_expression(*key),
            data: text(format!("@{}", generation.object(map))),
        }),
    }));
    let comment = each.named().map(ToString::to_string);
    Command::Add(Object::Rule {
        rule: RuleObject {
            family: NfFamily::INet,
            table: TABLE,
            chain,
            expr,
            comment,
        },
    })
}

/// A condition, which may take several statements.
fn statements(each: &Match, generation: Generation) -> Vec<Statement> {
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
        Match::NotEstablished => vec![matches(
            Operator::NEQ,
            ct("state", None),
            text(CtState::Established.name()),
        )],
        Match::Told(told) => vec![Statement::Known(NfStatement::Log(Some(Log {
            prefix: Some(told.to_string().into()),
            ..Log::new(Some(EVENTS_GROUP.into()))
        })))],
        Match::FlowSide(side) => one(ct("direction", None), text(side.name())),
        Match::Stamp(direction) => {
            let label = u32::from(Stamp::default().label(*direction));
            let label = Expression::Number(label);
            vec![matches(Operator::IN, ct("label", None), label)]
        }
        Match::FlowPort(direction, transport, ports) => vec![
            protocol(transport.protocol().0),
            matches(
                Operator::EQ,
                flow_port(*direction),
                elements(ports.intervals().iter().map(number_interval).collect()),
            ),
        ],
        Match::FlowAddress {
            direction,
            with,
            negated,
        } => {
            let left = flow_address(*direction, with.family());
            let operator = if *negated {
                Operator::NEQ
            } else {
                Operator::EQ
            };
            vec![matches(operator, left, compared(with, generation))]
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
            let operator = if *negated {
                Operator::NEQ
            } else {
                Operator::EQ
            };
            vec![matches(operator, left, compared(with, generation))]
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
        Match::OpensTcp => vec![Statement::Own(json!({ "match": {
            "op": "==",
            "left": { "&": [{ "payload": { "protocol": "tcp", "field": "flags" } }, ["fin", "syn", "rst", "ack"]] },
            "right": "syn",
        } }))],
        Match::HasEnded(family, transport) => has_ended(*family, *transport),
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
    }
}

/// As [`super::text`] writes it.
fn has_ended(family: Family, transport: Transport) -> Vec<Statement> {
    let address = |field| json!({ "ct": { "key": format!("{} {field}", family.header()), "dir": "original" } });
    let port = |field| json!({ "payload": { "protocol": "th", "field": field } });
    let last = json!({ "meta": { "key": "l4proto" } });
    let key = json!({ "concat": [address("saddr"), port("sport"), address("daddr"), port("dport"), last] });
    let set = format!("@{}", ended_set(family));
    let asked = json!({ "match": { "op": "==", "left": key.clone(), "right": set } });
    let mut statements = vec![protocol(transport.protocol().0), Statement::Own(asked)];
    if transport == Transport::Udp {
        let again = json!({ "val": key, "timeout": remembered_for(transport).as_secs() });
        let update = json!({ "set": { "op": "update", "elem": { "elem": again }, "set": set } });
        statements.push(Statement::Own(update));
    }
    statements
}

/// What an address is compared with.
fn compared(with: &AddressMatch, generation: Generation) -> Expression<'static> {
    match with {
        AddressMatch::Inline(addresses) => elements(address_list(addresses)),
        AddressMatch::Set(name, _) => text(format!("@{}", generation.object(name))),
    }
}

/// `rt ipsec exists`, which the crate's `RTKey` lacks.
fn rt_ipsec(exists: bool) -> Statement {
    Statement::Own(
        json!({ "match": { "op": "==", "left": { "rt": { "key": "ipsec" } }, "right": exists } }),
    )
}

fn matches(op: Operator, left: Expression<'static>, right: Expression<'static>) -> Statement {
    Statement::Known(NfStatement::Match(NfMatch { left, right, op }))
}

fn named(expression: NamedExpression<'static>) -> Expression<'static> {
    Expression::Named(expression)
}

fn text(text: impl ToString) -> Expression<'static> {
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
                number_interval(&Interval {
                    first: u16::from(*first),
                    last: u16::from(*last),
                })
            })
            .collect(),
    )
}

fn number_interval(interval: &Interval<u16>) -> Expression<'static> {
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

fn address_list(addresses: &Addresses) -> Vec<Expression<'static>> {
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
fn address(each: AddressRange) -> Expression<'static> {
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
