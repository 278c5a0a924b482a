//! Resources of the tencentcloud provider.

use super::lite;
use super::network_acls;
use super::resources::{Names, Resource};
use crate::cloud::formats::inventory::{
    InstanceRecord, InterfaceRecord, Inventory, RuleRecord, ServiceRecord, TemplateRecord,
};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::tencent::instances::{add_address, groups};
use crate::cloud::formats::tencent::policy::protocol_and_ports;
use crate::cloud::formats::tencent::read::is_id;
use crate::cloud::formats::values::{address, address_in_cloud_rule, allows, service_entry};
use crate::policy::{Direction, GroupId, InstanceId};
use std::collections::HashMap;

/// The types that are read.
pub const KINDS: [&str; 15] = [
    "tencentcloud_security_group",
    "tencentcloud_security_group_rule_set",
    "tencentcloud_security_group_lite_rule",
    "tencentcloud_security_group_rule",
    "tencentcloud_address_template",
    "tencentcloud_address_extra_template",
    "tencentcloud_address_template_group",
    "tencentcloud_protocol_template",
    "tencentcloud_protocol_template_group",
    "tencentcloud_instance",
    "tencentcloud_eni",
    "tencentcloud_eni_attachment",
    "tencentcloud_subnet",
    "tencentcloud_vpc_acl",
    "tencentcloud_vpc_acl_attachment",
];

/// Reads all of them.
pub fn read(resources: &[Resource], names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let mut single: Vec<(Option<i64>, String, Direction, RuleRecord)> = Vec::new();
    for resource in resources {
        let object = &resource.object;
        match resource.kind.as_str() {
            "tencentcloud_security_group" => group(resource, inventory, notes),
            "tencentcloud_security_group_rule_set" => {
                rule_set(object, names, inventory, notes);
            }
            "tencentcloud_security_group_lite_rule" => {
                lite_rule(object, names, inventory, notes);
            }
            "tencentcloud_security_group_rule" => {
                single.extend(single_rule(object, names, notes));
            }
            "tencentcloud_address_template" | "tencentcloud_address_extra_template" => {
                let template = template(resource, "ipm-", "addresses", names, notes, |text| {
                    address(text)
                });
                inventory.address_templates.extend(template);
            }
            "tencentcloud_address_template_group" => {
                let template = template(resource, "ipmg-", "template_ids", names, notes, |id| {
                    Ok((id.to_owned(), None))
                });
                inventory.address_templates.extend(template);
            }
            "tencentcloud_protocol_template" => {
                let template = template(resource, "ppm-", "protocols", names, notes, |text| {
                    service_entry(text).map(|entry| (entry, None))
                });
                inventory.service_templates.extend(template);
            }
            "tencentcloud_protocol_template_group" => {
                let template = template(resource, "ppmg-", "template_ids", names, notes, |id| {
                    Ok((id.to_owned(), None))
                });
                inventory.service_templates.extend(template);
            }
            _ => {}
        }
    }
    single_rules(single, inventory, notes);
    instances(resources, names, inventory, notes);
    network_acls::read(resources, names, inventory, notes);
}

fn group(resource: &Resource, inventory: &mut Inventory, notes: &mut Notes) {
    let object = &resource.object;
    object.name_the_rest(&["id", "name", "project_id"], notes);
    let Some(id) = group_id(object, Some(resource.id()), notes) else {
        return;
    };
    let name = object.text("name").filter(|name| *name != id);
    let project = object.text("project_id").map(|id| match id.as_str() {
        "0" => "default".to_owned(),
        _ => id,
    });
    let group = inventory.group(&id);
    group.name = name;
    group.project = project;
}

fn group_id(object: &Object, id: Option<String>, notes: &mut Notes) -> Option<String> {
    let Some(id) = id else {
        let message = "its group is not known before it is applied";
        notes.not_kept(&object.place, message);
        return None;
    };
    match GroupId::parse(&id) {
        Ok(_) => Some(id),
        Err(error) => {
            notes.not_kept(&object.place, error.to_string());
            None
        }
    }
}

/// Adds rules to a group that has none of this direction yet.
fn add(
    inventory: &mut Inventory,
    id: &str,
    direction: Direction,
    rules: Vec<RuleRecord>,
    place: &str,
    notes: &mut Notes,
) {
    let known = inventory.group(id).rules_mut(direction);
    match known.is_empty() || rules.is_empty() {
        true => known.extend(rules),
        false => {
            let message = format!("the {direction} rules of {id} were read already");
            notes.not_kept(place, message);
        }
    }
}

fn rule_set(object: &Object, names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let id = object.text("security_group_id").map(|id| names.id(&id));
    let Some(id) = group_id(object, id, notes) else {
        return;
    };
    object.name_the_rest(
        &["id", "security_group_id", "ingress", "egress", "version"],
        notes,
    );
    for (key, direction) in DIRECTIONS {
        let blocks = object.objects(key, notes);
        let rules = blocks.iter().filter_map(|block| {
            let rule = rule_of(block, names, &BLOCK, notes);
            left_out(rule, block, notes)
        });
        let rules: Vec<RuleRecord> = rules.collect();
        add(inventory, &id, direction, rules, &object.at(key), notes);
    }
}

const DIRECTIONS: [(&str, Direction); 2] = [
    ("ingress", Direction::Inbound),
    ("egress", Direction::Outbound),
];

fn lite_rule(object: &Object, names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let id = object.text("security_group_id").map(|id| names.id(&id));
    let Some(id) = group_id(object, id, notes) else {
        return;
    };
    for (key, direction) in DIRECTIONS {
        let texts = object.texts(key);
        let rules = texts.iter().enumerate().filter_map(|(index, text)| {
            lite::read(text, &format!("{}[{index}]", object.at(key)), notes)
        });
        let rules: Vec<RuleRecord> = rules.collect();
        add(inventory, &id, direction, rules, &object.at(key), notes);
    }
}

/// How the keys of a rule are called.
struct RuleKeys {
    action: &'static str,
    protocol: &'static str,
    port: &'static str,
    remotes: &'static [&'static str],
    services: &'static [&'static str],
    known: &'static [&'static str],
}

/// In a block of a rule set.
const BLOCK: RuleKeys = RuleKeys {
    action: "action",
    protocol: "protocol",
    port: "port",
    remotes: &[
        "cidr_block",
        "ipv6_cidr_block",
        "source_security_id",
        "address_template_id",
        "address_template_group",
    ],
    services: &["service_template_id", "service_template_group"],
    known: &[
        "action",
        "protocol",
        "port",
        "cidr_block",
        "ipv6_cidr_block",
        "source_security_id",
        "address_template_id",
        "address_template_group",
        "service_template_id",
        "service_template_group",
        "description",
        "policy_index",
    ],
};

/// In a resource that is one rule.
const RESOURCE: RuleKeys = RuleKeys {
    action: "policy",
    protocol: "ip_protocol",
    port: "port_range",
    remotes: &["cidr_ip", "ipv6_cidr_block", "source_sgid"],
    services: &[],
    known: &[
        "id",
        "security_group_id",
        "type",
        "policy",
        "policy_index",
        "ip_protocol",
        "port_range",
        "cidr_ip",
        "ipv6_cidr_block",
        "source_sgid",
        "address_template",
        "protocol_template",
        "description",
    ],
};

fn rule_of(
    object: &Object,
    names: &Names,
    keys: &RuleKeys,
    notes: &mut Notes,
) -> Result<RuleRecord, String> {
    object.name_the_rest(keys.known, notes);
    let templates = |key: &str, notes: &mut Notes| -> Option<String> {
        let block = object.objects(key, notes).into_iter().next()?;
        let id = block.text_of(&["template_id", "group_id"])?;
        Some(names.id(&id))
    };
    let service = keys.services.iter().find_map(|key| object.text(key));
    let service = service.map(|id| names.id(&id));
    let service = service.or_else(|| templates("protocol_template", notes));
    let service = match service {
        Some(id) => ServiceRecord::Template(id),
        None => protocol_and_ports(object.text(keys.protocol), object.text(keys.port))?,
    };
    let written = keys.remotes.iter().filter_map(|key| object.text(key));
    let mut remotes: Vec<String> = written.map(|text| names.id(&text)).collect();
    remotes.extend(templates("address_template", notes));
    let remote = match remotes.as_slice() {
        [] => {
            notes.assumed(&object.place, "no remote is written: any is meant");
            "any".to_owned()
        }
        [id] if id.starts_with("sg-") || id.starts_with("ipm") => id.clone(),
        [text] => {
            let (text, assumed) = address_in_cloud_rule(text)?;
            if let Some(assumed) = assumed {
                notes.assumed(&object.place, assumed);
            }
            text
        }
        several => return Err(format!("it has several remotes: {}", several.join(", "))),
    };
    let action = object.text(keys.action).unwrap_or_default();
    Ok(RuleRecord {
        allow: allows(&action).ok_or(format!("`{action}` is no action"))?,
        service,
        remote: vec![remote],
        description: object.text("description"),
        comment: None,
        place: object.place.clone(),
    })
}

fn left_out<T>(rule: Result<T, String>, object: &Object, notes: &mut Notes) -> Option<T> {
    rule.map_err(|why| notes.not_kept(&object.place, format!("the rule is left out: {why}")))
        .ok()
}

fn single_rule(
    object: &Object,
    names: &Names,
    notes: &mut Notes,
) -> Option<(Option<i64>, String, Direction, RuleRecord)> {
    let id = object.text("security_group_id").map(|id| names.id(&id));
    let id = group_id(object, id, notes)?;
    let kind = object.text("type").unwrap_or_default();
    let known = DIRECTIONS.iter().find(|(word, _)| *word == kind);
    let direction = known.map(|(_, direction)| *direction);
    let direction = direction.ok_or(format!("its type is neither ingress nor egress: `{kind}`"));
    let direction = left_out(direction, object, notes)?;
    let rule = left_out(rule_of(object, names, &RESOURCE, notes), object, notes)?;
    Some((object.number("policy_index"), id, direction, rule))
}

/// Rules that are resources of their own, in the order of their index. Those without one come last.
fn single_rules(
    mut rules: Vec<(Option<i64>, String, Direction, RuleRecord)>,
    inventory: &mut Inventory,
    notes: &mut Notes,
) {
    rules.sort_by_key(|(index, ..)| index.unwrap_or(i64::MAX));
    for (index, id, direction, rule) in rules {
        if index.is_none() {
            let message = "it has no policy_index: its place among the rules is assumed";
            notes.assumed(&rule.place, message);
        }
        inventory.group(&id).rules_mut(direction).push(rule);
    }
}

fn template(
    resource: &Resource,
    prefix: &str,
    list: &str,
    names: &Names,
    notes: &mut Notes,
    read: impl Fn(&str) -> crate::cloud::formats::values::Read<String>,
) -> Option<TemplateRecord> {
    let object = &resource.object;
    let id = resource.id();
    if !is_id(&id, prefix) {
        notes.not_kept(&object.place, format!("`{id}` is not the id of a template"));
        return None;
    }
    object.name_the_rest(&["id", "name", list, "addresses_extra"], notes);
    if let Some(name) = object.text("name").filter(|name| *name != id) {
        let message = format!("a template has no name beside its id {id}: `{name}`");
        notes.not_kept(&object.place, message);
    }
    let mut written = object.texts(list);
    for extra in object.objects("addresses_extra", notes) {
        written.extend(extra.text("address"));
        if let Some(description) = extra.text("description") {
            let message = format!("an entry has no description: `{description}`");
            notes.not_kept(&extra.place, message);
        }
    }
    let mut entries = Vec::new();
    for text in names.ids(written) {
        match read(&text) {
            Ok((entry, assumed)) => {
                entries.push(entry);
                assumed
                    .into_iter()
                    .for_each(|assumed| notes.assumed(&object.place, assumed));
            }
            Err(why) => notes.not_kept(&object.place, why),
        }
    }
    Some(TemplateRecord {
        id,
        entries,
        place: object.place.clone(),
    })
}

/// Instances, with the interfaces that are attached to them.
fn instances(resources: &[Resource], names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let of_kind = |kind: &'static str| resources.iter().filter(move |each| each.kind == kind);
    let enis: HashMap<String, &Resource> = of_kind("tencentcloud_eni")
        .map(|eni| (eni.id(), eni))
        .collect();
    let mut attached: HashMap<String, Vec<&Resource>> = HashMap::new();
    for attachment in of_kind("tencentcloud_eni_attachment") {
        let text = |key| attachment.object.text(key).map(|id| names.id(&id));
        if let (Some(eni), Some(instance)) = (text("eni_id"), text("instance_id"))
            && let Some(eni) = enis.get(&eni)
        {
            attached.entry(instance).or_default().push(eni);
        }
    }
    for resource in of_kind("tencentcloud_instance") {
        let object = &resource.object;
        let id = resource.id();
        if let Err(error) = InstanceId::parse(&id) {
            notes.not_kept(&object.place, error.to_string());
            continue;
        }
        let mut addresses = Vec::new();
        for text in ["private_ip", "ipv6_addresses"]
            .iter()
            .flat_map(|key| object.texts(key))
        {
            add_address(&mut addresses, &text, object, notes);
        }
        let mut interfaces = vec![InterfaceRecord {
            name: "eth0".to_owned(),
            addresses,
            groups: bound(object, names, notes),
        }];
        for (index, eni) in attached.remove(&id).unwrap_or_default().iter().enumerate() {
            interfaces.push(interface(&eni.object, index + 1, names, notes));
        }
        notes.assumed(
            &object.place,
            "its interfaces are taken for eth0, eth1 and so on",
        );
        inventory.instances.push(InstanceRecord {
            hostname: object.text_of(&["hostname", "instance_name"]),
            id,
            prepaid: object
                .text("instance_charge_type")
                .is_some_and(|kind| kind == "PREPAID"),
            interfaces,
            place: object.place.clone(),
            ..InstanceRecord::default()
        });
    }
    for id in attached.keys() {
        notes.not_kept(
            id,
            "an interface is attached to it, and the instance is not in the input",
        );
    }
}

fn interface(object: &Object, index: usize, names: &Names, notes: &mut Notes) -> InterfaceRecord {
    let mut addresses = Vec::new();
    for list in ["ipv4_info", "ipv4s"] {
        for each in object.objects(list, notes) {
            if let Some(text) = each.text("ip") {
                add_address(&mut addresses, &text, object, notes);
            }
        }
    }
    InterfaceRecord {
        name: format!("eth{index}"),
        addresses,
        groups: bound(object, names, notes),
    }
}

/// The bound groups: in their order where the provider keeps one.
fn bound(object: &Object, names: &Names, notes: &mut Notes) -> Vec<String> {
    let ordered = names.ids(object.texts("orderly_security_groups"));
    if !ordered.is_empty() {
        return groups(ordered, object, notes);
    }
    let unordered = groups(names.ids(object.texts("security_groups")), object, notes);
    if unordered.len() > 1 {
        let message = "`security_groups` has no order: the first listed is taken for the first";
        notes.assumed(&object.place, message);
    }
    unordered
}
