//! Sets of addresses as sorted intervals, and what they share with a list of the policy or of a rule.

use crate::policy::address::AddressNumber;
use crate::policy::{Interval, Point};
use crate::ruleset::ir::*;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

/// Addresses of a family in a ruleset.
pub trait RulesetNumber: AddressNumber + Prefixed {
    const FAMILY: Family;
    /// The elements of this family in a list of addresses.
    fn of(addresses: &Addresses) -> Option<&[Interval<Self>]>;
    /// The elements of this family in a map.
    fn of_map(elements: &MapElements) -> Option<&[(Interval<Self>, NftVerdict)]>;
    /// The pairs of this family in a map.
    fn of_pairs(elements: &MapElements) -> Option<&[Pair<Self>]>;
}

macro_rules! listed {
    ($number:ty, $family:ident, $pairs:ident) => {
        impl RulesetNumber for $number {
            const FAMILY: Family = Family::$family;
            fn of(addresses: &Addresses) -> Option<&[Interval<Self>]> {
                match addresses {
                    Addresses::$family(list) => Some(list),
                    _ => None,
                }
            }
            fn of_map(elements: &MapElements) -> Option<&[(Interval<Self>, NftVerdict)]> {
                match elements {
                    MapElements::$family(list) => Some(list),
                    _ => None,
                }
            }
            fn of_pairs(elements: &MapElements) -> Option<&[Pair<Self>]> {
                match elements {
                    MapElements::$pairs(list) => Some(list),
                    _ => None,
                }
            }
        }
    };
}
listed!(u32, V4, PairsV4);
listed!(u128, V6, PairsV6);

/// Addresses, sorted and apart; never none. Many boxes have the same.
pub type BoxAddresses<T> = Rc<[Interval<T>]>;

/// How a set lies to a sorted list of intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// They share nothing.
    Outside,
    /// All of the set lies in the list.
    Inside,
    /// Neither, as far as one look at each interval tells.
    Crosses,
}

/// How `set` lies to `list`, both sorted and apart.
pub fn relation<T: Point>(list: &[Interval<T>], set: &[Interval<T>]) -> Relation {
    if let [one] = set {
        let at = list.partition_point(|entry| entry.last < one.first);
        return match list.get(at) {
            Some(entry) if entry.first <= one.first && one.last <= entry.last => Relation::Inside,
            Some(entry) if entry.first <= one.last => Relation::Crosses,
            _ => Relation::Outside,
        };
    }
    let list = window(list, hull(set));
    let meeting = window(set, hull(list));
    let mut outside = meeting.len() < set.len();
    let mut inside = false;
    let mut rest = list.iter().peekable();
    for each in meeting {
        while rest.next_if(|entry| entry.last < each.first).is_some() {}
        match rest.peek() {
            Some(entry) if entry.first <= each.first && each.last <= entry.last => inside = true,
            Some(entry) if entry.first <= each.last => return Relation::Crosses,
            _ => outside = true,
        }
        if inside && outside {
            return Relation::Crosses;
        }
    }
    match inside {
        true => Relation::Inside,
        false => Relation::Outside,
    }
}

/// Relations of long lists that were looked at before.
#[derive(Debug)]
pub struct Relations<T> {
    /// By where list and set lie in memory; both are held, so that nothing else can come to lie there.
    known: FxHashMap<[*const Interval<T>; 2], KnownRelation<T>>,
}

type KnownRelation<T> = (Arc<[Interval<T>]>, BoxAddresses<T>, Relation);

/// From this many elements on a relation is worth remembering.
const LONG: usize = 64;

impl<T: Point> Relations<T> {
    pub fn new() -> Self {
        Relations {
            known: FxHashMap::default(),
        }
    }

    /// The same as [`relation`].
    pub fn of(&mut self, list: &Arc<[Interval<T>]>, set: &BoxAddresses<T>) -> Relation {
        if list.len().min(set.len()) < LONG {
            return relation(list, set);
        }
        let known = self.known.entry([list.as_ptr(), set.as_ptr()]);
        known
            .or_insert_with(|| (list.clone(), set.clone(), relation(list, set)))
            .2
    }
}

/// The parts of `set` inside and outside of `list`.
pub fn split<T: RulesetNumber>(
    list: &[Interval<T>],
    set: &BoxAddresses<T>,
) -> [Option<BoxAddresses<T>>; 2] {
    match relation(list, set) {
        Relation::Inside => [Some(set.clone()), None],
        Relation::Outside => [None, Some(set.clone())],
        Relation::Crosses => {
            let mut parts = [Vec::new(), Vec::new()];
            for_pieces(list.iter().map(|each| (*each, ())), set, |piece, value| {
                parts[usize::from(value.is_none())].push(piece)
            });
            parts.map(|part| (!part.is_empty()).then(|| part.into()))
        }
    }
}

/// Where the addresses of `set` lead in a map: each target with all addresses that lead there.
pub fn by_target<T: RulesetNumber, V: Copy + Eq + Hash>(
    elements: impl Iterator<Item = (Interval<T>, V)>,
    set: &BoxAddresses<T>,
) -> Vec<(Option<V>, BoxAddresses<T>)> {
    let mut numbers: FxHashMap<Option<V>, usize> = FxHashMap::default();
    let mut parts: Vec<(Option<V>, Vec<Interval<T>>)> = Vec::new();
    // Every second piece often leads where the last but one did.
    let mut recent = [usize::MAX; 2];
    for_pieces(elements, set, |piece, target| {
        let same = |number: &usize| parts.get(*number).is_some_and(|part| part.0 == target);
        let number = recent.into_iter().find(same).unwrap_or_else(|| {
            *numbers.entry(target).or_insert_with(|| {
                parts.push((target, Vec::new()));
                parts.len() - 1
            })
        });
        parts[number].1.push(piece);
        recent = [recent[1], number];
    });
    let parts = parts.into_iter();
    parts.map(|(target, part)| (target, part.into())).collect()
}

/// Cuts a set along sorted entries: every piece with the value of the entry it lies in, or none.
fn for_pieces<T: RulesetNumber, V: Copy>(
    entries: impl Iterator<Item = (Interval<T>, V)>,
    set: &[Interval<T>],
    mut each: impl FnMut(Interval<T>, Option<V>),
) {
    let mut entries = entries.peekable();
    for interval in set {
        let mut at = Some(interval.first);
        while let Some(first) = at.filter(|point| *point <= interval.last) {
            while entries.next_if(|(entry, _)| entry.last < first).is_some() {}
            let (last, value) = match entries.peek() {
                Some((entry, value)) if entry.first <= first => (entry.last, Some(*value)),
                Some((entry, _)) if entry.first <= interval.last => (entry.first.before(), None),
                _ => (interval.last, None),
            };
            let last = last.min(interval.last);
            each(Interval { first, last }, value);
            at = last.successor();
        }
    }
}

/// From the first point to the last.
fn hull<T: Point>(list: &[Interval<T>]) -> Option<Interval<T>> {
    let (first, last) = (list.first()?.first, list.last()?.last);
    Some(Interval { first, last })
}

/// The intervals that touch `within`.
fn window<T: Point>(list: &[Interval<T>], within: Option<Interval<T>>) -> &[Interval<T>] {
    let Some(within) = within else { return &[] };
    let start = list.partition_point(|each| each.last < within.first);
    let touching = &list[start..];
    &touching[..touching.partition_point(|each| each.first <= within.last)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::interval::{contains, merged};
    use proptest::prelude::*;

    fn intervals(raw: &[(u32, u32)], shift: u32) -> Vec<Interval<u32>> {
        merged(
            raw.iter()
                .map(|(first, length)| Interval::between(first + shift, first + length + shift))
                .collect(),
        )
    }

    proptest! {
        #[test]
        fn agrees_with_brute_force(a in prop::collection::vec((0u32..40, 0u32..9), 0..7), b in prop::collection::vec((0u32..40, 0u32..9), 1..7), top in any::<bool>()) {
            let shift = if top { u32::MAX - 48 } else { 0 };
            let (list, set) = (intervals(&a, shift), intervals(&b, shift));
            let set: BoxAddresses<u32> = set.into();
            let points = || (0..=48).map(|p| p + shift).filter(|p| contains(&set, *p));
            let wanted = match (points().any(|p| contains(&list, p)), points().all(|p| contains(&list, p))) {
                (false, _) => Relation::Outside,
                (true, true) => Relation::Inside,
                (true, false) => Relation::Crosses,
            };
            prop_assert_eq!(relation(&list, &set), wanted);
            let parts = split(&list, &set);
            let elements: Vec<_> = list.iter().enumerate().map(|(at, each)| (*each, if at % 2 == 0 { NftVerdict::Accept } else { NftVerdict::Drop })).collect();
            let targets = by_target(elements.iter().map(|(each, target)| (*each, target)), &set);
            for point in (0..=48).map(|p| p + shift) {
                let inside = contains(&set, point);
                for (part, wanted) in parts.iter().zip([contains(&list, point), !contains(&list, point)]) {
                    prop_assert_eq!(part.as_ref().is_some_and(|part| contains(part, point)), inside && wanted);
                }
                let leads: Vec<_> = targets.iter().filter(|(_, part)| part.iter().any(|each| each.contains(point))).map(|(target, _)| *target).collect();
                let element = elements.iter().find(|(each, _)| each.contains(point)).map(|(_, target)| target);
                prop_assert_eq!(leads, if inside { vec![element] } else { vec![] });
            }
        }
    }
}
