//! Addresses, CIDRs and ranges as a definition writes them, and sets of them.

use super::interval::{Interval, Point, contains, merged, without};
use super::number::{NumberError, decimal};
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use thiserror::Error;

/// A run of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressRange {
    /// IPv4, as numbers.
    V4(Interval<u32>),
    /// IPv6, as numbers.
    V6(Interval<u128>),
}

/// Why a text is no address, CIDR or range.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// No address at all.
    #[error("`{0}` is not an address, a CIDR or a range `a-b`")]
    NotAnAddress(String),
    /// A number that begins with 0: some programs read it as octal.
    #[error("`{written}` has a number with a zero before it, which some programs read as octal")]
    LeadingZero {
        /// As written.
        written: String,
        /// The same without.
        meant: String,
    },
    /// A prefix length that the family does not have.
    #[error("`/{0}` is not a prefix length: IPv4 has /0 to /32, IPv6 /0 to /128")]
    Prefix(String),
    /// A network whose host bits are not zero.
    #[error("`{written}` has host bits set: the network is `{meant}`")]
    HostBits {
        /// As written.
        written: String,
        /// The network meant.
        meant: String,
    },
    /// A range whose end lies before its start.
    #[error("the range `{0}` is reversed")]
    Reversed(String),
    /// A range from one family to the other.
    #[error("the range `{0}` mixes IPv4 and IPv6")]
    MixedFamily(String),
    /// An IPv4 address in IPv6 clothes: no packet on the wire carries it.
    #[error("`{0}` is an IPv4-mapped address")]
    Mapped(String),
    /// An address with a zone.
    #[error("`{0}` has a zone")]
    Zone(String),
}

impl AddressError {
    /// The same about the whole text that an address is a part of.
    fn of(self, text: &str) -> Self {
        match self {
            AddressError::NotAnAddress(_) => AddressError::NotAnAddress(text.into()),
            AddressError::Mapped(_) => AddressError::Mapped(text.into()),
            AddressError::Zone(_) => AddressError::Zone(text.into()),
            AddressError::LeadingZero { written, meant } => AddressError::LeadingZero {
                meant: text.replacen(&written, &meant, 1),
                written: text.into(),
            },
            other => other,
        }
    }

    /// The way out.
    pub fn help(&self) -> String {
        match self {
            AddressError::NotAnAddress(_) => {
                "write 192.0.2.7, 192.0.2.0/24, 192.0.2.10-192.0.2.40 or 2001:db8::/32".into()
            }
            AddressError::LeadingZero { meant, .. } => format!("write `{meant}`"),
            AddressError::Prefix(prefix) => match prefix.parse().ok().and_then(mask_length) {
                Some(length) => format!("write the mask as its length: /{length}"),
                None => "correct the number after the slash".into(),
            },
            AddressError::HostBits { written, meant } => format!(
                "write `{meant}`, or `{}` for the single address",
                written.split('/').next().unwrap_or(written)
            ),
            AddressError::Reversed(_) => "write the lower address first".into(),
            AddressError::MixedFamily(_) => "write a range for each family".into(),
            AddressError::Mapped(text) => {
                match text.parse::<Ipv6Addr>().map(|a| a.to_ipv4_mapped()) {
                    Ok(Some(address)) => format!("write the IPv4 address itself: `{address}`"),
                    _ => "write the IPv4 address itself".into(),
                }
            }
            AddressError::Zone(_) => {
                "leave out the part from `%` on: the interface is the one the group is bound to"
                    .into()
            }
        }
    }
}

/// An IPv4 address without the zeros before its numbers, if it has any and would be one then.
fn without_zeros(text: &str) -> Option<String> {
    let octet = |part: &str| match decimal::<u8>(part) {
        Ok(number) | Err(NumberError::LeadingZero(number)) => Some(number.to_string()),
        Err(NumberError::None) => None,
    };
    let octets: Vec<String> = text.split('.').map(octet).collect::<Option<_>>()?;
    let meant = octets.join(".");
    (meant != text && meant.parse::<Ipv4Addr>().is_ok()).then_some(meant)
}

/// The prefix length of a netmask such as 255.255.255.0.
fn mask_length(mask: Ipv4Addr) -> Option<u32> {
    let bits = u32::from(mask);
    (bits.leading_ones() == bits.count_ones()).then(|| bits.count_ones())
}

const MAPPED: Interval<u128> = Interval::between(0xffff_0000_0000, 0xffff_ffff_ffff);

impl AddressRange {
    /// One address.
    pub fn single(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => AddressRange::V4(Interval::point(a.into())),
            IpAddr::V6(a) => AddressRange::V6(Interval::point(a.into())),
        }
    }

    /// A single address: no CIDR and no range.
    pub fn parse_address(text: &str) -> Result<IpAddr, AddressError> {
        if text.contains('%') {
            return Err(AddressError::Zone(text.into()));
        }
        let address: IpAddr = text.parse().map_err(|_| match without_zeros(text) {
            Some(meant) => AddressError::LeadingZero {
                written: text.into(),
                meant,
            },
            None => AddressError::NotAnAddress(text.into()),
        })?;
        match address {
            IpAddr::V6(a) if MAPPED.contains(a.into()) => Err(AddressError::Mapped(text.into())),
            address => Ok(address),
        }
    }

    /// An address, a CIDR or an `a-b` range.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some((first, last)) = text.split_once('-') {
            let first = Self::parse_address(first.trim()).map_err(|e| e.of(text))?;
            let last = Self::parse_address(last.trim()).map_err(|e| e.of(text))?;
            return match (first, last) {
                (IpAddr::V4(a), IpAddr::V4(b)) => {
                    Interval::new(a.into(), b.into()).map(AddressRange::V4)
                }
                (IpAddr::V6(a), IpAddr::V6(b)) => {
                    Interval::new(a.into(), b.into()).map(AddressRange::V6)
                }
                _ => return Err(AddressError::MixedFamily(text.into())),
            }
            .ok_or_else(|| AddressError::Reversed(text.into()));
        }
        let Some((address, prefix)) = text.split_once('/') else {
            return Self::parse_address(text).map(Self::single);
        };
        let address = Self::parse_address(address).map_err(|e| e.of(text))?;
        let not_a_prefix = || AddressError::Prefix(prefix.into());
        let length: u8 = decimal(prefix).map_err(|error| match error {
            NumberError::LeadingZero(length) => AddressError::LeadingZero {
                written: text.into(),
                meant: format!("{address}/{length}"),
            },
            NumberError::None => not_a_prefix(),
        })?;
        let net = IpNet::new(address, length).map_err(|_| not_a_prefix())?;
        if net.network() != address {
            return Err(AddressError::HostBits {
                written: text.into(),
                meant: net.trunc().to_string(),
            });
        }
        Ok(match net {
            IpNet::V4(net) => AddressRange::V4(Interval::between(
                net.network().into(),
                net.broadcast().into(),
            )),
            IpNet::V6(net) => AddressRange::V6(Interval::between(
                net.network().into(),
                net.broadcast().into(),
            )),
        })
    }

    /// Whether it holds IPv4 addresses.
    pub fn is_v4(&self) -> bool {
        matches!(self, AddressRange::V4(_))
    }

    /// The prefix length, if it is one network.
    pub fn prefix_length(&self) -> Option<u8> {
        let (first, last, bits) = match self {
            AddressRange::V4(i) => (u128::from(i.first), u128::from(i.last), 32),
            AddressRange::V6(i) => (i.first, i.last, 128),
        };
        let host = first ^ last;
        // A network: the bits that differ are the lowest ones, all zero at first and all one at last.
        let is_network = host & host.wrapping_add(1) == 0 && first & host == 0;
        let host_bits = if host == u128::MAX {
            128
        } else {
            host.count_ones()
        };
        is_network.then_some((bits - host_bits) as u8)
    }
}

/// Addresses of both families: sorted, merged, never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressSet {
    v4: Arc<[Interval<u32>]>,
    v6: Arc<[Interval<u128>]>,
}

impl AddressSet {
    /// The union of ranges; `None` if there are none.
    pub fn new(ranges: impl IntoIterator<Item = AddressRange>) -> Option<Self> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match range {
                AddressRange::V4(interval) => v4.push(interval),
                AddressRange::V6(interval) => v6.push(interval),
            }
        }
        Self::of(v4, v6)
    }

    /// The union of intervals of both families; `None` if there are none.
    pub fn of(v4: Vec<Interval<u32>>, v6: Vec<Interval<u128>>) -> Option<Self> {
        let empty = v4.is_empty() && v6.is_empty();
        (!empty).then(|| AddressSet {
            v4: merged(v4).into(),
            v6: merged(v6).into(),
        })
    }

    /// Every address of both families.
    pub fn any() -> Self {
        AddressSet {
            v4: [u32::WHOLE].into(),
            v6: [u128::WHOLE].into(),
        }
    }

    /// All other addresses; `None` if there are none.
    pub fn complement(&self) -> Option<Self> {
        let v4 = without(&[u32::WHOLE], &self.v4);
        Self::of(v4, without(&[u128::WHOLE], &self.v6))
    }

    /// What does not lie in a set; all addresses without one.
    pub fn outside(set: Option<&Self>) -> Option<Self> {
        match set {
            Some(set) => set.complement(),
            None => Some(Self::any()),
        }
    }

    /// Whether it holds the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => contains(&self.v4, a.into()),
            IpAddr::V6(a) => contains(&self.v6, a.into()),
        }
    }

    /// The IPv4 part.
    pub fn v4(&self) -> &[Interval<u32>] {
        &self.v4
    }

    /// The IPv6 part.
    pub fn v6(&self) -> &[Interval<u128>] {
        &self.v6
    }

    /// All ranges, IPv4 first.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> {
        let v4 = self.v4.iter().map(|interval| AddressRange::V4(*interval));
        v4.chain(self.v6.iter().map(|interval| AddressRange::V6(*interval)))
    }
}

/// An address of one family, as a number.
pub trait AddressNumber: Point {
    /// Whether it is IPv4.
    const V4: bool;
    /// The part of this family in a set, shared and not copied.
    fn in_set(set: &AddressSet) -> Arc<[Interval<Self>]>;
    /// A run of them.
    fn range(interval: Interval<Self>) -> AddressRange;
}

macro_rules! line {
    ($number:ty, $is_v4:literal, $range:ident, $part:ident) => {
        impl AddressNumber for $number {
            const V4: bool = $is_v4;
            fn in_set(set: &AddressSet) -> Arc<[Interval<Self>]> {
                set.$part.clone()
            }
            fn range(interval: Interval<Self>) -> AddressRange {
                AddressRange::$range(interval)
            }
        }
    };
}
line!(u32, true, V4, v4);
line!(u128, false, V6, v6);

/// As a definition writes it: an address, a CIDR, or a range.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last, bits): (IpAddr, IpAddr, u8) = match self {
            AddressRange::V4(i) => (
                Ipv4Addr::from(i.first).into(),
                Ipv4Addr::from(i.last).into(),
                32,
            ),
            AddressRange::V6(i) => (
                Ipv6Addr::from(i.first).into(),
                Ipv6Addr::from(i.last).into(),
                128,
            ),
        };
        match self.prefix_length() {
            Some(length) if length == bits => write!(f, "{first}"),
            Some(length) => write!(f, "{first}/{length}"),
            None => write!(f, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_definition_may_write() {
        for text in [
            "203.0.113.0/24",
            "198.51.100.7",
            "192.0.2.10-192.0.2.40",
            "2001:db8:1::/48",
            "0.0.0.0/0",
            "::/0",
            "0.0.0.0/8",
            "2001:db8::1-2001:db8::ff",
            "::1",
        ] {
            let range = AddressRange::parse(text).expect(text);
            let back = AddressRange::parse(&range.to_string()).expect("reads its own output");
            assert_eq!(range, back);
            if text != "2001:db8::1-2001:db8::ff" {
                assert_eq!(range.to_string(), text);
            }
        }
        assert_eq!(
            AddressRange::parse("0.0.0.0/8").map(|r| r.to_string()),
            Ok("0.0.0.0/8".into()),
            "not the whole world, as in the cloud"
        );
    }

    /// The folders of `tests/reject/` have the others, each with its message.
    #[test]
    fn refuses_what_nobody_means() {
        for text in ["10.0.0.0/+8", "10.0.0.0/", "10.0.0.9-::1", "10.0.0", ""] {
            assert!(AddressRange::parse(text).is_err(), "{text}");
        }
    }
}
