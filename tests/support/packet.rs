//! From a [`Probe`] to the bytes of its IP packets, with every checksum right: connection tracking calls a packet with
//! a wrong one invalid.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, TcpHeader, TransportHeader, UdpHeader,
};

use super::probe::{Content, Extension, Probe, TcpFlags};

impl Probe {
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
