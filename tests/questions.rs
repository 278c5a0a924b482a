//! The questions of the source document that a host can answer: each builds the situation in network namespaces and reads the answer out
//! of the command. Questions that only a cloud's console answers are left out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "questions/account.rs"]
mod account;
#[path = "questions/answers.rs"]
mod answers;
#[path = "questions/causes.rs"]
mod causes;
#[path = "daemon/process.rs"]
mod process;
#[path = "daemon/site.rs"]
mod site;
mod support;

fn main() -> std::process::ExitCode {
    support::run_waiting(4, || {
        [answers::tests(), account::tests(), causes::tests()]
            .into_iter()
            .flatten()
            .collect()
    })
}
