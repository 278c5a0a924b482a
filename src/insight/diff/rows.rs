//! As few rows as can be read: pieces that say the same of several ports, addresses, protocols or families are put
//! together.

use crate::insight::listed::FlowKind;
use crate::insight::space::{PartSet, Space, TooLarge, Work};
use crate::policy::address::AddressNumber;
use crate::policy::interval::merged;
use crate::policy::{AddressRange, Interval};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Some ports of a kind, and parts of the addresses.
#[derive(Debug)]
pub struct Piece {
    pub kind: FlowKind,
    pub ports: Vec<Interval<u16>>,
    pub parts: PartSet,
}

/// A row of one family: all of its ports with all of its remotes.
#[derive(Debug)]
pub struct FamilyRow<T> {
    kinds: BTreeSet<FlowKind>,
    ports: Vec<Interval<u16>>,
    remotes: Vec<Interval<T>>,
}

/// A row of both.
#[derive(Debug)]
pub struct Whole {
    pub kinds: BTreeSet<FlowKind>,
    pub ports: Vec<Interval<u16>>,
    /// IPv4 first.
    pub remotes: Vec<AddressRange>,
}

/// So many pairs of pieces and parts are turned around at most.
const MOST_TURNED: usize = 4_000_000;

type Ports = Vec<Interval<u16>>;

/// The rows of one family: for each set of addresses its ports, or for each set of ports its addresses, whichever are
/// fewer.
pub fn of_family<T: AddressNumber>(
    pieces: Vec<Piece>,
    space: &Space<T>,
    work: &mut Work,
) -> Result<Vec<FamilyRow<T>>, TooLarge> {
    let mut rows: BTreeMap<FlowKind, Vec<(Ports, PartSet)>> = BTreeMap::new();
    for kind in FlowKind::ALL {
        let own: Vec<&Piece> = pieces.iter().filter(|piece| piece.kind == kind).collect();
        let by_addresses = by_addresses(&own);
        let by_ports = by_ports(&own, by_addresses.len(), work)?;
        let fewer = by_ports.filter(|rows| rows.len() < by_addresses.len());
        rows.insert(kind, fewer.unwrap_or(by_addresses));
    }
    // What several kinds have alike is one row.
    let mut alike: BTreeMap<(Ports, usize), BTreeSet<FlowKind>> = BTreeMap::new();
    let mut numbers: HashMap<PartSet, usize> = HashMap::new();
    let mut sets: Vec<PartSet> = Vec::new();
    for (kind, rows) in rows {
        for (ports, parts) in rows {
            let number = *numbers.entry(parts).or_insert_with_key(|parts| {
                sets.push(parts.clone());
                sets.len() - 1
            });
            alike.entry((ports, number)).or_default().insert(kind);
        }
    }
    let mut out = Vec::new();
    for ((ports, number), kinds) in alike {
        let mut words = vec![0; space.width()];
        sets[number].words().for_each(|(at, word)| words[at] = word);
        work.spend(space.stretches_at_all())?;
        let remotes = space.intervals(&words);
        out.push(FamilyRow {
            kinds,
            ports,
            remotes,
        });
    }
    Ok(out)
}

fn by_addresses(pieces: &[&Piece]) -> Vec<(Ports, PartSet)> {
    let mut numbers: HashMap<&PartSet, usize> = HashMap::new();
    let mut rows: Vec<(Ports, &PartSet)> = Vec::new();
    for piece in pieces {
        let number = *numbers.entry(&piece.parts).or_insert_with(|| {
            rows.push((Vec::new(), &piece.parts));
            rows.len() - 1
        });
        rows[number].0.extend(&piece.ports);
    }
    let rows = rows.into_iter();
    rows.map(|(ports, parts)| (merged(ports), parts.clone()))
        .collect()
}

/// Turned around; `None` where that cannot be fewer, or is too much.
fn by_ports(
    pieces: &[&Piece],
    others: usize,
    work: &mut Work,
) -> Result<Option<Vec<(Ports, PartSet)>>, TooLarge> {
    let pairs: usize = pieces.iter().map(|piece| piece.parts.count()).sum();
    if others < 2 || pairs > MOST_TURNED {
        return Ok(None);
    }
    work.spend(4 * pairs)?;
    let mut of_part: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (number, piece) in pieces.iter().enumerate() {
        for part in piece.parts.iter() {
            of_part.entry(part).or_default().push(number as u32);
        }
    }
    let mut rows: HashMap<Vec<u32>, Vec<u32>> = HashMap::new();
    for (part, numbers) in of_part {
        rows.entry(numbers).or_default().push(part);
    }
    let rows = rows.into_iter().map(|(numbers, mut parts)| {
        let ports = numbers.iter().flat_map(|at| &pieces[*at as usize].ports);
        (merged(ports.copied().collect()), PartSet::of(&mut parts))
    });
    Ok(Some(rows.collect()))
}

/// Both families together: rows that differ in nothing but that are one.
pub fn in_rows(v4: Vec<FamilyRow<u32>>, v6: Vec<FamilyRow<u128>>) -> Vec<Whole> {
    let mut rows: BTreeMap<(BTreeSet<FlowKind>, Ports), Vec<AddressRange>> = BTreeMap::new();
    fn add<T: AddressNumber>(
        all: Vec<FamilyRow<T>>,
        rows: &mut BTreeMap<(BTreeSet<FlowKind>, Ports), Vec<AddressRange>>,
    ) {
        for row in all {
            let same = rows.entry((row.kinds, row.ports)).or_default();
            same.extend(row.remotes.into_iter().map(T::range));
        }
    }
    add(v4, &mut rows);
    add(v6, &mut rows);
    let rows = rows.into_iter().map(|((kinds, ports), remotes)| Whole {
        kinds,
        ports,
        remotes,
    });
    rows.collect()
}
