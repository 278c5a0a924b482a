//! The dimensions of the diagram in nft's words.

use crate::policy::{Interval, Point, PortSet, Protocol};
use crate::ruleset::diagram::family::DiagramFamily;
use crate::ruleset::ir::{Addresses as AddressList, *};
use std::sync::Arc;

/// A dimension in nft's words.
pub trait Worded: Point {
    /// What there is to say beside the dimension: which protocol's port, whose address.
    type Word: Copy;
    /// `tcp dport { … }`, `ip saddr { … }`; `None` for no interval.
    fn condition(word: Self::Word, intervals: Vec<Interval<Self>>) -> Option<Match>;
    /// What must hold for the field to be there at all: a chain over ports may be reached by any protocol.
    fn present(word: Self::Word) -> Vec<Match>;
    fn key(word: Self::Word) -> MapKey;
    fn elements(elements: Vec<(Interval<Self>, NftVerdict)>) -> MapElements;
    /// The elements of a set; `None` for ports, of which there are no sets.
    fn set_of(elements: &[Interval<Self>]) -> Option<AddressList>;
}

impl Worded for u16 {
    type Word = Transport;

    fn condition(transport: Transport, intervals: Vec<Interval<u16>>) -> Option<Match> {
        let ports = PortSet::new(intervals)?;
        Some(Match::Port(transport, Side::Destination, ports))
    }

    fn present(transport: Transport) -> Vec<Match> {
        vec![Match::Protocol(transport.protocol().0)]
    }

    fn key(transport: Transport) -> MapKey {
        MapKey::Port(transport)
    }

    fn elements(elements: Vec<(Interval<u16>, NftVerdict)>) -> MapElements {
        MapElements::Ports(elements)
    }

    fn set_of(_: &[Interval<u16>]) -> Option<AddressList> {
        None
    }
}

/// A family of addresses with its words.
pub trait Named: DiagramFamily + Worded<Word = Side> {
    /// In the words of the ruleset.
    const FAMILY: Family;
    fn list(intervals: Arc<[Interval<Self>]>) -> AddressList;
    /// The elements of a map over pairs.
    fn paired(pairs: Vec<Pair<Self>>) -> MapElements;
    /// The protocol's number of its ICMP.
    const ICMP_NUMBER: u8;
}

macro_rules! worded_addresses {
    ($number:ty, $family:ident, $pairs:ident, $icmp:ident) => {
        impl Worded for $number {
            type Word = Side;

            fn condition(side: Side, intervals: Vec<Interval<$number>>) -> Option<Match> {
                let with = AddressMatch::Inline(AddressList::$family(intervals.into()));
                Some(Match::Address {
                    side,
                    with,
                    negated: false,
                })
            }

            fn present(_: Side) -> Vec<Match> {
                Vec::new()
            }

            fn key(side: Side) -> MapKey {
                MapKey::Address(side, Family::$family)
            }

            fn elements(elements: Vec<(Interval<$number>, NftVerdict)>) -> MapElements {
                MapElements::$family(elements)
            }

            fn set_of(elements: &[Interval<$number>]) -> Option<AddressList> {
                Some(AddressList::$family(elements.into()))
            }
        }

        impl Named for $number {
            const FAMILY: Family = Family::$family;
            const ICMP_NUMBER: u8 = Protocol::$icmp.0;

            fn list(intervals: Arc<[Interval<Self>]>) -> AddressList {
                AddressList::$family(intervals)
            }

            fn paired(pairs: Vec<Pair<Self>>) -> MapElements {
                MapElements::$pairs(pairs)
            }
        }
    };
}
worded_addresses!(u32, V4, PairsV4, ICMP);
worded_addresses!(u128, V6, PairsV6, ICMPV6);
