//! What is asked about a flow that opens, as one ordered list for a direction: the platform's blocks, the approved
//! services, and the rules of the bound groups. [`Policy::decide`](super::Policy::decide) and the compiler read the
//! policy apart from it.

use super::address::AddressSet;
use super::decide::Reason;
use super::host::Binding;
use super::network_acl::AclEntry;
use super::platform::Platform;
use super::port::PortSet;
use super::rule::{Action, Direction, Rule, SecurityGroup, Service};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// One entry of the list: what it matches is all of its services with all of its remotes.
#[derive(Debug, Clone)]
pub struct ListEntry<'p> {
    /// What decides where it matches.
    pub reason: Reason,
    /// Whether it lets pass.
    pub allows: bool,
    /// What it matches beside the remote.
    pub services: Cow<'p, [Service]>,
    /// `None` matches nothing.
    pub remote: Option<Cow<'p, AddressSet>>,
    /// The rule, and the place of its group among those that are bound.
    pub rule: Option<(usize, &'p Rule)>,
}

impl ListEntry<'_> {
    /// An entry about every flow.
    pub fn everything(reason: Reason, allows: bool) -> Self {
        ListEntry {
            reason,
            allows,
            services: Cow::Owned(vec![Service::All]),
            remote: Some(Cow::Owned(AddressSet::any())),
            rule: None,
        }
    }
}

/// The list that a binding of these groups is asked in one direction.
pub fn entries<'p>(
    platform: &'p Platform,
    groups: &'p [Arc<SecurityGroup>],
    smtp_blocked: bool,
    direction: Direction,
) -> Vec<ListEntry<'p>> {
    let mut entries = Vec::new();
    let mut block = |reason, services: Vec<Service>, external: bool| {
        let remote = match external {
            true => AddressSet::outside(platform.internal.as_ref()),
            false => Some(AddressSet::any()),
        };
        if !services.is_empty() {
            entries.push(ListEntry {
                reason,
                allows: false,
                services: services.into(),
                remote: remote.map(Cow::Owned),
                rule: None,
            });
        }
    };
    let blocked = &platform.blocked_ports;
    if blocked.blocks(direction) {
        let tcp = blocked.tcp.clone().map(Service::Tcp);
        let udp = blocked.udp.clone().map(Service::Udp);
        let services = tcp.into_iter().chain(udp).collect();
        block(Reason::BlockedPorts, services, blocked.external_only);
    }
    if smtp_blocked && direction == Direction::Outbound {
        let mail = Service::Tcp(PortSet::single(25));
        block(Reason::Smtp, vec![mail], true);
    }
    let approved = platform.approved_services.iter();
    let approved = approved.filter(|approved| approved.direction == direction);
    entries.extend(approved.map(|approved| ListEntry {
        reason: Reason::ApprovedService(approved.name.clone()),
        allows: true,
        services: Cow::Borrowed(&approved.services),
        remote: Some(Cow::Borrowed(&approved.remote)),
        rule: None,
    }));
    for (place, group) in groups.iter().enumerate() {
        entries.extend(group.rules(direction).iter().map(|rule| ListEntry {
            reason: Reason::Rule(rule.id.clone()),
            allows: rule.action == Action::Allow,
            services: Cow::Borrowed(&rule.services),
            remote: rule.remote.as_ref().map(Cow::Borrowed),
            rule: Some((place, rule)),
        }));
    }
    entries
}

/// A port from which flows are opened.
const EPHEMERAL: u16 = 49152;

/// The lists of the network ACL of a binding about flows that open in a direction: about the packets that open them, and
/// about the answers, by ports and remotes of the flow. Flows are opened from an ephemeral port, to or from the address
/// of the interface's own. Nothing without an ACL.
pub fn of_acl(binding: &Binding, direction: Direction) -> Option<[Vec<ListEntry<'_>>; 2]> {
    let acl = binding.acl.as_ref()?;
    let opening = acl.acl.entries(direction).iter();
    let opening = opening.filter_map(|entry| about_opening(entry, binding));
    let answers = acl.acl.entries(direction.opposite()).iter();
    let answers = answers.filter_map(|entry| about_answers(entry, binding));
    let inside = || {
        let own = |v4: bool| binding.addresses.iter().find(|own| own.is_ipv4() == v4);
        let in_family = |v4| own(v4).is_some_and(|own| acl.networks.contains(*own));
        let networks = of_families(&acl.networks, in_family);
        networks.map(|networks| ListEntry {
            remote: Some(Cow::Owned(networks)),
            ..ListEntry::everything(Reason::Unmanaged, true)
        })
    };
    Some([
        inside().into_iter().chain(opening).collect(),
        inside().into_iter().chain(answers).collect(),
    ])
}

/// The part of a set in the families for which this holds.
fn of_families(set: &AddressSet, holds: impl Fn(bool) -> bool) -> Option<AddressSet> {
    let part = set.ranges().filter(|range| holds(range.is_v4()));
    AddressSet::new(part)
}

fn acl_list_entry<'p>(
    entry: &'p AclEntry,
    binding: &Binding,
    services: Cow<'p, [Service]>,
) -> Option<ListEntry<'p>> {
    let local = |v4: bool| {
        let own = binding.addresses.iter().find(|own| own.is_ipv4() == v4);
        let unknown = match v4 {
            true => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            false => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        entry.local().contains(own.copied().unwrap_or(unknown))
    };
    Some(ListEntry {
        reason: Reason::Acl(entry.id.clone()),
        allows: entry.action == Action::Allow,
        services,
        remote: Some(Cow::Owned(of_families(entry.remote(), local)?)),
        rule: None,
    })
}

fn about_opening<'p>(entry: &'p AclEntry, binding: &Binding) -> Option<ListEntry<'p>> {
    let from = matches!(entry.service, Service::Tcp(_) | Service::Udp(_));
    if from && !entry.source_ports.contains(EPHEMERAL) {
        return None;
    }
    let services = std::slice::from_ref(&entry.service);
    acl_list_entry(entry, binding, Cow::Borrowed(services))
}

/// An answer comes from the flow's port, and goes to the port from which the flow was opened.
fn about_answers<'p>(entry: &'p AclEntry, binding: &Binding) -> Option<ListEntry<'p>> {
    let from = || entry.source_ports.clone();
    let service = match &entry.service {
        Service::Tcp(ports) if ports.contains(EPHEMERAL) => Service::Tcp(from()),
        Service::Udp(ports) if ports.contains(EPHEMERAL) => Service::Udp(from()),
        Service::Tcp(_) | Service::Udp(_) => return None,
        other => other.clone(),
    };
    acl_list_entry(entry, binding, Cow::Owned(vec![service]))
}
