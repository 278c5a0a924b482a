//! A rule as the rules of the cloud that say the same: one remote each, CIDRs instead of ranges, and ports that are
//! a list or one range.

use super::families::{Families, TemplateFamilies, families_of_protocol};
use super::inventory::{AclEntryRecord, RuleRecord, ServiceRecord};
use super::notes::Notes;
use super::values::range_text;
use crate::policy::{AddressRange, Direction, Interval};

/// What the cloud reads as the whole of IPv4, whatever follows.
const ZERO_NETWORK: &str = "0.0.0.0/";
/// The first address behind `0.0.0.0/8`, which no peer has.
const BEHIND_ZERO: u32 = 1 << 24;

/// The rules of the cloud for a rule. A part that can match nothing is left out.
pub fn apart(rule: &RuleRecord, families: &TemplateFamilies, notes: &mut Notes) -> Vec<RuleRecord> {
    let of_service = families.of_service(&rule.service);
    let mut remotes = Vec::new();
    for item in &rule.remote {
        if of_service.and(families.of_remote(item)).any() {
            remotes.extend(remotes_of(item, of_service, &rule.place, notes));
        }
    }
    let services = services_of(&rule.service);
    let mut rules = Vec::new();
    for service in &services {
        for remote in &remotes {
            rules.push(RuleRecord {
                service: service.clone(),
                remote: vec![remote.clone()],
                ..rule.clone()
            });
        }
    }
    rules
}

/// The entries of the cloud for an entry of a network ACL: addresses of one family, one far from the subnet and at most
/// one in it.
pub fn entries_apart(
    entry: &AclEntryRecord,
    direction: Direction,
    notes: &mut Notes,
) -> Vec<AclEntryRecord> {
    let of_protocol = families_of_protocol(&entry.protocol);
    let mut side = |items: &[String]| -> Vec<String> {
        let items = items.iter();
        items
            .flat_map(|item| remotes_of(item, of_protocol, &entry.place, notes))
            .collect()
    };
    let (source, destination) = (side(&entry.source), side(&entry.destination));
    let (far, near, any_far, any_near) = match direction {
        Direction::Inbound => (source, destination, &entry.source, &entry.destination),
        Direction::Outbound => (destination, source, &entry.destination, &entry.source),
    };
    let mut entries = Vec::new();
    for (v6, whole, wanted) in [
        (false, "0.0.0.0/0", of_protocol.v4),
        (true, "::/0", of_protocol.v6),
    ] {
        if !wanted {
            continue;
        }
        let of_family = |side: &[String]| -> Vec<Vec<String>> {
            let of_family = side.iter().filter(|text| text.contains(':') == v6);
            of_family.map(|text| vec![text.clone()]).collect()
        };
        let far = match any_far.is_empty() {
            true => vec![vec![whole.to_owned()]],
            false => of_family(&far),
        };
        let near = match any_near.is_empty() {
            true => vec![Vec::new()],
            false => of_family(&near),
        };
        for (far, near) in far
            .iter()
            .flat_map(|far| near.iter().map(move |near| (far, near)))
        {
            let (source, destination) = match direction {
                Direction::Inbound => (far, near),
                Direction::Outbound => (near, far),
            };
            entries.push(AclEntryRecord {
                source: source.clone(),
                destination: destination.clone(),
                ..entry.clone()
            });
        }
    }
    let lists = |ports: &[Interval<u16>]| match ports.is_empty() {
        true => vec![Vec::new()],
        false => port_lists(ports),
    };
    let with_ports = entries.iter().flat_map(|each| {
        lists(&entry.ports).into_iter().flat_map(move |ports| {
            let source_lists = lists(&entry.source_ports).into_iter();
            source_lists.map(move |source_ports| AclEntryRecord {
                ports: ports.clone(),
                source_ports,
                ..each.clone()
            })
        })
    });
    with_ports.collect()
}

/// Single ports together, and each range for itself.
fn services_of(service: &ServiceRecord) -> Vec<ServiceRecord> {
    let ServiceRecord::Protocol(name, ports) = service else {
        return vec![service.clone()];
    };
    if ports.is_empty() {
        return vec![service.clone()];
    }
    port_lists(ports)
        .into_iter()
        .map(|ports| ServiceRecord::Protocol(name.clone(), ports))
        .collect()
}

/// Ports as lists that the cloud takes: single ports in one, and each range in one of its own.
pub fn port_lists(ports: &[Interval<u16>]) -> Vec<Vec<Interval<u16>>> {
    let (single, ranges): (Vec<_>, Vec<_>) = ports.iter().partition(|i| i.first == i.last);
    let mut lists: Vec<Vec<Interval<u16>>> = Vec::new();
    if !single.is_empty() {
        lists.push(single);
    }
    lists.extend(ranges.into_iter().map(|range| vec![range]));
    lists
}

/// An item of a remote as the cloud has it.
fn remotes_of(item: &str, of_service: Families, place: &str, notes: &mut Notes) -> Vec<String> {
    if item == "any" {
        let both = [("0.0.0.0/0", of_service.v4), ("::/0", of_service.v6)];
        let both = both.into_iter().filter(|(_, wanted)| *wanted);
        return both.map(|(text, _)| text.to_owned()).collect();
    }
    let Ok(range) = AddressRange::parse(item) else {
        return vec![item.to_owned()];
    };
    match range {
        AddressRange::V4(i) if i.first == 0 && i.last != u32::MAX => {
            let message = format!(
                "0.0.0.0/8 of `{item}` is left out: the cloud reads {ZERO_NETWORK}n as the whole of IPv4"
            );
            notes.not_kept(place, message);
            match Interval::new(BEHIND_ZERO, i.last) {
                Some(rest) => networks(&AddressRange::V4(rest)),
                None => Vec::new(),
            }
        }
        range => networks(&range),
    }
}

/// The fewest CIDRs that hold exactly these addresses.
pub fn networks(range: &AddressRange) -> Vec<String> {
    let (first, last, bits) = match range {
        AddressRange::V4(i) => (u128::from(i.first), u128::from(i.last), 32),
        AddressRange::V6(i) => (i.first, i.last, 128),
    };
    let mut networks = Vec::new();
    let mut from = Some(first);
    while let Some(start) = from.filter(|start| *start <= last) {
        // The largest network that begins here and does not pass the end.
        let aligned = start.trailing_zeros().min(bits);
        let mut host_bits = aligned;
        while host_bits > 0 && end_of(start, host_bits) > last {
            host_bits -= 1;
        }
        let end = end_of(start, host_bits);
        let network = match range {
            AddressRange::V4(_) => {
                // The numbers of IPv4 fit by their origin.
                AddressRange::V4(Interval::between(start as u32, end as u32))
            }
            AddressRange::V6(_) => AddressRange::V6(Interval::between(start, end)),
        };
        networks.push(range_text(&network));
        from = end.checked_add(1);
    }
    networks
}

fn end_of(start: u128, host_bits: u32) -> u128 {
    match 1_u128.checked_shl(host_bits) {
        Some(size) => start | (size - 1),
        None => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        networks(&AddressRange::parse(text).unwrap())
    }

    #[test]
    fn ranges_become_networks() {
        assert_eq!(of("10.0.0.0/8"), ["10.0.0.0/8"]);
        assert_eq!(of("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(of("::/0"), ["::/0"]);
        assert_eq!(
            of("192.0.2.10-192.0.2.40"),
            [
                "192.0.2.10/31",
                "192.0.2.12/30",
                "192.0.2.16/28",
                "192.0.2.32/29",
                "192.0.2.40"
            ]
        );
        assert_eq!(
            of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
                .len(),
            1
        );
    }

    #[test]
    fn the_zero_network_never_opens_the_world() {
        let mut notes = Notes::default();
        let both = Families { v4: true, v6: true };
        let half = remotes_of("0.0.0.0/1", both, "here", &mut notes);
        assert_eq!(half.len(), 7);
        assert!(half.iter().all(|each| !each.starts_with("0.")), "{half:?}");
        assert!(remotes_of("0.0.0.0/8", both, "here", &mut notes).is_empty());
        assert_eq!(
            remotes_of("0.0.0.0/0", both, "here", &mut notes),
            ["0.0.0.0/0"]
        );
        assert_eq!(notes.into_vec().len(), 2);
    }
}
