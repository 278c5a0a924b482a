//! `history-…`: the definitions that were enforced, whole, each in a file of its own.
//!
//! A file is written whole or not at all, after the policy that it is of, and [sealed](super::seal):
//!
//! ```text
//! length of the header, 4 bytes, little-endian | header, JSON | texts, compressed by zlib
//! ```
//!
//! So a process that is killed anywhere leaves some of the entries, each whole. The oldest go as new ones come: there are
//! at most [`MOST`] entries and [`MOST_BYTES`] bytes.

pub mod entry;
mod format;

use super::directory::{State, StateError};
use super::seal::SealError;
use crate::definition::Sources;
use entry::{Enforced, Entry, MOST_TEXT};

/// How many definitions are kept.
pub const MOST: usize = 50;
/// How many bytes their files have in all.
pub const MOST_BYTES: u64 = 64_000_000;
/// How the files' names begin; the number follows.
const BEGIN: &str = "history-";

/// Why an entry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// What the system refuses.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is damaged, or a later program wrote it.
    #[error("{name} cannot be used: {source}")]
    Sealed {
        /// The file's name.
        name: String,
        /// What is wrong with it.
        source: SealError,
    },
    /// It is larger than all entries together may be.
    #[error("a definition of {0} bytes is not kept in the history, even compressed")]
    TooLarge(usize),
}

/// The numbers of the entries, the oldest first.
pub fn numbers(state: &State) -> Vec<u64> {
    let names = state.names(BEGIN);
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_prefix(BEGIN)?.parse().ok())
        // No history comes so far: another file has such a name.
        .filter(|number| *number < u64::MAX / 2)
        .collect();
    numbers.sort_unstable();
    numbers
}

fn name(number: u64) -> String {
    format!("{BEGIN}{number:06}")
}

/// Reads an entry; `None` where there is none of this number.
///
/// # Errors
///
/// See [`HistoryError`].
pub fn read(state: &State, number: u64) -> Result<Option<Entry>, HistoryError> {
    let name = name(number);
    let Some(bytes) = state.read(&name)? else {
        return Ok(None);
    };
    let entry = format::read(&bytes).map_err(|source| HistoryError::Sealed { name, source })?;
    Ok(Some(entry))
}

/// Records a definition that is enforced, unless it is what was recorded last. Returns its number.
///
/// # Errors
///
/// See [`HistoryError`]; then the history is as it was.
pub fn record(
    state: &State,
    enforced: Enforced,
    sources: &Sources,
) -> Result<Option<u64>, HistoryError> {
    let numbers = numbers(state);
    let last = numbers.last().copied();
    let before = last.and_then(|last| read(state, last).ok().flatten());
    let number = last.unwrap_or(0).saturating_add(1);
    let entry = Entry::of(number, enforced, sources);
    if before.is_some_and(|before| before.says_the_same_as(&entry)) {
        return Ok(None);
    }
    let bytes = format::written(&entry);
    if bytes.len() as u64 > MOST_BYTES || entry.length() > MOST_TEXT {
        return Err(HistoryError::TooLarge(entry.length()));
    }
    state.write_atomically(&name(number), &bytes)?;
    shrink(state, MOST, MOST_BYTES);
    Ok(Some(number))
}

/// Whether a definition of this content is kept.
pub fn has(state: &State, content: &str) -> bool {
    let numbers = numbers(state).into_iter().rev();
    let mut entries = numbers.filter_map(|number| read(state, number).ok().flatten());
    entries.any(|entry| entry.head.content == content)
}

/// Removes the oldest entries until there are at most so many, and so many bytes. Returns whether one was removed.
pub fn shrink(state: &State, most: usize, most_bytes: u64) -> bool {
    let size = |number: &u64| {
        let path = state.directory().join(name(*number));
        std::fs::metadata(path).map_or(0, |found| found.len())
    };
    let numbers = numbers(state);
    let mut bytes = 0u64;
    let mut newest = numbers.iter().rev().enumerate();
    let surplus = newest.find(|(place, number)| {
        bytes = bytes.saturating_add(size(number));
        *place >= most || bytes > most_bytes
    });
    let Some((place, _)) = surplus else {
        return false;
    };
    let oldest = numbers.iter().take(numbers.len() - place);
    let mut removed = false;
    for number in oldest {
        removed |= state.remove(&name(*number)).is_ok();
    }
    removed
}

#[cfg(test)]
mod tests;
