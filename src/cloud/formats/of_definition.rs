//! The inventory of a definition that was found right, and what no format of a cloud has of it.

use super::inventory::{
    AclEntryRecord, InstanceRecord, InterfaceRecord, Inventory, RuleRecord, ServiceRecord,
    TemplateRecord,
};
use super::notes::Notes;
use super::values::{address, service_entry};
use crate::definition::model::{
    AddressTemplateContent, GroupEntry, InstanceEntry, PlatformEntry, RuleEntry, RuleService,
    WrittenAclEntry,
};
use crate::definition::reader::{Text, Texts};
use crate::definition::{Definition, Sources, Span};
use crate::policy::{Direction, Interval, PortSet};

/// What begins a comment in the file of a template.
const COMMENT: [char; 2] = ['#', ';'];

/// The inventory of a definition; nothing that [`crate::policy::validate()`] refuses is expected in it.
pub fn of_definition(definition: &Definition, notes: &mut Notes) -> Inventory {
    let mut inventory = Inventory::default();
    let sources = &definition.sources;
    for entry in &definition.security_groups {
        group(&mut inventory, entry, sources, notes);
    }
    for template in &definition.address_templates {
        let place = place(sources, template.id.span);
        let entries = match &template.content {
            AddressTemplateContent::Items(items) => texts(items),
            AddressTemplateContent::File { written, loaded } => {
                let message = format!("the addresses of {} are written out", written.text);
                notes.assumed(&place, message);
                match loaded {
                    Some(Ok(source)) => lines(&sources.get(*source).text),
                    _ => Vec::new(),
                }
            }
            AddressTemplateContent::Unreadable => Vec::new(),
        };
        let is_group = template.id.text.starts_with("ipmg-");
        let entries = entries.into_iter().map(|entry| match address(&entry) {
            Ok((written, _)) if !is_group => written,
            _ => entry,
        });
        inventory.address_templates.push(TemplateRecord {
            id: template.id.text.clone(),
            entries: entries.collect(),
            place,
        });
    }
    for template in &definition.service_templates {
        let entries = template.items.as_ref().map(texts).unwrap_or_default();
        let entries = entries
            .into_iter()
            .map(|entry| service_entry(&entry).unwrap_or(entry));
        inventory.service_templates.push(TemplateRecord {
            id: template.id.text.clone(),
            entries: entries.collect(),
            place: place(sources, template.id.span),
        });
    }
    for entry in &definition.instances {
        inventory.instances.push(instance(entry, sources, notes));
    }
    network_acls(definition, &mut inventory);
    beside_the_groups(definition, notes);
    inventory
}

fn network_acls(definition: &Definition, inventory: &mut Inventory) {
    let sources = &definition.sources;
    for entry in &definition.subnets {
        let subnet = inventory.subnet(&entry.id.text, &place(sources, entry.id.span));
        subnet.networks = entry.cidr.as_ref().map(addresses).unwrap_or_default();
        subnet.acl = entry.network_acl.as_ref().map(|id| id.text.clone());
    }
    for entry in &definition.network_acls {
        let acl = inventory.acl(&entry.id.text, &place(sources, entry.id.span));
        for (direction, written) in [
            (Direction::Inbound, &entry.inbound),
            (Direction::Outbound, &entry.outbound),
        ] {
            let entries = written.iter().flatten();
            let entries = entries.filter_map(|entry| acl_entry(entry, sources));
            *acl.entries_mut(direction) = entries.collect();
        }
    }
}

fn acl_entry(entry: &WrittenAclEntry, sources: &Sources) -> Option<AclEntryRecord> {
    // `any` is said by saying nothing.
    let side = |written: &Option<Texts>| {
        let addresses = written.as_ref().map(addresses).unwrap_or_default();
        match addresses.iter().any(|address| address == "any") {
            true => Vec::new(),
            false => addresses,
        }
    };
    let ports = |written: &Option<Texts>| written.as_ref().map(ports).unwrap_or_default();
    Some(AclEntryRecord {
        allow: entry.allow?,
        protocol: entry.protocol.as_ref()?.text.clone(),
        ports: ports(&entry.port),
        source_ports: ports(&entry.source_port),
        source: side(&entry.source),
        destination: side(&entry.destination),
        description: entry.description.as_ref().map(|text| text.text.clone()),
        place: place(sources, entry.span),
    })
}

/// Addresses, written in one way.
fn addresses(texts: &Texts) -> Vec<String> {
    let items = texts.items.iter().map(|item| match address(&item.text) {
        Ok((written, _)) => written,
        Err(_) => item.text.clone(),
    });
    items.collect()
}

fn group(inventory: &mut Inventory, entry: &GroupEntry, sources: &Sources, notes: &mut Notes) {
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.text.clone());
    let group = inventory.group(&entry.id.text);
    group.name = text(&entry.name);
    group.region = text(&entry.region);
    group.project = text(&entry.project);
    if entry.observe == Some(true) {
        let message = "`mode: observe` is left out: its refusing rules refuse there";
        notes.not_kept(place(sources, entry.id.span), message);
    }
    for silence in &entry.silence {
        notes.not_kept(place(sources, silence.span), "`silence` is left out");
    }
    let lists = [
        (Direction::Inbound, &entry.inbound),
        (Direction::Outbound, &entry.outbound),
    ];
    for (direction, entries) in lists {
        let rules = entries.iter().flatten();
        let rules = rules.filter_map(|entry| rule(entry, sources, notes));
        let rules: Vec<_> = rules.collect();
        *group.rules_mut(direction) = rules;
    }
}

fn rule(entry: &RuleEntry, sources: &Sources, notes: &mut Notes) -> Option<RuleRecord> {
    for silence in &entry.silence {
        notes.not_kept(place(sources, silence.span), "`silence` is left out");
    }
    if let Some(until) = &entry.until {
        let at = place(sources, entry.span);
        let until = &until.text;
        // Without its end an allow would be wider than it is meant.
        if entry.allow? {
            notes.not_kept(
                at,
                format!(
                    "the rule is left out: it allows `until: {until}`, and would not end there"
                ),
            );
            return None;
        }
        notes.not_kept(
            at,
            format!("`until: {until}` is left out: the rule does not end there"),
        );
    }
    let service = match entry.service.as_ref()? {
        RuleService::Template(id) => ServiceRecord::Template(id.text.clone()),
        RuleService::Protocol(protocol, port) => {
            let ports = port.as_ref().map(ports).unwrap_or_default();
            ServiceRecord::Protocol(protocol.as_ref()?.text.clone(), ports)
        }
        RuleService::Both { .. } => return None,
    };
    let remote = addresses(entry.remote.as_ref()?);
    Some(RuleRecord {
        allow: entry.allow?,
        service,
        remote,
        description: entry.description.as_ref().map(|text| text.text.clone()),
        comment: None,
        place: place(sources, entry.span),
    })
}

/// The intervals as they are written; none for every port.
fn ports(written: &Texts) -> Vec<Interval<u16>> {
    let each = written
        .items
        .iter()
        .filter_map(|item| PortSet::parse(&item.text).ok());
    let intervals: Vec<Interval<u16>> = each.flatten().collect();
    match PortSet::new(intervals.clone()) {
        Some(set) if set.is_all() => Vec::new(),
        _ => intervals,
    }
}

fn instance(entry: &InstanceEntry, sources: &Sources, notes: &mut Notes) -> InstanceRecord {
    if let Some(span) = entry.smtp_unblocked {
        let message = "`smtp: unblocked` is left out: TCP 25 is unblocked in the console";
        notes.not_kept(place(sources, span), message);
    }
    let interfaces = entry.interfaces.iter().map(|interface| {
        let addresses = interface.addresses.iter().map(|text| {
            let written = address(&text.text).map(|(written, _)| written);
            written.unwrap_or_else(|_| text.text.clone())
        });
        let groups = interface.security_groups.iter();
        InterfaceRecord {
            name: interface.name.text.clone(),
            addresses: addresses.collect(),
            groups: groups.map(|id| id.text.clone()).collect(),
        }
    });
    InstanceRecord {
        id: entry.id.text.clone(),
        hostname: entry.hostname.as_ref().map(|name| name.text.clone()),
        kind: entry.kind,
        prepaid: entry.prepaid,
        interfaces: interfaces.collect(),
        place: place(sources, entry.id.span),
    }
}

/// What stands beside groups, templates and instances.
fn beside_the_groups(definition: &Definition, notes: &mut Notes) {
    for key in platform_keys(&definition.platform) {
        let message = format!("`{key}` is left out: the cloud does this by itself");
        notes.not_kept("platform", message);
    }
    let lab = &definition.lab;
    for name in (lab.hosts.iter().map(|host| &host.name))
        .chain(lab.services.iter().map(|services| &services.name))
    {
        let message = format!("`{}` is left out: only a lab has it", name.text);
        notes.not_kept(place(&definition.sources, name.span), message);
    }
    for test in &definition.tests {
        notes.not_kept(
            place(&definition.sources, test.span),
            "this promise of `tests` is left out",
        );
    }
    for silence in &definition.silence {
        notes.not_kept(
            place(&definition.sources, silence.span),
            "`silence` is left out",
        );
    }
}

/// The keys of the platform that are written.
fn platform_keys(platform: &PlatformEntry) -> Vec<&'static str> {
    let ports = |list: &[Option<Texts>; 2]| list.iter().any(Option::is_some);
    let written = [
        ("internal_networks", platform.internal_networks.is_some()),
        ("blocked_ports.profile", platform.blocked_profile.is_some()),
        (
            "blocked_ports.direction",
            platform.blocked_direction.is_some(),
        ),
        (
            "blocked_ports.peers",
            platform.blocked_external_only.is_some(),
        ),
        ("blocked_ports.add", ports(&platform.blocked_add)),
        ("blocked_ports.remove", ports(&platform.blocked_remove)),
        ("smtp.block", platform.smtp_block.is_some()),
        (
            "smtp.unblocks_per_account",
            platform.unblocks_per_account.is_some(),
        ),
        ("approved_services", !platform.approved_services.is_empty()),
        ("unbound_interfaces", platform.unbound_refuse.is_some()),
        ("quotas", platform.quotas.is_some()),
        ("established", platform.recheck.is_some()),
        ("events", platform.events.is_some()),
        ("mode", platform.observe.is_some()),
    ];
    let written = written.into_iter().filter(|(_, is_written)| *is_written);
    written.map(|(key, _)| key).collect()
}

fn texts(texts: &Texts) -> Vec<String> {
    texts.items.iter().map(|item| item.text.clone()).collect()
}

/// The entries of a template's file.
fn lines(text: &str) -> Vec<String> {
    let contents = text
        .lines()
        .map(|line| line.split(COMMENT).next().unwrap_or("").trim());
    let contents = contents.filter(|content| !content.is_empty());
    contents.map(str::to_owned).collect()
}

fn place(sources: &Sources, span: Span) -> String {
    sources.place(span).to_string()
}
