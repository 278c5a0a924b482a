//! Where the fields stand that conditions read, and the constants that they are compared with.

use super::expressions::{Field, Operand};
use crate::policy::{AddressRange, Interval};
use crate::ruleset::ir::{Family, FlowKey, FlowSide, Side};
use netlink_bindings::nftables::{CtDirection, CtKeys, PayloadBase};

/// `RTN_…` of `linux/rtnetlink.h`.
pub(super) const LOCAL: u32 = 2;
pub(super) const BROADCAST: u32 = 3;
pub(super) const ANYCAST: u32 = 4;
pub(super) const MULTICAST: u32 = 5;

/// Where `::` and `fe80::/10` lie.
pub(super) const FROM_LINK: [Interval<u128>; 2] = [
    Interval { first: 0, last: 0 },
    Interval::between(0xfe80 << 112, (0xfe80 << 112) | ((1 << 118) - 1)),
];
/// `fe80::/10`.
pub(super) const LINK_LOCAL: [Interval<u128>; 1] = [FROM_LINK[1]];
/// `224.0.0.0/4`.
pub(super) const TO_MANY_V4: [Interval<u32>; 1] = [Interval::between(0xe000_0000, 0xefff_ffff)];
/// `ff00::/8`.
pub(super) const TO_MANY: [Interval<u128>; 1] = [Interval::between(0xff << 120, u128::MAX)];

/// A field so many bytes into a header of the packet.
pub(super) const fn packet(base: PayloadBase, offset: u32) -> Operand {
    Operand::Packet(Field { base, offset })
}

pub(super) const ICMP_TYPE: Operand = packet(PayloadBase::TransportHeader, 0);
pub(super) const TCP_FLAGS: Operand = packet(PayloadBase::TransportHeader, 13);
pub(super) const HOP_LIMIT: Operand = packet(PayloadBase::NetworkHeader, 7);
pub(super) const TIME_TO_LIVE: Operand = packet(PayloadBase::NetworkHeader, 8);
pub(super) const LINK_HEADER: Operand = packet(PayloadBase::LinkLayerHeader, 0);

/// Where connection tracking keeps the port that a flow was opened to.
pub(super) fn flow_port(key: FlowKey) -> (CtKeys, CtDirection) {
    let (tuple, side) = key.port();
    let field = match side {
        Side::Source => CtKeys::ProtoSrc,
        Side::Destination => CtKeys::ProtoDst,
    };
    (field, tuple_number(tuple))
}

/// Where connection tracking keeps the remote of a flow; of the other family it has none, so the family need not be
/// asked.
pub(super) fn flow_address(key: FlowKey, family: Family) -> (CtKeys, CtDirection) {
    let field = match family {
        Family::V4 => CtKeys::SrcIp,
        Family::V6 => CtKeys::SrcIp6,
    };
    (field, tuple_number(key.address()))
}

/// The kernel's number of a flow's tuple.
pub(super) fn tuple_number(tuple: FlowSide) -> CtDirection {
    match tuple {
        FlowSide::Original => CtDirection::Original,
        FlowSide::Reply => CtDirection::Reply,
    }
}

pub(super) fn address_bytes(family: Family) -> u32 {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

pub(super) fn v4_prefix(interval: &Interval<u32>) -> Option<u8> {
    AddressRange::V4(*interval).prefix_length()
}

pub(super) fn v6_prefix(interval: &Interval<u128>) -> Option<u8> {
    AddressRange::V6(*interval).prefix_length()
}

pub(super) fn intervals(types: &[(u8, u8)]) -> Vec<Interval<u8>> {
    types
        .iter()
        .map(|&(first, last)| Interval { first, last })
        .collect()
}
