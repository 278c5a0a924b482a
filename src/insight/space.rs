//! An exact algebra of flows: addresses cut into parts that no list of a policy cuts further, and sets of such parts as
//! bits.
//!
//! Every list of addresses is a union of parts, so that what lists have in common, leave over or cover together is
//! exact, and costs a few machine words each time however long the lists are. A list of 100,000 addresses that all
//! rules share makes two parts.

use crate::policy::address::AddressNumber;
use crate::policy::interval::merged;
use crate::policy::{AddressSet, Interval};
use std::collections::HashMap;
use std::sync::Arc;

/// What is worked out at most before it is given up: so many steps take some seconds.
pub const MOST_WORK: u64 = 1_500_000_000;
/// So many ranges of addresses are cut into parts at most.
const MOST_RANGES: usize = 1_000_000;

/// Policies can be made that take forever; what is left of the patience with them.
#[derive(Debug)]
pub struct Work {
    left: u64,
}

/// The policy is too large to be worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many rules overlap, or too many addresses are listed, to work it out in some seconds")]
pub struct TooLarge;

impl Default for Work {
    fn default() -> Self {
        Work { left: MOST_WORK }
    }
}

impl Work {
    /// Another patience.
    pub fn of(left: u64) -> Self {
        Work { left }
    }

    /// Spends so many steps.
    pub fn spend(&mut self, steps: usize) -> Result<(), TooLarge> {
        self.left = self.left.checked_sub(steps as u64).ok_or(TooLarge)?;
        Ok(())
    }
}

/// Some of the parts. Only the words between the first and the last part are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PartSet {
    offset: usize,
    words: Box<[u64]>,
}

impl PartSet {
    /// These parts.
    pub fn of(parts: &mut [u32]) -> Self {
        parts.sort_unstable();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return PartSet::default();
        };
        let offset = *first as usize / 64;
        let mut words = vec![0; *last as usize / 64 + 1 - offset];
        for part in parts.iter() {
            words[*part as usize / 64 - offset] |= 1 << (part % 64);
        }
        let words = words.into();
        PartSet { offset, words }
    }

    /// The same of all words.
    pub fn trimmed(words: &[u64]) -> Self {
        let Some(offset) = words.iter().position(|word| *word != 0) else {
            return PartSet::default();
        };
        let end = words.iter().rposition(|word| *word != 0).unwrap_or(offset);
        let words = words[offset..=end].into();
        PartSet { offset, words }
    }

    /// How many parts.
    pub fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// Each part.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words().flat_map(|(at, word)| {
            let bits = (0..64_u32).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| at as u32 * 64 + bit)
        })
    }

    /// Each word with its place.
    pub fn words(&self) -> impl Iterator<Item = (usize, u64)> {
        let numbered = self.words.iter().enumerate();
        numbered.map(|(at, word)| (self.offset + at, *word))
    }

    /// How many words there are.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The word at this place.
    pub fn word(&self, at: usize) -> u64 {
        let at = at.checked_sub(self.offset);
        at.and_then(|at| self.words.get(at)).copied().unwrap_or(0)
    }

    /// Whether all of these are among the others.
    pub fn lies_in(&self, other: &PartSet) -> bool {
        self.words().all(|(at, word)| word & !other.word(at) == 0)
    }
}

/// How many stretches each part has, while lists split them.
#[derive(Debug)]
struct PartSizes {
    sizes: Vec<u32>,
    /// How many of them lie in the list.
    inside: Vec<u32>,
    /// What those become; of parts that the list does not touch it says nothing.
    becomes: Vec<u32>,
    touched: Vec<u32>,
}

impl PartSizes {
    /// One part of so many stretches.
    fn one(stretches: usize) -> Self {
        PartSizes {
            sizes: vec![stretches as u32],
            inside: vec![0],
            becomes: vec![0],
            touched: Vec::new(),
        }
    }

    /// One more stretch of a part.
    fn lies_inside(&mut self, part: u32) {
        let inside = &mut self.inside[part as usize];
        if *inside == 0 {
            self.touched.push(part);
        }
        *inside += 1;
    }

    /// Makes new parts of what lies inside of some, and forgets the list.
    fn split(&mut self) {
        for part in self.touched.drain(..) {
            let at = part as usize;
            let inside = std::mem::take(&mut self.inside[at]);
            self.becomes[at] = part;
            if inside < self.sizes[at] {
                self.becomes[at] = self.sizes.len() as u32;
                self.sizes[at] -= inside;
                self.sizes.push(inside);
                self.inside.push(0);
                self.becomes.push(0);
            }
        }
    }
}

type Intervals<T> = Arc<[Interval<T>]>;

/// All addresses of a family, cut into parts by lists.
#[derive(Debug)]
pub struct Space<T> {
    /// Where a stretch begins that no list cuts, in order; the first begins at the first address.
    starts: Vec<T>,
    /// The part that each stretch belongs to: stretches that lie in the same lists are one part.
    part_of: Vec<u32>,
    parts: usize,
    /// By where the list lies in memory; each is held, so that nothing else can come to lie there.
    lists: HashMap<*const Interval<T>, (Intervals<T>, PartSet)>,
}

impl<T: AddressNumber> Space<T> {
    /// Cuts the addresses by these lists.
    pub fn new<'s>(
        sets: impl IntoIterator<Item = &'s AddressSet>,
        work: &mut Work,
    ) -> Result<Self, TooLarge> {
        // Equal lists cut alike: one of each is looked at.
        let mut places: HashMap<*const Interval<T>, Intervals<T>> = HashMap::new();
        let mut distinct: Vec<Intervals<T>> = Vec::new();
        let mut by_content: HashMap<Intervals<T>, usize> = HashMap::new();
        let (mut ranges, mut same) = (0, Vec::new());
        for set in sets {
            let list = T::in_set(set);
            if list.is_empty() || places.contains_key(&list.as_ptr()) {
                continue;
            }
            places.insert(list.as_ptr(), list.clone());
            work.spend(list.len())?;
            let number = *by_content.entry(list.clone()).or_insert_with(|| {
                ranges += list.len();
                distinct.push(list.clone());
                distinct.len() - 1
            });
            same.push((list, number));
        }
        drop(by_content);
        if ranges > MOST_RANGES {
            return Err(TooLarge);
        }
        let mut starts = vec![T::WHOLE.first];
        for interval in distinct.iter().flat_map(|list| list.iter()) {
            starts.push(interval.first);
            starts.extend(interval.last.successor());
        }
        starts.sort_unstable();
        starts.dedup();
        let mut parts = PartSizes::one(starts.len());
        let mut space = Space {
            part_of: vec![0; starts.len()],
            starts,
            parts: 1,
            lists: HashMap::new(),
        };
        for list in &distinct {
            space.refine(list, &mut parts, work)?;
        }
        space.number();
        let mut bits = Vec::new();
        for list in &distinct {
            let mut parts = Vec::new();
            for stretch in list.iter().flat_map(|interval| space.stretches(interval)) {
                parts.push(space.part_of[stretch]);
            }
            work.spend(parts.len())?;
            bits.push(PartSet::of(&mut parts));
        }
        let known = same.into_iter();
        let known = known.map(|(list, number)| (list.as_ptr(), (list, bits[number].clone())));
        space.lists = known.collect();
        Ok(space)
    }

    /// The stretches that make an interval of a list.
    fn stretches(&self, interval: &Interval<T>) -> std::ops::Range<usize> {
        let first = self.starts.partition_point(|start| *start < interval.first);
        let after = self.starts.partition_point(|start| *start <= interval.last);
        first..after
    }

    /// Parts that lie in a list and outside of it become two. Each stretch of the list is looked at twice, and nothing
    /// else.
    fn refine(
        &mut self,
        list: &[Interval<T>],
        parts: &mut PartSizes,
        work: &mut Work,
    ) -> Result<(), TooLarge> {
        for interval in list {
            let stretches = self.stretches(interval);
            work.spend(stretches.len() + 20)?;
            for part in &self.part_of[stretches] {
                parts.lies_inside(*part);
            }
        }
        parts.split();
        for interval in list {
            let stretches = self.stretches(interval);
            for part in &mut self.part_of[stretches] {
                *part = parts.becomes[*part as usize];
            }
        }
        Ok(())
    }

    /// Numbers the parts anew, in the order of addresses: neighbours come to lie in one word.
    fn number(&mut self) {
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for part in &mut self.part_of {
            let next = numbers.len() as u32;
            *part = *numbers.entry(*part).or_insert(next);
        }
        self.parts = numbers.len();
    }

    /// The parts of a list that the space was made with; none for another.
    pub fn bits(&self, set: &AddressSet) -> Option<&PartSet> {
        let list = T::in_set(set);
        self.lists.get(&list.as_ptr()).map(|(_, bits)| bits)
    }

    /// How many words all parts take.
    pub fn width(&self) -> usize {
        self.parts.div_ceil(64)
    }

    /// Every part.
    pub fn whole(&self) -> Vec<u64> {
        let mut words = vec![u64::MAX; self.width()];
        if let (Some(last), rest @ 1..) = (words.last_mut(), self.parts % 64) {
            *last = (1 << rest) - 1;
        }
        words
    }

    /// How many stretches there are: what it costs to list addresses.
    pub fn stretches_at_all(&self) -> usize {
        self.starts.len()
    }

    /// The addresses of these parts.
    pub fn intervals(&self, words: &[u64]) -> Vec<Interval<T>> {
        let mut out = Vec::new();
        for (at, (first, part)) in self.starts.iter().zip(&self.part_of).enumerate() {
            let part = *part as usize;
            if words
                .get(part / 64)
                .is_some_and(|word| word >> (part % 64) & 1 == 1)
            {
                let next = self.starts.get(at + 1);
                let last = next.map_or(T::WHOLE.last, |next| next.before());
                out.push(Interval::between(*first, last));
            }
        }
        merged(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::interval::contains;
    use proptest::prelude::*;

    fn set(ranges: &[(u32, u32)]) -> Option<AddressSet> {
        let ranges = ranges
            .iter()
            .map(|(first, length)| Interval::between(*first, first.saturating_add(*length)));
        AddressSet::of(ranges.collect(), vec![])
    }

    proptest! {
        /// What lists cover, share and leave over is the same point by point.
        #[test]
        fn parts_are_exact(lists in prop::collection::vec(prop::collection::vec((0u32..40, 0u32..12), 0..4), 1..6), top in any::<bool>()) {
            let shift = if top { u32::MAX - 51 } else { 0 };
            let sets: Vec<AddressSet> = lists.iter().filter_map(|list| {
                let moved: Vec<_> = list.iter().map(|(first, length)| (first + shift, *length)).collect();
                set(&moved)
            }).collect();
            let space = Space::<u32>::new(&sets, &mut Work::default()).unwrap();
            let mut left = space.whole();
            for each in &sets {
                let bits = space.bits(each).unwrap();
                let mut own = vec![0; space.width()];
                bits.words().for_each(|(at, word)| own[at] |= word);
                prop_assert_eq!(&*space.intervals(&own), each.v4());
                for other in &sets {
                    let inside = each.v4().iter().all(|i| (i.first..=i.last).all(|point| contains(other.v4(), point)));
                    prop_assert_eq!(bits.lies_in(space.bits(other).unwrap()), inside);
                }
                bits.words().for_each(|(at, word)| left[at] &= !word);
            }
            let rest = space.intervals(&left);
            for point in (0..=60).map(|point: u32| shift.saturating_add(point)).chain([0, 1 << 31, u32::MAX]) {
                let covered = sets.iter().any(|each| contains(each.v4(), point));
                prop_assert_eq!(contains(&rest, point), !covered);
            }
        }
    }

    #[test]
    fn a_long_list_that_all_share_makes_two_parts() {
        let long: Vec<(u32, u32)> = (0..100_000).map(|at| (at * 4, 0)).collect();
        let long = set(&long).unwrap();
        let sets = [long.clone(), AddressSet::any(), long];
        let space = Space::<u32>::new(&sets, &mut Work::default()).unwrap();
        assert_eq!(space.parts, 2);
        assert!(Space::<u32>::new(&sets, &mut Work::of(1000)).is_err());
    }
}
