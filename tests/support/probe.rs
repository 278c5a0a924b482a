//! What a test wants to send: a [`Probe`] is a datagram of either family, in the field's words.

use std::net::{IpAddr, SocketAddr};

/// A datagram to send, of either family.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where it claims to come from.
    pub source: IpAddr,
    /// Where it goes; the same family as `source`.
    pub destination: IpAddr,
    /// What it carries.
    pub content: Content,
    /// IPv6's hop limit, IPv4's time to live.
    pub hop_limit: u8,
    /// IPv6 extension headers, in order; a hop-by-hop header must be the first.
    pub extensions: Vec<Extension>,
    /// In how many fragments it is sent; 1 is the whole datagram.
    pub fragments: usize,
    /// What follows the transport header.
    pub payload: Vec<u8>,
    /// The identification that fragments of one datagram share.
    pub identification: u16,
}

/// What a datagram carries.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// A TCP segment without options.
    Tcp {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
        /// SYN, or SYN and ACK, or ACK alone.
        flags: TcpFlags,
    },
    /// A UDP datagram.
    Udp {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
    },
    /// ICMP, or ICMPv6 between IPv6 addresses.
    Icmp {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// Bytes 5 to 8: an echo's identifier and sequence number.
        rest: [u8; 4],
    },
    /// GRE version 0 without options, around IPv4.
    Gre,
    /// Any other protocol, by number; its payload is bytes without meaning.
    Other(u8),
}

/// Which flags a TCP segment has.
#[derive(Clone, Copy, Debug)]
pub enum TcpFlags {
    /// It opens a connection.
    Syn,
    /// It accepts one.
    SynAck,
    /// It belongs to one.
    Ack,
    /// It ends one at once.
    Rst,
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug)]
pub enum Extension {
    /// Hop-by-hop options: one padding option.
    HopByHop,
    /// Destination options: one padding option.
    DestinationOptions,
    /// A fragment header on a datagram that is whole ("atomic fragment").
    Fragment,
}

impl Probe {
    /// A datagram with this content, whole, with hop limit 64.
    pub fn new(source: IpAddr, destination: IpAddr, content: Content) -> Self {
        assert_eq!(source.is_ipv4(), destination.is_ipv4(), "one family");
        let payload = vec![0x5a; 24];
        Self {
            source,
            destination,
            content,
            hop_limit: 64,
            extensions: vec![],
            fragments: 1,
            payload,
            identification: 0x5eed,
        }
    }

    /// A TCP segment that opens a connection: `Probe::tcp("10.0.0.9:40000", "10.0.0.5:22")`.
    pub fn tcp(source: impl ToSocket, destination: impl ToSocket) -> Self {
        Self::tcp_with(TcpFlags::Syn, source, destination)
    }

    /// A TCP segment with these flags.
    pub fn tcp_with(flags: TcpFlags, source: impl ToSocket, destination: impl ToSocket) -> Self {
        let (from, to) = (source.to_socket(), destination.to_socket());
        Self::new(
            from.ip(),
            to.ip(),
            Content::Tcp {
                source: from.port(),
                destination: to.port(),
                flags,
            },
        )
    }

    /// A UDP datagram.
    pub fn udp(source: impl ToSocket, destination: impl ToSocket) -> Self {
        let (from, to) = (source.to_socket(), destination.to_socket());
        Self::new(
            from.ip(),
            to.ip(),
            Content::Udp {
                source: from.port(),
                destination: to.port(),
            },
        )
    }

    /// An ICMP or ICMPv6 message of any type.
    pub fn icmp(source: impl ToIp, destination: impl ToIp, kind: u8, code: u8) -> Self {
        Self::new(
            source.to_ip(),
            destination.to_ip(),
            Content::Icmp {
                kind,
                code,
                rest: [0; 4],
            },
        )
    }

    /// An echo request of the addresses' family.
    pub fn echo(source: impl ToIp, destination: impl ToIp, identifier: u16) -> Self {
        let (source, destination) = (source.to_ip(), destination.to_ip());
        let kind = if source.is_ipv4() { 8 } else { 128 };
        let [high, low] = identifier.to_be_bytes();
        Self::new(
            source,
            destination,
            Content::Icmp {
                kind,
                code: 0,
                rest: [high, low, 0, 1],
            },
        )
    }

    /// An ICMP error about another packet, of which it quotes the beginning.
    pub fn icmp_error(
        source: impl ToIp,
        destination: impl ToIp,
        kind: u8,
        code: u8,
        about: &Self,
    ) -> Self {
        let mut quoted = about.packets().swap_remove(0);
        quoted.truncate(512);
        Self {
            payload: quoted,
            ..Self::icmp(source, destination, kind, code)
        }
    }

    /// A GRE packet.
    pub fn gre(source: impl ToIp, destination: impl ToIp) -> Self {
        Self::new(source.to_ip(), destination.to_ip(), Content::Gre)
    }

    /// A packet of any protocol number.
    pub fn other(source: impl ToIp, destination: impl ToIp, protocol: u8) -> Self {
        Self::new(
            source.to_ip(),
            destination.to_ip(),
            Content::Other(protocol),
        )
    }

    /// The same with another hop limit.
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    /// The same behind these IPv6 extension headers.
    pub fn behind(self, extensions: &[Extension]) -> Self {
        assert!(self.source.is_ipv6(), "IPv4 has no extension headers");
        Self {
            extensions: extensions.to_vec(),
            ..self
        }
    }

    /// The same in this many fragments; the payload grows so that each has something to carry.
    pub fn in_fragments(self, fragments: usize) -> Self {
        assert!(fragments > 0);
        Self {
            fragments,
            payload: vec![0x5a; 24 + 32 * fragments],
            ..self
        }
    }
}

/// An address with a port, or its text.
pub trait ToSocket {
    /// The address.
    fn to_socket(self) -> SocketAddr;
}

impl ToSocket for SocketAddr {
    fn to_socket(self) -> SocketAddr {
        self
    }
}

impl ToSocket for &str {
    fn to_socket(self) -> SocketAddr {
        self.parse()
            .unwrap_or_else(|_| panic!("`{self}` is not an address and a port"))
    }
}

/// An address, or its text.
pub trait ToIp {
    /// The address.
    fn to_ip(self) -> IpAddr;
}

impl ToIp for IpAddr {
    fn to_ip(self) -> IpAddr {
        self
    }
}

impl ToIp for &str {
    fn to_ip(self) -> IpAddr {
        self.parse()
            .unwrap_or_else(|_| panic!("`{self}` is not an address"))
    }
}
