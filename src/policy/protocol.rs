//! The protocols that rules and packets name.

use super::number::decimal;

/// An IP protocol number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP for IPv4.
    pub const ICMP: Protocol = Protocol(1);
    /// Internet group management: who listens to which IPv4 multicast group.
    pub const IGMP: Protocol = Protocol(2);
    /// TCP.
    pub const TCP: Protocol = Protocol(6);
    /// UDP.
    pub const UDP: Protocol = Protocol(17);
    /// Generic routing encapsulation.
    pub const GRE: Protocol = Protocol(47);
    /// ICMP for IPv6.
    pub const ICMPV6: Protocol = Protocol(58);

    /// The names of the protocols that have one in a definition.
    pub const NAMES: [(&'static str, Protocol); 5] = [
        ("tcp", Protocol::TCP),
        ("udp", Protocol::UDP),
        ("icmp", Protocol::ICMP),
        ("icmpv6", Protocol::ICMPV6),
        ("gre", Protocol::GRE),
    ];

    /// Those of them without ports that are the same in IPv4 and IPv6.
    pub const BARE: [Protocol; 1] = [Protocol::GRE];

    /// One that has no name in a definition, and never will: RFC 3692 keeps it for experiments.
    pub const UNNAMED: Protocol = Protocol(253);

    /// Whether its packets have ports that rules name.
    pub fn has_ports(self) -> bool {
        matches!(self, Protocol::TCP | Protocol::UDP)
    }

    /// Its name, if it has one in a definition.
    pub fn name(self) -> Option<&'static str> {
        let known = Self::NAMES.iter().find(|(_, each)| *each == self);
        known.map(|(name, _)| *name)
    }

    /// By name, or by number from 0 to 255.
    pub fn parse(text: &str) -> Option<Self> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, protocol)| *protocol)
            .or_else(|| decimal(text).ok().map(Protocol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::keys::protocol_names;

    #[test]
    fn the_names_are_those_of_the_table() {
        let names = Protocol::NAMES.map(|(name, _)| name).join(", ");
        assert_eq!(protocol_names!(), names);
        for bare in Protocol::BARE {
            assert!(bare.name().is_some(), "{bare:?}");
        }
        assert_eq!(Protocol::UNNAMED.name(), None);
    }
}
