//! The fields that conditions read, and how they are compared.

use super::Writer;
use crate::netfilter::native::elements::Key;
use crate::netfilter::native::expressions::{Field, Origin, SetName};
use crate::netfilter::native::sets::CONSTANT_NAME;
use crate::policy::{AddressRange, Interval};
use crate::ruleset::ir::{Family, FlowKey, FlowSide, Side, Transport};
use crate::ruleset::map::Prefixed;
use netlink_bindings::nftables::{CmpOps, CtDirection, CtKeys, PayloadBase};

impl Writer<'_, '_> {
    /// Compares a field with a list: an address, a network, a range, or several in braces. `prefix` gives the length of
    /// the prefix if nft writes an interval as a network.
    pub(super) fn field<K: Key>(
        &mut self,
        field: Origin,
        list: &[Interval<K>],
        negated: bool,
        prefix: impl Fn(&Interval<K>) -> Option<u8>,
    ) {
        let length = K::LENGTH as u32;
        let equal = if negated { CmpOps::Neq } else { CmpOps::Eq };
        let [interval] = list else {
            self.out.load(field, length);
            self.in_braces(negated);
            return;
        };
        let (first, last) = (interval.first.bytes(), interval.last.bytes());
        let (first, last) = (&first[..K::LENGTH], &last[..K::LENGTH]);
        match prefix(interval) {
            _ if first == last => {
                self.out.load(field, length);
                self.out.compare(equal, first);
            }
            // Whole bytes are read alone, and need no mask.
            Some(bits) if bits > 0 && bits % 8 == 0 => {
                let bytes = usize::from(bits / 8);
                self.out.load(field, bytes as u32);
                self.out.compare(equal, &first[..bytes]);
            }
            Some(_) => {
                // Where first and last agree, the mask is set.
                let mask: Vec<u8> = first.iter().zip(last).map(|(a, b)| !(a ^ b)).collect();
                self.out.load(field, length);
                self.out.mask(&mask);
                self.out.compare(equal, first);
            }
            None if negated => {
                self.out.load(field, length);
                self.out.outside(first, last);
            }
            None => {
                self.out.load(field, length);
                self.out.compare(CmpOps::Gte, first);
                self.out.compare(CmpOps::Lte, last);
            }
        }
    }

    /// Looks up in the next of the rule's own sets.
    pub(super) fn in_braces(&mut self, negated: bool) {
        let set = SetName {
            name: CONSTANT_NAME,
            id: self.sets.next(),
        };
        self.out.lookup(set, negated);
    }

    /// `[ payload load 4b @ network header + 12 => reg 1 ]`, `[ bitwise reg 1 = ( reg 1 & 0x00ffffff ) ^ 0x00000000 ]`,
    /// `[ payload load 2b @ transport header + 2 => reg 9 ]`
    pub(super) fn pair(&mut self, address: Origin, family: Family, bits: u8, port: Origin) {
        let length = address_bytes(family);
        self.out.load(address, length);
        if u32::from(bits) < 8 * length {
            let mask = match family {
                Family::V4 => u32::mask(bits).bytes(),
                Family::V6 => u128::mask(bits).bytes(),
            };
            self.out.mask(&mask[..length as usize]);
        }
        self.out.load_at(length, port, 2);
    }

    /// Where a port stands, once it is known that the packet has one.
    pub(super) fn port(&mut self, transport: Transport, side: Side) -> Origin {
        self.protocol(transport.protocol().0);
        let offset = match side {
            Side::Source => 0,
            Side::Destination => 2,
        };
        Origin::Packet(Field {
            base: PayloadBase::TransportHeader,
            offset,
        })
    }

    /// Where connection tracking keeps the port that a flow was opened to, once it is known to have one.
    pub(super) fn flow_port(&mut self, key: FlowKey, transport: Transport) -> Origin {
        self.protocol(transport.protocol().0);
        let (key, side) = flow_port(key);
        Origin::Flow(key, side)
    }

    /// Where an address stands, once the packet's family is known.
    pub(super) fn address_field(&mut self, side: Side, family: Family) -> Origin {
        self.family(family);
        let offset = match (family, side) {
            (Family::V4, Side::Source) => 12,
            (Family::V4, Side::Destination) => 16,
            (Family::V6, Side::Source) => 8,
            (Family::V6, Side::Destination) => 24,
        };
        Origin::Packet(Field {
            base: PayloadBase::NetworkHeader,
            offset,
        })
    }
}

pub(super) const ICMP_TYPE: Origin = Origin::Packet(Field {
    base: PayloadBase::TransportHeader,
    offset: 0,
});
pub(super) const TCP_FLAGS: Origin = Origin::Packet(Field {
    base: PayloadBase::TransportHeader,
    offset: 13,
});
pub(super) const HOP_LIMIT: Origin = Origin::Packet(Field {
    base: PayloadBase::NetworkHeader,
    offset: 7,
});
pub(super) const TIME_TO_LIVE: Origin = Origin::Packet(Field {
    base: PayloadBase::NetworkHeader,
    offset: 8,
});
pub(super) const LINK_HEADER: Origin = Origin::Packet(Field {
    base: PayloadBase::LinkLayerHeader,
    offset: 0,
});

/// Where connection tracking keeps the port that a flow was opened to.
pub(in crate::netfilter::native) fn flow_port(key: FlowKey) -> (CtKeys, CtDirection) {
    let (tuple, side) = key.port();
    let field = match side {
        Side::Source => CtKeys::ProtoSrc,
        Side::Destination => CtKeys::ProtoDst,
    };
    (field, tuple_number(tuple))
}

/// Where connection tracking keeps the remote of a flow; of the other family it has none, so the family need not be asked.
pub(in crate::netfilter::native) fn flow_address(
    key: FlowKey,
    family: Family,
) -> (CtKeys, CtDirection) {
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
