//! What the operator wrote, with places. It may be wrong: [`crate::policy::validate()`] judges it.
//!
//! ```text
//! text -> yaml (a tree with places) -> merge (all files) -> parse (shapes, by the table of keys) -> Definition
//! ```
//!
//! | file | subject |
//! |---|---|
//! | [`source`] | the texts, and places in them |
//! | `yaml`, `syntax` | YAML as a tree with places, and the words for what is no YAML |
//! | `recover` | what is left of a text that is no YAML, so that all faults are told at once |
//! | `merge` | several files of one definition |
//! | [`keys`], [`reader`] | every key, and how shapes are read by that table |
//! | `parse` | from the tree to the [`model`] |
//! | [`tree`], [`patch`] | values without places and their text; the smallest change of a text |
//! | [`diagnostic`], [`diagnostics`], [`codes`], `hint` | what is wrong, as data; warnings; what was probably meant |

pub mod codes;
pub mod diagnostic;
pub mod diagnostics;
mod hint;
pub mod keys;
mod merge;
pub mod model;
mod parse;
pub mod patch;
pub mod reader;
mod recover;
pub mod source;
mod syntax;
pub mod tree;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use diagnostics::Diagnostics;
pub use hint::{closest, port_of};
pub use model::Definition;
pub use parse::{Parsed, parse, parse_read};
pub use source::{LARGEST_FILE, Place, Sources, Span, acts, printable};
