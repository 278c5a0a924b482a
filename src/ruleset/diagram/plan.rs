//! Chooses, for each family, between two orders of asking, by the number of pieces, and cuts the list where
//! neither is small enough.
//!
//! - **Service first**: protocol, then destination port, then remote address. Good where ports tell rules apart.
//! - **Address first**: remote address, then protocol, then port. Good where addresses do, and where a long list
//!   of addresses is used by many rules: it is stored once.
//!
//! The likelier order is tried first, and in long lists the other only where the first takes more than twice the
//! input. Either can need n²/4 pieces for n rules. If both need more than [`PIECES_FOR_INPUT`] times the size of the
//! list, the list is cut in two, and what the first half does not match goes on to the second. Parts of [`LINEAR`]
//! entries that still do not fit, and any of half as many, are written as plain rules.
//!
//! A long run of entries that each have a network and a port of their own has nothing that a diagram could share: it is
//! asked as pairs of both ([`super::pairs`]), between what stands before and after it.
//!
//! Bounds, for n rules with m elements (addresses, ports and entries, each shared list once for each part that uses
//! it):
//!
//! | | usual lists: one part | at worst |
//! |---|---|---|
//! | map elements | `PIECES_FOR_INPUT` × m + 64, mostly 1 to 3 × m | the same for each part |
//! | lookups of a new flow | 4: protocol, ports, addresses, the base of a difference; 4 more for pairs, one for each length of prefix | 4 for each part, or one plain rule after the other |
//! | parts | 1 | 2 n / `LINEAR` |
//!
//! A long map of mixed elements is two, points and intervals, which is one lookup more for each such map. Many points
//! of one target are a set instead, up to three in a list, which can be changed at no other cost. A list of more than
//! one part is in [`crate::ruleset::Ruleset::cuts`], which the daemon logs and `compile` prints.
//!
//! Sources: interval decision diagrams for packet filters (Christiansen and Fleury, "An interval decision diagram
//! based firewall", 2004; Gouda and Liu, "Structured firewall design", 2007) for first match as a diagram with
//! shared nodes; cutting into blocks and writing likes as differences are this project's.

mod part;

pub use self::part::{AddressFirst, Bare, PlanPart, ServiceFirst, ServiceNode};
use super::classes::classes;
use super::clause::Clause;
use super::family::DiagramFamily;
use super::paint::{Function, paint};
use super::pairs::{PairRun, worth_it};
use super::pool::Pool;
use crate::policy::interval::{Point, merged};
use crate::policy::{Interval, Protocol, Service};
use crate::ruleset::key::Transport;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;

/// Pieces that a part may need for each element of its input.
pub const PIECES_FOR_INPUT: usize = 8;
/// Parts of so few entries are written as plain rules.
pub const LINEAR: usize = 8;
/// So many points in a map have a map of their own, and a list of so many addresses is always a map.
pub const MANY_POINTS: usize = 512;

/// The parts of a list, in order, each with its entries.
pub type Parts<T> = Vec<(PlanPart<T>, Range<usize>)>;

/// How a list is asked in each family. To choose it takes longer than to write it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In IPv4.
    pub v4: Parts<u32>,
    /// In IPv6.
    pub v6: Parts<u128>,
}

/// What of a list is better asked as pairs, whatever its entries decide.
#[derive(Debug)]
pub struct Runs {
    v4: Option<PairRun<u32>>,
    v6: Option<PairRun<u128>>,
}

impl Runs {
    /// Looks for them.
    pub fn new(clauses: &[Clause]) -> Self {
        Runs {
            v4: worth_it(clauses),
            v6: worth_it(clauses),
        }
    }
}

/// Plans a list. `values` has a number for each entry. Entries of equal numbers decide the same.
pub fn plan(clauses: &[Clause], values: &[u32], runs: &Runs) -> Plan {
    Plan {
        v4: parts(clauses, values, &runs.v4),
        v6: parts(clauses, values, &runs.v6),
    }
}

fn parts<T: DiagramFamily>(
    clauses: &[Clause],
    values: &[u32],
    run: &Option<PairRun<T>>,
) -> Parts<T> {
    let mut parts = Vec::new();
    match run {
        None => cut(clauses, values, 0..clauses.len(), &mut parts),
        Some((run, tables)) => {
            cut(clauses, values, 0..run.start, &mut parts);
            parts.push((PlanPart::Pairs(tables.clone()), run.clone()));
            cut(clauses, values, run.end..clauses.len(), &mut parts);
        }
    }
    parts
}

fn cut<T: DiagramFamily>(
    clauses: &[Clause],
    values: &[u32],
    range: Range<usize>,
    parts: &mut Parts<T>,
) {
    let used = |at: &usize| is_used::<T>(&clauses[*at]);
    // Entries of the other family alone are no entries here.
    let Some(start) = range.clone().find(used) else {
        return;
    };
    let list = PlannedList {
        clauses,
        values,
        range: start..range.end,
    };
    // A long list belongs into a map: rules can only ask a named set, which cannot be changed while it is in use.
    let is_long = |number| T::addresses(list.clause(number)).len() >= MANY_POINTS;
    if range.len() <= LINEAR / 2 && !list.numbers::<T>().any(is_long) {
        return parts.push((PlanPart::Linear(list.range.clone()), list.range));
    }
    match list.diagram::<T>() {
        Some(part) => parts.push((part, list.range)),
        None if list.range.len() <= LINEAR => {
            parts.push((PlanPart::Linear(list.range.clone()), list.range));
        }
        None => {
            let middle = list.range.start + list.range.len() / 2;
            cut(clauses, values, list.range.start..middle, parts);
            cut(clauses, values, middle..list.range.end, parts);
        }
    }
}

fn is_used<T: DiagramFamily>(clause: &Clause) -> bool {
    !T::addresses(clause).is_empty()
}

struct PlannedList<'c> {
    clauses: &'c [Clause],
    values: &'c [u32],
    range: Range<usize>,
}

/// How large the input is.
struct ListSize {
    /// Each list of addresses once, ports, and entries.
    elements: usize,
    /// Elements of lists of addresses that were counted already.
    repeated: usize,
}

/// Above so many elements the second order is not tried where the first takes at most twice the input: trying it
/// would take as long as all the rest.
const LARGE: usize = 500;

impl PlannedList<'_> {
    fn numbers<T: DiagramFamily>(&self) -> impl Iterator<Item = u32> + Clone {
        self.range
            .clone()
            .filter(|at| is_used::<T>(&self.clauses[*at]))
            .map(|at| at as u32)
    }

    /// What an entry decides, as a number.
    fn value(&self, number: u32) -> u32 {
        self.values[number as usize]
    }

    fn clause(&self, number: u32) -> &Clause {
        &self.clauses[number as usize]
    }

    /// The smaller of the two orders; `None` if neither keeps within [`PIECES_FOR_INPUT`].
    fn diagram<T: DiagramFamily>(&self) -> Option<PlanPart<T>> {
        let size = self.size::<T>();
        let limit = PIECES_FOR_INPUT * size.elements + 64;
        let order = |address_first| match address_first {
            true => self.address_first::<T>(limit),
            false => self.service_first::<T>(limit),
        };
        // Lists of addresses that many entries share are stored once address first.
        let likely = size.repeated > size.elements;
        let first = order(likely);
        let near = |(cost, _): &(usize, _)| size.elements > LARGE && *cost <= 2 * size.elements;
        let second = match first.as_ref().is_some_and(near) {
            true => None,
            false => order(!likely),
        };
        let (by_address, by_service) = if likely {
            (first, second)
        } else {
            (second, first)
        };
        match (by_service, by_address) {
            (Some((a, part)), Some((b, _))) if a <= b => Some(part),
            (_, Some((_, part))) | (Some((_, part)), None) => Some(part),
            (None, None) => None,
        }
    }

    fn size<T: DiagramFamily>(&self) -> ListSize {
        let mut seen = FxHashSet::default();
        let mut repeated = 0;
        let addresses = |number| {
            let set = T::addresses(self.clause(number));
            if seen.insert(set.as_ptr()) {
                set.len()
            } else {
                repeated += set.len();
                0
            }
        };
        let addresses: usize = self.numbers::<T>().map(addresses).sum();
        let ports = |service: &Service| match service {
            Service::Tcp(ports) | Service::Udp(ports) => ports.intervals().len(),
            _ => 1,
        };
        let services: usize = self
            .numbers::<T>()
            .flat_map(|number| &self.clause(number).services)
            .map(ports)
            .sum();
        ListSize {
            elements: addresses + services,
            repeated,
        }
    }

    /// The destination ports of an entry; none if it does not match the protocol.
    fn ports(&self, number: u32, transport: Transport) -> Vec<Interval<u16>> {
        let mut all = Vec::new();
        for service in &self.clause(number).services {
            match (service, transport) {
                (Service::All, _) => all.push(u16::WHOLE),
                (Service::Tcp(ports), Transport::Tcp) | (Service::Udp(ports), Transport::Udp) => {
                    all.extend(ports.intervals())
                }
                _ => {}
            }
        }
        merged(all)
    }

    fn has(&self, number: u32, wanted: &Service) -> bool {
        self.clause(number)
            .services
            .iter()
            .any(|service| matches!(service, Service::All) || service == wanted)
    }

    fn service_first<T: DiagramFamily>(&self, limit: usize) -> Option<(usize, PlanPart<T>)> {
        let mut pool = Pool::<T>::default();
        let mut work = 4 * limit;
        let tcp = self.by_port(Transport::Tcp, &mut pool, &mut work)?;
        let udp = self.by_port(Transport::Udp, &mut pool, &mut work)?;
        let mut single = |wanted: &Service| -> Option<Option<u32>> {
            let list: Vec<u32> = self
                .numbers::<T>()
                .filter(|number| self.has(*number, wanted))
                .collect();
            if list.is_empty() {
                return Some(None);
            }
            Some(Some(pool.add(self.over_addresses(&list, &mut work)?)))
        };
        let icmp = single(&T::ICMP)?;
        let mut bare = Bare::default();
        for (protocol, node) in Protocol::BARE.into_iter().zip(&mut bare) {
            *node = single(&Service::Bare(protocol))?;
        }
        let other = single(&Service::All)?;
        let addresses = pool.write();
        let cost = tcp.len() + udp.len() + addresses.cost;
        (cost <= limit).then_some((
            cost,
            PlanPart::ServiceFirst(ServiceFirst {
                tcp,
                udp,
                icmp,
                bare,
                other,
                addresses,
            }),
        ))
    }

    /// Ports in intervals inside which the same entries match, each with its function over addresses.
    fn by_port<T: DiagramFamily>(
        &self,
        transport: Transport,
        pool: &mut Pool<T>,
        work: &mut usize,
    ) -> Option<Function<u16, u32>> {
        let sets = self.numbers::<T>().filter_map(|number| {
            let ports = self.ports(number, transport);
            (!ports.is_empty()).then(|| (ports.into(), number))
        });
        let classes = classes(sets, *work)?;
        let nodes: Option<Vec<u32>> = classes
            .clauses
            .iter()
            .map(|list| Some(pool.add(self.over_addresses(list, work)?)))
            .collect();
        let nodes = nodes?;
        Some(classes.function(&nodes))
    }

    /// Which of these entries decides at each address.
    fn over_addresses<T: DiagramFamily>(
        &self,
        list: &[u32],
        work: &mut usize,
    ) -> Option<Function<T, u32>> {
        let needed: usize = list
            .iter()
            .map(|number| T::addresses(self.clause(*number)).len())
            .sum();
        *work = work.checked_sub(needed)?;
        if let [one] = list {
            let alone = T::addresses(self.clause(*one)).iter();
            let value = self.value(*one);
            return Some(alone.map(|interval| (*interval, value)).collect());
        }
        let layer = |number: &u32| (&**T::addresses(self.clause(*number)), self.value(*number));
        Some(paint(list.iter().map(layer)))
    }

    fn address_first<T: DiagramFamily>(&self, limit: usize) -> Option<(usize, PlanPart<T>)> {
        let sets = self
            .numbers::<T>()
            .map(|number| (T::addresses(self.clause(number)).clone(), number));
        // A staircase lists n²/2 entries and is small in the end; what is listed costs time, not pieces.
        let classes = classes(sets, limit.saturating_mul(64))?;
        let (mut tcp, mut udp) = (Pool::<u16>::default(), Pool::<u16>::default());
        let mut services: Vec<ServiceNode> = Vec::new();
        let mut known: FxHashMap<ServiceNode, u32> = FxHashMap::default();
        let ports = PortLists::new(self);
        let (start, all) = (self.range.start, self.range.clone());
        let has = |wanted: Service| -> Vec<bool> {
            all.clone().map(|at| self.has(at as u32, &wanted)).collect()
        };
        let (icmp, other) = (has(T::ICMP), has(Service::All));
        let bare = Protocol::BARE.map(|protocol| has(Service::Bare(protocol)));
        let nodes: Vec<u32> = classes
            .clauses
            .iter()
            .map(|list| {
                let first = |has: &[bool]| {
                    let first = list.iter().find(|number| has[**number as usize - start]);
                    first.map(|number| self.value(*number))
                };
                let node = ServiceNode {
                    tcp: tcp.add(ports.over_ports(list, Transport::Tcp)),
                    udp: udp.add(ports.over_ports(list, Transport::Udp)),
                    icmp: first(&icmp),
                    bare: bare.each_ref().map(|has| first(has)),
                    other: first(&other),
                };
                *known.entry(node).or_insert_with_key(|node| {
                    services.push(node.clone());
                    services.len() as u32 - 1
                })
            })
            .collect();
        let addresses = classes.function(&nodes);
        let (tcp, udp) = (tcp.write(), udp.write());
        let cost = without_most(&addresses) + 2 * services.len() + tcp.cost + udp.cost;
        (cost <= limit).then_some((
            cost,
            PlanPart::AddressFirst(AddressFirst {
                addresses,
                services,
                tcp,
                udp,
            }),
        ))
    }
}

/// How many pieces become elements: where they leave no gap, those that lead where most lead are none.
fn without_most<T: Point>(function: &Function<T, u32>) -> usize {
    if !is_gapless(function) {
        return function.len();
    }
    let most = counts(function).into_iter().map(|(_, count)| count).max();
    function.len() - most.unwrap_or(0)
}

/// How often each value stands in a function. Sorting numbers of which few differ is faster than hashing them.
pub fn counts<T>(function: &[(Interval<T>, u32)]) -> Vec<(u32, usize)> {
    let mut values: Vec<u32> = function.iter().map(|(_, value)| *value).collect();
    values.sort_unstable();
    let runs = values.chunk_by(|a, b| a == b);
    runs.map(|run| (run[0], run.len())).collect()
}

/// Whether a function says something everywhere.
pub fn is_gapless<T: Point, V>(function: &[(Interval<T>, V)]) -> bool {
    function
        .first()
        .is_some_and(|(first, _)| first.first == T::WHOLE.first)
        && function
            .last()
            .is_some_and(|(last, _)| last.last == T::WHOLE.last)
        && function
            .windows(2)
            .all(|pair| pair[0].0.last.successor() == Some(pair[1].0.first))
}

/// The ports of every entry, read once.
struct PortLists<'l> {
    start: usize,
    /// Of the entries from `start` on.
    values: &'l [u32],
    lists: [Vec<Vec<Interval<u16>>>; 2],
}

impl<'l> PortLists<'l> {
    fn new(list: &'l PlannedList) -> Self {
        let of = |transport| {
            list.range
                .clone()
                .map(|at| list.ports(at as u32, transport))
                .collect()
        };
        PortLists {
            start: list.range.start,
            values: &list.values[list.range.clone()],
            lists: [of(Transport::Tcp), of(Transport::Udp)],
        }
    }

    /// Which of these entries decides at each port.
    fn over_ports(&self, list: &[u32], transport: Transport) -> Function<u16, u32> {
        let lists = &self.lists[usize::from(transport == Transport::Udp)];
        paint(list.iter().map(|number| {
            let at = *number as usize - self.start;
            (lists[at].as_slice(), self.values[at])
        }))
    }
}
