//! The texts a definition was read from, and places in them.

use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The largest file, in bytes: 16 MB.
pub const LARGEST_FILE: usize = 16_000_000;

/// A file that belongs to a definition: the path to show, and what was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as the operator would write it.
    pub path: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
    /// The byte offset at which each line starts, once a place is asked for: of a hundred thousand right lines none is.
    line_starts: OnceLock<Arc<[u32]>>,
}

/// All files of a definition, in the order in which they were read.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// A stretch of one file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Index of the file in [`Sources`].
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A file and a line, printed as `groups.yaml:14`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The path as the operator would write it.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u32,
}

impl Sources {
    /// Adds a file and returns its index.
    pub fn add(&mut self, path: &str, text: &str) -> u32 {
        self.files.push(Source {
            path: path.into(),
            text: text.into(),
            line_starts: OnceLock::new(),
        });
        self.files.len() as u32 - 1
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether these are the same files with the same texts.
    pub fn say_the_same_as(&self, other: &Sources) -> bool {
        let same = |(a, b): (&Source, &Source)| a.path == b.path && a.text == b.text;
        self.files.len() == other.files.len() && self.files.iter().zip(&other.files).all(same)
    }

    /// All files.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.files.iter()
    }

    /// The file with this index, as [`Sources::add`] gave it.
    pub fn get(&self, source: u32) -> &Source {
        &self.files[source as usize]
    }

    /// The file and line in which a span starts.
    pub fn place(&self, span: Span) -> Place {
        let source = self.get(span.source);
        Place {
            file: source.path.clone(),
            line: source.line_of(span.start),
        }
    }
}

impl Source {
    fn line_starts(&self) -> &[u32] {
        self.line_starts.get_or_init(|| {
            let breaks = self.text.match_indices('\n');
            let after = breaks.map(|(at, _)| at as u32 + 1);
            std::iter::once(0).chain(after).collect()
        })
    }

    /// The line of a byte, counted from 1. Its column takes longer in a long line.
    fn line_of(&self, byte: u32) -> u32 {
        self.line_starts().partition_point(|start| *start <= byte) as u32
    }

    /// Line and column of a byte, both counted from 1, the column in characters.
    pub fn position(&self, byte: u32) -> (u32, u32) {
        let line = self.line_of(byte);
        let start = self.line_starts()[line as usize - 1] as usize;
        let end = (byte as usize).min(self.text.len());
        let column = self
            .text
            .get(start..end)
            .map_or(0, |text| text.chars().count());
        (line, column as u32 + 1)
    }

    /// The bytes of a line (counted from 1) without its line break.
    pub fn line(&self, line: u32) -> std::ops::Range<usize> {
        let starts = self.line_starts();
        let start = starts[line as usize - 1] as usize;
        let end = starts
            .get(line as usize)
            .map_or(self.text.len(), |next| *next as usize);
        let text = &self.text[start..end];
        start..start + text.trim_end_matches(['\n', '\r']).len()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", printable(&self.file), self.line)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether a character could act on a terminal or forge a line of a log.
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The text with every character escaped that could act on a terminal or forge a log line.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let mut sources = Sources::default();
        let index = sources.add("a.yaml", "äb\ncd\r\n\nx");
        let source = sources.get(index);
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(2), (1, 2));
        assert_eq!(source.position(4), (2, 1));
        assert_eq!(source.position(9), (4, 1));
        assert_eq!(&source.text[source.line(2)], "cd");
        let span = Span {
            source: index,
            start: 4,
            end: 5,
        };
        assert_eq!(sources.place(span).to_string(), "a.yaml:2");
    }

    #[test]
    fn nothing_printed_acts_on_a_terminal() {
        assert_eq!(
            printable("a\x1b[2Jb\nc\u{202e}"),
            "a\\u{1b}[2Jb\\u{a}c\\u{202e}"
        );
        assert_eq!(printable("ins-web1 日本"), "ins-web1 日本");
    }
}
