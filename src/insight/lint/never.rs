//! Remotes that no packet across an interface has: an allow for them is a mistake of writing.

use super::finding::Finding;
use crate::definition::codes;
use crate::policy::places::WrittenRules;
use crate::policy::{Action, AddressRange, AddressSet, Direction, Interval, Point, Rule, Service};

/// Addresses that are nobody's, and what they are. Those that are a destination can be allowed outbound.
const NOBODY: [(&str, &str, bool); 7] = [
    (
        "0.0.0.0",
        "a host without an address; every one is 0.0.0.0/0",
        false,
    ),
    ("127.0.0.0/8", "loopback, which never leaves a host", false),
    (
        "224.0.0.0/4",
        "multicast, which is a destination only",
        true,
    ),
    (
        "255.255.255.255",
        "broadcast, which is a destination only",
        true,
    ),
    ("::", "a host without an address; every one is ::/0", false),
    ("::1", "loopback, which never leaves a host", false),
    ("ff00::/8", "multicast, which is a destination only", true),
];

/// Where a DHCP server hears of hosts that have no address yet.
const DHCP: u16 = 67;

/// An allow for a remote of which a part can never be one.
pub fn never_a_remote(rule: &Rule, written: &WrittenRules) -> Option<Finding> {
    let remote = rule
        .remote
        .as_ref()
        .filter(|_| rule.action == Action::Allow)?;
    let inbound = rule.id.direction == Direction::Inbound;
    let dhcp = rule
        .services
        .iter()
        .any(|service| matches!(service, Service::Udp(ports) if ports.contains(DHCP)));
    let nobody = NOBODY
        .iter()
        .filter(|(_, _, destination)| inbound || !destination);
    let named: Vec<String> = nobody
        .filter(|(text, ..)| !(dhcp && *text == "0.0.0.0"))
        .filter_map(|(text, what, _)| {
            let part = within(remote, AddressRange::parse(text).ok()?)?;
            Some(format!("{part} ({what})"))
        })
        .collect();
    let end = if inbound { "comes from" } else { "goes to" };
    (!named.is_empty()).then(|| Finding {
        span: written
            .rule(&rule.id)
            .and_then(|rule| rule.remote.as_ref())
            .map(|remote| remote.span),
        ..Finding::new(
            codes::NEVER_A_REMOTE,
            format!("no packet across an interface {end} {}", named.join(", ")),
            "correct it, or remove it",
        )
    })
}

/// What the set holds that lies wholly within a range: of a larger network that holds the range nothing is said.
fn within(set: &AddressSet, range: AddressRange) -> Option<String> {
    fn first<P: Point>(of: &[Interval<P>], range: Interval<P>) -> Option<Interval<P>> {
        let at = of.partition_point(|each| each.first < range.first);
        of.get(at).filter(|each| each.last <= range.last).copied()
    }
    let found = match range {
        AddressRange::V4(range) => AddressRange::V4(first(set.v4(), range)?),
        AddressRange::V6(range) => AddressRange::V6(first(set.v6(), range)?),
    };
    Some(found.to_string())
}
