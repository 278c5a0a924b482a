//! A definition to the format of another program.

use super::notes::{Note, Notes};
use super::of_definition::of_definition;
use super::{tencent, terraform};
use crate::definition::Definition;
use serde_json::Value;

/// A format of a cloud that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Objects of the cloud's API.
    Tencent,
    /// Resources of Terraform's provider, in Terraform's JSON syntax.
    Terraform,
}

/// What a definition is there, and what could not be kept.
#[derive(Debug)]
pub struct Exported {
    /// The document.
    pub document: Value,
    /// What could not be kept, and what was assumed.
    pub notes: Vec<Note>,
}

/// Writes a definition that [`crate::policy::validate()`] found right.
pub fn export(definition: &Definition, target: Target) -> Exported {
    let mut notes = Notes::default();
    let inventory = of_definition(definition, &mut notes);
    let document = match target {
        Target::Tencent => tencent::write::write(&inventory, &mut notes),
        Target::Terraform => terraform::write::write(&inventory, &mut notes),
    };
    Exported {
        document,
        notes: notes.into_vec(),
    }
}
