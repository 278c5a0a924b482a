//! What a rule of iptables matches, as sets that can be put together.

use crate::policy::interval::without;
use crate::policy::{AddressSet, PortSet};

/// Packets that no flow is known of.
pub const NEW: u8 = 1;
/// Packets of a known flow.
pub const ESTABLISHED: u8 = 2;
/// Packets that belong to another flow.
pub const RELATED: u8 = 4;
/// Packets that connection tracking makes no sense of.
pub const INVALID: u8 = 8;
/// Packets that connection tracking does not see.
pub const UNTRACKED: u8 = 16;

/// What a packet must be. What is `None` or empty does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Its protocol, by its name in a definition.
    pub protocol: Option<&'static str>,
    /// Its source address.
    pub source: Option<AddressSet>,
    /// Its destination address.
    pub destination: Option<AddressSet>,
    /// Its source port.
    pub source_ports: Option<PortSet>,
    /// Its destination port.
    pub destination_ports: Option<PortSet>,
    /// The interface that it comes in by.
    pub incoming: Vec<InterfaceMatch>,
    /// The interface that it goes out by.
    pub outgoing: Vec<InterfaceMatch>,
    /// What connection tracking says of it.
    pub states: Option<u8>,
    /// Whether its destination is an address of this host.
    pub to_this_host: bool,
}

/// An interface, or all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceMatch {
    /// A name, or a glob that ends in `*`.
    pub name: String,
    /// Whether all others are meant.
    pub others: bool,
}

impl InterfaceMatch {
    /// Whether every interface of this name or glob is meant.
    pub fn covers(&self, name: &str) -> bool {
        let covered = match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.name == name,
        };
        covered != self.others
    }
}

impl Condition {
    /// What meets both; `None` if nothing can.
    pub fn and(&self, other: &Condition) -> Option<Condition> {
        let protocol = match (self.protocol, other.protocol) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        let states = match (self.states, other.states) {
            (Some(one), Some(two)) if one & two == 0 => return None,
            (Some(one), Some(two)) => Some(one & two),
            (one, two) => one.or(two),
        };
        let mut incoming = self.incoming.clone();
        incoming.extend(
            other
                .incoming
                .iter()
                .filter(|each| !self.incoming.contains(each))
                .cloned(),
        );
        let mut outgoing = self.outgoing.clone();
        outgoing.extend(
            other
                .outgoing
                .iter()
                .filter(|each| !self.outgoing.contains(each))
                .cloned(),
        );
        Some(Condition {
            protocol,
            source: both(&self.source, &other.source, common)?,
            destination: both(&self.destination, &other.destination, common)?,
            source_ports: both(&self.source_ports, &other.source_ports, common_ports)?,
            destination_ports: both(
                &self.destination_ports,
                &other.destination_ports,
                common_ports,
            )?,
            incoming,
            outgoing,
            states,
            to_this_host: self.to_this_host || other.to_this_host,
        })
    }

    /// Whether every packet meets it.
    pub fn is_always_met(&self) -> bool {
        *self == Condition::default()
    }
}

/// What two optional sets have in common; the outer `None` where that is nothing.
#[allow(
    clippy::option_option,
    reason = "no condition is another thing than one that nothing meets"
)]
fn both<T: Clone>(
    one: &Option<T>,
    two: &Option<T>,
    common: impl Fn(&T, &T) -> Option<T>,
) -> Option<Option<T>> {
    match (one, two) {
        (Some(one), Some(two)) => common(one, two).map(Some),
        (one, two) => Some(one.clone().or_else(|| two.clone())),
    }
}

/// The addresses of both sets.
fn common(one: &AddressSet, two: &AddressSet) -> Option<AddressSet> {
    match two.complement() {
        Some(others) => less(one, &others),
        None => Some(one.clone()),
    }
}

/// The addresses of the first set that the second does not hold.
pub fn less(one: &AddressSet, hole: &AddressSet) -> Option<AddressSet> {
    AddressSet::of(without(one.v4(), hole.v4()), without(one.v6(), hole.v6()))
}

fn common_ports(one: &PortSet, two: &PortSet) -> Option<PortSet> {
    match one.without(two) {
        Some(rest) => one.without(&rest),
        None => Some(one.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AddressRange;

    fn set(text: &str) -> AddressSet {
        AddressSet::new([AddressRange::parse(text).unwrap()]).unwrap()
    }

    #[test]
    fn conditions_are_put_together() {
        let one = Condition {
            protocol: Some("tcp"),
            source: Some(set("10.0.0.0/8")),
            ..Condition::default()
        };
        let two = Condition {
            source: Some(set("10.1.0.0/16")),
            destination_ports: PortSet::new(PortSet::parse("22").unwrap()),
            ..Condition::default()
        };
        let both = one.and(&two).unwrap();
        assert_eq!(both.source, Some(set("10.1.0.0/16")));
        assert_eq!(both.protocol, Some("tcp"));
        let apart = Condition {
            source: Some(set("192.0.2.0/24")),
            ..Condition::default()
        };
        assert_eq!(one.and(&apart), None);
        let udp = Condition {
            protocol: Some("udp"),
            ..Condition::default()
        };
        assert_eq!(one.and(&udp), None);
        assert!(Condition::default().is_always_met());
    }

    #[test]
    fn interfaces_and_globs() {
        let of = |name: &str, others| InterfaceMatch {
            name: name.to_owned(),
            others,
        };
        assert!(of("veth*", false).covers("veth0"));
        assert!(of("veth*", false).covers("veth0*"));
        assert!(!of("veth0", false).covers("veth*"));
        assert!(of("lo", true).covers("eth0"));
        assert!(!of("eth0", true).covers("eth0"));
    }
}
