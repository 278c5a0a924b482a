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

pub use change::{Change, Details, InterfacePlace, Position};
pub use groups::clone;
pub use presets::Preset;
pub use rules::RuleChange;

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
    let (definition, files) = (draft.definition, &draft.files);
    let mut edit = match change {
        Change::CreateGroup { .. }
        | Change::AddGroup(_)
        | Change::DeleteGroups(_)
        | Change::CloneGroup { .. } => groups::edit(definition, files, change),
        Change::AddRules { .. }
        | Change::ReplaceRule { .. }
        | Change::MoveRule { .. }
        | Change::DeleteRules(_) => rules::edit(definition, files, change),
        Change::Bind { .. } | Change::Unbind { .. } | Change::Order { .. } => {
            bindings::edit(definition, files, change)
        }
        Change::Reset { .. } | Change::UndoReset { .. } => reset::edit(definition, files, change),
    }?;
    edit.patches.retain(|(_, patches)| !patches.is_empty());
    Ok(edit)
}

/// A reason without a place.
fn refused(code: &'static str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Severity::Error, code, None, message)
}
