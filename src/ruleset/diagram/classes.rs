//! Cuts a dimension into intervals inside which the same sets hold, and numbers each combination of sets.
//!
//! A sweep over the ends of all sets; a combination is known by the exclusive or of random numbers, one for each
//! set (Zobrist hashing), so that a list of 100,000 addresses that ten rules use is swept once and not ten times.

use super::paint::{Function, merge_equal};
use crate::policy::Interval;
use crate::policy::interval::Point;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The intervals of a dimension, each with the number of its class, and what holds in each class.
#[derive(Debug)]
pub struct Classes<T> {
    /// Intervals in which something holds.
    pub intervals: Function<T, u32>,
    /// The clauses of each class, in order.
    pub clauses: Vec<Vec<u32>>,
}

impl<T: Point> Classes<T> {
    /// The node of each class as a function over the dimension.
    pub fn function(self, nodes: &[u32]) -> Function<T, u32> {
        let pieces = self.intervals.into_iter();
        let pieces = pieces.map(|(interval, class)| (interval, nodes[class as usize]));
        merge_equal(pieces.collect())
    }
}

/// Cuts a dimension by the sets of clauses. `None` if the classes would list more than `budget` clauses in all.
pub fn classes<T: Point>(
    sets: impl IntoIterator<Item = (Arc<[Interval<T>]>, u32)>,
    budget: usize,
) -> Option<Classes<T>> {
    let groups = group(sets);
    // Where a set begins, and the first point after it, if there is one.
    let mut events: Vec<(T, bool, u32)> = Vec::new();
    for (index, (intervals, _)) in groups.iter().enumerate() {
        for interval in intervals.iter() {
            events.push((interval.first, true, index as u32));
            events.extend(
                interval
                    .last
                    .successor()
                    .map(|after| (after, false, index as u32)),
            );
        }
    }
    // The events of each set are in order already, which a stable sort makes use of.
    events.sort_by_key(|(point, ..)| *point);
    let mut sweep = Sweep {
        groups: &groups,
        active: BTreeSet::new(),
        toggled: Vec::new(),
        holding: 0,
        key: 0,
        known: FxHashMap::default(),
        recent: [None; 2],
        clauses: Vec::new(),
        listed: 0,
    };
    let mut pieces: Vec<(Interval<T>, u32)> = Vec::new();
    let mut at = 0;
    while at < events.len() {
        let point = events[at].0;
        while let Some((_, begins, index)) = events.get(at).filter(|event| event.0 == point) {
            sweep.toggle(*begins, *index);
            at += 1;
        }
        if sweep.holding == 0 {
            continue;
        }
        let class = sweep.class();
        if sweep.listed > budget {
            return None;
        }
        let last = events.get(at).map(|(next, ..)| next.before());
        let last = last.or_else(|| {
            sweep
                .active()
                .iter()
                .filter_map(|index| groups[*index as usize].0.last())
                .map(|i| i.last)
                .max()
        });
        pieces.extend(last.map(|last| (Interval { first: point, last }, class)));
    }
    Some(Classes {
        intervals: merge_equal(pieces),
        clauses: sweep.clauses,
    })
}

/// The intervals of a clause in one dimension.
type ClauseSet<T> = Arc<[Interval<T>]>;

type Group<T> = (ClauseSet<T>, Vec<u32>);

/// Sets of equal content once, with all clauses that have them.
fn group<T: Point>(sets: impl IntoIterator<Item = (Arc<[Interval<T>]>, u32)>) -> Vec<Group<T>> {
    let mut groups: Vec<Group<T>> = Vec::new();
    // Most equal sets are one allocation: asked first, since content may be a hundred thousand addresses. The
    // set is kept with its address, which could otherwise be another's next.
    let mut by_address: FxHashMap<*const Interval<T>, (usize, ClauseSet<T>)> = FxHashMap::default();
    let mut by_content: FxHashMap<Arc<[Interval<T>]>, usize> = FxHashMap::default();
    for (set, clause) in sets {
        if set.is_empty() {
            continue;
        }
        let (index, _) = by_address.entry(set.as_ptr()).or_insert_with(|| {
            let index = *by_content.entry(set.clone()).or_insert_with(|| {
                groups.push((set.clone(), Vec::new()));
                groups.len() - 1
            });
            (index, set)
        });
        groups[*index].1.push(clause);
    }
    groups
}

struct Sweep<'g, T> {
    groups: &'g [Group<T>],
    /// The groups that hold, but for what has happened since a class was new.
    active: BTreeSet<u32>,
    /// Those that have begun or ended since: a list of single addresses begins and ends for ever, and leads to nothing
    /// new.
    toggled: Vec<u32>,
    /// How many hold.
    holding: usize,
    key: u128,
    known: FxHashMap<u128, u32>,
    /// The classes of late.
    recent: [Option<(u128, u32)>; 2],
    clauses: Vec<Vec<u32>>,
    listed: usize,
}

impl<T> Sweep<'_, T> {
    fn toggle(&mut self, begins: bool, index: u32) {
        self.key ^= random(index);
        match begins {
            true => self.holding += 1,
            false => self.holding -= 1,
        };
        match self.toggled.last() == Some(&index) {
            true => drop(self.toggled.pop()),
            false => self.toggled.push(index),
        }
    }

    /// The groups that hold.
    fn active(&mut self) -> &BTreeSet<u32> {
        for index in self.toggled.drain(..) {
            if !self.active.remove(&index) {
                self.active.insert(index);
            }
        }
        &self.active
    }

    fn class(&mut self) -> u32 {
        let recent = self.recent.into_iter().flatten();
        if let Some((_, class)) = recent.into_iter().find(|(key, _)| *key == self.key) {
            return class;
        }
        let class = match self.known.get(&self.key) {
            Some(class) => *class,
            None => self.new_class(),
        };
        self.recent = [Some((self.key, class)), self.recent[0]];
        class
    }

    fn new_class(&mut self) -> u32 {
        self.active();
        let (active, groups, clauses, listed) = (
            &self.active,
            self.groups,
            &mut self.clauses,
            &mut self.listed,
        );
        *self.known.entry(self.key).or_insert_with(|| {
            let mut list: Vec<u32> = active
                .iter()
                .flat_map(|index| groups[*index as usize].1.iter().copied())
                .collect();
            list.sort_unstable();
            // A clause with two services that both hold stands there twice.
            list.dedup();
            *listed += list.len();
            clauses.push(list);
            clauses.len() as u32 - 1
        })
    }
}

/// 128 bits that look random, the same each time: the result of compiling must not depend on chance. The mixing
/// function is SplitMix64's (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn random(index: u32) -> u128 {
    let mix = |seed: u64| {
        let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let index = u64::from(index);
    u128::from(mix(2 * index + 1)) << 64 | u128::from(mix(2 * index + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_point_knows_its_clauses(raw in prop::collection::vec((0u16..50, 0u16..20), 0..12), top in any::<bool>()) {
            let shift = if top { u16::MAX - 69 } else { 0 };
            let sets: Vec<(Arc<[Interval<u16>]>, u32)> = raw.iter().enumerate().map(|(at, (first, length))| ([Interval { first: first + shift, last: first + length + shift }].into(), at as u32)).collect();
            let classes = classes(sets.clone(), usize::MAX).expect("no limit");
            for point in (0..=70).map(|p: u16| shift.saturating_add(p)) {
                let wanted: Vec<u32> = sets.iter().filter(|(set, _)| set[0].contains(point)).map(|(_, clause)| *clause).collect();
                let found = classes.intervals.iter().find(|(interval, _)| interval.contains(point));
                let found = found.map(|(_, class)| classes.clauses[*class as usize].clone()).unwrap_or_default();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
