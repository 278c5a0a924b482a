//! From save to enforced: a definition of 500 rules is renamed over the watched one, and the kernel is asked until it decides
//! by the new one. `cargo bench --bench reload`; it runs in namespaces of its own, and prints the median, the least and the most.

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

fn main() -> ExitCode {
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return ExitCode::FAILURE;
    }
    for ports in save_to_enforced::Ports::ALL {
        println!("{}", save_to_enforced::measure(ports, 30));
    }
    ExitCode::SUCCESS
}
