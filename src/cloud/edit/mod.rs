//! What the cloud's console does to groups, as the smallest change of a definition.
//!
//! ```text
//! Definition, Change -> Edit (patches of single files) | Refusal (every reason, with its place)
//! ```
//!
//! Pure. Whoever writes the new text judges it first: an edit is not known to be right.
//!
//! | file | subject |
//! |---|---|
//! | `change` | what can be asked for |
//! | `files` | which file holds what |
//! | `groups` | groups made, cloned and deleted |
//! | `presets` | the cloud's own groups to begin with |
//! | `rules` | single rules |
//! | `bindings` | the groups of an interface |
//! | `reset` | all-pass groups, and the way back |

mod bindings;
mod change;
mod files;
mod groups;
mod presets;
mod reset;
mod rules;
#[cfg(test)]
mod tests;

pub use change::{Change, Details, InterfacePlace, Position, RuleChange};
pub use groups::clone;
pub use presets::Preset;

use self::files::Files;
use crate::definition::patch::{FileTree, Patch};
use crate::definition::{Definition, Diagnostic, Severity};

/// The smallest change of a definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// What changes in which file: the number of the file among the definition's sources, and the changes one after the
    /// other.
    pub patches: Vec<(u32, Vec<Patch>)>,
    /// What was done, a sentence each.
    pub done: Vec<String>,
}

impl Edit {
    /// Adds changes of a file.
    fn push(&mut self, file: u32, patches: Vec<Patch>) {
        match self.patches.iter_mut().find(|(number, _)| *number == file) {
            Some((_, before)) => before.extend(patches),
            None => self.patches.push((file, patches)),
        }
    }

    /// The changes of a file so far.
    fn of(&self, file: u32) -> &[Patch] {
        let mut patches = self.patches.iter();
        let found = patches.find(|(number, _)| *number == file);
        found.map_or(&[], |(_, patches)| patches)
    }
}

/// Why a change is refused: every reason, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reasons, at least one.
    pub reasons: Vec<Diagnostic>,
}

impl From<Diagnostic> for Refusal {
    fn from(reason: Diagnostic) -> Self {
        Refusal {
            reasons: vec![reason],
        }
    }
}

/// A definition that is to be changed, with its files as values.
#[derive(Debug)]
pub struct Draft<'d> {
    /// The definition; it is valid, and the first of its sources are its own files.
    pub definition: &'d Definition,
    files: Files,
}

impl<'d> Draft<'d> {
    /// A definition whose own files are these, in the order of its sources.
    pub fn new<'a>(
        definition: &'d Definition,
        files: impl IntoIterator<Item = &'a FileTree<'a>>,
    ) -> Self {
        Draft {
            definition,
            files: Files::of(files),
        }
    }
}

/// Plans a change of a definition.
///
/// # Errors
///
/// Every reason for which the cloud would refuse it.
pub fn edit(draft: &Draft, change: &Change) -> Result<Edit, Refusal> {
    let mut edit = match change {
        Change::CreateGroup {
            id,
            details,
            preset,
        } => groups::create(draft, id, details, *preset),
        Change::AddGroup(copy) => groups::add(draft, copy),
        Change::CloneGroup {
            source,
            id,
            details,
        } => groups::clone_here(draft, source, id, details),
        Change::DeleteGroups(ids) => groups::delete(draft, ids),
        Change::AddRules { position, rules } => rules::add(draft, position, rules),
        Change::ReplaceRule { rule, change } => rules::replace(draft, rule, change),
        Change::MoveRule { rule, to } => rules::relocate(draft, rule, *to),
        Change::DeleteRules(rules) => rules::delete(draft, rules),
        Change::Bind { place, groups, at } => bindings::bind(draft, place, groups, *at),
        Change::Unbind { place, groups } => bindings::unbind(draft, place, groups),
        Change::Order { place, groups } => bindings::order(draft, place, groups),
        Change::Reset { instance, id } => reset::reset(draft, instance, id),
        Change::UndoReset { instance } => reset::undo(draft, instance),
    }?;
    edit.patches.retain(|(_, patches)| !patches.is_empty());
    Ok(edit)
}

/// A reason without a place.
fn refused(code: &'static str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Severity::Error, code, None, message)
}
