//! The rows of the list that is asked about a flow ([`crate::policy::listed`]): ports about which the same entries have
//! a say.

use super::space::{PartSet, Space, TooLarge, Work};
use crate::policy::address::AddressNumber;
use crate::policy::interval::merged;
use crate::policy::listed::ListEntry;
use crate::policy::{Interval, PortSet, Protocol, Service};
use std::collections::{BTreeSet, HashMap};

/// A kind of flow: those of one kind differ in port and address only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowKind {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of IPv4, ICMPv6 of IPv6.
    Icmp,
    /// One of [`Protocol::BARE`].
    Bare(Protocol),
    /// Every other protocol: only what is about all protocols has a say.
    Other,
}

impl FlowKind {
    /// All of them.
    pub const ALL: [FlowKind; 4 + Protocol::BARE.len()] = {
        let mut all = [FlowKind::Other; 4 + Protocol::BARE.len()];
        (all[0], all[1], all[2]) = (FlowKind::Tcp, FlowKind::Udp, FlowKind::Icmp);
        let mut at = 0;
        while at < Protocol::BARE.len() {
            all[3 + at] = FlowKind::Bare(Protocol::BARE[at]);
            at += 1;
        }
        all
    };

    /// One of its protocols.
    pub fn protocol(self, v4: bool) -> Protocol {
        match self {
            FlowKind::Tcp => Protocol::TCP,
            FlowKind::Udp => Protocol::UDP,
            FlowKind::Icmp if v4 => Protocol::ICMP,
            FlowKind::Icmp => Protocol::ICMPV6,
            FlowKind::Bare(protocol) => protocol,
            FlowKind::Other => Protocol::UNNAMED,
        }
    }

    /// Whether its flows have ports.
    pub fn has_ports(self) -> bool {
        matches!(self, FlowKind::Tcp | FlowKind::Udp)
    }

    /// The ports of this kind that a service is about; all of them where there are none.
    pub fn ports(self, service: &Service, v4: bool) -> Vec<Interval<u16>> {
        let all = || PortSet::all().intervals().to_vec();
        match (self, service) {
            (_, Service::All) => all(),
            (FlowKind::Bare(kind), Service::Bare(protocol)) if kind == *protocol => all(),
            (FlowKind::Tcp, Service::Tcp(ports)) | (FlowKind::Udp, Service::Udp(ports)) => {
                ports.intervals().to_vec()
            }
            (FlowKind::Icmp, Service::Icmp) if v4 => all(),
            (FlowKind::Icmp, Service::Icmpv6) if !v4 => all(),
            _ => Vec::new(),
        }
    }

    /// The same of several services.
    pub fn ports_of(self, services: &[Service], v4: bool) -> Vec<Interval<u16>> {
        let each = services.iter().flat_map(|service| self.ports(service, v4));
        merged(each.collect())
    }
}

/// A list of entries with its addresses as bits of one family.
pub struct ListTable<'l, 'p, T> {
    /// The list.
    pub entries: &'l [ListEntry<'p>],
    /// The addresses.
    pub space: Space<T>,
}

impl<'l, 'p, T: AddressNumber> ListTable<'l, 'p, T> {
    /// Cuts the addresses by the list.
    pub fn new(entries: &'l [ListEntry<'p>], work: &mut Work) -> Result<Self, TooLarge> {
        let sets = entries.iter().filter_map(|entry| entry.remote.as_deref());
        let space = Space::new(sets, work)?;
        Ok(ListTable { entries, space })
    }

    /// The remotes of each entry, as bits.
    pub fn bits(&self) -> Vec<Option<&PartSet>> {
        let remotes = self.entries.iter().map(|entry| entry.remote.as_deref());
        remotes
            .map(|remote| remote.and_then(|set| self.space.bits(set)))
            .collect()
    }
}

/// Ports, and the entries that have a say about them, in order.
#[derive(Debug)]
pub struct PortRow {
    /// The ports, sorted and apart.
    pub ports: Vec<Interval<u16>>,
    /// Indexes into the list.
    pub entries: Vec<u32>,
}

/// So many entries of rows are kept at most.
const MOST_IN_ROWS: usize = 8_000_000;

/// All ports in rows: every port is in one, and ports with the same entries are in the same. Entries that match no
/// address of the family are left out.
pub fn rows<T: AddressNumber>(
    entries: &[ListEntry],
    space: &Space<T>,
    kind: FlowKind,
    work: &mut Work,
) -> Result<Vec<PortRow>, TooLarge> {
    // Where an entry begins (or ends, after the port before).
    let mut begins: HashMap<u16, Vec<u32>> = HashMap::new();
    let mut ends: HashMap<u16, Vec<u32>> = HashMap::new();
    let mut cuts = BTreeSet::from([0]);
    for (index, entry) in entries.iter().enumerate() {
        let some = entry.remote.as_ref().and_then(|set| space.bits(set));
        if some.is_none_or(|bits| bits.is_empty()) {
            continue;
        }
        for ports in kind.ports_of(&entry.services, T::V4) {
            cuts.insert(ports.first);
            begins.entry(ports.first).or_default().push(index as u32);
            if let Some(after) = ports.last.checked_add(1) {
                cuts.insert(after);
                ends.entry(after).or_default().push(index as u32);
            }
        }
    }
    let mut active: BTreeSet<u32> = BTreeSet::new();
    let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
    let (mut rows, mut kept): (Vec<PortRow>, usize) = (Vec::new(), 0);
    let cuts: Vec<u16> = cuts.into_iter().collect();
    for (at, first) in cuts.iter().enumerate() {
        for index in ends.get(first).into_iter().flatten() {
            active.remove(index);
        }
        active.extend(begins.get(first).into_iter().flatten());
        let last = cuts.get(at + 1).map_or(u16::MAX, |next| next - 1);
        let ports = Interval::between(*first, last);
        let entries: Vec<u32> = active.iter().copied().collect();
        work.spend(2 * entries.len() + 1)?;
        match known.get(&entries) {
            Some(row) => rows[*row].ports.push(ports),
            None => {
                kept += entries.len();
                if kept > MOST_IN_ROWS {
                    return Err(TooLarge);
                }
                known.insert(entries.clone(), rows.len());
                rows.push(PortRow {
                    ports: vec![ports],
                    entries,
                });
            }
        }
    }
    for row in &mut rows {
        row.ports = merged(std::mem::take(&mut row.ports));
    }
    Ok(rows)
}
