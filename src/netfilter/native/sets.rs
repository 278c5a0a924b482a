//! Sets and maps: the named ones of a generation, and those without a name that a rule writes in braces.
//!
//! User data are nft's own notes, by which a listing prints what was written; the kernel only keeps them. Their types
//! are in libnftnl's `udata.h`, their contents in nft's `mnl_nft_set_add`.

use super::batch::Batch;
use super::elements::{ElementChange, KeyNumber, Shape, elements, pairs, udata_u32};
use super::expressions::SetName;
use super::fields::{flow_address, flow_port};
use crate::netfilter::netlink::{NLM_F_CREATE, NLM_F_EXCL};
use crate::policy::Interval;
use crate::ruleset::TABLE;
use crate::ruleset::batch::{Elements, ElementsOf, Names};
use crate::ruleset::ir::{Family, FlowKey, MapKey, NftVerdict, Side, Transport};
use netlink_bindings::nftables::{CtDirection, CtKeys, FibFlags, PushSetAttrs, SetFlags};
use nix::libc;

/// The data type of a verdict map, `NFT_DATA_VERDICT`.
const VERDICT: u32 = 0xffff_ff00;
/// nft's byte orders: the host's, and the network's.
const HOST: u32 = 1;
const NETWORK: u32 = 2;

/// `NFTNL_UDATA_SET_…` of libnftnl's `udata.h`.
const KEY_BYTEORDER: u8 = 0;
const DATA_BYTEORDER: u8 = 1;
const MERGE_ELEMENTS: u8 = 2;
const KEY_TYPEOF: u8 = 3;
const DATA_INTERVAL: u8 = 6;

/// What a set's keys are: nft's number of the type (`enum datatypes` in its `datatype.h`), and its length in bytes.
#[derive(Debug, Clone, Copy)]
struct KeyType {
    number: u32,
    length: u32,
}

const fn key_type(number: u32, length: u32) -> KeyType {
    KeyType { number, length }
}

const IPV4_ADDR: KeyType = key_type(7, 4);
const IPV6_ADDR: KeyType = key_type(8, 16);
const INET_SERVICE: KeyType = key_type(13, 2);
const ICMP_TYPE: KeyType = key_type(14, 1);
const ICMPV6_TYPE: KeyType = key_type(29, 1);
const FIB_ADDRTYPE: KeyType = key_type(38, 4);

/// What a rule compares with the elements in its braces.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeySource {
    /// `tcp dport { … }`
    Port(Transport, Side),
    /// `ip saddr { … }`
    Address(Side, Family),
    /// `ct original proto-dst { … }`
    FlowPort(FlowKey),
    /// `ct original ip saddr { … }`
    FlowAddress(FlowKey, Family),
    /// `icmp type { … }`
    IcmpType,
    /// `icmpv6 type { … }`
    Icmpv6Type,
}

/// `add set inet secgroupd g7_v4_0 { type ipv4_addr; flags interval; }`
pub(super) fn add_set(batch: &mut Batch, name: &str, family: Family, intervals: bool) {
    let header = SetHeader {
        key: KeyType::of_address(family),
        flags: interval_flag(intervals),
        size: None,
        counts: false,
        notes: &udata_u32(KEY_BYTEORDER, NETWORK),
    };
    header.write(batch, NEW, SetName { name, id: None });
}

/// `add map inet secgroupd g7_in_0_3 { type ipv4_addr : verdict; flags interval; }`, and
/// `add map inet secgroupd g7_in_0_4 { type ipv4_addr . inet_service : verdict; counter; }`
pub(super) fn add_map(batch: &mut Batch, name: &str, key: MapKey, intervals: bool) {
    let (kind, order) = match key {
        MapKey::Port(_) | MapKey::FlowPort(..) => (INET_SERVICE, NETWORK),
        MapKey::Address(_, family) | MapKey::FlowAddress(_, family) => {
            (KeyType::of_address(family), NETWORK)
        }
        MapKey::Pair(_, family, ..) | MapKey::FlowPair(_, family, ..) => (
            KeyType::of_parts(&[KeyType::of_address(family), INET_SERVICE]),
            0,
        ),
    };
    let mut notes = udata_u32(KEY_BYTEORDER, order).to_vec();
    notes.extend(udata_u32(DATA_BYTEORDER, 0));
    if matches!(key, MapKey::Pair(..) | MapKey::FlowPair(..)) {
        notes.extend(typeof_note(KEY_TYPEOF, EXPR_CONCAT, &[]));
    }
    notes.extend(udata_u32(DATA_INTERVAL, 0));
    let header = SetHeader {
        key: kind,
        flags: SetFlags::Map as u32 | interval_flag(intervals),
        size: None,
        counts: key.counts(),
        notes: &notes,
    };
    header.write(batch, NEW, SetName { name, id: None });
}

fn interval_flag(intervals: bool) -> u32 {
    match intervals {
        true => SetFlags::Interval as u32,
        false => 0,
    }
}

/// `add element inet secgroupd g7_in_0_3 { 10.0.0.0/8 : goto g7_in_0_4 }` and `delete element …`.
pub(super) fn change_elements(
    batch: &mut Batch,
    of: &ElementsOf,
    change: ElementChange,
    list: Elements,
    names: &Names,
) {
    let set = SetName {
        name: &of.name,
        id: None,
    };
    let shape = match of.intervals {
        true => Shape::Intervals,
        false => Shape::Points,
    };
    match list {
        Elements::V4(list) => elements(batch, set, shape, change, plain(list), names),
        Elements::V6(list) => elements(batch, set, shape, change, plain(list), names),
        Elements::PortMap(list) => mapped(batch, set, shape, change, list, names),
        Elements::V4Map(list) => mapped(batch, set, shape, change, list, names),
        Elements::V6Map(list) => mapped(batch, set, shape, change, list, names),
        Elements::V4Pairs(key, list) => pairs(batch, set, change, key, list, names),
        Elements::V6Pairs(key, list) => pairs(batch, set, change, key, list, names),
    }
}

/// Elements of a map; none is deleted by its verdict.
fn mapped<K: KeyNumber>(
    batch: &mut Batch,
    set: SetName,
    shape: Shape,
    change: ElementChange,
    list: &[(Interval<K>, NftVerdict)],
    names: &Names,
) {
    let add = change != ElementChange::Delete;
    let list = list.iter().map(|(i, to)| (*i, add.then_some(to)));
    elements(batch, set, shape, change, list, names);
}

/// Elements of a set.
fn plain<K: KeyNumber>(
    list: &[Interval<K>],
) -> impl Iterator<Item = (Interval<K>, Option<&'static NftVerdict>)> {
    list.iter().map(|interval| (*interval, None))
}

/// `{ 80, 8000-8100 }` in a rule: returns the number by which the rule finds it.
pub(super) fn constant_set<K: KeyNumber>(
    batch: &mut Batch,
    compared: KeySource,
    list: &[Interval<K>],
    names: &Names,
) -> u32 {
    let points = list.iter().all(|interval| interval.first == interval.last);
    let leads = list
        .first()
        .is_some_and(|interval| interval.first.bytes() != [0; 16]);
    let (shape, flags, size) = match points {
        true => (Shape::Points, 0, list.len()),
        // As nft counts: both ends of each, and one bound below the first.
        false => (
            Shape::Constant,
            SetFlags::Interval as u32,
            2 * list.len() + usize::from(leads),
        ),
    };
    let mut notes = udata_u32(KEY_BYTEORDER, NETWORK).to_vec();
    if !points {
        notes.extend(udata_u32(MERGE_ELEMENTS, 1));
    }
    notes.extend(compared.note());
    constant(batch, compared.key(), flags, size, &notes, |batch, set| {
        let change = ElementChange::Add { first: true };
        elements(batch, set, shape, change, plain(list), names);
    })
}

/// `fib daddr type { local, broadcast }` in a rule, as routing numbers them (`RTN_…`).
pub(super) fn constant_address_types(batch: &mut Batch, types: &[u32], names: &Names) -> u32 {
    const TYPE: u32 = 3;
    let mut notes = udata_u32(KEY_BYTEORDER, HOST).to_vec();
    let inside = [udata_u32(0, TYPE), udata_u32(1, FibFlags::Daddr as u32)];
    notes.extend(typeof_note(KEY_TYPEOF, EXPR_FIB, &inside));
    constant(batch, FIB_ADDRTYPE, 0, types.len(), &notes, |batch, set| {
        // In the host's order, unlike what stands in packets.
        let list = types.iter().map(|number| {
            let key = u32::from_be_bytes(number.to_ne_bytes());
            (Interval::point(key), None)
        });
        let change = ElementChange::Add { first: true };
        elements(batch, set, Shape::Points, change, list, names);
    })
}

/// The set without a name, and its elements.
fn constant(
    batch: &mut Batch,
    key: KeyType,
    flags: u32,
    size: usize,
    notes: &[u8],
    elements: impl FnOnce(&mut Batch, SetName),
) -> u32 {
    let id = batch.next_set_id();
    let set = SetName {
        name: CONSTANT_NAME,
        id: Some(id),
    };
    let constant = SetFlags::Anonymous as u32 | SetFlags::Constant as u32;
    let header = SetHeader {
        key,
        flags: flags | constant,
        size: Some(size),
        counts: false,
        notes,
    };
    header.write(batch, NEW, set);
    elements(batch, set);
    id
}

/// The kernel puts a number for `%d`.
pub(super) const CONSTANT_NAME: &str = "__set%d";

/// The set must be new.
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// What is said of a set or map before its elements.
struct SetHeader<'h> {
    key: KeyType,
    flags: u32,
    /// How many elements it will have, where it never has more.
    size: Option<usize>,
    /// Whether each element has a counter.
    counts: bool,
    notes: &'h [u8],
}

impl SetHeader<'_> {
    fn write(&self, batch: &mut Batch, how: u16, set: SetName) {
        // The kernel wants a number of every set, though one with a name is found by that.
        let id = set.id.unwrap_or_else(|| batch.next_set_id());
        batch.message(libc::NFT_MSG_NEWSET, how, |buffer| {
            let mut message = PushSetAttrs::new(buffer)
                .push_table_bytes(TABLE.as_bytes())
                .push_name_bytes(set.name.as_bytes())
                .push_flags(self.flags)
                .push_key_type(self.key.number)
                .push_key_len(self.key.length)
                // The bindings take the host's order for the network's.
                .push_id(id.to_be())
                .push_userdata(self.notes);
            if self.flags & SetFlags::Map as u32 != 0 {
                message = message.push_data_type(VERDICT).push_data_len(0);
            }
            if self.counts {
                let counter = message.nested_expr().nested_data_counter();
                message = counter.end_nested().end_nested();
            }
            if let Some(size) = self.size {
                message.nested_desc().push_size(size as u32);
            }
        });
    }
}

/// nft's numbers of what a key was taken from: `enum expr_types` in its `expression.h`.
const EXPR_PAYLOAD: u32 = 7;
const EXPR_CT: u32 = 12;
const EXPR_CONCAT: u32 = 13;
const EXPR_FIB: u32 = 26;

/// nft's note of what a key was taken from: the expression's number, and its own numbers.
fn typeof_note(kind: u8, expression: u32, inside: &[[u8; 6]]) -> Vec<u8> {
    let inside = inside.as_flattened();
    let mut note = vec![kind, (6 + 2 + inside.len()) as u8];
    note.extend(udata_u32(0, expression));
    note.extend([1, inside.len() as u8]);
    note.extend(inside);
    note
}

/// The same of what connection tracking knows: the kernel's numbers of the key and of the side.
fn flow_note((key, side): (CtKeys, CtDirection)) -> Vec<u8> {
    let inside = [udata_u32(0, key as u32), udata_u32(1, side as u32)];
    typeof_note(KEY_TYPEOF, EXPR_CT, &inside)
}

impl KeyType {
    fn of_address(family: Family) -> Self {
        match family {
            Family::V4 => IPV4_ADDR,
            Family::V6 => IPV6_ADDR,
        }
    }

    /// Several as one, each at a multiple of four bytes.
    fn of_parts(parts: &[KeyType]) -> Self {
        let lengths = parts.iter().map(|part| part.length.next_multiple_of(4));
        KeyType {
            // nft gives each part six bits.
            number: parts.iter().fold(0, |all, part| all << 6 | part.number),
            length: lengths.sum(),
        }
    }
}

impl KeySource {
    fn key(self) -> KeyType {
        match self {
            KeySource::Port(..) | KeySource::FlowPort(_) => INET_SERVICE,
            KeySource::Address(_, family) | KeySource::FlowAddress(_, family) => {
                KeyType::of_address(family)
            }
            KeySource::IcmpType => ICMP_TYPE,
            KeySource::Icmpv6Type => ICMPV6_TYPE,
        }
    }

    /// nft's numbers of the header (`enum proto_desc_id` in its `proto.h`) and of the field in it.
    fn note(self) -> Vec<u8> {
        let (header, field) = match self {
            KeySource::Port(Transport::Udp, Side::Source) => (6, 1),
            KeySource::Port(Transport::Udp, Side::Destination) => (6, 2),
            KeySource::Port(Transport::Tcp, Side::Source) => (8, 1),
            KeySource::Port(Transport::Tcp, Side::Destination) => (8, 2),
            KeySource::Address(Side::Source, Family::V4) => (12, 11),
            KeySource::Address(Side::Destination, Family::V4) => (12, 12),
            KeySource::Address(Side::Source, Family::V6) => (13, 8),
            KeySource::Address(Side::Destination, Family::V6) => (13, 9),
            KeySource::IcmpType => (4, 1),
            KeySource::Icmpv6Type => (14, 1),
            KeySource::FlowPort(key) => return flow_note(flow_port(key)),
            KeySource::FlowAddress(key, family) => {
                return flow_note(flow_address(key, family));
            }
        };
        let inside = [udata_u32(0, header), udata_u32(1, field)];
        typeof_note(KEY_TYPEOF, EXPR_PAYLOAD, &inside)
    }
}
