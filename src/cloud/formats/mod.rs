//! The formats of clouds and of iptables: text in, a definition out, and the other way.
//!
//! ```text
//! text -> one reader for each format -> Inventory -> complete -> text of a definition
//! Definition -> of_definition -> Inventory -> one writer for each format -> text
//! ```
//!
//! | file | subject |
//! |---|---|
//! | [`mod@import`], `detect` | texts to a definition; which format a text has |
//! | [`export`] | a definition to another format |
//! | [`inventory`] | what all formats share |
//! | [`of_definition`], [`definition_text`] | an inventory from a definition, and as one |
//! | [`complete`], [`families`] | what an inventory names exists, and can match |
//! | [`apart`], [`cloud_templates`] | rules and templates as the cloud has them |
//! | [`values`], [`json`], [`notes`] | single values, JSON with places, what could not be kept |
//! | [`tencent`], [`terraform`], [`aws`], [`console`], [`iptables`] | one format each |

pub mod apart;
pub mod aws;
pub mod cloud_templates;
pub mod complete;
pub mod console;
pub mod definition_text;
mod detect;
pub mod error;
pub mod export;
pub mod families;
pub mod import;
pub mod inventory;
pub mod iptables;
pub mod json;
pub mod notes;
pub mod of_definition;
pub mod tencent;
pub mod terraform;
pub mod values;

pub use detect::Format;
pub use error::ImportError;
pub use import::{Imported, Input, import};
pub use notes::{Note, NoteKind};
