//! What a rule asks of a packet, as nft orders and abbreviates it.
//!
//! A header is read only once it is known to be there: `tcp dport 22` becomes `meta l4proto tcp`, and then the port.

use super::expressions::{EncodedVerdict, Operand, SetName};
use super::fields::*;
use super::writer::Writer;
use crate::policy::{Direction, InterfaceName, Protocol};
use crate::ruleset::ir::*;
use crate::ruleset::marks::mask;
use crate::ruleset::table::EVENTS_GROUP;
use netlink_bindings::nftables::{CmpOps, CtKeys, FibFlags, MetaKeys};
use nix::libc;

/// An interface's name in a register, padded with NUL (`IFNAMSIZ`).
const INTERFACE_BYTES: usize = 16;

impl Writer<'_, '_> {
    /// Writes all conditions, the counter and the verdict.
    pub fn rule(mut self, rule: &NftRule) {
        let mut rest = rule.matches.as_slice();
        while let [first, after @ ..] = rest {
            rest = match (first, after.first()) {
                (
                    Match::Port(transport, Side::Source, from),
                    Some(Match::Port(same, Side::Destination, to)),
                ) if transport == same
                    && let ([from], [to]) = (from.intervals(), to.intervals())
                    && from.first == from.last
                    && to.first == to.last =>
                {
                    self.both_ports(*transport, from.first, to.first);
                    &after[1..]
                }
                _ => {
                    self.condition(first);
                    after
                }
            };
        }
        if rule.counts() {
            self.out.counter();
        }
        self.verdict(&rule.verdict);
    }

    fn condition(&mut self, condition: &Match) {
        match condition {
            Match::Interface(side, name) => self.interface(*side, name),
            Match::Loopback(side) => {
                self.out.meta(interface_key(*side));
                self.out.compare(CmpOps::Eq, &interface_bytes("lo"));
            }
            Match::State(state) => self.state(*state),
            Match::Told(told) => self.out.log(&told.to_string(), EVENTS_GROUP),
            Match::NotEstablished => {
                self.out.ct(CtKeys::State);
                self.out
                    .compare(CmpOps::Neq, &state_bit(CtState::Established).to_ne_bytes());
            }
            Match::FlowSide(side) => {
                self.out.ct(CtKeys::Direction);
                self.out.compare(CmpOps::Eq, &[tuple_number(*side) as u8]);
            }
            Match::Marked(_) | Match::MarkedOr(..) | Match::OpenedSomewhere => {
                let bits = self.names.bits().asked(condition).unwrap_or_default();
                self.out.ct(CtKeys::Labels);
                self.out.mask(&mask(&bits).to_ne_bytes());
                self.out.compare(CmpOps::Neq, &[0; 16]);
            }
            Match::SetMarks(_) => {
                let bits = self.names.bits().asked(condition).unwrap_or_default();
                if !bits.is_empty() {
                    self.out.set_ct_labels(&mask(&bits).to_ne_bytes());
                }
            }
            Match::OwnOfAnother(direction) => {
                let (address, device) = match direction {
                    Direction::Inbound => (FibFlags::Daddr, FibFlags::Iif),
                    Direction::Outbound => (FibFlags::Saddr, FibFlags::Oif),
                };
                self.out.fib_type(&[address]);
                self.out.compare(CmpOps::Eq, &LOCAL.to_ne_bytes());
                self.out.fib_type(&[address, device]);
                self.out.compare(CmpOps::Neq, &LOCAL.to_ne_bytes());
            }
            Match::WithoutSyn => {
                const SYN: u8 = 0x02;
                self.protocol(Transport::Tcp.protocol().0);
                self.out.load(TCP_FLAGS, 1);
                self.out.mask(&[SYN]);
                self.out.compare(CmpOps::Eq, &[0]);
            }
            Match::PortOutside(range) => {
                let field = self.port(Transport::Tcp, Side::Source);
                self.field(field, &[*range], true, |_| None);
            }
            Match::Family(family) => self.family(*family),
            Match::Protocol(protocol) => self.protocol(*protocol),
            Match::Port(transport, side, ports) => {
                let field = self.port(*transport, *side);
                self.field(field, ports.intervals(), false, |_| None);
            }
            Match::Address {
                side,
                with,
                negated,
            } => {
                let origin = self.address_field(*side, with.family());
                self.address(origin, with, *negated);
            }
            Match::FlowPort(key, transport, ports) => {
                let origin = self.flow_port(*key, *transport);
                self.field(origin, ports.intervals(), false, |_| None);
            }
            Match::FlowAddress { key, with, negated } => {
                let (key, side) = flow_address(*key, with.family());
                self.address(Operand::Flow(key, side), with, *negated);
            }
            Match::IcmpType(types) => self.icmp_type(Family::V4, 1, types),
            Match::Icmpv6Type(types) => self.icmp_type(Family::V6, 58, types),
            Match::HopLimit(hops) => {
                self.family(Family::V6);
                self.out.load(HOP_LIMIT, 1);
                self.out.compare(CmpOps::Eq, &[*hops]);
            }
            Match::ToThisHost => self.address_type_in_braces(FibFlags::Daddr),
            Match::FromProcess => {
                self.out.meta(MetaKeys::Iif);
                self.out.compare(CmpOps::Eq, &0u32.to_ne_bytes());
            }
            Match::FromLinkToMany => {
                let source = self.address_field(Side::Source, Family::V6);
                self.field(source, &FROM_LINK, false, |_| None);
                let destination = self.address_field(Side::Destination, Family::V6);
                self.field(destination, &TO_MANY, false, v6_prefix);
            }
            Match::Decrypted => {
                self.out.meta(MetaKeys::Secpath);
                self.out.compare(CmpOps::Eq, &[1]);
            }
            Match::WillEncrypt => self.will_encrypt(true),
            Match::LoopedBack => {
                self.will_encrypt(false);
                self.is_local(FibFlags::Saddr);
                self.address_type_in_braces(FibFlags::Daddr);
            }
            Match::FromOwnAddress => self.is_local(FibFlags::Saddr),
            Match::FromUnspecified => {
                let source = self.address_field(Side::Source, Family::V4);
                self.out.load(source, address_bytes(Family::V4));
                self.out.compare(CmpOps::Eq, &[0; 4]);
            }
            Match::ToOwnOrBroadcast => self.address_type_in_braces(FibFlags::Daddr),
            Match::ToOwnLinkLocal => {
                let destination = self.address_field(Side::Destination, Family::V6);
                self.field(destination, &LINK_LOCAL, false, v6_prefix);
                self.is_local(FibFlags::Daddr);
            }
            Match::LinkIgmp => {
                self.protocol(Protocol::IGMP.0);
                self.family(Family::V4);
                self.out.load(TIME_TO_LIVE, 1);
                self.out.compare(CmpOps::Eq, &[1]);
                let destination = self.address_field(Side::Destination, Family::V4);
                self.field(destination, &TO_MANY_V4, false, v4_prefix);
            }
            Match::HasLinkHeader => {
                self.out.load(LINK_HEADER, 1);
                self.out.compare(CmpOps::Gte, &[0]);
            }
            Match::EnteredByEthernet => {
                self.out.meta(MetaKeys::Iftype);
                self.out
                    .compare(CmpOps::Eq, &libc::ARPHRD_ETHER.to_ne_bytes());
            }
            Match::EnteredByKind(kind) => {
                self.out.meta(MetaKeys::Iifkind);
                self.out.compare(CmpOps::Eq, &interface_bytes(kind.name()));
            }
        }
    }

    /// `fib saddr type local`
    fn is_local(&mut self, address: FibFlags) {
        self.out.fib_type(&[address]);
        self.out.compare(CmpOps::Eq, &LOCAL.to_ne_bytes());
    }

    /// `iifname "eth0"`, all of the name; `iifname "eth*"`, as much as is written.
    fn interface(&mut self, side: Side, name: &InterfaceName) {
        self.out.meta(interface_key(side));
        let text = name.to_string();
        match text.strip_suffix('*') {
            Some(start) => self.out.compare(CmpOps::Eq, start.as_bytes()),
            None => self.out.compare(CmpOps::Eq, &interface_bytes(&text)),
        }
    }

    /// `ct state established`: the state is a bit.
    fn state(&mut self, state: CtState) {
        self.out.ct(CtKeys::State);
        self.out.mask(&state_bit(state).to_ne_bytes());
        self.out.compare(CmpOps::Neq, &0u32.to_ne_bytes());
    }

    /// `icmp type { 3, 11-12 }`: ICMP belongs to a family, unless the protocol was asked in the rule's own words.
    fn icmp_type(&mut self, family: Family, protocol: u8, types: &[(u8, u8)]) {
        if self.protocol.is_none() {
            self.family(family);
        }
        self.protocol(protocol);
        self.field(ICMP_TYPE, &intervals(types), false, |_| None);
    }

    /// `udp sport 67 udp dport 68`: the fields are neighbours, and are compared at once.
    fn both_ports(&mut self, transport: Transport, from: u16, to: u16) {
        let field = self.port(transport, Side::Source);
        self.out.load(field, 4);
        let ports = [from.to_be_bytes(), to.to_be_bytes()];
        self.out.compare(CmpOps::Eq, ports.as_flattened());
    }

    /// `fib daddr type { local, broadcast }`
    fn address_type_in_braces(&mut self, address: FibFlags) {
        self.out.fib_type(&[address]);
        self.in_braces(false);
    }

    /// `rt ipsec exists`, `rt ipsec missing`
    fn will_encrypt(&mut self, exists: bool) {
        self.out.rt_ipsec();
        self.out.compare(CmpOps::Eq, &[u8::from(exists)]);
    }

    fn verdict(&mut self, verdict: &NftVerdict) {
        if let Some(verdict) = EncodedVerdict::of(verdict, self.names) {
            self.out.verdict(&verdict);
        }
        if let NftVerdict::Map(key, map) = verdict {
            self.map_key(*key);
            let name = self.names.of(map);
            self.out.lookup_verdict(SetName {
                name: &name,
                id: None,
            });
        }
    }

    /// Loads what a map is asked with.
    fn map_key(&mut self, key: MapKey) {
        let (origin, length) = match key {
            MapKey::Port(transport) => (self.port(transport, Side::Destination), 2),
            MapKey::FlowPort(key, transport) => (self.flow_port(key, transport), 2),
            MapKey::Address(side, family) => {
                (self.address_field(side, family), address_bytes(family))
            }
            MapKey::FlowAddress(key, family) => {
                let (key, side) = flow_address(key, family);
                (Operand::Flow(key, side), address_bytes(family))
            }
            MapKey::Pair(side, family, bits, transport) => {
                let address = self.address_field(side, family);
                let port = self.port(transport, Side::Destination);
                return self.pair(address, family, bits, port);
            }
            MapKey::FlowPair(key, family, bits, transport) => {
                let port = self.flow_port(key, transport);
                let (key, side) = flow_address(key, family);
                return self.pair(Operand::Flow(key, side), family, bits, port);
            }
        };
        self.out.load(origin, length);
    }
}

/// A state of connection tracking as the kernel has it: a bit.
fn state_bit(state: CtState) -> u32 {
    match state {
        CtState::Invalid => 1,
        CtState::Established => 2,
        CtState::Related => 4,
        CtState::New => 8,
    }
}

fn interface_key(side: Side) -> MetaKeys {
    match side {
        Side::Source => MetaKeys::Iifname,
        Side::Destination => MetaKeys::Oifname,
    }
}

fn interface_bytes(name: &str) -> [u8; INTERFACE_BYTES] {
    let mut bytes = [0; INTERFACE_BYTES];
    bytes
        .iter_mut()
        .zip(name.bytes())
        .for_each(|(to, from)| *to = from);
    bytes
}
