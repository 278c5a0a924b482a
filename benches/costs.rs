//! What counting and telling cost a packet: the same compiled ruleset without its counters, with them, and with its refusals told.
//!
//! `cargo bench --bench costs`, as root
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/figures.rs"]
mod figures;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "common/lists.rs"]
mod lists;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/workloads/mod.rs"]
mod workloads;

#[allow(dead_code, reason = "a part of it is used here")]
mod packets {
    pub mod burst;
    pub mod lanes;
    pub mod rounds;
    pub mod traffic;
}

use figures::{Promise, table, thousands};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use packets::lanes::Lane;
use packets::rounds::{Budget, Cell, run};
use packets::traffic::{Sample, of_any_rule};
use secgroupd::netfilter::refusals::{Listener, messages};
use secgroupd::ruleset::{Ruleset, compile};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::Host;
use workloads::Workload;

/// One way to have the same decided.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    Counted,
    Told,
}

const WAYS: [Way; 3] = [Way::Plain, Way::Counted, Way::Told];
/// Hosts for each: where the kernel happens to put a ruleset in memory is worth some tens of nanoseconds, and the least counts.
const HOSTS: usize = 4;
/// Frames of a cell.
const FRAMES: usize = 2048;
/// Interleaved rounds that are promised.
const FEWEST_ROUNDS: usize = 10;
const PROMISED_NS: f64 = 100.0;

fn main() -> std::process::ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("cannot measure here: only root may load all that is compared");
        return std::process::ExitCode::FAILURE;
    }
    if let Err(reason) = support::namespace::isolate() {
        eprintln!("cannot measure here: {reason}");
        return std::process::ExitCode::FAILURE;
    }
    let mut here = CpuSet::new();
    here.set(sched_getcpu().expect("a processor"))
        .expect("its number");
    sched_setaffinity(Pid::from_raw(0), &here).expect("on one processor");
    println!(
        "Nanoseconds that a packet takes more than under the same compiled ruleset without counters: the least of interleaved rounds \
         (at least {FEWEST_ROUNDS}) on\n{HOSTS} hosts of each kind. *Told*: `events: refusals`, with a listener on another processor.\n"
    );
    println!(
        "| | rules | packets | without counters | counted | counted and told |\n|---|---|---|---|---|---|"
    );
    let mut promises = Vec::new();
    for workload in [
        workloads::web_server(),
        workloads::mixed(500),
        workloads::distinct(10_000),
    ] {
        promises.extend(measured(&workload));
    }
    println!("\n{}", table(&promises));
    std::process::ExitCode::SUCCESS
}

/// Measures one workload, prints its rows and gives what was promised of it.
fn measured(workload: &Workload) -> Vec<Promise> {
    let world = Host::new("world");
    let policy = workload.policy();
    let lanes: Vec<(Way, Lane)> = (0..HOSTS)
        .flat_map(|_| WAYS)
        .map(|way| {
            let lane = Lane::new(&world);
            lane.host.enforce_ruleset(&ruleset(workload, way));
            (way, lane)
        })
        .collect();
    let heard = Arc::new(AtomicU64::new(0));
    for (way, lane) in &lanes {
        if matches!(way, Way::Told) {
            listen(&lane.host, &heard);
        }
    }
    let drawn = of_any_rule(&policy, 8 * FRAMES);
    let (allowed, refused): (Vec<Sample>, Vec<Sample>) =
        drawn.into_iter().partition(|sample| sample.passes);
    let ms = Duration::from_millis;
    let budget = Budget {
        burst: ms(20),
        total: ms(1500),
        rounds: 100,
    };
    let mut cells = Vec::new();
    for samples in [&allowed, &refused] {
        let samples = &samples[..FRAMES.min(samples.len())];
        for (_, lane) in &lanes {
            lane.verify(workload.name, &samples[..samples.len().min(256)]);
            cells.push(Cell::new(lane, lane.burst(samples), budget));
        }
    }
    assert!(cells.iter().all(|cell| cell.rounds() >= FEWEST_ROUNDS));
    run(&mut cells);
    assert!(heard.load(Ordering::Relaxed) > 0, "nothing was told");
    let mut figures = cells.iter().map(Cell::nanoseconds);
    let [new, refused] = [0, 1].map(|_| {
        let mut least = [f64::MAX; 3];
        for (way, _) in &lanes {
            let known = &mut least[*way as usize];
            *known = known.min(figures.next().expect("a cell for each lane"));
        }
        least
    });
    let rules = thousands(workload.rules as f64);
    let more = |[plain, counted, told]: [f64; 3]| {
        let sign = |number: f64| match number < -0.5 {
            true => thousands(number),
            false => format!("+{}", thousands(number)),
        };
        format!(
            "{} | {} | {}",
            thousands(plain),
            sign(counted - plain),
            sign(told - plain)
        )
    };
    println!("| {} | {rules} | new flow | {} |", workload.name, more(new));
    println!("| | | refused | {} |", more(refused));
    let most = (new[1] - new[0]).max(new[2] - new[0]);
    vec![(
        format!(
            "{}: counters and events cost a new flow at most 100 ns",
            workload.name
        ),
        format!("{} ns", thousands(most)),
        most <= PROMISED_NS,
    )]
}

/// What is enforced.
fn ruleset(workload: &Workload, way: Way) -> Ruleset {
    let mut policy = workload.policy();
    if matches!(way, Way::Told) {
        Arc::make_mut(&mut policy.platform).events = true;
    }
    let mut ruleset = compile(&policy);
    if matches!(way, Way::Plain) {
        // A rule without a reason counts nothing.
        let rules = ruleset.chains.iter_mut().flat_map(|chain| &mut chain.rules);
        rules.for_each(|rule| rule.reason = None);
    }
    ruleset
}

/// Hears what the kernel tells, on every processor but this one.
fn listen(host: &Host, heard: &Arc<AtomicU64>) {
    let mut listener = host.enter(Listener::open).expect("the group of NFLOG");
    let (heard, this) = (heard.clone(), sched_getcpu().expect("a processor"));
    std::thread::spawn(move || {
        let mut others = CpuSet::new();
        for number in 0..CpuSet::count() {
            if number != this && others.set(number).is_err() {
                break;
            }
        }
        // With one processor alone it stays.
        let _ = sched_setaffinity(Pid::from_raw(0), &others);
        while let Ok(datagram) = listener.receive() {
            let packets = datagram.map_or(0, |bytes| messages(bytes).count());
            heard.fetch_add(packets as u64, Ordering::Relaxed);
        }
    });
}
