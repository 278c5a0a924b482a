//! Templates as the cloud has them: groups that name templates only, and ports that are a list or one range.

use super::apart::port_lists;
use super::inventory::{Inventory, TemplateRecord};
use super::notes::Notes;
use super::values::{ports, ports_text};
use std::collections::{BTreeMap, HashSet};

/// The groups of address templates, with the templates that groups in them name.
pub fn address_groups(inventory: &Inventory) -> Vec<TemplateRecord> {
    groups(&inventory.address_templates, "ipmg-")
}

/// The same of service templates.
pub fn service_groups(inventory: &Inventory) -> Vec<TemplateRecord> {
    groups(&inventory.service_templates, "ppmg-")
}

fn groups(templates: &[TemplateRecord], prefix: &str) -> Vec<TemplateRecord> {
    let known: BTreeMap<&str, &TemplateRecord> = templates
        .iter()
        .map(|each| (each.id.as_str(), each))
        .collect();
    let groups = templates.iter().filter(|each| each.id.starts_with(prefix));
    groups
        .map(|group| {
            let mut entries = Vec::new();
            let mut seen = HashSet::new();
            // The last is looked at next: entries go on in reverse.
            let mut open: Vec<&str> = group.entries.iter().rev().map(String::as_str).collect();
            while let Some(id) = open.pop() {
                if !seen.insert(id) {
                    continue;
                }
                match known.get(id) {
                    Some(inner) if id.starts_with(prefix) => {
                        open.extend(inner.entries.iter().rev().map(String::as_str));
                    }
                    _ => entries.push(id.to_owned()),
                }
            }
            TemplateRecord {
                entries,
                ..group.clone()
            }
        })
        .collect()
}

/// The entries of a service template: `tcp:80,443`, `tcp:8000-8100`, `tcp:ALL`, `icmp`.
pub fn service_entries(template: &TemplateRecord, notes: &mut Notes) -> Vec<String> {
    let mut entries = Vec::new();
    for entry in &template.entries {
        let Some((protocol, written)) = entry.split_once(':') else {
            if entry == "icmpv6" {
                let message = "the cloud's documents list no ICMPv6 in service templates";
                notes.assumed(&template.place, message);
            }
            entries.push(entry.clone());
            continue;
        };
        let ports = ports(written).unwrap_or_default();
        if ports.is_empty() {
            entries.push(format!("{protocol}:ALL"));
        }
        for list in port_lists(&ports) {
            entries.push(format!("{protocol}:{}", ports_text(&list)));
        }
    }
    entries
}
