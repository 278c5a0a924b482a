//! Closed intervals, and sets of them: sorted, merged, never empty.

use serde::{Deserialize, Serialize};
use std::hash::Hash;

/// From `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval<T> {
    /// The lowest point.
    pub first: T,
    /// The highest point, at least `first`.
    pub last: T,
}

/// A number on a line that ends on both sides.
pub trait Point: Copy + Ord + Hash {
    /// The whole line.
    const WHOLE: Interval<Self>;
    /// The next one, or `None` after the highest.
    fn successor(self) -> Option<Self>;
    /// The one before; asked only where there is one.
    fn before(self) -> Self;
}

macro_rules! point {
    ($($number:ty),*) => { $(
        impl Point for $number {
            const WHOLE: Interval<Self> = Interval::between(0, <$number>::MAX);
            fn successor(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn before(self) -> Self {
                self - 1
            }
        }
    )* };
}
point!(u8, u16, u32, u128);

impl<T> Interval<T> {
    /// From `first` to `last`, which does not lie before it.
    pub const fn between(first: T, last: T) -> Self {
        Interval { first, last }
    }
}

impl<T: Copy> Interval<T> {
    /// One point.
    pub const fn point(point: T) -> Self {
        Interval::between(point, point)
    }
}

impl<T: Point> Interval<T> {
    /// From `first` to `last`; `None` if reversed.
    pub fn new(first: T, last: T) -> Option<Self> {
        (first <= last).then_some(Interval { first, last })
    }

    /// Whether the point lies in it.
    pub fn contains(&self, point: T) -> bool {
        self.first <= point && point <= self.last
    }
}

/// Sorts intervals and merges those that overlap or touch: nftables refuses overlapping elements.
pub fn merged<T: Point>(mut intervals: Vec<Interval<T>>) -> Vec<Interval<T>> {
    let apart = |pair: &[Interval<T>]| {
        let after = pair[0].last.successor();
        after.is_some_and(|after| after < pair[1].first)
    };
    if intervals.windows(2).all(apart) {
        return intervals;
    }
    intervals.sort_unstable_by_key(|interval| interval.first);
    let mut out: Vec<Interval<T>> = Vec::with_capacity(intervals.len());
    for next in intervals {
        match out.last_mut() {
            // `None` after the highest point: everything that follows lies inside.
            Some(previous)
                if previous
                    .last
                    .successor()
                    .is_none_or(|after| next.first <= after) =>
            {
                previous.last = previous.last.max(next.last);
            }
            _ => out.push(next),
        }
    }
    out
}

/// What of `whole` does not lie in `hole`; both merged, and so is the result.
pub fn without<T: Point>(whole: &[Interval<T>], hole: &[Interval<T>]) -> Vec<Interval<T>> {
    let mut out = Vec::new();
    for interval in whole {
        let mut rest = Some(*interval);
        // Of long lists only what meets the interval is looked at.
        let first = hole.partition_point(|cut| cut.last < interval.first);
        for cut in &hole[first..] {
            let Some(now) = rest.filter(|now| cut.first <= now.last) else {
                break;
            };
            if cut.first > now.first {
                out.push(Interval::between(now.first, cut.first.before()));
            }
            rest = cut
                .last
                .successor()
                .and_then(|after| Interval::new(after, now.last));
        }
        out.extend(rest);
    }
    out
}

/// Whether a merged list holds the point.
pub fn contains<T: Point>(merged: &[Interval<T>], point: T) -> bool {
    let after = merged.partition_point(|interval| interval.first <= point);
    after > 0 && merged[after - 1].contains(point)
}

/// Whether two merged lists share a point.
pub fn touch<T: Point>(one: &[Interval<T>], other: &[Interval<T>]) -> bool {
    let (few, many) = match one.len() <= other.len() {
        true => (one, other),
        false => (other, one),
    };
    few.iter().any(|each| {
        let at = many.partition_point(|entry| entry.last < each.first);
        many.get(at).is_some_and(|entry| entry.first <= each.last)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_brute_force(pairs in prop::collection::vec((0u16..60, 0u16..12), 0..12), holes in prop::collection::vec((0u16..60, 0u16..12), 0..6), top in any::<bool>()) {
            // The same near both ends of the number line.
            let shift = if top { u16::MAX - 71 } else { 0 };
            let make = |pairs: &[(u16, u16)]| -> Vec<Interval<u16>> {
                pairs.iter().map(|(first, length)| Interval { first: first + shift, last: first + length + shift }).collect()
            };
            let (raw, raw_holes) = (make(&pairs), make(&holes));
            let (set, hole) = (merged(raw.clone()), merged(raw_holes.clone()));
            let rest = without(&set, &hole);
            for list in [&set, &hole, &rest] {
                prop_assert!(list.windows(2).all(|pair| pair[0].last < u16::MAX && pair[0].last + 1 < pair[1].first));
            }
            for point in (0..=72).map(|p: u16| shift.saturating_add(p)) {
                let inside = raw.iter().any(|interval| interval.contains(point));
                let in_hole = raw_holes.iter().any(|interval| interval.contains(point));
                prop_assert_eq!(contains(&set, point), inside);
                prop_assert_eq!(contains(&rest, point), inside && !in_hole);
            }
        }
    }
}
