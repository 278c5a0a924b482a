//! The ruleset as nft's JSON, through the types of the `nftables` crate.
//!
//! What the crate cannot say (`rt ipsec`) stands as a value of its own; see [`Statement`].

mod expressions;

use self::expressions::*;
use super::batch::Names;
use super::ir::*;
use super::marks::Bits;
use super::table::{BASE_CHAINS, Generation, Hook, TABLE};
use crate::policy::AddressRange;
use nftables::expr::Expression;
use nftables::schema::{
    Chain as NfChain, NfListObject, Set as NfSet, SetFlag, SetType, SetTypeValue, Table,
};
use nftables::stmt::{AnonymousCounter, Counter, JumpTarget, Statement as NfStatement, VerdictMap};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use serde::Serialize;
use serde_json::json;

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

/// The whole table with one generation switched in, as [`super::text::table`] prints it.
pub fn table(ruleset: &Ruleset, generation: Generation) -> Batch {
    let names = &Names::new(generation).marked(Bits::example(&ruleset.marks));
    let mut commands = vec![known(NfListObject::Table(Table {
        family: NfFamily::INet,
        name: TABLE.into(),
        handle: None,
    }))];
    commands.extend(ruleset.sets.iter().map(|each| set(each, names)));
    let chains = ruleset.chains.iter();
    commands.extend(chains.clone().map(|chain| {
        known(NfListObject::Chain(own_chain(
            names.of(&chain.name).to_string(),
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
    commands.extend(ruleset.maps.iter().map(|each| map(each, names)));
    for chain in chains {
        commands.extend(
            chain
                .rules
                .iter()
                .filter(|rule| names.bits().can_hold(rule))
                .map(|each| rule(each, names.of(&chain.name).to_string(), names)),
        );
    }
    for base in BASE_CHAINS {
        let jump = NftRule::plain(vec![], NftVerdict::Jump(base.name.into()));
        commands.push(rule(&jump, base.name.to_owned(), names));
    }
    Batch { nftables: commands }
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

fn set(each: &Set, names: &Names) -> Command {
    let set_type = match each.elements.family() {
        Family::V4 => SetType::Ipv4Addr,
        Family::V6 => SetType::Ipv6Addr,
    };
    let flags = (!each.elements.are_points()).then(|| [SetFlag::Interval].into());
    known(NfListObject::Set(Box::new(NfSet {
        family: NfFamily::INet,
        table: TABLE.into(),
        name: names.of(&each.name).to_string().into(),
        set_type: SetTypeValue::Single(set_type),
        flags,
        elem: Some(address_list(&each.elements).into()),
        ..NfSet::default()
    })))
}

fn map(each: &Map, names: &Names) -> Command {
    // The crate writes a verdict without a target as a word, which nft does not read.
    let verdict = |verdict: &NftVerdict| match verdict {
        NftVerdict::Goto(chain) | NftVerdict::Pass(chain) | NftVerdict::Observe(Some(chain)) => {
            json!({ "goto": { "target": &*names.of(chain) } })
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
    let name = names.of(&each.name).to_string();
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

fn rule(each: &NftRule, chain: String, names: &Names) -> Command {
    let mut expr: Vec<Statement> = each
        .matches
        .iter()
        .flat_map(|condition| statements(condition, names))
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
        target: names.of(name).to_string().into(),
    };
    expr.push(Statement::Known(match &each.verdict {
        NftVerdict::Accept | NftVerdict::Observe(None) => NfStatement::Accept(None),
        NftVerdict::Drop => NfStatement::Drop(None),
        NftVerdict::Return => NfStatement::Return(None),
        NftVerdict::Jump(chain) => NfStatement::Jump(target(chain)),
        NftVerdict::Goto(chain) | NftVerdict::Pass(chain) | NftVerdict::Observe(Some(chain)) => {
            NfStatement::Goto(target(chain))
        }
        NftVerdict::Map(key, map) => NfStatement::VerdictMap(VerdictMap {
            key: key_expression(*key),
            data: text(format!("@{}", names.of(map))),
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
