//! Entries of a list by where they lie along one dimension, so that a box asks few of them.

use crate::policy::Interval;
use crate::policy::interval::Point;
use rustc_hash::FxHashMap;

/// Ends of entries to a bucket: the list is sorted into buckets along each dimension, so that a box asks few entries.
const ENDS_A_BUCKET: usize = 8;
/// Ends of one entry that count for where buckets begin.
const ENDS_OF_A_LIST: usize = 64;
/// At most so many buckets: an entry that is wide lies in all of them.
const BUCKETS: usize = 1024;

/// Entries by where they lie on a line. A bucket holds all that touch it, in order.
pub struct Buckets<T> {
    /// Where each bucket begins, from the second on.
    starts: Vec<T>,
    entries: Vec<Vec<u32>>,
}

impl<T: Point> Buckets<T> {
    /// Sorts entries, each by its intervals.
    pub fn new<'a>(lists: impl Iterator<Item = &'a [Interval<T>]> + Clone) -> Self
    where
        T: 'a,
    {
        // Of long lists a sample will do.
        let sample = |list: &'a [Interval<T>]| {
            let some = list
                .iter()
                .step_by(list.len().div_ceil(ENDS_OF_A_LIST).max(1));
            some.flat_map(|each| [Some(each.first), each.last.successor()])
                .flatten()
        };
        let mut starts: Vec<T> = lists.clone().flat_map(sample).collect();
        starts.sort_unstable();
        let step = starts.len().div_ceil(BUCKETS).max(ENDS_A_BUCKET);
        let mut starts: Vec<T> = starts.into_iter().skip(step).step_by(step).collect();
        starts.dedup();
        let mut entries = vec![Vec::new(); starts.len() + 1];
        // The buckets of each list; many entries may have one.
        let mut known: FxHashMap<*const Interval<T>, Vec<usize>> = FxHashMap::default();
        for (number, list) in lists.enumerate() {
            let touched = known
                .entry(list.as_ptr())
                .or_insert_with(|| buckets(&starts, list));
            touched
                .iter()
                .for_each(|at| entries[*at].push(number as u32));
        }
        Buckets { starts, entries }
    }

    /// The entries that can touch an interval, if it lies in one bucket.
    pub fn touching(&self, interval: Interval<T>) -> Option<&[u32]> {
        let at = bucket(&self.starts, interval.first);
        (at == bucket(&self.starts, interval.last)).then(|| self.entries[at].as_slice())
    }
}

/// The buckets that a list touches, each once.
fn buckets<T: Point>(starts: &[T], list: &[Interval<T>]) -> Vec<usize> {
    let mut touched: Vec<usize> = Vec::new();
    let mut rest = list;
    while let Some(each) = rest.first() {
        let last = bucket(starts, each.last);
        touched.extend(bucket(starts, each.first)..=last);
        // What ends in the same bucket touches no other.
        let Some(next) = starts.get(last) else { break };
        rest = &rest[rest.partition_point(|each| each.last < *next)..];
    }
    touched.dedup();
    touched
}

fn bucket<T: Point>(starts: &[T], point: T) -> usize {
    match starts.binary_search_by(|start| start.cmp(&point)) {
        Ok(at) => at + 1,
        Err(at) => at,
    }
}

/// The numbers that stand in both of two ascending lists.
#[derive(Clone, Copy)]
pub struct Common<'l> {
    pub a: &'l [u32],
    pub b: &'l [u32],
}

impl Iterator for Common<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        // Nested ranges make long lists that meet late: each jumps to where the other is.
        loop {
            let (a, b) = (*self.a.first()?, *self.b.first()?);
            if a == b {
                (self.a, self.b) = (&self.a[1..], &self.b[1..]);
                return Some(a as usize);
            }
            let behind = if a < b { &mut self.a } else { &mut self.b };
            *behind = &behind[behind.partition_point(|each| *each < a.max(b))..];
        }
    }
}
