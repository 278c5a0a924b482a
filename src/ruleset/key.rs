//! What of a packet, or of its flow, is looked at: by rules, and by the keys of verdict maps.

use crate::policy::{Direction, Protocol};
use serde::{Deserialize, Serialize};

/// The source or the destination of a packet; with interfaces, where it entered or where it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Side {
    /// `saddr`, `sport`, `iifname`.
    Source,
    /// `daddr`, `dport`, `oifname`.
    Destination,
}

impl Side {
    /// That of the remote: the source of an inbound and the destination of an outbound packet.
    pub fn of_remote(direction: Direction) -> Self {
        match direction {
            Direction::Inbound => Side::Source,
            Direction::Outbound => Side::Destination,
        }
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// `ipv4`.
    V4,
    /// `ipv6`.
    V6,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Transport {
    /// `tcp`.
    Tcp,
    /// `udp`.
    Udp,
}

/// Which of a tracked flow's two sides sent a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowSide {
    /// The one that opened it.
    Original,
    /// The other.
    Reply,
}

/// What of a packet a verdict map is asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MapKey {
    /// `tcp dport`, `udp dport`.
    Port(Transport),
    /// `ip saddr`, `ip6 daddr`, …
    Address(Side, Family),
    /// The port that a tracked flow was opened to: `ct original proto-dst`, `ct reply proto-src`.
    FlowPort(FlowKey, Transport),
    /// The remote of a tracked flow: `ct original ip saddr`, `ct reply ip6 saddr`.
    FlowAddress(FlowKey, Family),
    /// The network of this prefix length around the address, and the port: `ip saddr & 255.255.255.0 . tcp dport`.
    Pair(Side, Family, u8, Transport),
    /// The same of what a tracked flow was opened with: `ct original ip saddr & 255.255.255.0 . ct original proto-dst`.
    FlowPair(FlowKey, Family, u8, Transport),
}

/// Which of a flow's addresses is the remote, and which of its ports the one that the flow was opened to, as connection tracking keeps them.
/// Of a translated flow the header of a packet holds something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlowKey {
    /// Of a flow that the remote has opened: `ct original saddr`, `ct original proto-dst`. Of one that this side has opened:
    /// `ct reply saddr`, `ct reply proto-src`; the original tuple holds the destination before DNAT.
    Opened(Direction),
    /// Of an inbound flow that connection tracking has lost, and that an answer has opened anew the other way round:
    /// `ct reply saddr`, `ct original proto-src`.
    Lost,
}

impl FlowKey {
    /// The tuple of the remote's address, which is a source in either.
    pub fn address(self) -> FlowSide {
        match self {
            FlowKey::Opened(Direction::Inbound) => FlowSide::Original,
            FlowKey::Opened(Direction::Outbound) | FlowKey::Lost => FlowSide::Reply,
        }
    }

    /// The tuple of the port, and which of its ports.
    pub fn port(self) -> (FlowSide, Side) {
        match self {
            FlowKey::Opened(Direction::Inbound) => (FlowSide::Original, Side::Destination),
            FlowKey::Opened(Direction::Outbound) => (FlowSide::Reply, Side::Source),
            FlowKey::Lost => (FlowSide::Original, Side::Source),
        }
    }
}

impl MapKey {
    /// Whether the elements of such a map decide about openings, and count them.
    pub fn counts(self) -> bool {
        matches!(self, MapKey::Pair(..))
    }
}

impl Transport {
    /// Its protocol number.
    pub fn protocol(self) -> Protocol {
        match self {
            Transport::Tcp => Protocol::TCP,
            Transport::Udp => Protocol::UDP,
        }
    }
}
