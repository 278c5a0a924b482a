//! What the cloud does by itself.

use super::addresses::range;
use super::rules::{Context, only_family};
use super::services::{port_set, services};
use crate::definition::model::{ApprovedServiceEntry, BlockedProfile, PlatformEntry};
use crate::definition::reader::Texts;
use crate::definition::{Definition, Diagnostics};
use crate::policy::account::Instance;
use crate::policy::address::{AddressRange, AddressSet};
use crate::policy::blocked_ports;
use crate::policy::interval::Interval;
use crate::policy::number::decimal;
use crate::policy::platform::{
    APPROVED_SERVICES, ApprovedService, BlockedPorts, INTERNAL_NETWORKS, Platform,
    UNBLOCKS_PER_ACCOUNT,
};
use crate::policy::port::PortSet;
use crate::policy::rule::{Direction, Service};

/// The most that `unblocks_per_account` can be.
const MOST_UNBLOCKS: u32 = 1000;

/// The platform's part, with every default filled in.
pub fn platform(
    definition: &Definition,
    instances: &[Instance],
    context: &mut Context,
) -> Platform {
    let entry = &definition.platform;
    let networks: Vec<AddressRange> = match &entry.internal_networks {
        Some(texts) => texts
            .items
            .iter()
            .filter_map(|text| range(text, context.diagnostics))
            .collect(),
        None => default_ranges(INTERNAL_NETWORKS),
    };
    let interfaces = instances.iter().flat_map(|instance| &instance.interfaces);
    let own = interfaces
        .flat_map(|interface| &interface.addresses)
        .map(|address| AddressRange::single(*address));
    Platform {
        internal: AddressSet::new(networks.into_iter().chain(own)),
        blocked_ports: blocked_ports(entry, context.diagnostics),
        smtp_block: entry.smtp_block.unwrap_or(true),
        unblocks_per_account: unblocks(entry, context.diagnostics),
        approved_services: approved_services(entry, context),
        unbound_refuse: entry.unbound_refuse.unwrap_or(false),
        recheck: entry.recheck.unwrap_or(true),
        events: entry.events.unwrap_or(false),
        observe: entry.observe.unwrap_or(false),
    }
}

/// Addresses out of a table of this crate; `defaults_are_valid` proves that each is one.
fn default_ranges(table: &[&str]) -> Vec<AddressRange> {
    table
        .iter()
        .filter_map(|text| AddressRange::parse(text).ok())
        .collect()
}

fn unblocks(entry: &PlatformEntry, diagnostics: &mut Diagnostics) -> u32 {
    let Some(text) = &entry.unblocks_per_account else {
        return UNBLOCKS_PER_ACCOUNT;
    };
    match decimal(&text.text) {
        Ok(number) if number <= MOST_UNBLOCKS => number,
        _ => {
            let message = format!("`unblocks_per_account` cannot be `{}`", text.text);
            let help = format!("write a number from 0 to {MOST_UNBLOCKS}");
            diagnostics.error("bad-value", text.span, message, help);
            UNBLOCKS_PER_ACCOUNT
        }
    }
}

fn blocked_ports(entry: &PlatformEntry, diagnostics: &mut Diagnostics) -> BlockedPorts {
    let tables = match entry.blocked_profile.unwrap_or(BlockedProfile::Tencent) {
        BlockedProfile::Tencent => [blocked_ports::TCP, blocked_ports::UDP],
        BlockedProfile::None => [""; 2],
    };
    let mut ports = |protocol: usize| -> Option<PortSet> {
        let profile = blocked_ports::port_set(tables[protocol]);
        let whole = with(profile, entry.blocked_add[protocol].as_ref(), diagnostics);
        without(whole, entry.blocked_remove[protocol].as_ref(), diagnostics)
    };
    let (tcp, udp) = (ports(0), ports(1));
    let (inbound, outbound) = entry.blocked_direction.unwrap_or((true, true));
    BlockedPorts {
        tcp,
        udp,
        inbound,
        outbound,
        external_only: entry.blocked_external_only.unwrap_or(false),
    }
}

fn with(
    ports: Option<PortSet>,
    add: Option<&Texts>,
    diagnostics: &mut Diagnostics,
) -> Option<PortSet> {
    let Some(add) = add.and_then(|texts| port_set(&texts.items, diagnostics)) else {
        return ports;
    };
    let intervals: Vec<Interval<u16>> = ports
        .iter()
        .chain([&add])
        .flat_map(|set| set.intervals().to_vec())
        .collect();
    PortSet::new(intervals)
}

fn without(
    ports: Option<PortSet>,
    remove: Option<&Texts>,
    diagnostics: &mut Diagnostics,
) -> Option<PortSet> {
    let Some(texts) = remove else { return ports };
    let Some(hole) = port_set(&texts.items, diagnostics) else {
        return ports;
    };
    let nothing = match &ports {
        Some(ports) => hole.without(ports),
        None => Some(hole.clone()),
    };
    if let Some(nothing) = nothing {
        let message = format!("{nothing} is not blocked anyway");
        let help = "remove it from `remove`";
        diagnostics.warning("not-blocked", texts.span, message, help);
    }
    ports?.without(&hole)
}

fn approved_services(entry: &PlatformEntry, context: &mut Context) -> Vec<ApprovedService> {
    let written: Vec<ApprovedService> = entry
        .approved_services
        .iter()
        .filter_map(|entry| approved_service(entry, context))
        .collect();
    let named = |name: &str| {
        entry
            .approved_services
            .iter()
            .any(|entry| entry.name.text == name)
    };
    let defaults = APPROVED_SERVICES
        .iter()
        .filter(|(name, ..)| !named(name))
        .filter_map(|(name, protocols, port, destinations)| {
            let ports = PortSet::single(*port);
            let services = protocols.iter().map(|protocol| match *protocol {
                "udp" => Service::Udp(ports.clone()),
                _ => Service::Tcp(ports.clone()),
            });
            Some(ApprovedService {
                name: (*name).into(),
                direction: Direction::Outbound,
                services: services.collect(),
                remote: AddressSet::new(default_ranges(destinations))?,
                place: None,
            })
        });
    defaults.chain(written).collect()
}

fn approved_service(
    entry: &ApprovedServiceEntry,
    context: &mut Context,
) -> Option<ApprovedService> {
    let name = &entry.name.text;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        let message = format!("`{name}` is not a name for an approved service");
        let help = "a name has letters, digits, `-`, `_` and `.`, and 64 bytes at most";
        context
            .diagnostics
            .error("bad-id", entry.name.span, message, help);
    }
    let port = entry.port.as_ref();
    let services = services(entry.protocols.as_ref(), port, context.diagnostics);
    let family = services.as_deref().and_then(only_family);
    let user = format!("approved service {name}");
    let remote = entry.remote.as_ref().map(|remote| {
        let uses = &mut *context.uses;
        (context.addresses).remote(remote, family, &user, uses, context.diagnostics)
    });
    Some(ApprovedService {
        name: name.as_str().into(),
        direction: match entry.inbound? {
            true => Direction::Inbound,
            false => Direction::Outbound,
        },
        services: services?,
        // A group without members approves nobody.
        remote: remote?.ok()??,
        place: Some(context.sources.place(entry.name.span)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(
            default_ranges(INTERNAL_NETWORKS).len(),
            INTERNAL_NETWORKS.len()
        );
        for (name, _, _, destinations) in APPROVED_SERVICES {
            assert_eq!(
                default_ranges(destinations).len(),
                destinations.len(),
                "{name}"
            );
        }
    }
}
