//! What an import or export says beside its result: what could not be kept, and what was assumed.

use serde::Serialize;
use std::collections::HashSet;

/// The most notes that are kept one by one; further ones are counted.
const MOST: usize = 100_000;

/// What a note says about its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteKind {
    /// It is in the input and not in the output.
    NotKept,
    /// It is in the output, by a choice that the reader should know.
    Assumed,
}

/// One remark about one place of the input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Note {
    /// What it says.
    pub kind: NoteKind,
    /// Where: file and line, or file and JSON path.
    pub place: String,
    /// The sentence.
    pub message: String,
}

/// Collects notes: each once, in the order of their finding, and boundedly many.
#[derive(Debug, Default)]
pub struct Notes {
    notes: Vec<Note>,
    seen: HashSet<Note>,
    more: usize,
}

impl Notes {
    /// Something is left out.
    pub fn not_kept(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.add(NoteKind::NotKept, place.into(), message.into());
    }

    /// Something is read in one of several ways.
    pub fn assumed(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.add(NoteKind::Assumed, place.into(), message.into());
    }

    fn add(&mut self, kind: NoteKind, place: String, message: String) {
        let note = Note {
            kind,
            place,
            message,
        };
        if self.seen.contains(&note) {
            return;
        }
        if self.notes.len() >= MOST {
            self.more += 1;
            return;
        }
        self.seen.insert(note.clone());
        self.notes.push(note);
    }

    /// The places that have a note.
    pub fn places(&self) -> HashSet<String> {
        self.notes.iter().map(|note| note.place.clone()).collect()
    }

    /// All of them.
    pub fn into_vec(mut self) -> Vec<Note> {
        if self.more > 0 {
            self.notes.push(Note {
                kind: NoteKind::NotKept,
                place: "further places".to_owned(),
                message: format!("{} more notes are not listed: split the input", self.more),
            });
        }
        self.notes
    }
}
