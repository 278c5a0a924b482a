//! Elements of sets and maps, as nft sends them.
//!
//! A set of intervals is a tree of bounds: each element says where an interval begins, and another, flagged as an end,
//! where it ends (exclusive). An interval up to the highest point has no end.

use super::batch::Batch;
use super::expressions::{EncodedVerdict, SetName};
use crate::netfilter::netlink::NLM_F_CREATE;
use crate::policy::{Interval, Point};
use crate::ruleset::TABLE;
use crate::ruleset::batch::Names;
use crate::ruleset::ir::{MapKey, NftVerdict, Pair};
use netlink_bindings::nftables::{PushSetelemListAttrs, PushSetelemListElemAttrs, SetElemFlags};
use netlink_bindings::utils::{finalize_nested_header, push_nested_header};
use nix::libc;

/// The list that the elements of a message stand in: the bindings' own would lend the buffer away for all of them.
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;

/// An attribute is at most 64 KiB long, and one element's two bounds with a chain's name (up to 255 bytes) fit into
/// what is left of it.
const ATTRIBUTE_BYTES: usize = 64_000;

/// `NFTNL_UDATA_RULE_COMMENT` and `NFTNL_UDATA_SET_ELEM_COMMENT` of libnftnl's `udata.h`.
const UDATA_COMMENT: u8 = 0;
/// The longest comment in nft's user data, whose lengths are a byte, NUL included.
const COMMENT_BYTES: usize = 254;

/// `NFTNL_UDATA_SET_ELEM_FLAGS` (1), 4 bytes, `NFTNL_SET_ELEM_F_INTERVAL_OPEN` (1): nft's own note that an interval has
/// no end.
const OPEN: [u8; 6] = udata_u32(1, 1);

/// One entry of nft's user data: its type, its length, and a number in the host's order.
pub(super) const fn udata_u32(kind: u8, value: u32) -> [u8; 6] {
    let [a, b, c, d] = value.to_ne_bytes();
    [kind, 4, a, b, c, d]
}

/// nft's note of a comment, of rules and of elements: its type, its length, and the text with NUL.
pub(super) fn comment(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(COMMENT_BYTES)];
    [&[UDATA_COMMENT, text.len() as u8 + 1], text, &[0]].concat()
}

/// A number that elements are keyed by.
pub(super) trait KeyNumber: Point {
    /// Its bytes, at the front, as they stand in a packet.
    fn bytes(self) -> [u8; 16];
    /// How many.
    const LENGTH: usize;
}

macro_rules! key {
    ($($number:ty),*) => { $(
        impl KeyNumber for $number {
            const LENGTH: usize = size_of::<$number>();
            fn bytes(self) -> [u8; 16] {
                let mut bytes = [0; 16];
                bytes[..Self::LENGTH].copy_from_slice(&self.to_be_bytes());
                bytes
            }
        }
    )* };
}
key!(u8, u16, u32, u128);

/// How a set or map keeps its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A hash of points.
    Points,
    /// A tree of intervals, each with its own end, so that each can be taken out alone.
    Intervals,
    /// A tree of intervals that never change: where one begins as another ends, that end is left out.
    Constant,
}

/// What is done with elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementChange {
    /// `add element`; if they are the `first` of a tree, with a note that what lies below them leads nowhere.
    Add { first: bool },
    /// `delete element`
    Delete,
}

/// Writes the messages of one command about elements: `10.0.0.0/8 : goto g7_in_0_4` becomes `element 0a000000 : goto
/// g7_in_0_4` and `element 0b000000 [end]`. Without a verdict they are a set's, or are deleted.
pub(super) fn elements<'v, K: KeyNumber>(
    batch: &mut Batch,
    set: SetName,
    shape: Shape,
    change: ElementChange,
    elements: impl Iterator<Item = (Interval<K>, Option<&'v NftVerdict>)>,
    names: &Names,
) {
    let mut rest = elements.peekable();
    let mut first = change == ElementChange::Add { first: true } && shape != Shape::Points;
    while rest.peek().is_some() {
        message(batch, set, change, |buffer| {
            let list = buffer.len();
            while buffer.len() - list < ATTRIBUTE_BYTES
                && let Some((interval, verdict)) = rest.next()
            {
                if std::mem::take(&mut first) && interval.first.bytes() != [0; 16] {
                    end::<K>(buffer, &[0; 16]);
                }
                begin(buffer, interval, shape, verdict, names);
                let after = interval.last.successor();
                let next = rest.peek().map(|(next, _)| next.first);
                if shape != Shape::Points
                    && let Some(after) = after
                    && !(shape == Shape::Constant && next == Some(after))
                {
                    end::<K>(buffer, &after.bytes());
                }
            }
        });
    }
}

/// Writes the messages of one command about elements that count: `10.7.0.0 . 80 comment "sg-web/in/7" : goto
/// passed_in_0`. They have their counters from the map.
pub(super) fn pairs<K: KeyNumber>(
    batch: &mut Batch,
    set: SetName,
    change: ElementChange,
    of: MapKey,
    pairs: &[Pair<K>],
    names: &Names,
) {
    let mut rest = pairs.iter().peekable();
    while rest.peek().is_some() {
        message(batch, set, change, |buffer| {
            let list = buffer.len();
            while buffer.len() - list < ATTRIBUTE_BYTES
                && let Some(pair) = rest.next()
            {
                pair_element(buffer, change, of, pair, names);
            }
        });
    }
}

fn pair_element<K: KeyNumber>(
    buffer: &mut Vec<u8>,
    change: ElementChange,
    of: MapKey,
    pair: &Pair<K>,
    names: &Names,
) {
    // Each part at a multiple of four bytes.
    let port = pair.port.to_be_bytes();
    let key = [&pair.network.bytes()[..K::LENGTH], &port, &[0; 2]].concat();
    let mut element = PushSetelemListElemAttrs::new(buffer)
        .nested_elem()
        .nested_key()
        .push_value(&key)
        .end_nested();
    if change == ElementChange::Delete {
        return;
    }
    if let Some(verdict) = EncodedVerdict::of(&pair.verdict, names) {
        let data = element.nested_data().nested_verdict();
        element = verdict.push(data).end_nested().end_nested();
    }
    if let Some(reason) = of.named(pair) {
        element.push_userdata(&comment(&reason.to_string()));
    }
}

/// One message about elements of a set, which `write` writes.
fn message(
    batch: &mut Batch,
    set: SetName,
    change: ElementChange,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let (kind, flags) = match change {
        ElementChange::Add { .. } => (libc::NFT_MSG_NEWSETELEM, NLM_F_CREATE),
        ElementChange::Delete => (libc::NFT_MSG_DELSETELEM, 0),
    };
    batch.message(kind, flags, |buffer| {
        PushSetelemListAttrs::new(&mut *buffer)
            .push_table_bytes(TABLE.as_bytes())
            .push_set_bytes(set.name.as_bytes());
        if let Some(id) = set.id {
            // The bindings take the host's order for the network's.
            PushSetelemListAttrs::new(&mut *buffer).push_set_id(id.to_be());
        }
        let list = push_nested_header(buffer, NFTA_SET_ELEM_LIST_ELEMENTS);
        write(buffer);
        finalize_nested_header(buffer, list);
    });
}

/// The element where an interval begins, or a point.
fn begin<K: KeyNumber>(
    buffer: &mut Vec<u8>,
    interval: Interval<K>,
    shape: Shape,
    verdict: Option<&NftVerdict>,
    names: &Names,
) {
    let mut element = PushSetelemListElemAttrs::new(buffer)
        .nested_elem()
        .nested_key()
        .push_value(&interval.first.bytes()[..K::LENGTH])
        .end_nested();
    // A lookup is no verdict of an element; without one the kernel refuses it.
    if let Some(verdict) = verdict.and_then(|verdict| EncodedVerdict::of(verdict, names)) {
        let data = element.nested_data().nested_verdict();
        element = verdict.push(data).end_nested().end_nested();
    }
    if shape != Shape::Points && interval.last.successor().is_none() {
        element.push_userdata(&OPEN);
    }
}

/// The element where an interval ends.
fn end<K: KeyNumber>(buffer: &mut Vec<u8>, key: &[u8; 16]) {
    PushSetelemListElemAttrs::new(buffer)
        .nested_elem()
        .push_flags(&(SetElemFlags::IntervalEnd as u32).to_be_bytes())
        .nested_key()
        .push_value(&key[..K::LENGTH]);
}
