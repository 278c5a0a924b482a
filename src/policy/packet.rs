//! A packet as the policy sees it.

use super::rule::Direction;
use std::net::IpAddr;

/// An IP protocol number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP for IPv4.
    pub const ICMP: Protocol = Protocol(1);
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

    /// By name, or by number from 0 to 255.
    pub fn parse(text: &str) -> Option<Self> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, protocol)| *protocol)
            .or_else(|| text.parse().ok().map(Protocol))
    }
}

/// What connection tracking says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It opens a flow, or belongs to one that was never answered.
    New,
    /// It belongs to a tracked flow that this policy allows.
    Established,
    /// It belongs to a tracked flow and goes the way of the packet that opened it; the policy has changed since, and has
    /// judged none of the flow's packets yet.
    Unjudged,
    /// The same, and it goes the other way.
    UnjudgedReply,
    /// An ICMP error about a tracked flow that this policy allows: unreachable, too big, time exceeded or parameter problem.
    IcmpError,
    /// It belongs to a flow that a helper expects, or is another ICMP message about a flow: as if new.
    Related,
    /// Connection tracking can make nothing of it.
    Invalid,
    /// It is not tracked: by NOTRACK, or by the kernel's own exception for neighbour discovery.
    Untracked,
}

/// A packet at an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Which way it goes.
    pub direction: Direction,
    /// The interface it enters or leaves by.
    pub interface: String,
    /// What connection tracking says.
    pub state: State,
    /// Whether the host only passes it on.
    pub forwarded: bool,
    /// The source of an inbound, the destination of an outbound packet.
    pub remote: IpAddr,
    /// Its protocol, behind all extension headers.
    pub protocol: Protocol,
    /// Source port, with TCP and UDP.
    pub source_port: u16,
    /// Destination port, with TCP and UDP.
    pub destination_port: u16,
    /// The ICMP type, with ICMP and ICMPv6.
    pub icmp_type: u8,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
}

impl Packet {
    /// The direction in which its flow was opened.
    pub fn flow_direction(&self) -> Direction {
        match (self.state, self.direction) {
            (State::UnjudgedReply, Direction::Inbound) => Direction::Outbound,
            (State::UnjudgedReply, Direction::Outbound) => Direction::Inbound,
            (_, direction) => direction,
        }
    }

    /// The packet that opened the flow of this answer.
    pub fn opened_by(&self) -> Self {
        Packet {
            direction: self.flow_direction(),
            state: State::New,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self.clone()
        }
    }

    /// The packet that opens a flow, as `explain` judges it: from an ephemeral port, an echo request
    /// in ICMP, from or to the host itself.
    pub fn opening(
        direction: Direction,
        interface: &str,
        protocol: Protocol,
        remote: IpAddr,
        port: u16,
    ) -> Self {
        let icmp_type = if protocol == Protocol::ICMPV6 { 128 } else { 8 };
        Packet {
            direction,
            interface: interface.to_owned(),
            state: State::New,
            forwarded: false,
            remote,
            protocol,
            source_port: 49152,
            destination_port: port,
            icmp_type,
            hop_limit: 64,
        }
    }
}
