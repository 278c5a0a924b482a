//! Makes an inventory whole: what a rule, a template or an interface names exists, or is named as not kept.

use super::families::{
    Families, NONE, TemplateFamilies, families_of_address, families_of_protocol,
};
use super::inventory::{InstanceRecord, Inventory, RuleRecord, ServiceRecord, TemplateRecord};
use super::notes::Notes;
use crate::policy::{AddressRange, Direction, GroupId, InterfaceName};
use std::collections::{BTreeMap, HashSet};

/// The prefix of the ids of groups.
const GROUP: &str = "sg-";

/// Leaves out and adds what is needed for the inventory to be a definition without errors.
pub fn complete(inventory: &mut Inventory, notes: &mut Notes) {
    templates(&mut inventory.address_templates, "ipmg-", notes);
    templates(&mut inventory.service_templates, "ppmg-", notes);
    rules(inventory, notes);
    instances(&mut inventory.instances, notes);
    subnets(inventory, notes);
    groups_that_are_named(inventory, notes);
}

/// Of several templates of one id the first stays; groups keep those of their templates that exist.
fn templates(templates: &mut Vec<TemplateRecord>, group_prefix: &str, notes: &mut Notes) {
    let mut seen = HashSet::new();
    templates.retain(|template| {
        let first = seen.insert(template.id.clone());
        if !first {
            let message = format!("the template {} was read already", template.id);
            notes.not_kept(&template.place, message);
        }
        first
    });
    let empty = |template: &TemplateRecord, notes: &mut Notes| {
        if template.entries.is_empty() {
            let message = format!(
                "the template {} has no entry that a definition can have",
                template.id
            );
            notes.not_kept(&template.place, message);
        }
        !template.entries.is_empty()
    };
    templates.retain(|template| template.id.starts_with(group_prefix) || empty(template, notes));
    let plain = templates.iter().map(|template| template.id.clone());
    let plain: HashSet<String> = plain.filter(|id| !id.starts_with(group_prefix)).collect();
    for template in &mut *templates {
        if !template.id.starts_with(group_prefix) {
            continue;
        }
        template.entries.retain(|entry| {
            let exists = plain.contains(entry);
            if !exists {
                let message = format!("the template {entry} is not in the input");
                notes.not_kept(&template.place, message);
            }
            exists
        });
    }
    templates.retain(|template| empty(template, notes));
    // A stable sort: what a group names stands before it.
    templates.sort_by_key(|template| template.id.starts_with(group_prefix));
}

/// Rules whose templates exist, with remotes of the families that their protocols have.
fn rules(inventory: &mut Inventory, notes: &mut Notes) {
    let families = TemplateFamilies::of(inventory);
    let ids = |templates: &[TemplateRecord]| -> HashSet<String> {
        templates.iter().map(|each| each.id.clone()).collect()
    };
    let addresses = ids(&inventory.address_templates);
    let services = ids(&inventory.service_templates);
    for group in &mut inventory.groups {
        for direction in [Direction::Inbound, Direction::Outbound] {
            group.rules_mut(direction).retain_mut(|rule| {
                let missing = match &rule.service {
                    ServiceRecord::Template(id) => (!services.contains(id)).then(|| id.clone()),
                    ServiceRecord::Protocol(..) => None,
                };
                if let Some(id) = missing {
                    let message = format!("the service template {id} is not in the input");
                    return leave_out(rule, &message, notes);
                }
                let of_service = families.of_service(&rule.service);
                let mut why = "it has no remote".to_owned();
                rule.remote.retain(|item| {
                    if item.starts_with("ipm") && !addresses.contains(item) {
                        why = format!("the address template {item} is not in the input");
                        return false;
                    }
                    if !item.starts_with("ipm") && !is_remote(item) {
                        why = format!("`{item}` is no remote");
                        return false;
                    }
                    let matches = of_service.and(families.of_remote(item)).any();
                    if !matches {
                        let (one, other) = match of_service.v4 {
                            true => ("IPv4", "IPv6"),
                            false => ("IPv6", "IPv4"),
                        };
                        why = format!("its protocol is {one} only, and {item} is {other}");
                    }
                    if !matches {
                        return false;
                    }
                    true
                });
                match rule.remote.is_empty() {
                    true => leave_out(rule, &why, notes),
                    false => true,
                }
            });
        }
    }
}

/// Whether a definition may name it as a remote, if it is no template.
fn is_remote(item: &str) -> bool {
    item == "any" || GroupId::parse(item).is_ok() || AddressRange::parse(item).is_ok()
}

/// Names a rule that is not kept. A refusal that goes opens something, which is said.
fn leave_out(rule: &RuleRecord, why: &str, notes: &mut Notes) -> bool {
    let message = match rule.allow {
        true => format!("the rule is left out: {why}"),
        false => format!("the rule is left out: {why}; what it refused may pass now"),
    };
    notes.not_kept(&rule.place, message);
    false
}

/// Instances with valid interfaces, and hostnames that mean one instance each.
fn instances(instances: &mut Vec<InstanceRecord>, notes: &mut Notes) {
    let mut ids = HashSet::new();
    instances.retain_mut(|instance| {
        if !ids.insert(instance.id.clone()) {
            notes.not_kept(
                &instance.place,
                format!("the instance {} was read already", instance.id),
            );
            return false;
        }
        let mut names = HashSet::new();
        for interface in &mut instance.interfaces {
            let mut seen = HashSet::new();
            interface
                .addresses
                .retain(|address| seen.insert(address.clone()));
        }
        instance.interfaces.retain(|interface| {
            let valid = InterfaceName::parse(&interface.name).is_ok();
            if !valid || !names.insert(interface.name.clone()) {
                let message = format!("`{}` cannot be an interface's name", interface.name);
                notes.not_kept(&instance.place, message);
                return false;
            }
            true
        });
        if instance.interfaces.is_empty() {
            let message = format!("the instance {} has no interface", instance.id);
            notes.not_kept(&instance.place, message);
        }
        !instance.interfaces.is_empty()
    });
    let mut taken = Hostnames::default();
    for instance in instances {
        if let Some(name) = &instance.hostname
            && (!Hostnames::is_one(name) || !taken.add(name))
        {
            let message = format!("`{name}` cannot be its hostname beside the others");
            notes.not_kept(&instance.place, message);
            instance.hostname = None;
        }
        if instance.hostname.is_none() {
            taken.add(&instance.id);
        }
    }
}

/// Subnets that lie apart, as those of one network do, and entries of network ACLs that packets can match.
fn subnets(inventory: &mut Inventory, notes: &mut Notes) {
    let acls: HashSet<String> = inventory.acls.iter().map(|acl| acl.id.clone()).collect();
    let mut taken = Taken::default();
    inventory.subnets.retain_mut(|subnet| {
        let networks = subnet.networks.iter();
        let ranges: Vec<_> = networks
            .filter_map(|text| AddressRange::parse(text).ok())
            .collect();
        let shared = ranges.iter().any(|range| taken.touches(range));
        let why = match (ranges.is_empty(), shared) {
            (true, _) => Some("it has no network"),
            (_, true) => Some("another subnet has addresses of it: import one network at a time"),
            _ => None,
        };
        if let Some(why) = why {
            let message = format!("the subnet {} is left out: {why}", subnet.id);
            notes.not_kept(&subnet.place, message);
            return false;
        }
        ranges.iter().for_each(|range| taken.add(range));
        if let Some(acl) = subnet.acl.as_ref().filter(|id| !acls.contains(*id)) {
            let message = format!("the network ACL {acl} is not in the input");
            notes.not_kept(&subnet.place, message);
            subnet.acl = None;
        }
        true
    });
    for acl in &mut inventory.acls {
        for direction in [Direction::Inbound, Direction::Outbound] {
            acl.entries_mut(direction).retain(|entry| {
                let mut families = families_of_protocol(&entry.protocol);
                for side in [&entry.source, &entry.destination] {
                    let of_side = side.iter().map(|text| families_of_address(text));
                    if !side.is_empty() {
                        families = families.and(of_side.fold(NONE, Families::or));
                    }
                }
                if !families.any() {
                    let message =
                        "the entry is left out: protocol and addresses are of different families";
                    notes.not_kept(&entry.place, message);
                }
                families.any()
            });
        }
    }
}

/// The networks of subnets, which lie apart: the last address of each by its first, IPv4 and IPv6.
#[derive(Default)]
struct Taken([BTreeMap<u128, u128>; 2]);

impl Taken {
    fn ends(range: &AddressRange) -> (usize, u128, u128) {
        match range {
            AddressRange::V4(i) => (0, i.first.into(), i.last.into()),
            AddressRange::V6(i) => (1, i.first, i.last),
        }
    }

    fn touches(&self, range: &AddressRange) -> bool {
        let (family, first, last) = Self::ends(range);
        // They lie apart: of those that begin before the end, the last one ends last.
        let before = self.0[family].range(..=last).next_back();
        before.is_some_and(|(_, end)| *end >= first)
    }

    fn add(&mut self, range: &AddressRange) {
        let (family, first, last) = Self::ends(range);
        self.0[family].insert(first, last);
    }
}

/// Names of hosts: two mean one host where they are equal, or one is the short name of the other.
#[derive(Default)]
struct Hostnames {
    whole: HashSet<String>,
    labels: HashSet<String>,
    short: HashSet<String>,
}

impl Hostnames {
    fn is_one(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        !name.is_empty() && name.bytes().all(allowed)
    }

    /// Adds one, unless it can mean a host that is known.
    fn add(&mut self, name: &str) -> bool {
        let whole = name.to_lowercase();
        let label = whole.split('.').next().unwrap_or(&whole).to_owned();
        let is_short = label == whole;
        let known = self.whole.contains(&whole)
            || self.short.contains(&label)
            || (is_short && self.labels.contains(&label));
        if known {
            return false;
        }
        if is_short {
            self.short.insert(label.clone());
        }
        self.labels.insert(label);
        self.whole.insert(whole)
    }
}

/// A group that is bound or named and not in the input is made, without rules: it matches nothing and refuses.
fn groups_that_are_named(inventory: &mut Inventory, notes: &mut Notes) {
    let mut missing: Vec<(String, String)> = Vec::new();
    let known: HashSet<&str> = inventory
        .groups
        .iter()
        .map(|each| each.id.as_str())
        .collect();
    let mut seen = HashSet::new();
    let mut name = |id: &str, place: &str| {
        if !known.contains(id) && seen.insert(id.to_owned()) {
            missing.push((id.to_owned(), place.to_owned()));
        }
    };
    for group in &inventory.groups {
        for rule in group.inbound.iter().chain(&group.outbound) {
            let ids = rule.remote.iter().filter(|item| item.starts_with(GROUP));
            ids.for_each(|id| name(id, &rule.place));
        }
    }
    for instance in &inventory.instances {
        for id in instance.interfaces.iter().flat_map(|each| &each.groups) {
            name(id, &instance.place);
        }
    }
    for (id, place) in missing {
        if GroupId::parse(&id).is_ok() {
            notes.assumed(
                place,
                format!("{id} is not in the input: it is made without rules"),
            );
            inventory.group(&id);
        }
    }
}
