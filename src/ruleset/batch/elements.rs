//! Elements of sets and maps, as commands tell them.

use super::names::Name;
use crate::policy::Interval;
use crate::ruleset::ir::{Addresses, Map, MapElements, MapKey, NftVerdict, Pair, Set};

/// The set or map that elements are of.
#[derive(Debug, Clone)]
pub struct ElementsOf {
    /// Its name in the kernel.
    pub name: Name,
    /// Whether it holds intervals: its elements are said by their beginning and their end.
    pub intervals: bool,
}

/// Some elements of a set or a map.
#[derive(Debug, Clone, Copy)]
pub enum Elements<'r> {
    /// Of a set, IPv4.
    V4(&'r [Interval<u32>]),
    /// Of a set, IPv6.
    V6(&'r [Interval<u128>]),
    /// Of a map, ports.
    PortMap(&'r [(Interval<u16>, NftVerdict)]),
    /// Of a map, IPv4.
    V4Map(&'r [(Interval<u32>, NftVerdict)]),
    /// Of a map, IPv6.
    V6Map(&'r [(Interval<u128>, NftVerdict)]),
    /// Of a map, IPv4 networks and ports.
    V4Pairs(MapKey, &'r [Pair<u32>]),
    /// Of a map, IPv6 networks and ports.
    V6Pairs(MapKey, &'r [Pair<u128>]),
}

impl<'r> Elements<'r> {
    /// All elements of a set.
    pub fn of_set(set: &'r Set) -> Self {
        Self::from(&set.elements)
    }

    /// All elements of a map.
    pub fn of_map(map: &'r Map) -> Self {
        Self::keyed(map.key, &map.elements)
    }

    /// Elements of a map with this key.
    pub fn keyed(key: MapKey, elements: &'r MapElements) -> Self {
        match elements {
            MapElements::Ports(elements) => Elements::PortMap(elements),
            MapElements::V4(elements) => Elements::V4Map(elements),
            MapElements::V6(elements) => Elements::V6Map(elements),
            MapElements::PairsV4(elements) => Elements::V4Pairs(key, elements),
            MapElements::PairsV6(elements) => Elements::V6Pairs(key, elements),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Elements::V4(elements) => elements.len(),
            Elements::V6(elements) => elements.len(),
            Elements::PortMap(elements) => elements.len(),
            Elements::V4Map(elements) => elements.len(),
            Elements::V6Map(elements) => elements.len(),
            Elements::V4Pairs(_, elements) => elements.len(),
            Elements::V6Pairs(_, elements) => elements.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same in parts of at most `size`.
    pub fn chunks(self, size: usize) -> impl Iterator<Item = Elements<'r>> {
        let starts = (0..self.len()).step_by(size.max(1));
        starts.map(move |start| self.part(start, size.min(self.len() - start)))
    }

    fn part(self, start: usize, count: usize) -> Self {
        let range = start..start + count;
        match self {
            Elements::V4(elements) => Elements::V4(&elements[range]),
            Elements::V6(elements) => Elements::V6(&elements[range]),
            Elements::PortMap(elements) => Elements::PortMap(&elements[range]),
            Elements::V4Map(elements) => Elements::V4Map(&elements[range]),
            Elements::V6Map(elements) => Elements::V6Map(&elements[range]),
            Elements::V4Pairs(key, elements) => Elements::V4Pairs(key, &elements[range]),
            Elements::V6Pairs(key, elements) => Elements::V6Pairs(key, &elements[range]),
        }
    }
}

impl<'r> From<&'r Addresses> for Elements<'r> {
    fn from(addresses: &'r Addresses) -> Self {
        match addresses {
            Addresses::V4(elements) => Elements::V4(elements),
            Addresses::V6(elements) => Elements::V6(elements),
        }
    }
}
