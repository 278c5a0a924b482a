//! Fields of a packet and of its flow, loaded once it is known that they are there, and compared.

use super::elements::KeyNumber;
use super::expressions::{Expressions, Operand, SetName};
use super::fields::*;
use super::sets::CONSTANT_NAME;
use crate::policy::Interval;
use crate::ruleset::batch::Names;
use crate::ruleset::ir::*;
use crate::ruleset::map::Prefixed;
use netlink_bindings::nftables::{CmpOps, MetaKeys, PayloadBase};
use nix::libc;

/// Writes the expressions of one rule.
pub(super) struct Writer<'b, 'n> {
    pub(super) out: Expressions<'b>,
    /// The family and the protocol that the rule has asked for so far: what a header is read as must be asked first,
    /// once.
    family: Option<Family>,
    pub(super) protocol: Option<u8>,
    /// The sets in braces that are still to be asked.
    sets: std::vec::IntoIter<u32>,
    pub(super) names: &'n Names,
}

impl<'b, 'n> Writer<'b, 'n> {
    /// `sets` are the numbers of the sets in the rule's braces, in their order.
    pub fn new(buffer: &'b mut Vec<u8>, sets: Vec<u32>, names: &'n Names) -> Self {
        Writer {
            out: Expressions::new(buffer),
            family: None,
            protocol: None,
            sets: sets.into_iter(),
            names,
        }
    }

    /// `meta nfproto ipv4`, if it was not asked before.
    pub(super) fn family(&mut self, family: Family) {
        if self.family != Some(family) {
            let number = match family {
                Family::V4 => libc::NFPROTO_IPV4,
                Family::V6 => libc::NFPROTO_IPV6,
            };
            self.out.meta(MetaKeys::Nfproto);
            self.out.compare(CmpOps::Eq, &[number as u8]);
            self.family = Some(family);
        }
    }

    /// `meta l4proto tcp`, if it was not asked before.
    pub(super) fn protocol(&mut self, protocol: u8) {
        if self.protocol != Some(protocol) {
            self.out.meta(MetaKeys::L4Proto);
            self.out.compare(CmpOps::Eq, &[protocol]);
            self.protocol = Some(protocol);
        }
    }

    /// `ip saddr 10.0.0.0/8`, `ip saddr { … }`, `ip saddr @g7_v4_0`; the same of `ct original ip saddr`.
    pub(super) fn address(&mut self, origin: Operand, with: &AddressMatch, negated: bool) {
        match with {
            AddressMatch::Inline(Addresses::V4(list)) => {
                self.field(origin, list, negated, v4_prefix);
            }
            AddressMatch::Inline(Addresses::V6(list)) => {
                self.field(origin, list, negated, v6_prefix);
            }
            AddressMatch::Set(set, family) => {
                self.out.load(origin, address_bytes(*family));
                let name = self.names.of(set);
                let set = SetName {
                    name: &name,
                    id: None,
                };
                self.out.lookup(set, negated);
            }
        }
    }

    /// Compares a field with a list: an address, a network, a range, or several in braces. `prefix` returns the length
    /// of the prefix if nft writes an interval as a network.
    pub(super) fn field<K: KeyNumber>(
        &mut self,
        field: Operand,
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
    pub(super) fn pair(&mut self, address: Operand, family: Family, bits: u8, port: Operand) {
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
    pub(super) fn port(&mut self, transport: Transport, side: Side) -> Operand {
        self.protocol(transport.protocol().0);
        let offset = match side {
            Side::Source => 0,
            Side::Destination => 2,
        };
        packet(PayloadBase::TransportHeader, offset)
    }

    /// Where connection tracking keeps the port that a flow was opened to, once it is known to have one.
    pub(super) fn flow_port(&mut self, key: FlowKey, transport: Transport) -> Operand {
        self.protocol(transport.protocol().0);
        let (key, side) = flow_port(key);
        Operand::Flow(key, side)
    }

    /// Where an address stands, once the packet's family is known.
    pub(super) fn address_field(&mut self, side: Side, family: Family) -> Operand {
        self.family(family);
        let offset = match (family, side) {
            (Family::V4, Side::Source) => 12,
            (Family::V4, Side::Destination) => 16,
            (Family::V6, Side::Source) => 8,
            (Family::V6, Side::Destination) => 24,
        };
        packet(PayloadBase::NetworkHeader, offset)
    }
}
