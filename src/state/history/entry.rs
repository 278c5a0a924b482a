//! A definition that was enforced, and what is said of it.

use crate::definition::Sources;
use crate::policy::InstanceId;
use crate::source::load::{Loaded, judge_at};
use crate::state::author::Author;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most that the texts of one have.
pub(super) const MOST_TEXT: usize = 256_000_000;

/// What is said of a definition that was enforced. Fields may be added with a default, and none taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number: each is one more than the last.
    pub number: u64,
    /// When it was enforced, in seconds since 1970.
    pub at: u64,
    /// As which generation.
    pub generation: u64,
    /// Where it stood.
    pub definition: PathBuf,
    /// The instance that enforced it.
    pub instance: InstanceId,
    /// The instances whose TCP 25 was unblocked.
    pub unblocked: BTreeSet<InstanceId>,
    /// Who has changed it.
    pub author: Author,
    /// The hash of its texts.
    pub content: String,
    /// Path and length of each text, in bytes.
    pub(super) files: Vec<(String, usize)>,
    /// How many of them are files of the definition itself; the others are of templates.
    pub(super) definition_files: usize,
}

/// A definition that was enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What is said of it.
    pub head: Head,
    pub(super) text: String,
}

/// What becomes an entry, beside the texts.
#[derive(Debug, Clone)]
pub struct Enforced {
    /// See [`Head`].
    pub at: u64,
    /// See [`Head`].
    pub generation: u64,
    /// See [`Head`].
    pub definition: PathBuf,
    /// See [`Head`].
    pub instance: InstanceId,
    /// See [`Head`].
    pub unblocked: BTreeSet<InstanceId>,
    /// See [`Head`].
    pub author: Author,
    /// See [`Head`].
    pub content: String,
    /// How many of the texts are files of the definition itself.
    pub definition_files: usize,
}

impl Entry {
    /// An entry of these texts.
    pub(super) fn of(number: u64, enforced: Enforced, sources: &Sources) -> Self {
        let files = sources.iter();
        let files = files.map(|source| (source.path.to_string(), source.text.len()));
        let Enforced {
            at,
            generation,
            definition,
            instance,
            unblocked,
            author,
            content,
            definition_files,
        } = enforced;
        Entry {
            head: Head {
                number,
                at,
                generation,
                definition,
                instance,
                unblocked,
                author: author.shortened(),
                content,
                files: files.collect(),
                definition_files,
            },
            text: sources.iter().map(|source| &*source.text).collect(),
        }
    }

    /// Path and text of each file of the definition.
    pub fn definition_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().take(self.head.definition_files)
    }

    /// Path and text of each file that a template named.
    pub fn template_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().skip(self.head.definition_files)
    }

    /// Of a text that is cut short the rest is empty.
    fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0usize;
        self.head.files.iter().map(move |(path, length)| {
            let end = start.saturating_add(*length);
            let text = self.text.get(start..end).unwrap_or_default();
            start = end;
            (path.as_str(), text)
        })
    }

    /// The definition, judged as when it was enforced.
    pub fn loaded(&self) -> Loaded {
        let templates: BTreeMap<&str, &str> = self.template_files().collect();
        let template = |path: &Path| match templates.get(&*path.to_string_lossy()) {
            Some(text) => Ok((*text).to_owned()),
            None => Err("it was not kept".to_owned()),
        };
        judge_at(self.definition_files(), template, Vec::new(), self.head.at)
    }

    /// How long its texts are, in bytes.
    pub fn length(&self) -> usize {
        self.text.len()
    }
}

impl Entry {
    /// Whether it is the same definition, of the same instance.
    pub(super) fn says_the_same_as(&self, other: &Self) -> bool {
        let (one, other) = (&self.head, &other.head);
        one.content == other.content
            && one.files == other.files
            && one.definition_files == other.definition_files
            && one.definition == other.definition
            && one.instance == other.instance
    }
}
