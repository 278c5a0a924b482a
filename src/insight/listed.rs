//! What is asked about a flow, as one ordered list for a direction: the platform's blocks, the approved services, and the rules of
//! the bound groups. And the rows of that list: ports about which the same entries have a say.

use super::space::{Line, Space, TooLarge, Work, outside};
use crate::policy::interval::merged;
use crate::policy::{
    Action, AddressSet, Direction, Interval, Platform, PortSet, Protocol, Reason, Rule,
    SecurityGroup, Service,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// One entry of the list: what it matches is all of its services with all of its remotes.
#[derive(Debug, Clone)]
pub struct Entry<'p> {
    /// What decides where it matches.
    pub reason: Reason,
    /// Whether it lets pass.
    pub allows: bool,
    /// What it matches beside the remote.
    pub services: Vec<Service>,
    /// `None` matches nothing.
    pub remote: Option<AddressSet>,
    /// The rule, and the place of its group among those that are bound.
    pub rule: Option<(usize, &'p Rule)>,
}

/// A kind of flow: those of one kind differ in port and address only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of IPv4, ICMPv6 of IPv6.
    Icmp,
    /// GRE.
    Gre,
    /// Every other protocol: only what is about all protocols has a say.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [Kind::Tcp, Kind::Udp, Kind::Icmp, Kind::Gre, Kind::Other];

    /// One of its protocols.
    pub fn protocol(self, v4: bool) -> Protocol {
        match self {
            Kind::Tcp => Protocol::TCP,
            Kind::Udp => Protocol::UDP,
            Kind::Icmp if v4 => Protocol::ICMP,
            Kind::Icmp => Protocol::ICMPV6,
            Kind::Gre => Protocol::GRE,
            Kind::Other => Protocol(253),
        }
    }

    /// Whether its flows have ports.
    pub fn has_ports(self) -> bool {
        matches!(self, Kind::Tcp | Kind::Udp)
    }

    /// The ports of this kind that a service is about; all of them where there are none.
    pub fn ports(self, service: &Service, v4: bool) -> Vec<Interval<u16>> {
        let all = || PortSet::all().intervals().to_vec();
        match (self, service) {
            (_, Service::All) | (Kind::Gre, Service::Gre) => all(),
            (Kind::Tcp, Service::Tcp(ports)) | (Kind::Udp, Service::Udp(ports)) => {
                ports.intervals().to_vec()
            }
            (Kind::Icmp, Service::Icmp) if v4 => all(),
            (Kind::Icmp, Service::Icmpv6) if !v4 => all(),
            _ => Vec::new(),
        }
    }

    /// The same of several services.
    pub fn ports_of(self, services: &[Service], v4: bool) -> Vec<Interval<u16>> {
        let each = services.iter().flat_map(|service| self.ports(service, v4));
        merged(each.collect())
    }
}

/// The list that a binding of these groups is asked in one direction.
pub fn entries<'p>(
    platform: &Platform,
    groups: &'p [Arc<SecurityGroup>],
    smtp_blocked: bool,
    direction: Direction,
) -> Vec<Entry<'p>> {
    let mut entries = Vec::new();
    let mut own = |reason, allows, services: Vec<Service>, remote| {
        if !services.is_empty() {
            entries.push(Entry {
                reason,
                allows,
                services,
                remote,
                rule: None,
            });
        }
    };
    let blocked = &platform.blocked_ports;
    let external = || outside(platform.internal.as_ref());
    if blocked.blocks(direction) {
        let tcp = blocked.tcp.clone().map(Service::Tcp);
        let udp = blocked.udp.clone().map(Service::Udp);
        let peers = match blocked.external_only {
            true => external(),
            false => Some(AddressSet::any()),
        };
        let services = tcp.into_iter().chain(udp).collect();
        own(Reason::BlockedPorts, false, services, peers);
    }
    if smtp_blocked && direction == Direction::Outbound {
        let mail = Service::Tcp(PortSet::single(25));
        own(Reason::Smtp, false, vec![mail], external());
    }
    for approved in &platform.approved_services {
        if approved.direction == direction {
            let reason = Reason::ApprovedService(approved.name.clone());
            let remote = Some(approved.remote.clone());
            own(reason, true, approved.services.clone(), remote);
        }
    }
    for (place, group) in groups.iter().enumerate() {
        entries.extend(group.rules(direction).iter().map(|rule| Entry {
            reason: Reason::Rule(rule.id.clone()),
            allows: rule.action == Action::Allow,
            services: rule.services.clone(),
            remote: rule.remote.clone(),
            rule: Some((place, rule)),
        }));
    }
    entries
}

/// Ports, and the entries that have a say about them, in order.
#[derive(Debug)]
pub struct Row {
    /// The ports, sorted and apart.
    pub ports: Vec<Interval<u16>>,
    /// Indexes into the list.
    pub entries: Vec<u32>,
}

/// So many entries of rows are kept at most.
const MOST_IN_ROWS: usize = 8_000_000;

/// All ports in rows: every port is in one, and ports with the same entries are in the same. Entries that match no address of
/// the family are left out.
pub fn rows<T: Line>(
    entries: &[Entry],
    space: &Space<T>,
    kind: Kind,
    work: &mut Work,
) -> Result<Vec<Row>, TooLarge> {
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
    let (mut rows, mut kept): (Vec<Row>, usize) = (Vec::new(), 0);
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
                rows.push(Row {
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
