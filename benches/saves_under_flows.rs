//! Saves on a host that tracks many flows: how long each takes, and for how many of the policies all marks had a label.
//! Labels are cleared in the background before they are used again, which takes the longer the more flows there are.
//!
//! `cargo bench --bench saves_under_flows`; it runs in namespaces of its own. `SECGROUPD_QUICK=1` takes a minute.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/figures.rs"]
mod figures;
#[path = "../tests/daemon/process.rs"]
mod process;
#[path = "../tests/support/mod.rs"]
mod support;

#[allow(dead_code, reason = "a part of it is used here")]
mod packets {
    pub mod burst;
    pub mod lanes;
    pub mod rounds;
    pub mod traffic;
}
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "common/lists.rs"]
mod lists;

mod saves {
    pub mod site;
}

use figures::{Promise, table};
use process::SOON;
use saves::site::{Saved, Site};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two saves of the first part: nobody saves faster.
const PAUSE: Duration = Duration::from_millis(60);
/// Of the second part, from save to save.
const EACH: Duration = Duration::from_secs(1);
/// Bound interfaces, each with a list of its own.
const BOUND: [u8; 3] = [8, 9, 12];

fn main() -> ExitCode {
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return ExitCode::FAILURE;
    }
    let quick = std::env::var_os("SECGROUPD_QUICK").is_some();
    let (many, saves, some, few_saves) = match quick {
        true => (50_000, 40, 10_000, 6),
        false => (250_000, 300, 50_000, 20),
    };
    let promises = one_list(many, saves);
    several_lists(some, few_saves);
    println!("\n{}", table(&promises));
    ExitCode::SUCCESS
}

/// Saves one after the other, each of which opens a port or closes it.
fn one_list(flows: usize, saves: usize) -> Vec<Promise> {
    let site = Site::new(1, flows);
    let started = Instant::now();
    let mut all: Vec<Saved> = Vec::new();
    for save in 0..saves {
        all.push(site.save(0, save % 2 == 0));
        sleep(PAUSE);
    }
    let lasted = started.elapsed().as_secs_f64();
    let mut times: Vec<Duration> = all.iter().map(|saved| saved.took).collect();
    let first = times.clone();
    times.sort();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    let number = first.iter().position(|time| *time == slowest).unwrap() + 1;
    println!(
        "One list on one interface, {} tracked UDP flows that it has let in, {saves} saves in {lasted:.0} s that open and close another\n\
         port: from the rename to the first packet that is judged by what was saved, in ms.\n",
        site.tracked()
    );
    println!(
        "| median | 90 of 100 | slowest | which | all marks had a label |\n|---|---|---|---|---|"
    );
    println!(
        "| {} | {} | {} | {number} | {} |",
        ms(median),
        ms(times[times.len() * 9 / 10]),
        ms(slowest),
        share(&all)
    );
    let memory = site.peak_mb();
    println!("\nThe daemon had at most {memory} MB resident.");
    let ratio = slowest.as_secs_f64() / median.as_secs_f64();
    vec![
        (
            "the slowest save takes at most twice the median".into(),
            format!("{ratio:.1} times"),
            ratio <= 2.0,
        ),
        (
            "no save takes more than 500 ms".into(),
            format!("{} ms", ms(slowest)),
            slowest <= Duration::from_millis(500),
        ),
        (
            "the daemon's memory does not grow with the flows: at most 40 MB".into(),
            format!("{memory} MB"),
            memory <= 40,
        ),
    ]
}

/// A save every second, and what a packet of a tracked flow costs meanwhile.
fn several_lists(flows: usize, saves: usize) {
    println!(
        "\nLists of their own on so many interfaces, {flows} tracked flows, {saves} saves, one each second; what an established\n\
         packet costs at the cheapest interface and at the dearest, ns above an empty hook, after saves with all marks and after others.\n"
    );
    println!(
        "| interfaces | all marks had a label | save, median ms | slowest | established, marked | established, unmarked |\n\
         |---|---|---|---|---|---|"
    );
    for bound in BOUND {
        let site = Site::new(bound, flows);
        let mut all: Vec<Saved> = Vec::new();
        let mut costs = [Vec::new(), Vec::new()];
        for save in 0..saves {
            let next = Instant::now() + EACH;
            let saved = site.save(0, save % 2 == 0);
            let cost = site.established();
            costs[usize::from(!saved.all_marks)].push(cost);
            all.push(saved);
            sleep(next.saturating_duration_since(Instant::now()));
        }
        let mut times: Vec<Duration> = all.iter().map(|saved| saved.took).collect();
        times.sort();
        println!(
            "| {bound} | {} | {} | {} | {} | {} |",
            share(&all),
            ms(times[times.len() / 2]),
            ms(times[times.len() - 1]),
            least(&costs[0]),
            least(&costs[1]),
        );
    }
}

fn share(all: &[Saved]) -> String {
    let with = all.iter().filter(|saved| saved.all_marks).count();
    format!("{with} of {}", all.len())
}

/// Of the cheapest interface and of the dearest the least that was measured.
fn least(costs: &[[f64; 2]]) -> String {
    if costs.is_empty() {
        return "-".into();
    }
    let of = |at: usize| costs.iter().map(|cost| cost[at]).fold(f64::MAX, f64::min);
    [0, 1].map(|at| figures::thousands(of(at))).join(", ")
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    assert!(time < SOON, "a save was never enforced");
    match ms < 100.0 {
        true => format!("{ms:.1}"),
        false => format!("{ms:.0}"),
    }
}
