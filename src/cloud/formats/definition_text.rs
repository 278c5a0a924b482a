//! An inventory as the text of a definition.

use super::inventory::{
    AclEntryRecord, AclRecord, GroupRecord, InstanceRecord, Inventory, RuleRecord, ServiceRecord,
    SubnetRecord, TemplateRecord,
};
use super::values::ports_text;
use crate::cloud::text::{RuleText, ServiceText, list_keys};
use crate::definition::model::InstanceKind;
use crate::definition::tree::{Tree, scalar};
use crate::policy::Direction;
use std::fmt::Write;

/// Lists of more entries than this are written one a line.
const MOST_IN_A_LINE: usize = 8;

/// Writes the definition.
pub fn definition_text(inventory: &Inventory) -> String {
    let mut out = "version: 1\n".to_owned();
    if !inventory.groups.is_empty() {
        out += "\nsecurity_groups:\n";
        inventory
            .groups
            .iter()
            .for_each(|each| group(&mut out, each));
    }
    templates(&mut out, "address_templates", &inventory.address_templates);
    templates(&mut out, "service_templates", &inventory.service_templates);
    if !inventory.instances.is_empty() {
        out += "\ninstances:\n";
        inventory
            .instances
            .iter()
            .for_each(|each| instance(&mut out, each));
    }
    if !inventory.subnets.is_empty() {
        out += "\nsubnets:\n";
        let subnets = inventory.subnets.iter();
        subnets.for_each(|each| subnet(&mut out, each));
    }
    if !inventory.acls.is_empty() {
        out += "\nnetwork_acls:\n";
        inventory.acls.iter().for_each(|each| acl(&mut out, each));
    }
    out
}

fn group(out: &mut String, group: &GroupRecord) {
    let texts = [
        ("name", &group.name),
        ("region", &group.region),
        ("project", &group.project),
    ];
    let says_nothing = texts.iter().all(|(_, text)| text.is_none())
        && group.inbound.is_empty()
        && group.outbound.is_empty();
    let _ = writeln!(
        out,
        "  {}:{}",
        group.id,
        if says_nothing { " {}" } else { "" }
    );
    for (key, text) in texts {
        if let Some(text) = text {
            let _ = writeln!(out, "    {key}: {}", scalar(text));
        }
    }
    for direction in [Direction::Inbound, Direction::Outbound] {
        let rules = group.rules(direction);
        if !rules.is_empty() {
            let _ = writeln!(out, "    {direction}:");
        }
        for each in rules {
            let _ = writeln!(out, "      - {}", rule(each, direction));
        }
    }
}

fn rule(rule: &RuleRecord, direction: Direction) -> String {
    let text = RuleText {
        allow: rule.allow,
        service: match &rule.service {
            ServiceRecord::Template(id) => ServiceText::Template(id.clone()),
            ServiceRecord::Protocol(name, ports) => ServiceText::Protocol {
                protocol: name.clone(),
                port: (!ports.is_empty()).then(|| ports_text(ports)),
            },
        },
        remotes: rule.remote.clone(),
        description: rule.description.clone(),
        until: None,
    };
    let written = text.to_tree(direction).flow();
    match &rule.comment {
        Some(comment) => format!("{written}  # {comment}"),
        None => written,
    }
}

fn templates(out: &mut String, section: &str, templates: &[TemplateRecord]) {
    if !templates.is_empty() {
        let _ = writeln!(out, "\n{section}:");
    }
    for template in templates {
        if template.entries.len() <= MOST_IN_A_LINE {
            let _ = writeln!(out, "  {}: {}", template.id, list(&template.entries));
            continue;
        }
        let _ = writeln!(out, "  {}:", template.id);
        for entry in &template.entries {
            let _ = writeln!(out, "    - {}", scalar(entry));
        }
    }
}

fn instance(out: &mut String, instance: &InstanceRecord) {
    let _ = writeln!(out, "  {}:", instance.id);
    if let Some(hostname) = &instance.hostname {
        let _ = writeln!(out, "    hostname: {}", scalar(hostname));
    }
    let kind = match instance.kind {
        InstanceKind::Cvm => None,
        InstanceKind::Clb => Some("clb"),
        InstanceKind::Eni => Some("eni"),
        InstanceKind::Database => Some("database"),
    };
    if let Some(kind) = kind {
        let _ = writeln!(out, "    kind: {kind}");
    }
    if instance.prepaid {
        out.push_str("    billing: prepaid\n");
    }
    out.push_str("    interfaces:\n");
    for interface in &instance.interfaces {
        let addresses = match interface.addresses.is_empty() {
            true => String::new(),
            false => format!("addresses: {}, ", list(&interface.addresses)),
        };
        let _ = writeln!(
            out,
            "      {}: {{ {addresses}security_groups: {} }}",
            scalar(&interface.name),
            list(&interface.groups)
        );
    }
}

fn subnet(out: &mut String, subnet: &SubnetRecord) {
    let acl = match &subnet.acl {
        Some(id) => format!(", network_acl: {id}"),
        None => String::new(),
    };
    let networks = list(&subnet.networks);
    let _ = writeln!(out, "  {}: {{ cidr: {networks}{acl} }}", subnet.id);
}

fn acl(out: &mut String, acl: &AclRecord) {
    let empty = acl.inbound.is_empty() && acl.outbound.is_empty();
    let _ = writeln!(out, "  {}:{}", acl.id, if empty { " {}" } else { "" });
    for direction in [Direction::Inbound, Direction::Outbound] {
        let entries = acl.entries(direction);
        if !entries.is_empty() {
            let _ = writeln!(out, "    {direction}:");
        }
        for each in entries {
            let _ = writeln!(out, "      - {}", acl_entry(each, direction).flow());
        }
    }
}

/// An entry, in the order in which people write its keys.
fn acl_entry(entry: &AclEntryRecord, direction: Direction) -> Tree {
    let action = if entry.allow { "allow" } else { "refuse" };
    let mut entries = vec![
        ("action", Tree::text(action)),
        ("protocol", Tree::text(&entry.protocol)),
    ];
    let ports = [("port", &entry.ports), ("source_port", &entry.source_ports)];
    for (key, ports) in ports {
        if !ports.is_empty() {
            entries.push((key, Tree::text(ports_text(ports))));
        }
    }
    let far = list_keys(direction).1;
    for (key, addresses) in [
        ("source", &entry.source),
        ("destination", &entry.destination),
    ] {
        match addresses.as_slice() {
            [] if key == far => entries.push((key, Tree::text("any"))),
            [] => {}
            [one] => entries.push((key, Tree::text(one))),
            several => entries.push((key, Tree::texts(several))),
        }
    }
    if let Some(description) = &entry.description {
        entries.push(("description", Tree::text(description)));
    }
    Tree::map(entries)
}

fn list(items: &[String]) -> String {
    Tree::texts(items).flow()
}
