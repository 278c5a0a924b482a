//! What it costs us: the library step by step, and the daemon as a whole.

use super::memory::{Watch, of_process};
use super::site::Site;
use super::ways::{Cost, measure};
use crate::processor;
use crate::programs::median;
use crate::support::Host;
use crate::workloads::Workload;
use secgroupd::netfilter::enforce::Kernel;
use secgroupd::netfilter::native::Native;
use secgroupd::netfilter::nft::Nft;
use secgroupd::policy::Policy;
use secgroupd::ruleset::{Generation, Ruleset, check, compile};
use std::thread;
use std::time::{Duration, Instant};

/// A pure step is tried for so long, at least: a busy machine has quiet moments.
const PATIENCE: Duration = Duration::from_secs(2);

/// What happens before the kernel hears of it, in the least time that a processor took for it.
pub struct Pure {
    pub ruleset: Ruleset,
    pub compile: Duration,
    pub check: Duration,
}

/// The steps in the kernel, by their medians.
pub struct Steps {
    /// All is in the kernel, and nothing leads to it.
    pub load: Duration,
    pub switch: Duration,
    /// Load and switch on a host where nothing was enforced.
    pub cost: Cost,
}

/// How the kernel is spoken to.
#[derive(Clone, Copy)]
pub enum Through {
    /// By our own messages.
    Netlink,
    /// By the program nft.
    Nft,
}

/// Compiles and checks, so often at least.
pub fn pure(policy: &Policy, runs: usize) -> Pure {
    let ruleset = compile(policy);
    let least = |work: &dyn Fn()| {
        let (begun, mut least) = (Instant::now(), Duration::MAX);
        for run in 0.. {
            let start = processor::spent();
            work();
            least = least.min(processor::spent() - start);
            if run >= runs && begun.elapsed() > PATIENCE {
                break;
            }
        }
        least
    };
    Pure {
        compile: least(&|| drop(std::hint::black_box(compile(policy)))),
        check: least(&|| {
            check(policy, &ruleset).expect("right");
        }),
        ruleset,
    }
}

/// Loads and switches so often.
pub fn steps(host: &Host, ruleset: &Ruleset, through: Through, runs: usize) -> Steps {
    let kernel = host.enter(|| match through {
        Through::Netlink => Kernel::new(Native::open().expect("a netlink socket")),
        Through::Nft => Kernel::new(Nft::find().expect("nft")),
    });
    let kernel = kernel.expect("a netlink socket");
    let (mut loads, mut switches) = (Vec::new(), Vec::new());
    let enforce = || {
        let (enforced, loaded) = host.enter(|| {
            let start = Instant::now();
            let mut loaded = Duration::ZERO;
            let enforced = kernel.enforce_with(ruleset, Generation(1), || {
                loaded = start.elapsed();
            });
            (enforced.expect("enforced"), loaded)
        });
        loads.push(loaded);
        switches.push(enforced.switched_after.saturating_sub(loaded));
        enforced.switched_after
    };
    let cost = measure(runs, enforce, || {
        host.enter(|| kernel.remove()).expect("removed");
    });
    Steps {
        load: median(&mut loads.split_off(1)),
        switch: median(&mut switches.split_off(1)),
        cost,
    }
}

/// A daemon that has read, compiled, checked and loaded a definition, and a change of its list of addresses, and rests.
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
    if let Some((_, rest)) = workload.template.split_once('\n') {
        // One address changes: the old list and the new are both there for a moment.
        site.save("addresses.txt", &format!("198.51.100.9\n{rest}"));
        daemon.until_logged("addresses.txt was saved");
        thread::sleep(Duration::from_millis(500));
    }
    let field = |name| of_process(daemon.pid(), name).expect("a running daemon");
    Daemon {
        peak: field("VmHWM"),
        resident: field("VmRSS"),
        children: watch.peak(),
    }
}
