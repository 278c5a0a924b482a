//! Entries that each name few networks and few ports, as exact pairs of both: a hash for each length of prefix.
//!
//! ```text
//! ip saddr & 255.255.255.0 . tcp dport vmap @in_0_v4_m1
//! map in_0_v4_m1 { type ipv4_addr . inet_service : verdict; counter;
//!                  elements = { 10.7.0.0 . 80 comment "sg-web/in/7" : goto passed_in_0 } }
//! ```
//!
//! Where nearly every entry has a network and a port of its own, a diagram has a chain for each, and nothing to share.
//! As pairs each is two elements, one for packets that open a flow and one for those of tracked flows, and a packet is
//! asked one lookup for each length of prefix.
//!
//! First match is kept without looking for it: at one port two networks lie apart, or one within the other. A pair that
//! lies in one of an earlier entry is left out, so of those that a packet meets the narrowest is the earliest, and the
//! longest prefixes are asked first.
//!
//! Source: tuple space search (Srinivasan, Suri, Varghese, "Packet Classification using Tuple Space Search", SIGCOMM
//! 1999), which has a hash for each combination of lengths; here the ports are exact, and what has ranges stays in the
//! diagram.

use super::clause::Clause;
use super::family::DiagramFamily;
use crate::policy::Service;
use crate::ruleset::ir::Transport;
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// An entry of more pairs than this is better asked by its lists.
const PAIRS_OF_AN_ENTRY: usize = 16;
/// Each length of prefix is a lookup more for every packet that opens a flow.
const LENGTHS: usize = 4;
/// A diagram of fewer chains than this is small whatever its form.
const MANY_CHAINS: usize = 32;
/// A chain of a diagram, with its two rules, costs the kernel as much as so many pairs, each of which stands in two
/// maps.
const PAIRS_FOR_A_CHAIN: usize = 8;

/// All pairs of one transport and one length of prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairTable<T> {
    /// The protocol of the ports.
    pub transport: Transport,
    /// The length of the prefixes.
    pub bits: u8,
    /// Port, network, and the entry that decides; sorted.
    pub pairs: Vec<(u16, T, u32)>,
}

/// A run of entries, and its tables in the order in which they are asked.
pub type PairRun<T> = (Range<usize>, Vec<PairTable<T>>);

/// A run of entries that is better asked as pairs; nothing if there is none. It is the longest run of entries of few
/// networks and ports each, if as a diagram it would have many chains and few pairs to each.
pub fn worth_it<T: DiagramFamily>(clauses: &[Clause]) -> Option<PairRun<T>> {
    let range = longest_run::<T>(clauses)?;
    if range.len() < MANY_CHAINS {
        return None;
    }
    let tables = tables::<T>(clauses, range.clone());
    let pairs: usize = tables.iter().map(|table| table.pairs.len()).sum();
    let chains = chains(&tables);
    (chains >= MANY_CHAINS && pairs <= PAIRS_FOR_A_CHAIN * chains).then_some((range, tables))
}

/// The longest run of entries that are few pairs each, of few lengths of prefix together. Entries of the other family
/// alone are in nobody's way.
fn longest_run<T: DiagramFamily>(clauses: &[Clause]) -> Option<Range<usize>> {
    let mut longest: Option<Range<usize>> = None;
    let (mut start, mut lengths) = (0, Vec::new());
    for (at, clause) in clauses.iter().enumerate() {
        if T::addresses(clause).is_empty() {
            continue;
        }
        let fits = match lengths_of::<T>(clause) {
            None => false,
            Some(of_this) => {
                let all = with(&lengths, &of_this);
                if all.len() > LENGTHS {
                    (start, lengths) = (at, of_this);
                } else {
                    lengths = all;
                }
                lengths.len() <= LENGTHS
            }
        };
        if !fits {
            (start, lengths) = (at + 1, Vec::new());
            continue;
        }
        if longest
            .as_ref()
            .is_none_or(|known| known.len() < at + 1 - start)
        {
            longest = Some(start..at + 1);
        }
    }
    longest
}

fn with(lengths: &[u8], more: &[u8]) -> Vec<u8> {
    let mut all = [lengths, more].concat();
    all.sort_unstable();
    all.dedup();
    all
}

/// The lengths of prefix of an entry that is few pairs; nothing if it is something else.
fn lengths_of<T: DiagramFamily>(clause: &Clause) -> Option<Vec<u8>> {
    let addresses = T::addresses(clause);
    let ports = ports(clause)?.count();
    if addresses.len() * ports > PAIRS_OF_AN_ENTRY {
        return None;
    }
    let lengths = addresses
        .iter()
        .map(|each| T::prefix_length(*each).filter(|bits| *bits > 0));
    Some(with(&[], &lengths.collect::<Option<Vec<u8>>>()?))
}

/// The single ports of an entry; nothing if it has ranges of them, or another protocol.
fn ports(clause: &Clause) -> Option<impl Iterator<Item = (Transport, u16)>> {
    let lists = || {
        clause.services.iter().map(|service| match service {
            Service::Tcp(ports) => Some((Transport::Tcp, ports.intervals())),
            Service::Udp(ports) => Some((Transport::Udp, ports.intervals())),
            _ => None,
        })
    };
    let are_points =
        lists().all(|list| list.is_some_and(|(_, ports)| ports.iter().all(|i| i.first == i.last)));
    let ports = lists().flatten();
    are_points.then(|| {
        ports.flat_map(|(transport, ports)| ports.iter().map(move |port| (transport, port.first)))
    })
}

/// The pairs of the entries of a run that are not hidden by an earlier one, the longest prefixes first.
fn tables<T: DiagramFamily>(clauses: &[Clause], range: Range<usize>) -> Vec<PairTable<T>> {
    let mut known: FxHashMap<(Transport, u8), FxHashMap<(u16, T), u32>> = FxHashMap::default();
    for at in range {
        let clause = &clauses[at];
        for each in T::addresses(clause).iter() {
            // The run holds prefixes alone.
            let Some(bits) = T::prefix_length(*each) else {
                continue;
            };
            for (transport, port) in ports(clause).into_iter().flatten() {
                let hidden = known.iter().any(|((of, length), pairs)| {
                    *of == transport
                        && *length <= bits
                        && pairs.contains_key(&(port, each.first.under(*length)))
                });
                if !hidden {
                    let table = known.entry((transport, bits)).or_default();
                    table.insert((port, each.first), at as u32);
                }
            }
        }
    }
    let tables = known.into_iter().map(|((transport, bits), pairs)| {
        let mut pairs: Vec<(u16, T, u32)> = pairs
            .into_iter()
            .map(|((port, network), at)| (port, network, at))
            .collect();
        pairs.sort_unstable();
        PairTable {
            transport,
            bits,
            pairs,
        }
    });
    let mut tables: Vec<PairTable<T>> = tables.collect();
    tables.sort_unstable_by_key(|table| (table.transport, std::cmp::Reverse(table.bits)));
    tables
}

/// How many chains a diagram would have at least, whichever it asks first: as many as there are different lists of
/// networks behind a port, or of ports behind a network.
fn chains<T: DiagramFamily>(tables: &[PairTable<T>]) -> usize {
    let mut by_port: FxHashMap<(Transport, u16), FxHasher> = FxHashMap::default();
    let mut by_network: FxHashMap<(u8, T), FxHasher> = FxHashMap::default();
    for table in tables {
        let (transport, bits) = (table.transport, table.bits);
        for (port, network, at) in &table.pairs {
            let networks = by_port.entry((transport, *port)).or_default();
            (bits, network, at).hash(networks);
            let ports = by_network.entry((bits, *network)).or_default();
            (transport, port, at).hash(ports);
        }
    }
    different(by_port.into_values()).min(different(by_network.into_values()))
}

/// How many of these lists differ.
fn different(lists: impl Iterator<Item = FxHasher>) -> usize {
    let lists: FxHashSet<u64> = lists.map(|list| list.finish()).collect();
    lists.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Interval, PortSet, Reason, Verdict};
    use crate::ruleset::ir::Prefixed;

    fn clause(network: u32, bits: u8, port: u16) -> Clause {
        Clause {
            services: vec![Service::Tcp(PortSet::single(port))],
            v4: [network.network(bits)].into(),
            v6: [].into(),
            verdict: Verdict::Allow,
            reason: Reason::Default,
        }
    }

    /// Entries of a network and a port each, from `first` on.
    fn own(first: u32, count: u32) -> Vec<Clause> {
        let each = |at: u32| clause(0x0a00_0000 | at << 8, 24, at as u16 + 1);
        (first..first + count).map(each).collect()
    }

    #[test]
    fn a_long_run_between_others() {
        let many = |last| Clause {
            services: vec![Service::All],
            v4: [Interval { first: 7, last }].into(),
            ..clause(0, 8, 1)
        };
        let clauses = [vec![many(9)], own(0, 200), vec![many(99)], own(500, 150)].concat();
        let (range, tables) = worth_it::<u32>(&clauses).expect("pairs");
        assert_eq!(range, 1..201);
        let [table] = tables.as_slice() else {
            panic!("{tables:?}")
        };
        assert_eq!(
            (table.transport, table.bits, table.pairs.len()),
            (Transport::Tcp, 24, 200)
        );
        assert!(
            worth_it::<u128>(&clauses).is_none(),
            "nothing is of the other family"
        );
    }

    /// Of entries that meet the same packet the first one is found, whichever length is asked first.
    #[test]
    fn first_match_is_kept() {
        let mut clauses = own(0, 200);
        clauses.extend([
            // In an earlier one, the same again, around an earlier one, and in that.
            clause(0x0a00_0010, 32, 1),
            clause(0x0a00_0100, 24, 2),
            clause(0x0a00_0000, 16, 3),
            clause(0x0a00_0900, 24, 3),
        ]);
        let (_, tables) = worth_it::<u32>(&clauses).expect("pairs");
        let lengths: Vec<(u8, usize)> = tables
            .iter()
            .map(|each| (each.bits, each.pairs.len()))
            .collect();
        assert_eq!(lengths, [(24, 200), (16, 1)]);
        assert!(tables[0].pairs.contains(&(2, 0x0a00_0100, 1)));
    }

    #[test]
    fn what_a_diagram_shares_is_none() {
        // Ten ports, each from the same networks, by entries of their own.
        let shared: Vec<Clause> = (0..500_u32)
            .map(|at| clause(0x0a00_0000 | (at / 10) << 8, 24, (at % 10) as u16 + 1))
            .collect();
        assert!(worth_it::<u32>(&shared).is_none());
        assert!(worth_it::<u32>(&own(0, 30)).is_none(), "too few");
        let lengths: Vec<Clause> = (0..400_u32)
            .map(|at| clause(at << 20, 12 + (at % 20) as u8, at as u16 + 1))
            .collect();
        assert!(worth_it::<u32>(&lengths).is_none(), "of too many lengths");
    }
}
