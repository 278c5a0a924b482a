//! The headers of a packet, as much as shows its flow.

use crate::policy::Protocol;
use std::net::IpAddr;

/// Extension headers that are passed over: hop by hop, routing, fragment, authentication, destination options.
const EXTENSIONS: [u8; 5] = [0, 43, 44, 51, 60];
/// More of them than this has nobody.
const MOST_EXTENSIONS: usize = 8;

/// Which flow a packet is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The protocol.
    pub protocol: Protocol,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// Source and destination port, where there are some.
    pub ports: Option<[u16; 2]>,
    /// The type of an ICMP message.
    pub icmp_type: Option<u8>,
}

impl Flow {
    /// Reads the beginning of a packet; `None` for what is neither IPv4 nor IPv6, or ends within its addresses.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let (source, destination, protocol, rest) = match packet.first()? >> 4 {
            4 => v4(packet)?,
            6 => v6(packet)?,
            _ => return None,
        };
        let protocol = Protocol(protocol);
        let ports = match protocol {
            Protocol::TCP | Protocol::UDP => rest.and_then(ports),
            _ => None,
        };
        let icmp_type = match protocol {
            Protocol::ICMP | Protocol::ICMPV6 => rest.and_then(|rest| rest.first().copied()),
            _ => None,
        };
        Some(Flow {
            protocol,
            source,
            destination,
            ports,
            icmp_type,
        })
    }
}

/// Source, destination, protocol, and what follows the headers, if it is here and no later fragment.
type Headers<'p> = (IpAddr, IpAddr, u8, Option<&'p [u8]>);

fn v4(packet: &[u8]) -> Option<Headers<'_>> {
    let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let length = usize::from(packet.first()? & 15) * 4;
    let later_fragment = packet[6] & 0x1f != 0 || packet[7] != 0;
    let rest = packet.get(length..).filter(|_| !later_fragment);
    Some((source.into(), destination.into(), packet[9], rest))
}

fn v6(packet: &[u8]) -> Option<Headers<'_>> {
    let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
    let (mut protocol, mut rest) = (packet[6], packet.get(40..));
    for _ in 0..MOST_EXTENSIONS {
        if !EXTENSIONS.contains(&protocol) {
            break;
        }
        let Some([next, units, high, low, ..]) = rest else {
            rest = None;
            break;
        };
        let (length, later_fragment) = match protocol {
            44 => (8, *high != 0 || low & 0xf8 != 0),
            51 => ((usize::from(*units) + 2) * 4, false),
            _ => ((usize::from(*units) + 1) * 8, false),
        };
        protocol = *next;
        rest = rest
            .and_then(|rest| rest.get(length..))
            .filter(|_| !later_fragment);
    }
    Some((source.into(), destination.into(), protocol, rest))
}

fn ports(header: &[u8]) -> Option<[u16; 2]> {
    let [a, b, c, d, ..] = header else {
        return None;
    };
    Some([u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn tcp4() -> Vec<u8> {
        let builder = PacketBuilder::ipv4([203, 0, 113, 9], [10, 0, 0, 5], 64);
        let mut packet = Vec::new();
        let builder = builder.tcp(40000, 23, 1, 1024);
        builder.write(&mut packet, &[]).unwrap();
        packet
    }

    /// UDP behind hop-by-hop and destination options.
    fn udp6() -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
        packet.extend([0x20; 16]);
        packet.extend([0x30; 16]);
        packet.extend([60, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend([17, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend([0, 53, 1, 0, 0, 8, 0, 0]);
        packet
    }

    #[test]
    fn flows_of_both_families() {
        let flow = Flow::of(&tcp4()).unwrap();
        assert_eq!(flow.protocol, Protocol::TCP);
        assert_eq!(flow.source, IpAddr::from([203, 0, 113, 9]));
        assert_eq!(flow.destination, IpAddr::from([10, 0, 0, 5]));
        assert_eq!(flow.ports, Some([40000, 23]));
        let flow = Flow::of(&udp6()).unwrap();
        assert_eq!(flow.protocol, Protocol::UDP);
        assert_eq!(flow.source, IpAddr::from([0x20; 16]));
        assert_eq!(flow.ports, Some([53, 256]));
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([1; 4], [2; 4], 64).icmpv4_echo_request(7, 9);
        builder.write(&mut packet, &[]).unwrap();
        let flow = Flow::of(&packet).unwrap();
        assert_eq!((flow.icmp_type, flow.ports), (Some(8), None));
    }

    #[test]
    fn a_later_fragment_has_no_ports() {
        let mut packet = tcp4();
        packet[7] = 1;
        assert_eq!(Flow::of(&packet).unwrap().ports, None);
    }

    #[test]
    fn damaged_packets_are_read_without_panic() {
        for packet in [tcp4(), udp6()] {
            for at in 0..packet.len() {
                let cut = Flow::of(&packet[..at]);
                assert!(cut.is_none_or(|flow| flow.source == Flow::of(&packet).unwrap().source));
                for value in 0..=255 {
                    let mut damaged = packet.clone();
                    damaged[at] = value;
                    let _ = Flow::of(&damaged);
                }
            }
        }
    }
}
