//! The lab as processes: a definition comes up as namespaces, real packets are tried, and nothing is left.
//!
//! Each test has a folder and labs of its own, told apart by their names; see `lab/site.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;

mod lab {
    pub mod bad_input;
    pub mod beside;
    pub mod edits;
    pub mod expectations;
    pub mod life;
    pub mod page;
    pub mod rules;
    pub mod scale;
    pub mod site;

    use super::support;
}

fn main() -> std::process::ExitCode {
    support::run_waiting(6, || {
        [
            lab::rules::tests(),
            lab::life::tests(),
            lab::edits::tests(),
            lab::beside::tests(),
            lab::bad_input::tests(),
            lab::expectations::tests(),
            lab::page::tests(),
            lab::scale::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
