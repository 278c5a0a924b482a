//! Input that means harm: what it may cost, what it may say, and what the fuzzers have found.
//!
//! `SECGROUPD_FULL=1` takes files of 16 MB where the short form takes 1.5 MB and less, and prints what each costs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test"
)]

mod generate;
mod support;

mod hostile {
    pub mod bounds;
    pub mod cases;
    #[path = "../../fuzz/checks/definition.rs"]
    pub mod definition;
    pub mod inputs;
    #[path = "../../fuzz/checks/ruleset.rs"]
    pub mod ruleset;

    use super::{generate, support};
}

fn main() -> std::process::ExitCode {
    support::run(|| {
        [hostile::cases::tests(), hostile::bounds::tests()]
            .into_iter()
            .flatten()
            .collect()
    })
}
