//! Resources of the aws provider.

use super::resources::{Names, Resource};
use crate::cloud::formats::aws::group_id;
use crate::cloud::formats::aws::permission::{Permission, rules};
use crate::cloud::formats::inventory::{InstanceRecord, InterfaceRecord, Inventory};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::tencent::instances::{add_address, groups};
use crate::policy::{Direction, InstanceId};
use std::collections::HashMap;

/// The types that are read.
pub const KINDS: [&str; 7] = [
    "aws_security_group",
    "aws_security_group_rule",
    "aws_vpc_security_group_ingress_rule",
    "aws_vpc_security_group_egress_rule",
    "aws_instance",
    "aws_network_interface",
    "aws_network_interface_sg_attachment",
];

/// Reads all of them.
pub fn read(resources: &[Resource], names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    for resource in resources {
        let object = &resource.object;
        match resource.kind.as_str() {
            "aws_security_group" => group(resource, names, inventory, notes),
            "aws_security_group_rule" => rule(object, names, inventory, notes),
            "aws_vpc_security_group_ingress_rule" => {
                vpc_rule(object, Direction::Inbound, names, inventory, notes);
            }
            "aws_vpc_security_group_egress_rule" => {
                vpc_rule(object, Direction::Outbound, names, inventory, notes);
            }
            _ => {}
        }
    }
    instances(resources, names, inventory, notes);
}

fn group(resource: &Resource, names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let object = &resource.object;
    let known = [
        "id",
        "arn",
        "name",
        "name_prefix",
        "owner_id",
        "vpc_id",
        "region",
        "ingress",
        "egress",
        "revoke_rules_on_delete",
    ];
    object.name_the_rest(&known, notes);
    let Some(id) = group_id(object, Some(resource.id()), notes) else {
        return;
    };
    inventory.group(&id).name = object.text("name");
    for (key, direction) in [
        ("ingress", Direction::Inbound),
        ("egress", Direction::Outbound),
    ] {
        for block in object.objects(key, notes) {
            let own = block.text("self").is_some_and(|text| text == "true");
            let own = own.then(|| id.clone());
            let mut remotes = names.ids(block.texts("security_groups"));
            remotes.extend(own);
            let rules = rules(&permission(&block, "protocol", remotes), notes);
            inventory.group(&id).rules_mut(direction).extend(rules);
        }
    }
}

/// A permission of a block or resource, with the groups that it names.
fn permission(object: &Object, protocol: &str, groups: Vec<String>) -> Permission {
    let description = object.text("description");
    let lists = ["cidr_blocks", "ipv6_cidr_blocks", "cidr_ipv4", "cidr_ipv6"];
    let addresses = lists.iter().flat_map(|key| object.texts(key));
    let prefix_lists = ["prefix_list_ids", "prefix_list_id"];
    Permission {
        protocol: object.text(protocol).unwrap_or_default(),
        from: object.number("from_port"),
        to: object.number("to_port"),
        remotes: addresses
            .chain(groups)
            .map(|remote| (remote, description.clone()))
            .collect(),
        prefix_lists: prefix_lists
            .iter()
            .flat_map(|key| object.texts(key))
            .collect(),
        place: object.place.clone(),
    }
}

fn rule(object: &Object, names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let id = object.text("security_group_id").map(|id| names.id(&id));
    let Some(id) = group_id(object, id, notes) else {
        return;
    };
    let outbound = object.text("type").is_some_and(|text| text == "egress");
    let direction = match outbound {
        true => Direction::Outbound,
        false => Direction::Inbound,
    };
    let own = object.text("self").is_some_and(|text| text == "true");
    let mut remotes = names.ids(object.texts("source_security_group_id"));
    remotes.extend(own.then(|| id.clone()));
    let rules = rules(&permission(object, "protocol", remotes), notes);
    inventory.group(&id).rules_mut(direction).extend(rules);
}

fn vpc_rule(
    object: &Object,
    direction: Direction,
    names: &Names,
    inventory: &mut Inventory,
    notes: &mut Notes,
) {
    let id = object.text("security_group_id").map(|id| names.id(&id));
    let Some(id) = group_id(object, id, notes) else {
        return;
    };
    let remotes = names.ids(object.texts("referenced_security_group_id"));
    let rules = rules(&permission(object, "ip_protocol", remotes), notes);
    inventory.group(&id).rules_mut(direction).extend(rules);
}

fn instances(resources: &[Resource], names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let of_kind = |kind: &'static str| resources.iter().filter(move |each| each.kind == kind);
    // Interfaces of their own, by the instance that they are attached to.
    let mut attached: HashMap<String, Vec<&Resource>> = HashMap::new();
    for eni in of_kind("aws_network_interface") {
        let attachments = eni.object.objects("attachment", notes);
        let instance = attachments.iter().find_map(|each| each.text("instance"));
        match instance.filter(|id| !id.is_empty()) {
            Some(id) => attached.entry(names.id(&id)).or_default().push(eni),
            None => notes.not_kept(&eni.object.place, "it is attached to no instance here"),
        }
    }
    let mut more: HashMap<String, Vec<String>> = HashMap::new();
    for attachment in of_kind("aws_network_interface_sg_attachment") {
        let text = |key| attachment.object.text(key).map(|id| names.id(&id));
        if let (Some(eni), Some(group)) = (text("network_interface_id"), text("security_group_id"))
        {
            more.entry(eni).or_default().push(group);
        }
    }
    let bound = |object: &Object, eni: Option<String>, keys: &[&str], notes: &mut Notes| {
        let mut ids: Vec<String> = keys
            .iter()
            .flat_map(|key| names.ids(object.texts(key)))
            .collect();
        ids.extend(
            eni.and_then(|eni| more.get(&eni).cloned())
                .unwrap_or_default(),
        );
        groups(ids, object, notes)
    };
    for resource in of_kind("aws_instance") {
        let object = &resource.object;
        let own = resource.id();
        let id = format!(
            "ins-{}",
            own.trim_start_matches("ins-").trim_start_matches("i-")
        );
        if let Err(error) = InstanceId::parse(&id) {
            notes.not_kept(&object.place, error.to_string());
            continue;
        }
        let primary = object.text("primary_network_interface_id");
        let mut interfaces = vec![InterfaceRecord {
            name: "eth0".to_owned(),
            addresses: single(object, &["private_ip", "ipv6_addresses"], notes),
            groups: bound(object, primary, &["vpc_security_group_ids"], notes),
        }];
        for (index, eni) in attached.remove(&own).unwrap_or_default().iter().enumerate() {
            interfaces.push(InterfaceRecord {
                name: format!("eth{}", index + 1),
                addresses: single(&eni.object, &["private_ips", "ipv6_addresses"], notes),
                groups: bound(&eni.object, Some(eni.id()), &["security_groups"], notes),
            });
        }
        let message =
            format!("it is called {id}, and its interfaces are taken for eth0, eth1 and so on");
        notes.assumed(&object.place, message);
        let tags = object.object("tags");
        inventory.instances.push(InstanceRecord {
            hostname: tags.and_then(|tags| tags.text("Name")),
            id,
            interfaces,
            place: object.place.clone(),
            ..InstanceRecord::default()
        });
    }
    for eni in attached.values().flatten() {
        let message = "the instance that it is attached to is not in the input";
        notes.not_kept(&eni.object.place, message);
    }
}

fn single(object: &Object, keys: &[&str], notes: &mut Notes) -> Vec<String> {
    let mut addresses = Vec::new();
    for text in keys.iter().flat_map(|key| object.texts(key)) {
        add_address(&mut addresses, &text, object, notes);
    }
    addresses
}
