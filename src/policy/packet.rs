//! A packet as the policy sees it.

use super::protocol::Protocol;
use super::rule::{Direction, Service};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What connection tracking says about a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// It opens a flow, or belongs to one that was never answered.
    New,
    /// It belongs to a tracked flow that was answered.
    Tracked(Flow),
    /// An ICMP error about a tracked flow: unreachable, too big, time exceeded or parameter problem.
    IcmpError(About),
    /// It belongs to a flow that a helper expects, or is another ICMP message about a flow: as if new.
    Related,
    /// Connection tracking can make nothing of it.
    Invalid,
    /// It is not tracked: by NOTRACK, or by the kernel's own exception for neighbour discovery.
    Untracked,
}

/// A tracked flow, as the interface sees it that a packet of it crosses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Which way the packet goes in it.
    pub way: Way,
    /// The interfaces across which it was opened, in the direction of its opening here; `lo` too. `None`: nobody knows.
    pub opened: Option<Vec<String>>,
    /// Whether the host's end of it is an address of another interface of this host.
    pub own_of_another: bool,
    /// The list of groups by whose mark it passes, see [`crate::policy::Policy::list_key`].
    pub passes: Option<Arc<str>>,
}

/// Which way a packet goes in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// The way of the packet that opened it.
    Opening,
    /// The other way.
    Answer,
}

/// The flow that an ICMP error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// This policy lets packets of it pass here, and it is marked so.
    Passes,
    /// It is not marked so, and it is known where it was opened.
    Refused,
    /// Nobody knows anything of it.
    Unknown,
}

/// What the near end of a packet is to the host: the destination of an inbound, the source of an outbound packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Own {
    /// One of the host's own addresses.
    Host,
    /// The same, of IPv6 and link-local.
    LinkLocal,
    /// Inbound: a broadcast address.
    Broadcast,
    /// Inbound: a multicast group.
    Multicast,
    /// Outbound: no address yet, `0.0.0.0` or `::`.
    Unspecified,
    /// Another machine's address: the host only passes the packet on.
    Forwarded,
}

impl Own {
    /// Whether it is an address of the host.
    pub fn is_address(self) -> bool {
        matches!(self, Own::Host | Own::LinkLocal)
    }
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
    /// What its near end is to the host.
    pub own: Own,
    /// The source of an inbound, the destination of an outbound packet.
    pub remote: IpAddr,
    /// Its other address as it is on the wire: the destination of an inbound, the source of an outbound packet. The
    /// unspecified one where it does not matter.
    pub local: IpAddr,
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
    /// Whether it is TCP without SYN: it opens no connection.
    pub without_syn: bool,
}

impl Packet {
    /// The packet that opened the flow of this answer.
    pub fn opened_by(&self) -> Self {
        Packet {
            direction: self.direction.opposite(),
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self.as_opening()
        }
    }

    /// The packet that answers this one, at the same interface.
    pub fn answer(&self) -> Self {
        Packet {
            direction: self.direction.opposite(),
            source_port: self.destination_port,
            destination_port: self.source_port,
            without_syn: false,
            ..self.clone()
        }
    }

    /// Returns the packet as if it opened a flow.
    pub fn as_opening(&self) -> Self {
        Packet {
            state: State::New,
            without_syn: false,
            ..self.clone()
        }
    }

    /// Whether it is of a service, by its protocol and destination port.
    pub fn is_served_by(&self, service: &Service) -> bool {
        let is = |protocol| self.protocol == protocol;
        match service {
            Service::All => true,
            Service::Tcp(ports) => is(Protocol::TCP) && ports.contains(self.destination_port),
            Service::Udp(ports) => is(Protocol::UDP) && ports.contains(self.destination_port),
            Service::Icmp => is(Protocol::ICMP) && self.remote.is_ipv4(),
            Service::Icmpv6 => is(Protocol::ICMPV6) && self.remote.is_ipv6(),
            Service::Bare(protocol) => is(*protocol),
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
            own: Own::Host,
            remote,
            local: unspecified(remote),
            protocol,
            source_port: 49152,
            destination_port: port,
            icmp_type,
            hop_limit: 64,
            without_syn: false,
        }
    }
}

/// `0.0.0.0` or `::`, of the same family.
pub fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
