//! What a plan consists of.

use crate::policy::{AddressRange, Interval, Point, Service};
use crate::ruleset::diagram::clause::Clause;
use crate::ruleset::diagram::paint::Function;
use crate::ruleset::diagram::pairs::Table;
use crate::ruleset::diagram::pool::Written;
use crate::ruleset::map::Prefixed;
use std::ops::Range;
use std::sync::Arc;

/// A part of the list and how it is asked.
#[derive(Debug, Clone)]
pub enum Part<T> {
    /// Entry by entry.
    Linear(Range<usize>),
    /// Protocol, port, address.
    ServiceFirst(ServiceFirst<T>),
    /// Address, protocol, port.
    AddressFirst(AddressFirst<T>),
    /// Address and port at once.
    Pairs(Vec<Table<T>>),
}

/// Protocol, then port, then address. Numbers are those of functions over addresses.
#[derive(Debug, Clone)]
pub struct ServiceFirst<T> {
    /// Ports of TCP.
    pub tcp: Function<u16, u32>,
    /// Ports of UDP.
    pub udp: Function<u16, u32>,
    /// The ICMP of the family.
    pub icmp: Option<u32>,
    /// GRE.
    pub gre: Option<u32>,
    /// Every other protocol.
    pub other: Option<u32>,
    /// The functions over addresses.
    pub addresses: Written<T>,
}

/// Address, then protocol, then port.
#[derive(Debug, Clone)]
pub struct AddressFirst<T> {
    /// Addresses; numbers are those of `services`.
    pub addresses: Function<T, u32>,
    /// What is asked at an address.
    pub services: Vec<ServiceNode>,
    /// The functions over TCP ports.
    pub tcp: Written<u16>,
    /// The functions over UDP ports.
    pub udp: Written<u16>,
}

/// Protocol, then port, at one address. `tcp` and `udp` are numbers of functions, the others of clauses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceNode {
    /// Ports of TCP.
    pub tcp: u32,
    /// Ports of UDP.
    pub udp: u32,
    /// The ICMP of the family.
    pub icmp: Option<u32>,
    /// GRE.
    pub gre: Option<u32>,
    /// Every other protocol.
    pub other: Option<u32>,
}

/// A family: which addresses of a clause are meant, and which ICMP.
pub trait Family: Point + Prefixed {
    /// The clause's addresses of this family.
    fn addresses(clause: &Clause) -> &Arc<[Interval<Self>]>;
    /// The length of the prefix that an interval is, if it is one network.
    fn prefix_length(interval: Interval<Self>) -> Option<u8>;
    /// Its ICMP.
    const ICMP: Service;
}

impl Family for u32 {
    fn addresses(clause: &Clause) -> &Arc<[Interval<u32>]> {
        &clause.v4
    }
    fn prefix_length(interval: Interval<u32>) -> Option<u8> {
        AddressRange::V4(interval).prefix_length()
    }
    const ICMP: Service = Service::Icmp;
}

impl Family for u128 {
    fn addresses(clause: &Clause) -> &Arc<[Interval<u128>]> {
        &clause.v6
    }
    fn prefix_length(interval: Interval<u128>) -> Option<u8> {
        AddressRange::V6(interval).prefix_length()
    }
    const ICMP: Service = Service::Icmpv6;
}
