//! From save to enforced: a definition of 500 rules, or a list of 100,000 addresses, is renamed over the watched one, and the kernel is asked until it decides
//! by the new one. `cargo bench --bench reload`; it runs in namespaces of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench")]

#[path = "../tests/daemon/process.rs"]
mod process;
#[path = "../tests/daemon/save_to_enforced.rs"]
mod save_to_enforced;
#[path = "../tests/daemon/site.rs"]
mod site;
#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

const SAVES: usize = 30;

fn main() -> ExitCode {
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return ExitCode::FAILURE;
    }
    println!(
        "From the rename of what was saved to the first packet that is judged by it, in ms, {SAVES} saves (of the list a third).\n"
    );
    println!(
        "| | median | least | most | promised | of it load and switch |\n|---|---|---|---|---|---|"
    );
    for saved in save_to_enforced::Saved::ALL {
        // Asking the kernel for a list of 100,000 addresses between two saves takes seconds.
        let saves = if saved == save_to_enforced::Saved::OneAddress {
            SAVES / 3
        } else {
            SAVES
        };
        println!("{}", save_to_enforced::measure(saved, saves).row());
    }
    ExitCode::SUCCESS
}
