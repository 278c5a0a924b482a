//! What is asked about a flow that opens, as one ordered list for a direction: the platform's blocks, the approved
//! services, and the rules of the bound groups. [`Policy::decide`](super::Policy::decide) and the compiler read the
//! policy apart from it.

use super::address::AddressSet;
use super::decide::Reason;
use super::platform::Platform;
use super::port::PortSet;
use super::rule::{Action, Direction, Rule, SecurityGroup, Service};
use std::borrow::Cow;
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
