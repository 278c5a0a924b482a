//! `import` and `export`: fixtures of each format, identities over random definitions, a real dump of iptables, and
//! damaged input.
//!
//! Each folder of `tests/formats/` is a case: `input.*`, the definition and the notes that it gives.
//! `UPDATE_EXPECT=1 cargo test --test formats` rewrites what is expected; read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code, reason = "the policy of a case is for others")]
#[path = "definitions/cases.rs"]
mod cases;
#[path = "formats/command.rs"]
mod command;
#[path = "formats/damaged.rs"]
mod damaged;
#[path = "formats/fixtures.rs"]
mod fixtures;
mod generate;
#[path = "formats/identity.rs"]
mod identity;
#[path = "formats/lines.rs"]
mod lines;

use secgroupd::cloud::formats::{Imported, Input, import};

/// Imports texts that must be right.
fn imported(inputs: &[(&str, &str)], group: Option<&str>) -> Imported {
    import(&named(inputs), None, group).unwrap_or_else(|error| panic!("{error}"))
}

fn named(inputs: &[(&str, &str)]) -> Vec<Input> {
    let inputs = inputs.iter().map(|(name, text)| Input {
        name: (*name).to_owned(),
        text: (*text).to_owned(),
    });
    inputs.collect()
}
