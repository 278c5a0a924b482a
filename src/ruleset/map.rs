//! Verdict maps: what a packet's address, its port, or both of them lead to.
//!
//! ```text
//! map in_0_v4_m1 { type inet_service : verdict; flags interval; elements = { 80 : goto in_0_r3, 8000-8100 : goto in_0_v4_2 } }
//! map in_0_v4_m2 { type ipv4_addr . inet_service : verdict; counter;
//!                  elements = { 10.7.0.0 . 80 comment "sg-web/in/7" : goto passed_in_0 } }
//! ```
//!
//! In a map of one field an element leads to a chain, and a rule there decides and counts. In a map of pairs the
//! element itself does: to the kernel a counter in an element costs a tenth of a chain with a rule.

use super::key::MapKey;
use crate::policy::{Interval, Reason};
use serde::{Deserialize, Serialize};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// nft's verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NftVerdict {
    /// The packet has passed our hook.
    Accept,
    /// The packet is gone.
    Drop,
    /// Go on in another chain, and come back if it does not decide.
    Jump(Arc<str>),
    /// Go on in another chain, and do not come back.
    Goto(Arc<str>),
    /// Ask a verdict map, `ip saddr vmap @g7_…`; if it has nothing, the next rule.
    Map(MapKey, Arc<str>),
    /// Back to where the jump was.
    Return,
    /// Allowed: this chain marks the flow, and accepts. `goto g7_passed_in_0`
    Pass(Arc<str>),
    /// The packet would be refused, and passes as an allowed one: `goto g7_passed_in_0`, without a chain `accept`.
    Observe(Option<Arc<str>>),
}

/// A verdict map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Map {
    /// Its name within the generation.
    pub name: Arc<str>,
    /// What it is asked with.
    pub key: MapKey,
    /// Its elements, sorted and apart.
    pub elements: MapElements,
}

/// The elements of a verdict map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapElements {
    /// Ports.
    Ports(Vec<(Interval<u16>, NftVerdict)>),
    /// IPv4 addresses.
    V4(Vec<(Interval<u32>, NftVerdict)>),
    /// IPv6 addresses.
    V6(Vec<(Interval<u128>, NftVerdict)>),
    /// IPv4 networks and ports.
    PairsV4(Vec<Pair<u32>>),
    /// IPv6 networks and ports.
    PairsV6(Vec<Pair<u128>>),
}

/// An element of a map over networks and ports. It decides, and counts what it decides about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pair<T> {
    /// The port; maps are sorted by it, and then by the network.
    pub port: u16,
    /// The network's first address; how long its prefix is says the map's key.
    pub network: T,
    /// What happens.
    pub verdict: NftVerdict,
    /// What it decides for; nothing where the chain says so to which it leads.
    pub reason: Option<Reason>,
}

/// What all elements of verdict maps and sets have.
pub trait Element: Clone {
    /// Where it stands in its map.
    type Place: Copy + Ord + Hash;
    /// Where it stands in its map.
    fn place(&self) -> Self::Place;
    /// What happens.
    fn verdict(&self) -> &NftVerdict;
    /// What it decides for itself.
    fn reason(&self) -> Option<&Reason>;
}

impl<T: Copy + Ord + Hash> Element for (Interval<T>, NftVerdict) {
    type Place = Interval<T>;

    fn place(&self) -> Interval<T> {
        self.0
    }

    fn verdict(&self) -> &NftVerdict {
        &self.1
    }

    fn reason(&self) -> Option<&Reason> {
        None
    }
}

/// An element of a set, which leads nowhere.
impl<T: Copy + Ord + Hash> Element for Interval<T> {
    type Place = Self;

    fn place(&self) -> Self {
        *self
    }

    fn verdict(&self) -> &NftVerdict {
        &NftVerdict::Return
    }

    fn reason(&self) -> Option<&Reason> {
        None
    }
}

impl<T: Copy + Ord + Hash> Element for Pair<T> {
    type Place = (u16, T);

    fn place(&self) -> (u16, T) {
        (self.port, self.network)
    }

    fn verdict(&self) -> &NftVerdict {
        &self.verdict
    }

    fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }
}

impl MapKey {
    /// What the comment of an element says: the name of a count.
    pub fn named<T>(self, pair: &Pair<T>) -> Option<&Reason> {
        pair.reason.as_ref().filter(|_| self.counts())
    }
}

impl MapElements {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            MapElements::Ports(elements) => elements.len(),
            MapElements::V4(elements) => elements.len(),
            MapElements::V6(elements) => elements.len(),
            MapElements::PairsV4(elements) => elements.len(),
            MapElements::PairsV6(elements) => elements.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each is a single point, so that a hash serves instead of a tree.
    pub fn are_points(&self) -> bool {
        match self {
            MapElements::Ports(elements) => elements.iter().all(|(i, _)| i.first == i.last),
            MapElements::V4(elements) => elements.iter().all(|(i, _)| i.first == i.last),
            MapElements::V6(elements) => elements.iter().all(|(i, _)| i.first == i.last),
            MapElements::PairsV4(_) | MapElements::PairsV6(_) => true,
        }
    }

    /// The verdicts of all elements.
    pub fn verdicts(&self) -> Box<dyn Iterator<Item = &NftVerdict> + '_> {
        match self {
            MapElements::Ports(elements) => Box::new(elements.iter().map(|(_, to)| to)),
            MapElements::V4(elements) => Box::new(elements.iter().map(|(_, to)| to)),
            MapElements::V6(elements) => Box::new(elements.iter().map(|(_, to)| to)),
            MapElements::PairsV4(elements) => Box::new(elements.iter().map(|pair| &pair.verdict)),
            MapElements::PairsV6(elements) => Box::new(elements.iter().map(|pair| &pair.verdict)),
        }
    }
}

/// An address as a number, of which a prefix is a network.
pub trait Prefixed: Copy + Ord {
    /// The mask of a prefix of so many bits: `255.255.255.0` for 24.
    fn mask(bits: u8) -> Self;
    /// The first address of the network of this prefix around it.
    fn under(self, bits: u8) -> Self;
    /// The addresses of the network that begins here.
    fn network(self, bits: u8) -> Interval<Self>;
    /// As an address.
    fn address(self) -> IpAddr;
}

macro_rules! prefixed {
    ($($number:ty => $address:ident),*) => { $(
        impl Prefixed for $number {
            fn mask(bits: u8) -> Self {
                let host = <$number>::BITS.saturating_sub(u32::from(bits));
                <$number>::MAX.checked_shl(host).unwrap_or(0)
            }

            fn under(self, bits: u8) -> Self {
                self & Self::mask(bits)
            }

            fn network(self, bits: u8) -> Interval<Self> {
                Interval { first: self, last: self | !Self::mask(bits) }
            }

            fn address(self) -> IpAddr {
                $address::from(self).into()
            }
        }
    )* };
}
prefixed!(u32 => Ipv4Addr, u128 => Ipv6Addr);

#[cfg(test)]
mod tests {
    use super::Prefixed;

    #[test]
    fn masks() {
        assert_eq!(u32::mask(24), 0xffff_ff00);
        assert_eq!((u32::mask(0), u32::mask(32)), (0, u32::MAX));
        assert_eq!((u128::mask(0), u128::mask(128)), (0, u128::MAX));
        assert_eq!(0x0a01_0203_u32.under(16), 0x0a01_0000);
        let network = 0x0a01_0000_u32.network(16);
        assert_eq!((network.first, network.last), (0x0a01_0000, 0x0a01_ffff));
    }
}
