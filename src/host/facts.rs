//! What verdicts ask of this host beside the definition.

use crate::netfilter::links::links;
use crate::netfilter::slots::Slots;
use crate::policy::{HostFacts, InterfaceName, Interval, Policy};

/// How many interfaces that are not bound have labels of their own.
const UNBOUND: usize = 6;

/// What verdicts ask of this host beside the definition.
pub(super) fn host_facts(policy: &Policy, slots: &Slots) -> HostFacts {
    let mut facts = HostFacts::default();
    if let Some(ports) = ephemeral_ports() {
        facts.ephemeral_ports = ports;
    }
    // Where they cannot be listed none has labels of its own.
    let links = links().unwrap_or_default();
    let unbound = links
        .iter()
        .filter(|link| link.name != "lo" && link.master.is_none());
    let names = unbound.filter_map(|link| InterfaceName::parse(&link.name).ok());
    facts.unbound = names
        .filter(|name| !name.is_glob() && policy.binding(&name.to_string()).is_none())
        .take(UNBOUND)
        .collect();
    facts.unbound.sort_unstable();
    let is_bound = |name: &InterfaceName| {
        policy
            .bindings
            .iter()
            .any(|binding| binding.interface == *name)
    };
    let known = slots
        .interfaces()
        .filter(|name| !is_bound(name) && !facts.unbound.contains(name));
    facts.known = known.cloned().collect();
    facts
}

/// `net.ipv4.ip_local_port_range`, which IPv6 has too. `None` where it cannot be read.
pub fn ephemeral_ports() -> Option<Interval<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first <= last).then_some(Interval { first, last })
}
