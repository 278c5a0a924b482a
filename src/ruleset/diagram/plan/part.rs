//! What a plan consists of.

use crate::policy::Protocol;
use crate::ruleset::diagram::paint::Function;
use crate::ruleset::diagram::pairs::PairTable;
use crate::ruleset::diagram::pool::WrittenPool;
use std::ops::Range;

/// A number for each of [`Protocol::BARE`].
pub type Bare = [Option<u32>; Protocol::BARE.len()];

/// A part of the list and how it is asked.
#[derive(Debug, Clone)]
pub enum PlanPart<T> {
    /// Entry by entry.
    Linear(Range<usize>),
    /// Protocol, port, address.
    ServiceFirst(ServiceFirst<T>),
    /// Address, protocol, port.
    AddressFirst(AddressFirst<T>),
    /// Address and port at once.
    Pairs(Vec<PairTable<T>>),
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
    /// Those of [`Protocol::BARE`], in its order.
    pub bare: Bare,
    /// Every other protocol.
    pub other: Option<u32>,
    /// The functions over addresses.
    pub addresses: WrittenPool<T>,
}

/// Address, then protocol, then port.
#[derive(Debug, Clone)]
pub struct AddressFirst<T> {
    /// Addresses; numbers are those of `services`.
    pub addresses: Function<T, u32>,
    /// What is asked at an address.
    pub services: Vec<ServiceNode>,
    /// The functions over TCP ports.
    pub tcp: WrittenPool<u16>,
    /// The functions over UDP ports.
    pub udp: WrittenPool<u16>,
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
    /// Those of [`Protocol::BARE`], in its order.
    pub bare: Bare,
    /// Every other protocol.
    pub other: Option<u32>,
}
