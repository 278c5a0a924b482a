//! For one entry of a list: which entries before it leave it nothing to decide, and which after it would decide in its
//! place.

use crate::insight::listed::{FlowKind, ListTable, PortRow, rows};
use crate::insight::space::{PartSet, TooLarge, Work};
use crate::policy::Interval;
use crate::policy::address::AddressNumber;
use crate::policy::interval::{Point, touch};
use crate::policy::listed::ListEntry;
use std::collections::BTreeSet;

/// What one look at two entries takes.
const LOOK: usize = 60;

/// So many entries are made the fewest that cover; of more it is only told which decide.
const MOST_TRIED: usize = 24;

/// The entries before the one at `index`, as few as possible, that together decide all that it is about; `None` if they
/// leave something over.
pub fn covering(
    list: &[ListEntry],
    index: usize,
    work: &mut Work,
) -> Result<Option<Vec<usize>>, TooLarge> {
    let own = &list[index];
    for (at, other) in list[..index].iter().enumerate() {
        work.spend(LOOK)?;
        if holds(other, own) {
            return Ok(Some(vec![at]));
        }
    }
    work.spend(LOOK * index)?;
    let near: Vec<usize> = (0..index).filter(|at| meet(&list[*at], own)).collect();
    let mut part: Vec<ListEntry> = near.iter().map(|at| list[*at].clone()).collect();
    part.push(own.clone());
    let (v4, v6) = (
        ListTable::<u32>::new(&part, work)?,
        ListTable::<u128>::new(&part, work)?,
    );
    let mut all: Vec<bool> = vec![false; near.len()];
    // Each decides something: together they are exactly what covers it.
    if !deciders(&v4, work, &mut all)? || !deciders(&v6, work, &mut all)? {
        return Ok(None);
    }
    let used = |all: &[bool]| all.iter().filter(|used| **used).count();
    if used(&all) <= MOST_TRIED {
        // Those that stand last are left out first, if the others do without them.
        for at in (0..all.len()).rev() {
            if !all[at] {
                continue;
            }
            all[at] = false;
            if !covered(&v4, work, &all)? || !covered(&v6, work, &all)? {
                all[at] = true;
            }
        }
    }
    let chosen = near.into_iter().zip(all);
    Ok(Some(
        chosen.filter(|(_, used)| *used).map(|(at, _)| at).collect(),
    ))
}

/// Marks what decides the flows of the last entry. Returns whether nothing of it is left over.
fn deciders<T: AddressNumber>(
    table: &ListTable<T>,
    work: &mut Work,
    marks: &mut [bool],
) -> Result<bool, TooLarge> {
    let mut whole = true;
    each_row(table, work, |row, bits, own, work| {
        let mut left: Vec<u64> = vec![0; table.space.width()];
        own.words().for_each(|(at, word)| left[at] = word);
        for entry in row {
            let Some(bits) = bits[*entry as usize] else {
                continue;
            };
            work.spend(bits.len() + 1)?;
            marks[*entry as usize] |= take(&mut left, bits);
        }
        whole &= left.iter().all(|word| *word == 0);
        Ok(())
    })?;
    Ok(whole)
}

/// Whether those that are marked cover the last entry.
fn covered<T: AddressNumber>(
    table: &ListTable<T>,
    work: &mut Work,
    marks: &[bool],
) -> Result<bool, TooLarge> {
    let mut whole = true;
    each_row(table, work, |row, bits, own, work| {
        let marked: Vec<&PartSet> = row
            .iter()
            .filter(|entry| marks[**entry as usize])
            .filter_map(|entry| bits[*entry as usize])
            .collect();
        work.spend(own.len() * (1 + marked.len()))?;
        whole &= own.words().all(|(at, word)| {
            let together = marked.iter().fold(0, |all, bits| all | bits.word(at));
            word & !together == 0
        });
        Ok(())
    })?;
    Ok(whole)
}

type EachRow<'r> =
    dyn FnMut(&[u32], &[Option<&PartSet>], &PartSet, &mut Work) -> Result<(), TooLarge> + 'r;

/// Every row that the last entry has a say in, without itself.
fn each_row<T: AddressNumber>(
    table: &ListTable<T>,
    work: &mut Work,
    mut each: impl FnMut(&[u32], &[Option<&PartSet>], &PartSet, &mut Work) -> Result<(), TooLarge>,
) -> Result<(), TooLarge> {
    let each: &mut EachRow = &mut each;
    let last = table.entries.len() - 1;
    let bits = table.bits();
    let Some(own) = bits[last] else {
        return Ok(());
    };
    for kind in FlowKind::ALL {
        if kind
            .ports_of(&table.entries[last].services, T::V4)
            .is_empty()
        {
            continue;
        }
        for PortRow { entries, .. } in rows(table.entries, &table.space, kind, work)? {
            if let Some((entry, before)) = entries.split_last()
                && *entry as usize == last
            {
                each(before, &bits, own, work)?;
            }
        }
    }
    Ok(())
}

/// What decides instead of the entry at `index` where it is left out; among them the length of the list for the end of
/// it.
pub fn instead(
    list: &[ListEntry],
    index: usize,
    work: &mut Work,
) -> Result<BTreeSet<usize>, TooLarge> {
    work.spend(LOOK * list.len())?;
    let near: Vec<usize> = (0..list.len())
        .filter(|at| meet(&list[*at], &list[index]))
        .collect();
    let part: Vec<ListEntry> = near.iter().map(|at| list[*at].clone()).collect();
    let own = near.partition_point(|at| *at < index);
    let mut found = BTreeSet::new();
    after::<u32>(&part, own, work, &mut found)?;
    after::<u128>(&part, own, work, &mut found)?;
    Ok(found
        .into_iter()
        .map(|at| near.get(at).copied().unwrap_or(list.len()))
        .collect())
}

fn after<T: AddressNumber>(
    part: &[ListEntry],
    own: usize,
    work: &mut Work,
    found: &mut BTreeSet<usize>,
) -> Result<(), TooLarge> {
    let table = ListTable::<T>::new(part, work)?;
    let bits = table.bits();
    for kind in FlowKind::ALL {
        if kind.ports_of(&part[own].services, T::V4).is_empty() {
            continue;
        }
        for row in rows(part, &table.space, kind, work)? {
            let Some(at) = row.entries.iter().position(|entry| *entry as usize == own) else {
                continue;
            };
            let mut left = vec![0; table.space.width()];
            if let Some(bits) = bits[own] {
                bits.words().for_each(|(at, word)| left[at] = word);
            }
            for (place, entry) in row.entries.iter().enumerate() {
                let Some(bits) = bits[*entry as usize].filter(|_| place != at) else {
                    continue;
                };
                work.spend(bits.len() + 1)?;
                if take(&mut left, bits) && place > at {
                    found.insert(*entry as usize);
                }
            }
            if left.iter().any(|word| *word != 0) {
                found.insert(part.len());
            }
        }
    }
    Ok(())
}

/// Whether one entry is about everything that another is about.
fn holds(whole: &ListEntry, part: &ListEntry) -> bool {
    let (Some(remote), Some(of_part)) = (&whole.remote, &part.remote) else {
        return false;
    };
    [true, false].into_iter().all(|v4| {
        let mut any = false;
        let services = FlowKind::ALL.into_iter().all(|kind| {
            let ports = kind.ports_of(&part.services, v4);
            any |= !ports.is_empty();
            ports.is_empty() || lies_in(&ports, &kind.ports_of(&whole.services, v4))
        });
        let inside = || match v4 {
            true => within(of_part.v4(), remote.v4()),
            false => within(of_part.v6(), remote.v6()),
        };
        services && (!any || inside())
    })
}

/// Lists that are stored once are not looked through.
fn within<T: Point>(part: &[Interval<T>], whole: &[Interval<T>]) -> bool {
    part.as_ptr() == whole.as_ptr() || lies_in(part, whole)
}

/// Whether every interval lies in one of the others; both sorted and apart.
fn lies_in<T: Point>(part: &[Interval<T>], whole: &[Interval<T>]) -> bool {
    part.iter().all(|each| {
        let at = whole.partition_point(|other| other.last < each.first);
        whole
            .get(at)
            .is_some_and(|other| other.first <= each.first && each.last <= other.last)
    })
}

/// Whether there can be a flow that both are about.
fn meet(one: &ListEntry, other: &ListEntry) -> bool {
    let (Some(remote), Some(of_other)) = (&one.remote, &other.remote) else {
        return false;
    };
    [true, false].into_iter().any(|v4| {
        let ports = FlowKind::ALL.into_iter().any(|kind| {
            touch(
                &kind.ports_of(&one.services, v4),
                &kind.ports_of(&other.services, v4),
            )
        });
        let addresses = || match v4 {
            true => touch(remote.v4(), of_other.v4()),
            false => touch(remote.v6(), of_other.v6()),
        };
        ports && addresses()
    })
}

/// Takes away what these bits hold; returns whether there was any of it.
fn take(left: &mut [u64], bits: &PartSet) -> bool {
    let mut some = 0;
    for (at, word) in bits.words() {
        some |= left[at] & word;
        left[at] &= !word;
    }
    some != 0
}
