//! What the operator wrote, with places. It may be wrong: [`crate::policy::validate`] judges it.
//!
//! ```text
//! text -> yaml (a tree with places) -> merge (all files) -> parse (shapes, by the table of keys) -> Definition
//! ```

pub mod codes;
pub mod diagnostic;
pub mod diagnostics;
mod hint;
pub mod keys;
mod merge;
pub mod model;
mod parse;
pub mod reader;
pub mod source;
mod syntax;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use diagnostics::Diagnostics;
pub use hint::closest;
pub use model::Definition;
pub use parse::{Parsed, parse};
pub use source::{LARGEST_FILE, Place, Sources, Span, acts, printable};
