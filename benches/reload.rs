//! From save to enforced: a definition of 500 or 10,000 rules, or a list of 100,000 addresses, is renamed over the watched one, and the
//! kernel is asked until it decides by the new one. Beside it what other programs take for the same.
//! `cargo bench --bench reload`; it runs in namespaces of its own, and needs root for the other programs.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/lists.rs"]
mod lists;
#[path = "../tests/daemon/process.rs"]
mod process;
#[path = "common/programs.rs"]
mod programs;
#[path = "../tests/daemon/save_to_enforced.rs"]
mod save_to_enforced;
#[path = "../tests/daemon/site.rs"]
mod site;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "common/ufw.rs"]
mod ufw;
#[path = "../tests/workloads/mod.rs"]
mod workloads;

mod reload {
    pub mod others;
}

use reload::others::{Others, all_rules, one_address};
use save_to_enforced::{Saved, measure};
use std::process::ExitCode;
use std::time::Duration;
use ufw::Ufw;

/// Saves of each sort, and of what takes seconds between two saves.
const SAVES: [usize; 2] = [30, 10];
const QUICK_SAVES: [usize; 2] = [6, 4];
/// Runs of other programs.
const RUNS: usize = 5;

fn main() -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("cannot measure here: only root may load all that is compared");
        return ExitCode::FAILURE;
    }
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return ExitCode::FAILURE;
    }
    let quick = std::env::var_os("SECGROUPD_QUICK").is_some();
    let [many, few] = if quick { QUICK_SAVES } else { SAVES };
    let ufw = Ufw::new();
    println!(
        "Ours: from the rename of what was saved to the first packet that is judged by it, in ms, {many} saves ({few} of the last two). The others: from the start\n\
         of the program to its end, medians of {RUNS}. They load all rules again; of the list, `nft -f` and `ipset restore` replace one element of the\n\
         set, which ufw cannot ask. One transaction of `nft -f` that replaces a table is not seamless (`tests/reload_flood.rs` counts what it loses).\n"
    );
    println!(
        "| | secgroupd, median | least | most | promised | of it load, check and switch | nft -f | iptables-legacy-restore, ipset | iptables-nft-restore, ipset | ufw reload |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for saved in Saved::ALL {
        let saves = match saved {
            Saved::SinglePorts | Saved::PortLists => many,
            Saved::TenThousand | Saved::OneAddress => few,
        };
        let ours = measure(saved, saves).row();
        println!("{ours} {}", cells(&others(saved, ufw.as_ref())));
    }
    ExitCode::SUCCESS
}

fn others(saved: Saved, ufw: Option<&Ufw>) -> Others {
    let workload = saved.workload();
    let policy = workload.policy();
    match saved {
        Saved::OneAddress => one_address(&policy, &workload.template, RUNS),
        _ => all_rules(&policy, ufw, RUNS),
    }
}

/// The cells that end a row.
fn cells(others: &Others) -> String {
    let ms = |time: Option<Duration>| {
        time.map_or("-".to_owned(), |time| {
            format!("{:.0}", time.as_secs_f64() * 1000.0)
        })
    };
    let times = [others.nft, others.legacy, others.iptables_nft, others.ufw];
    format!("{} |", times.map(ms).join(" | "))
}
