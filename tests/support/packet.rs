//! From a [`Probe`] to the bytes of its IP packets, with every checksum right: connection tracking calls a packet with
//! a wrong one invalid.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, TcpHeader, TransportHeader, UdpHeader,
};

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

    /// The IP packets to send, in order: one, or one for each fragment.
    pub fn packets(&self) -> Vec<Vec<u8>> {
        let (protocol, datagram) = self.datagram();
        match (self.source, self.destination) {
            (IpAddr::V4(_), _) => self
                .pieces(&datagram)
                .map(|piece| self.ipv4(protocol, &piece))
                .collect(),
            (IpAddr::V6(_), _) => self.ipv6_packets(protocol, datagram),
        }
    }

    /// The transport header with its checksum, and the payload.
    fn datagram(&self) -> (IpNumber, Vec<u8>) {
        let (protocol, header) = match self.content {
            Content::Tcp {
                source,
                destination,
                flags,
            } => {
                let mut header = TcpHeader::new(source, destination, 1, 64_000);
                (header.syn, header.ack, header.rst) = match flags {
                    TcpFlags::Syn => (true, false, false),
                    TcpFlags::SynAck => (true, true, false),
                    TcpFlags::Ack => (false, true, false),
                    TcpFlags::Rst => (false, false, true),
                };
                header.acknowledgment_number = u32::from(header.ack);
                (IpNumber::TCP, TransportHeader::Tcp(header))
            }
            Content::Udp {
                source,
                destination,
            } => {
                let length = u16::try_from(UdpHeader::LEN + self.payload.len())
                    .expect("a datagram's length");
                let header = UdpHeader {
                    source_port: source,
                    destination_port: destination,
                    length,
                    checksum: 0,
                };
                (IpNumber::UDP, TransportHeader::Udp(header))
            }
            Content::Icmp { kind, code, rest } if self.source.is_ipv4() => {
                let kind = Icmpv4Type::Unknown {
                    type_u8: kind,
                    code_u8: code,
                    bytes5to8: rest,
                };
                (
                    IpNumber::ICMP,
                    TransportHeader::Icmpv4(Icmpv4Header::new(kind)),
                )
            }
            Content::Icmp { kind, code, rest } => {
                let kind = Icmpv6Type::Unknown {
                    type_u8: kind,
                    code_u8: code,
                    bytes5to8: rest,
                };
                (
                    IpNumber::IPV6_ICMP,
                    TransportHeader::Icmpv6(Icmpv6Header::new(kind)),
                )
            }
            Content::Gre => {
                return (
                    IpNumber::GRE,
                    [&[0, 0, 0x08, 0x00], &self.payload[..]].concat(),
                );
            }
            Content::Other(protocol) => return (IpNumber(protocol), self.payload.clone()),
        };
        (protocol, self.checked(protocol, header))
    }

    fn checked(&self, protocol: IpNumber, mut header: TransportHeader) -> Vec<u8> {
        match self.source {
            IpAddr::V4(_) => header
                .update_checksum_ipv4(&self.ipv4_header(protocol, 0), &self.payload)
                .unwrap(),
            IpAddr::V6(_) => header
                .update_checksum_ipv6(&self.ipv6_header(protocol, 0), &self.payload)
                .unwrap(),
        }
        let mut bytes = Vec::with_capacity(header.header_len() + self.payload.len());
        header.write(&mut bytes).unwrap();
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The fragments of what may be fragmented: all but the last are multiples of eight bytes.
    fn pieces<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = Piece<'a>> {
        let size = if self.fragments == 1 {
            bytes.len()
        } else {
            bytes.len().div_ceil(self.fragments).next_multiple_of(8)
        };
        bytes
            .chunks(size.max(1))
            .scan(0, move |offset, bytes_here| {
                let piece = Piece {
                    offset: *offset,
                    more: *offset + bytes_here.len() < bytes.len(),
                    bytes: bytes_here,
                };
                *offset += bytes_here.len();
                Some(piece)
            })
    }

    fn ipv4(&self, protocol: IpNumber, piece: &Piece) -> Vec<u8> {
        let mut header = self.ipv4_header(protocol, piece.bytes.len());
        header.identification = self.identification;
        header.fragment_offset = piece.offset();
        header.more_fragments = piece.more;
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], piece.bytes].concat()
    }

    fn ipv6_packets(&self, protocol: IpNumber, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        // From the inside out: each header names the one that follows it.
        let (mut next, mut bytes) = (protocol, datagram);
        let hop_by_hop = matches!(self.extensions.first(), Some(Extension::HopByHop));
        for extension in self.extensions.iter().skip(usize::from(hop_by_hop)).rev() {
            (next, bytes) = match extension {
                Extension::HopByHop => (IpNumber::IPV6_HEADER_HOP_BY_HOP, padding(next, &bytes)),
                Extension::DestinationOptions => {
                    (IpNumber::IPV6_DESTINATION_OPTIONS, padding(next, &bytes))
                }
                Extension::Fragment => {
                    let whole = Piece {
                        offset: 0,
                        more: false,
                        bytes: &bytes,
                    };
                    (
                        IpNumber::IPV6_FRAGMENTATION_HEADER,
                        self.fragment(next, &whole),
                    )
                }
            };
        }
        let mut parts: Vec<_> = self
            .pieces(&bytes)
            .map(|piece| piece.bytes.to_vec())
            .collect();
        if self.fragments > 1 {
            parts = self
                .pieces(&bytes)
                .map(|piece| self.fragment(next, &piece))
                .collect();
            next = IpNumber::IPV6_FRAGMENTATION_HEADER;
        }
        if hop_by_hop {
            parts = parts.iter().map(|part| padding(next, part)).collect();
            next = IpNumber::IPV6_HEADER_HOP_BY_HOP;
        }
        parts
            .iter()
            .map(|part| [&self.ipv6_header(next, part.len()).to_bytes()[..], part].concat())
            .collect()
    }

    fn fragment(&self, next: IpNumber, piece: &Piece) -> Vec<u8> {
        let header = Ipv6FragmentHeader::new(
            next,
            piece.offset(),
            piece.more,
            u32::from(self.identification),
        );
        [&header.to_bytes()[..], piece.bytes].concat()
    }

    fn ipv4_header(&self, protocol: IpNumber, length: usize) -> Ipv4Header {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            panic!("not IPv4: {self:?}")
        };
        let length = u16::try_from(length).unwrap();
        Ipv4Header::new(
            length,
            self.hop_limit,
            protocol,
            source.octets(),
            destination.octets(),
        )
        .unwrap()
    }

    fn ipv6_header(&self, next_header: IpNumber, length: usize) -> Ipv6Header {
        let (IpAddr::V6(source), IpAddr::V6(destination)) = (self.source, self.destination) else {
            panic!("not IPv6: {self:?}")
        };
        Ipv6Header {
            payload_length: u16::try_from(length).unwrap(),
            next_header,
            hop_limit: self.hop_limit,
            source: source.octets(),
            destination: destination.octets(),
            ..Ipv6Header::default()
        }
    }
}

struct Piece<'a> {
    offset: usize,
    more: bool,
    bytes: &'a [u8],
}

impl Piece<'_> {
    fn offset(&self) -> IpFragOffset {
        IpFragOffset::try_new(u16::try_from(self.offset / 8).unwrap()).unwrap()
    }
}

/// An options header with one padding option (PadN), before these bytes.
fn padding(next: IpNumber, bytes: &[u8]) -> Vec<u8> {
    let header = Ipv6RawExtHeader::new_raw(next, &[1, 4, 0, 0, 0, 0]).unwrap();
    [&header.to_bytes()[..], bytes].concat()
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
