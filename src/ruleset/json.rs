//! The ruleset as nft's JSON; `libnftables-json(5)` names its parts.

mod expressions;

use self::expressions::*;
use super::batch::Names;
use super::ir::*;
use super::marks::Bits;
use super::table::{BASE_CHAINS, Generation, TABLE};
use super::text::map_type;
use crate::policy::AddressRange;
use serde_json::{Value, json};

/// The whole table with one generation switched in, as [`super::text::table`] prints it: a batch for `nft -j -f -`.
pub fn table(ruleset: &Ruleset, generation: Generation) -> Value {
    let names = &Names::new(generation).marked(Bits::example(&ruleset.marks));
    let mut objects = vec![json!({ "table": { "family": "inet", "name": TABLE } })];
    objects.extend(ruleset.sets.iter().map(|each| set(each, names)));
    let chains = ruleset.chains.iter();
    objects.extend(chains.clone().map(|chain| {
        let name = &*names.of(&chain.name);
        json!({ "chain": { "family": "inet", "table": TABLE, "name": name } })
    }));
    objects.extend(BASE_CHAINS.iter().map(|base| {
        json!({ "chain": {
            "family": "inet", "table": TABLE, "name": base.name, "type": "filter",
            "hook": base.hook.to_string(), "prio": base.priority, "policy": "accept",
        } })
    }));
    objects.extend(ruleset.maps.iter().map(|each| map(each, names)));
    for chain in chains {
        let rules = chain.rules.iter();
        let held = rules.filter(|rule| names.bits().can_hold(rule));
        objects.extend(held.map(|each| rule(each, &names.of(&chain.name), names)));
    }
    for base in BASE_CHAINS {
        let jump = NftRule::plain(vec![], NftVerdict::Jump(base.name.into()));
        objects.push(rule(&jump, base.name, names));
    }
    let commands = objects.into_iter().map(|object| json!({ "add": object }));
    json!({ "nftables": commands.collect::<Vec<_>>() })
}

fn set(each: &Set, names: &Names) -> Value {
    let mut set = json!({
        "family": "inet", "table": TABLE, "name": &*names.of(&each.name),
        "type": each.elements.family().address_type(), "elem": address_list(&each.elements),
    });
    if !each.elements.are_points() {
        set["flags"] = json!(["interval"]);
    }
    json!({ "set": set })
}

fn map(each: &Map, names: &Names) -> Value {
    let mapped = |key: Value, to: &NftVerdict| json!([key, verdict(to, names)]);
    let elements: Vec<Value> = match &each.elements {
        MapElements::Ports(list) => list
            .iter()
            .map(|(i, to)| mapped(number_interval(i), to))
            .collect(),
        MapElements::V4(list) => list
            .iter()
            .map(|(i, to)| mapped(address(AddressRange::V4(*i)), to))
            .collect(),
        MapElements::V6(list) => list
            .iter()
            .map(|(i, to)| mapped(address(AddressRange::V6(*i)), to))
            .collect(),
        MapElements::PairsV4(list) => list
            .iter()
            .map(|pair| mapped(pair_element(each.key, pair), &pair.verdict))
            .collect(),
        MapElements::PairsV6(list) => list
            .iter()
            .map(|pair| mapped(pair_element(each.key, pair), &pair.verdict))
            .collect(),
    };
    let kind = map_type(each.key);
    let kind = match kind.split_once(" . ") {
        Some((address, port)) => json!([address, port]),
        None => json!(kind),
    };
    let mut map = json!({
        "family": "inet", "table": TABLE, "name": &*names.of(&each.name),
        "type": kind, "map": "verdict", "elem": elements,
    });
    if !each.elements.are_points() {
        map["flags"] = json!(["interval"]);
    }
    if each.key.counts() {
        map["stmt"] = json!([{ "counter": null }]);
    }
    json!({ "map": map })
}

fn rule(each: &NftRule, chain: &str, names: &Names) -> Value {
    let matches = each.matches.iter();
    let mut statements: Vec<Value> = matches.flat_map(|each| statements(each, names)).collect();
    if each.counts() {
        statements.push(json!({ "counter": { "packets": 0, "bytes": 0 } }));
    }
    if let NftVerdict::Map(MapKey::FlowPort(_, transport) | MapKey::FlowPair(.., transport), _) =
        &each.verdict
    {
        statements.push(protocol(transport.protocol().0));
    }
    statements.push(verdict(&each.verdict, names));
    let mut rule = json!({ "family": "inet", "table": TABLE, "chain": chain, "expr": statements });
    if let Some(reason) = each.named() {
        rule["comment"] = json!(reason.to_string());
    }
    json!({ "rule": rule })
}

fn verdict(verdict: &NftVerdict, names: &Names) -> Value {
    match verdict {
        NftVerdict::Accept | NftVerdict::Observe(None) => json!({ "accept": null }),
        NftVerdict::Drop => json!({ "drop": null }),
        NftVerdict::Return => json!({ "return": null }),
        NftVerdict::Jump(chain) => json!({ "jump": { "target": &*names.of(chain) } }),
        NftVerdict::Goto(chain) | NftVerdict::Pass(chain) | NftVerdict::Observe(Some(chain)) => {
            json!({ "goto": { "target": &*names.of(chain) } })
        }
        NftVerdict::Map(key, map) => {
            json!({ "vmap": { "key": field(*key), "data": format!("@{}", names.of(map)) } })
        }
    }
}
