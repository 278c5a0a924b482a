//! What a packet costs: nanoseconds above an empty hook, for the first packet of a flow and for one of a tracked flow,
//! under the five workloads, enforced by secgroupd and in five other ways; and over the number of rules.
//!
//! `cargo bench --bench packets`; `SECGROUPD_QUICK=1` takes half a minute and is noisier.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/figures.rs"]
mod figures;
#[path = "common/lists.rs"]
mod lists;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/workloads/mod.rs"]
mod workloads;

#[allow(dead_code, reason = "a part of it is used elsewhere")]
mod packets {
    pub mod acl;
    pub mod before;
    pub mod beside;
    pub mod burst;
    pub mod byhand;
    pub mod contestants;
    pub mod grouped;
    pub mod lanes;
    pub mod plot;
    pub mod report;
    pub mod rounds;
    pub mod stage;
    pub mod traffic;
    pub mod wide;
}

use packets::stage::Bench;
use packets::{plot, report};

/// Rules of the sweep: W3's kind, every rule with a network and a port of its own.
const SWEEP: [usize; 7] = [10, 30, 100, 300, 1_000, 3_000, 10_000];

fn main() -> std::process::ExitCode {
    // An ordinary user's namespaces take no transaction as long as some of the others' are.
    if !nix::unistd::geteuid().is_root() {
        eprintln!("cannot measure here: only root may load all that is compared");
        return std::process::ExitCode::FAILURE;
    }
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return std::process::ExitCode::FAILURE;
    }
    let quick = std::env::var_os("SECGROUPD_QUICK").is_some();
    let bench = Bench::new(quick);
    let floor = bench.floor();
    let workloads: Vec<_> = workloads::all()
        .iter()
        .map(|workload| bench.workload(workload))
        .collect();
    let sweep: Vec<_> = SWEEP
        .iter()
        .step_by(if quick { 2 } else { 1 })
        .map(|rules| (*rules, bench.sweep(&workloads::distinct(*rules))))
        .collect();
    let wide = bench.wide();
    let acl = bench.acl();
    report::print(&floor, &workloads, &sweep, &wide);
    println!("\n{}", packets::acl::table(&acl));
    // A quick run is no result to keep.
    let picture = match quick {
        true => concat!(env!("CARGO_TARGET_TMPDIR"), "/packets.svg"),
        false => concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results/packets.svg"),
    };
    std::fs::write(picture, plot::svg(&sweep)).expect("the picture");
    eprintln!("the picture: {picture}");
    std::process::ExitCode::SUCCESS
}
