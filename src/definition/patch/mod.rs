//! The smallest change of a definition file's text.
//!
//! A [`Patch`] names a place by keys and numbers. It is applied twice: to the text, by the places of the nodes that it
//! touches, and to the values that the text stands for. The new text must read as exactly the new values: whatever stands
//! between, comments, order, quotes, styles and line ends, stays, and what cannot be changed so is refused.
//!
//! | file | subject |
//! |---|---|
//! | `find` | from a path to a node |
//! | `lines` | lines, indents, and the comments that belong to an item |
//! | `collection` | the children of a list or a mapping, and what belongs to each |
//! | `splice` | what a patch does to the text |
//! | `values` | what it does to the values |

mod collection;
mod find;
mod lines;
mod splice;
#[cfg(test)]
mod tests;
mod values;

use super::tree::Tree;
use super::yaml::{YamlNode, parse};
use std::ops::Range;

/// A step on the way to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list, counted from 0.
    Item(usize),
}

/// The way from a file's root to a node.
pub type Path = Vec<Step>;

/// A path of keys.
pub fn keys<'k>(keys: impl IntoIterator<Item = &'k str>) -> Path {
    let keys = keys.into_iter();
    keys.map(|key| Step::Key(key.to_owned())).collect()
}

/// Where a new entry of a mapping goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// Behind all others.
    End,
    /// Behind the entry of this key.
    Behind(String),
    /// Behind the last entry whose key stands before it in this list.
    Order(&'static [&'static str]),
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patch {
    /// An item becomes the one with this number, in a list that has items already.
    Insert {
        /// The list.
        list: Path,
        /// The item's number.
        at: usize,
        /// The item.
        value: Tree,
    },
    /// An item goes.
    Remove {
        /// The list.
        list: Path,
        /// The item's number.
        at: usize,
    },
    /// An item takes another place, with its comments.
    Move {
        /// The list.
        list: Path,
        /// The item's number.
        from: usize,
        /// Its number afterwards.
        to: usize,
    },
    /// A key has this value. Where its value is equal already, nothing changes.
    Set {
        /// The mapping.
        map: Path,
        /// The key.
        key: String,
        /// Its value.
        value: Tree,
        /// Where it goes if it is new.
        spot: Spot,
    },
    /// A comment comes behind a value, at the end of its last line. Values stay.
    Comment {
        /// The value.
        at: Path,
        /// The comment, from its `#` on.
        text: String,
    },
    /// A comment goes, with the blanks before it. Values stay.
    Uncomment {
        /// The comment, from its `#` to the end of its line.
        text: String,
    },
    /// A key goes, if it is there.
    Unset {
        /// The mapping.
        map: Path,
        /// The key.
        key: String,
    },
}

/// Why a text cannot be changed so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The text is no YAML, or has another fault that `check` names.
    #[error("the file has faults")]
    Faults,
    /// There is no such node.
    #[error("nothing stands there")]
    Missing,
    /// What would change is written elsewhere, for several places.
    #[error(
        "`*{name}` stands here: what would change is written where `&{name}` is, and used elsewhere too"
    )]
    Shared {
        /// Where the alias stands.
        at: Range<usize>,
        /// Its name.
        name: String,
    },
    /// It would change something else, as where an alias stands for what is changed.
    #[error("the text cannot be changed here without changing something else")]
    Elsewhere {
        /// Where.
        at: Range<usize>,
    },
}

impl PatchError {
    /// Where in the text, if at one place.
    pub fn place(&self) -> Option<Range<usize>> {
        match self {
            // What would change elsewhere is not at the place of the change.
            PatchError::Faults | PatchError::Missing | PatchError::Elsewhere { .. } => None,
            PatchError::Shared { at, .. } => Some(at.clone()),
        }
    }
}

/// Part of a text that another takes the place of.
type Splice = (Range<usize>, String);

/// A file without faults as a tree, which is read once for all that is asked of it.
#[derive(Debug, Clone)]
pub struct FileTree<'a> {
    /// The byte order mark.
    mark: &'a str,
    text: &'a str,
    node: YamlNode<'a>,
}

impl<'a> FileTree<'a> {
    /// Reads the file of this number among a definition's; `None` where it has faults.
    pub fn read(source: u32, whole: &'a str) -> Option<Self> {
        let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
        let mark = &whole[..whole.len() - text.len()];
        match parse(source, text) {
            (Some(node), diagnostics) if diagnostics.is_empty() => {
                Some(FileTree { mark, text, node })
            }
            _ => None,
        }
    }

    /// Its root.
    pub(super) fn node(&self) -> &YamlNode<'a> {
        &self.node
    }

    /// What it stands for.
    pub fn values(&self) -> Tree {
        Tree::from(&self.node)
    }

    /// Applies patches to the text, one after the other. A byte order mark stays.
    ///
    /// # Errors
    ///
    /// Then no text is returned.
    pub fn patched(&self, patches: &[Patch]) -> Result<Patched, PatchError> {
        let mut values = self.values();
        let mut text = self.text.to_owned();
        let mut last = 0..0;
        let mut is_changed = false;
        for patch in patches {
            values::apply(&mut values, patch)?;
            let splices = match is_changed {
                false => splice::splices(&text, &self.node, patch)?,
                true => {
                    let tree = FileTree::read(0, &text);
                    let tree = tree.ok_or(PatchError::Elsewhere { at: last.clone() })?;
                    splice::splices(&text, &tree.node, patch)?
                }
            };
            if let Some((range, _)) = splices.first() {
                last = range.clone();
                text = spliced(&text, splices);
                is_changed = true;
            }
        }
        Ok(Patched {
            text: self.mark.to_owned() + &text,
            values,
            last,
        })
    }
}

/// A text that was changed, and what it must stand for.
#[derive(Debug)]
pub struct Patched {
    /// The new text.
    pub text: String,
    values: Tree,
    last: Range<usize>,
}

impl Patched {
    /// The new text as the tree of the file of this number.
    ///
    /// # Errors
    ///
    /// Where it does not stand for exactly what was meant.
    pub fn tree(&self, source: u32) -> Result<FileTree<'_>, PatchError> {
        match FileTree::read(source, &self.text) {
            Some(tree) if tree.values() == self.values => Ok(tree),
            _ => Err(PatchError::Elsewhere {
                at: self.last.clone(),
            }),
        }
    }
}

/// Applies patches to a file's text.
///
/// # Errors
///
/// See [`FileTree::patched`].
pub fn patched(text: &str, patches: &[Patch]) -> Result<String, PatchError> {
    let tree = FileTree::read(0, text).ok_or(PatchError::Faults)?;
    let patched = tree.patched(patches)?;
    patched.tree(0).map(|_| ())?;
    Ok(patched.text)
}

/// Replaces parts that do not overlap.
fn spliced(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(text.len() + 200);
    let mut done = 0;
    for (range, new) in splices {
        out += &text[done..range.start];
        out += &new;
        done = range.end;
    }
    out + &text[done..]
}
