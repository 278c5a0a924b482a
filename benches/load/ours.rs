//! What it costs us: the library step by step, and the daemon as a whole.

use super::memory::{Watch, of_process};
use super::site::Site;
use super::ways::{Cost, measure, median};
use crate::support::Host;
use crate::workloads::Workload;
use secgroupd::policy::Policy;
use secgroupd::ruleset::{Generation, Ruleset, check, compile};
use std::thread;
use std::time::{Duration, Instant};

/// The steps of a load.
pub struct Steps {
    /// The least, for nothing but the machine can add to it.
    pub compile: Duration,
    /// The least.
    pub check: Duration,
    /// All is in the kernel, and nothing leads to it.
    pub load: Duration,
    pub switch: Duration,
    pub ruleset: Ruleset,
    /// Load and switch on a host where nothing was enforced.
    pub cost: Cost,
}

/// Each step so often, load and switch by their median.
pub fn steps(host: &Host, policy: &Policy, runs: usize) -> Steps {
    let kernel = host.enter(crate::support::kernel);
    let ruleset = compile(policy);
    let least = |work: &dyn Fn()| {
        let times = (0..=runs).map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        });
        times.min().expect("one run")
    };
    let (mut loads, mut switches) = (Vec::new(), Vec::new());
    let enforce = || {
        let start = Instant::now();
        let mut loaded = Duration::ZERO;
        let before_switch = || loaded = start.elapsed();
        let enforced = host
            .enter(|| kernel.enforce_with(&ruleset, Generation(1), before_switch))
            .expect("enforced");
        loads.push(loaded);
        switches.push(enforced.switched_after - loaded);
        enforced.switched_after
    };
    let cost = measure(runs, enforce, || {
        host.enter(|| kernel.remove()).expect("removed");
    });
    Steps {
        compile: least(&|| drop(std::hint::black_box(compile(policy)))),
        check: least(&|| {
            check(policy, &ruleset).expect("right");
        }),
        load: median(&mut loads.split_off(1)),
        switch: median(&mut switches.split_off(1)),
        ruleset,
        cost,
    }
}

/// A daemon that has read, compiled, checked and loaded a definition, and rests.
pub struct Daemon {
    /// The most it had resident, and what it has at rest.
    pub peak: u64,
    pub resident: u64,
    /// The most that a program it started had resident.
    pub children: u64,
}

/// Starts one on a host of its own.
pub fn daemon(workload: &Workload) -> Daemon {
    let site = Site::quiet();
    site.write("groups.yaml", &workload.definition);
    if !workload.template.is_empty() {
        site.write("addresses.txt", &workload.template);
    }
    let daemon = site.launch("run --instance ins-a");
    let watch = Watch::below(daemon.pid());
    daemon.until_logged(" enforced for ");
    thread::sleep(Duration::from_millis(500));
    let field = |name| of_process(daemon.pid(), name).expect("a running daemon");
    Daemon {
        peak: field("VmHWM"),
        resident: field("VmRSS"),
        children: watch.peak(),
    }
}
