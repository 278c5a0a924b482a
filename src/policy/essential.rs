//! Essential traffic: neighbour discovery, multicast membership and DHCP. Without it a host has no address and no neighbour.
//! It is the host's own. What the host forwards is judged by the rules.

use super::packet::{Own, Packet};
use super::protocol::Protocol;
use super::rule::Direction;
use std::net::{IpAddr, Ipv6Addr};

const ALL_DHCP_AGENTS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Whether a packet passes whatever the groups say.
pub(super) fn is_essential(packet: &Packet) -> bool {
    match packet.protocol {
        Protocol::ICMPV6 => is_neighbour_discovery(packet) || is_membership(packet),
        Protocol::IGMP => is_membership_v4(packet),
        Protocol::UDP => is_dhcp(packet),
        _ => false,
    }
}

/// A hop limit of 255 proves that no router has passed it on, so it is of this link, or of one bridged by this host.
fn is_neighbour_discovery(packet: &Packet) -> bool {
    let kind = match packet.direction {
        Direction::Inbound => matches!(packet.icmp_type, 134..=136),
        Direction::Outbound => matches!(packet.icmp_type, 133 | 135 | 136),
    };
    packet.remote.is_ipv6() && kind && packet.hop_limit == 255
}

/// Multicast listener discovery.
fn is_membership(packet: &Packet) -> bool {
    let kind = match packet.direction {
        Direction::Inbound => matches!(packet.icmp_type, 130..=132 | 143),
        Direction::Outbound => matches!(packet.icmp_type, 131 | 132 | 143),
    };
    packet.remote.is_ipv6() && kind && packet.hop_limit == 1 && packet.own != Own::Forwarded
}

/// IGMP, to a multicast group.
fn is_membership_v4(packet: &Packet) -> bool {
    let ends = match packet.direction {
        Direction::Inbound => packet.own == Own::Multicast,
        Direction::Outbound => packet.remote.is_multicast() && is_from_host(packet.own),
    };
    packet.remote.is_ipv4() && packet.hop_limit == 1 && ends
}

fn is_dhcp(packet: &Packet) -> bool {
    let (from, to) = (packet.source_port, packet.destination_port);
    match (packet.direction, packet.remote) {
        (Direction::Inbound, IpAddr::V4(_)) => {
            (from, to) == (67, 68) && (packet.own.is_address() || packet.own == Own::Broadcast)
        }
        // A server may answer from any port and any of its addresses.
        (Direction::Inbound, IpAddr::V6(_)) => to == 546 && packet.own == Own::LinkLocal,
        (Direction::Outbound, IpAddr::V4(_)) => (from, to) == (68, 67) && is_from_host(packet.own),
        (Direction::Outbound, IpAddr::V6(remote)) => {
            let server = remote == ALL_DHCP_AGENTS || remote.is_unicast_link_local();
            (from, to) == (546, 547) && server && packet.own.is_address()
        }
    }
}

/// A client without an address sends too.
fn is_from_host(own: Own) -> bool {
    own.is_address() || own == Own::Unspecified
}
