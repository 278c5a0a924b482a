//! Subnets and network ACLs of the tencentcloud provider, both ways. Its entries have three parts.

use super::lite;
use super::literal::literal;
use super::resources::{Names, Resource};
use crate::cloud::formats::apart::entries_apart;
use crate::cloud::formats::inventory::{
    AclEntryRecord, AclRecord, Inventory, RuleRecord, ServiceRecord,
};
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::tencent::policy::cloud_ports;
use crate::cloud::formats::values::address;
use crate::policy::Direction;
use crate::policy::id::{AclId, SubnetId};
use serde_json::{Value, json};

const DIRECTIONS: [(&str, Direction); 2] = [
    ("ingress", Direction::Inbound),
    ("egress", Direction::Outbound),
];

/// Reads subnets, ACLs, and which stands in front of which.
pub fn read(resources: &[Resource], names: &Names, inventory: &mut Inventory, notes: &mut Notes) {
    let of_kind = |kind: &'static str| resources.iter().filter(move |each| each.kind == kind);
    for resource in of_kind("tencentcloud_subnet") {
        let object = &resource.object;
        let id = resource.id();
        if let Err(error) = SubnetId::parse(&id) {
            notes.not_kept(&object.place, error.to_string());
            continue;
        }
        let mut networks = Vec::new();
        for text in object.texts("cidr_block") {
            match address(&text) {
                Ok((network, _)) => networks.push(network),
                Err(why) => notes.not_kept(&object.place, why),
            }
        }
        inventory.subnet(&id, &object.place).networks = networks;
    }
    for resource in of_kind("tencentcloud_vpc_acl") {
        let object = &resource.object;
        let id = resource.id();
        if let Err(error) = AclId::parse(&id) {
            notes.not_kept(&object.place, error.to_string());
            continue;
        }
        object.name_the_rest(
            &["id", "name", "vpc_id", "ingress", "egress", "create_time"],
            notes,
        );
        if let Some(name) = object.text("name").filter(|name| *name != id) {
            let message = format!("a network ACL has no name beside its id {id}: `{name}`");
            notes.not_kept(&object.place, message);
        }
        inventory.acl(&id, &object.place);
        for (key, direction) in DIRECTIONS {
            let texts = object.texts(key);
            let entries = texts.iter().enumerate().filter_map(|(index, text)| {
                let place = format!("{}[{index}]", object.at(key));
                entry(lite::read(text, &place, notes)?, direction, notes)
            });
            let entries: Vec<AclEntryRecord> = entries.collect();
            *inventory.acl(&id, &object.place).entries_mut(direction) = entries;
        }
    }
    for resource in of_kind("tencentcloud_vpc_acl_attachment") {
        let text = |key| resource.object.text(key).map(|id| names.id(&id));
        let (acl, subnet) = (text("acl_id"), text("subnet_id").unwrap_or_default());
        match inventory.known_subnet(&subnet) {
            Some(known) => known.acl = acl,
            None => {
                let message = format!("the subnet `{subnet}` is not in the input");
                notes.not_kept(&resource.object.place, message);
            }
        }
    }
}

/// The entry that a line of four or five fields is.
fn entry(rule: RuleRecord, direction: Direction, notes: &mut Notes) -> Option<AclEntryRecord> {
    let ServiceRecord::Protocol(protocol, ports) = rule.service else {
        notes.not_kept(
            &rule.place,
            "the entry is left out: an ACL has no service templates",
        );
        return None;
    };
    let (source, destination) = match direction {
        Direction::Inbound => (rule.remote, Vec::new()),
        Direction::Outbound => (Vec::new(), rule.remote),
    };
    Some(AclEntryRecord {
        allow: rule.allow,
        protocol,
        ports,
        source_ports: Vec::new(),
        source,
        destination,
        description: rule.description,
        place: rule.place,
    })
}

/// The resources of all subnets and ACLs, each with its type and name.
pub fn write(inventory: &Inventory, notes: &mut Notes) -> Vec<(&'static str, String, Value)> {
    let mut resources = Vec::new();
    for acl in &inventory.acls {
        let mut lists = DIRECTIONS
            .iter()
            .map(|(_, direction)| lines(acl, *direction, notes));
        let (ingress, egress) = (lists.next(), lists.next());
        let body = json!({ "name": acl.id, "ingress": ingress, "egress": egress, "vpc_id": VPC });
        resources.push(("tencentcloud_vpc_acl", acl.id.clone(), body));
    }
    for subnet in &inventory.subnets {
        let (v6, v4): (Vec<&String>, Vec<&String>) =
            subnet.networks.iter().partition(|text| text.contains(':'));
        let Some(network) = v4.first() else {
            let message = format!(
                "{} is left out: the provider has subnets of IPv4",
                subnet.id
            );
            notes.not_kept(&subnet.place, message);
            continue;
        };
        for more in v6.iter().chain(v4.iter().skip(1)) {
            let message = format!("{more} is left out: a subnet has one network there");
            notes.not_kept(&subnet.place, message);
        }
        let body = json!({
            "name": subnet.id,
            "cidr_block": network,
            "vpc_id": VPC,
            "availability_zone": "${var.availability_zone}",
        });
        resources.push(("tencentcloud_subnet", subnet.id.clone(), body));
        if let Some(acl) = &subnet.acl {
            let body = json!({
                "acl_id": format!("${{tencentcloud_vpc_acl.{acl}.id}}"),
                "subnet_id": format!("${{tencentcloud_subnet.{}.id}}", subnet.id),
            });
            resources.push(("tencentcloud_vpc_acl_attachment", subnet.id.clone(), body));
        }
    }
    resources
}

/// A definition names no network: the configuration has a variable for it.
const VPC: &str = "${var.vpc_id}";

/// `ACCEPT#192.168.1.0/24#800-900#TCP#description`.
fn lines(acl: &AclRecord, direction: Direction, notes: &mut Notes) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in acl.entries(direction) {
        if entry.has_five_parts(direction) {
            let message = "the entry is left out: the provider's entries have no source port and no near address";
            notes.not_kept(&entry.place, message);
            continue;
        }
        for each in entries_apart(entry, direction, notes) {
            let far = match direction {
                Direction::Inbound => &each.source,
                Direction::Outbound => &each.destination,
            };
            let action = if each.allow { "ACCEPT" } else { "DROP" };
            let protocol = each.protocol.to_uppercase();
            let (far, ports) = (far.join(","), cloud_ports(&each.ports));
            let mut line = format!("{action}#{far}#{ports}#{protocol}");
            if let Some(description) = &each.description {
                line += &format!("#{}", literal(description));
            }
            lines.push(line);
        }
    }
    lines
}
