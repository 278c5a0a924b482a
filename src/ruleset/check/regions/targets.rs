//! What was read of long maps and lists, for all runs.

use crate::policy::Interval;
use crate::ruleset::check::sets::{BoxAddresses, RulesetNumber, by_target, split};
use crate::ruleset::ir::NftVerdict;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Lists of at least this many elements, and of them so many, are read once: what every packet meets comes first.
const LONG: usize = 4096;
const KEPT: usize = 64;

/// Where addresses lead in a map: each target with all that lead there.
pub(super) type TargetParts<'r, T> = Rc<[(Option<&'r NftVerdict>, BoxAddresses<T>)]>;

/// The parts of a set inside and outside of a list.
pub(super) type Halves<T> = [Option<BoxAddresses<T>>; 2];

/// Where a list or a set lies in memory.
type MemoryPlace<T> = *const Interval<T>;

/// What is known of sets; each is held with it, so that nothing else can come to lie where it does.
type Remembered<T, K, V> = FxHashMap<K, (BoxAddresses<T>, V)>;

/// What long maps lead to and long lists hold of the same addresses, read once for all protocols.
#[derive(Debug)]
pub struct Targets<'r, T> {
    pub(super) whole: BoxAddresses<T>,
    /// By the map and where the set lies in memory.
    known: Remembered<T, (&'r str, MemoryPlace<T>), TargetParts<'r, T>>,
    /// By where list and set lie in memory.
    halves: Remembered<T, [MemoryPlace<T>; 2], Halves<T>>,
}

impl<'r, T: RulesetNumber> Targets<'r, T> {
    pub fn new() -> Self {
        Targets {
            whole: [T::WHOLE].into(),
            known: FxHashMap::default(),
            halves: FxHashMap::default(),
        }
    }

    pub(super) fn of(
        &mut self,
        map: &'r str,
        elements: &'r [(Interval<T>, NftVerdict)],
        set: &BoxAddresses<T>,
    ) -> TargetParts<'r, T> {
        let key = (map, set.as_ptr());
        if let Some((_, parts)) = self.known.get(&key) {
            return parts.clone();
        }
        let targets = elements.iter().map(|(each, target)| (*each, target));
        let parts: TargetParts<T> = by_target(targets, set).into();
        if elements.len().max(set.len()) >= LONG && self.known.len() < KEPT {
            self.known.insert(key, (set.clone(), parts.clone()));
        }
        parts
    }

    pub(super) fn split(&mut self, list: &'r [Interval<T>], set: &BoxAddresses<T>) -> Halves<T> {
        let key = [list.as_ptr(), set.as_ptr()];
        if let Some((_, halves)) = self.halves.get(&key) {
            return halves.clone();
        }
        let halves = split(list, set);
        if list.len().max(set.len()) >= LONG && self.halves.len() < KEPT {
            self.halves.insert(key, (set.clone(), halves.clone()));
        }
        halves
    }
}
