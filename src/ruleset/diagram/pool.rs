//! Functions of a dimension, each stored once; the like of one another as differences from a common base.

use super::paint::{Function, difference};
use crate::policy::interval::Point;
use rustc_hash::FxHashMap;

/// How a function of a pool is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEntry<T> {
    /// All of it.
    Whole(Function<T, u32>),
    /// What differs from the base, which decides about the rest; `None` where the base would decide and nothing should.
    Difference(Function<T, Option<u32>>),
}

/// Functions, each once. Values are numbers of clauses.
#[derive(Debug)]
pub struct Pool<T> {
    /// Each with its number.
    known: FxHashMap<Function<T, u32>, u32>,
}

impl<T: Point> Default for Pool<T> {
    fn default() -> Self {
        Pool {
            known: FxHashMap::default(),
        }
    }
}

/// A pool that is finished: how each function is written, and which is the base of the differences.
#[derive(Debug, Clone)]
pub struct WrittenPool<T> {
    /// The functions, by number.
    pub entries: Vec<PoolEntry<T>>,
    /// The base, if there are differences.
    pub base: Option<u32>,
    /// Pieces in all.
    pub cost: usize,
}

/// Fewer functions than this are written whole: a difference costs a packet one more lookup.
const FEW_FUNCTIONS: usize = 8;

impl<T: Point> Pool<T> {
    /// The number of a function.
    pub fn add(&mut self, function: Function<T, u32>) -> u32 {
        let next = self.known.len() as u32;
        *self.known.entry(function).or_insert(next)
    }

    /// Decides how to write each function: whole, or as its difference from one base where that saves half.
    ///
    /// A staircase of nested ranges makes n functions of up to n pieces, which differ from the longest in one
    /// piece each: n²/4 pieces whole, 2n as differences.
    pub fn write(self) -> WrittenPool<T> {
        let mut functions: Vec<(Function<T, u32>, u32)> = self.known.into_iter().collect();
        functions.sort_unstable_by_key(|(_, number)| *number);
        let functions: Vec<_> = functions
            .into_iter()
            .map(|(function, _)| function)
            .collect();
        let whole: usize = functions.iter().map(|function| function.len() + 1).sum();
        let longest = (0..functions.len()).max_by_key(|at| functions[*at].len());
        let plain = |functions: Vec<Function<T, u32>>| WrittenPool {
            entries: functions.into_iter().map(PoolEntry::Whole).collect(),
            base: None,
            cost: whole,
        };
        let Some(base) = longest.filter(|_| functions.len() >= FEW_FUNCTIONS) else {
            return plain(functions);
        };
        let differences: Vec<Option<Function<T, Option<u32>>>> = functions
            .iter()
            .enumerate()
            .map(|(at, function)| {
                // A difference must save more than the jump to the base costs.
                let at_most = (function.len() / 2).checked_sub(1).filter(|_| at != base)?;
                difference(function, &functions[base], at_most)
            })
            .collect();
        let pieces = differences.iter().zip(&functions);
        let cost: usize = pieces
            .map(|(difference, function)| {
                1 + difference
                    .as_ref()
                    .map_or(function.len(), |pieces| pieces.len() + 1)
            })
            .sum();
        if cost * 2 > whole {
            return plain(functions);
        }
        let entries = differences
            .into_iter()
            .zip(functions)
            .map(|(difference, function)| match difference {
                Some(difference) => PoolEntry::Difference(difference),
                None => PoolEntry::Whole(function),
            });
        WrittenPool {
            entries: entries.collect(),
            base: Some(base as u32),
            cost,
        }
    }
}
