//! Reloads of a 500-rule definition under a flood: no refused packet is delivered, no allowed one lost, and no TCP transfer beside them
//! stalls. The same measurement over a replace in one transaction does lose or leak.
//!
//! The short form floods at a moderate rate with allowed and refused packets of both families at once, and reloads 100 times.
//! `SECGROUPD_FULL=1` reloads 1,000 times for each polarity (the policy allows the flooded port, or refuses it) and each family alone,
//! at 80 % of the highest rate that loses nothing while nothing is reloaded, which it finds before: an hour and a half.
//! `SECGROUPD_RELOADS=100` besides reloads as often for each of them, in a quarter of an hour.
//! `cargo test --test reload_flood -- --nocapture` prints the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "reload_flood/scene.rs"]
mod scene;
mod support;
#[path = "reload_flood/versions.rs"]
mod versions;

use std::cell::OnceCell;
use std::env;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use scene::{Counts, Load, Rate, Scene};
use secgroupd::ruleset::{Generation, Ruleset, TABLE, text};
use support::{Host, Port, Transfer, bounded, is_full, kernel_test};
use versions::{long_lists, versions, versions_of_two_interfaces};

const ALLOWED: Port = Port::Tcp(2002);
const REFUSED: Port = Port::Udp(1001);
/// Where TCP transfers go on beside the flood; allowed, too.
const TRANSFERRED: u16 = 3000;

fn main() -> ExitCode {
    support::run(|| {
        vec![
            kernel_test("reloads_lose_and_leak_nothing", &["nft"], reloads),
            kernel_test("changes_lose_and_leak_nothing", &["nft"], changes),
            kernel_test("edits_lose_and_leak_nothing", &["nft"], edits),
            kernel_test(
                "two_interfaces_lose_and_leak_nothing",
                &["nft"],
                two_interfaces,
            ),
            kernel_test("one_transaction_loses_or_leaks", &["nft"], one_transaction),
        ]
    })
}

const V4: [&[&str]; 2] = [&["10.0.0.5/24"], &["10.0.0.9/24"]];
const V6: [&[&str]; 2] = [&["2001:db8::5/64"], &["2001:db8::9/64"]];
const BOTH: [&[&str]; 2] = [
    &["10.0.0.5/24", "2001:db8::5/64"],
    &["10.0.0.9/24", "2001:db8::9/64"],
];

const MODERATE: Load = Load {
    name: "allowed and refused, both families",
    ports: &[ALLOWED, REFUSED],
    addresses: BOTH,
    rate: Rate::Fixed(10_000),
};

fn loads() -> Vec<Load> {
    if !is_full() {
        return vec![MODERATE];
    }
    let load = |name, port, addresses| Load {
        name,
        ports: port,
        addresses,
        rate: Rate::OfTheHighest(80),
    };
    vec![
        load("allowed, IPv4", &[ALLOWED], V4),
        load("allowed, IPv6", &[ALLOWED], V6),
        load("refused, IPv4", &[REFUSED], V4),
        load("refused, IPv6", &[REFUSED], V6),
    ]
}

/// No retransmission timer is shorter. A busy machine may keep a thread waiting for longer.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What a flood in both directions met, and the transfers beside it.
struct Outcome {
    counts: Counts,
    /// Whether the kernel's counters of the interfaces account for what did not come to the hook under test.
    is_explained: bool,
    pause: Option<Duration>,
    is_whole: bool,
    shown: String,
}

impl Outcome {
    fn holds(&self, what: &str) {
        println!("{what}: {}", self.shown);
        let wrong = (self.counts.refused_and_passed, self.counts.allowed_and_lost);
        assert_eq!(
            wrong,
            (0, 0),
            "refused and passed, allowed and lost: {}",
            self.shown
        );
        assert!(
            self.is_explained,
            "the flood counts exactly: {}",
            self.shown
        );
        assert!(self.is_whole, "a transfer was cut: {}", self.shown);
        if let Some(pause) = self.pause {
            bounded("a transfer's pause", pause, LONGEST_PAUSE);
        }
    }
}

/// One flood at a time: two would take the processors from one another.
static FLOODED: Mutex<()> = Mutex::new(());

/// Replaces `count` times under a flood of both directions; with `beside`, TCP transfers go on meanwhile.
fn under_flood(
    load: &Load,
    count: u32,
    beside: bool,
    versions: &[Ruleset],
    mut replace: impl FnMut(&Host, &Ruleset),
) -> Outcome {
    let _alone = FLOODED.lock().unwrap_or_else(PoisonError::into_inner);
    let scene = Scene::new(load);
    replace(&scene.host, &versions[0]);
    let transfers = if beside {
        scene.transfers()
    } else {
        Vec::new()
    };
    let (rate, found) = match load.rate {
        Rate::Fixed(rate) => (rate, String::new()),
        Rate::OfTheHighest(percent) => {
            let highest = scene.highest();
            let found = format!(", of {}/s at most without reloads", 2 * highest);
            (highest * percent / 100, found)
        }
    };
    let (dropped, again) = (scene.dropped(), scene.retransmissions());
    let begin = Instant::now();
    let (elapsed, counts) = scene.flood(rate, || {
        for number in 1..=count as usize {
            replace(&scene.host, &versions[number % versions.len()]);
        }
        begin.elapsed()
    });
    let dropped = scene.dropped() - dropped;
    let [again_now, needless_now] = scene.retransmissions();
    let (again, needless) = (again_now - again[0], needless_now - again[1]);
    let transferred: Vec<_> = transfers.into_iter().map(Transfer::stop).collect();
    let pause = transferred.iter().map(|each| each.longest_pause).max();
    let mut shown = format!(
        "{}: {count} replaces in {:.1} s ({:.0} ms each) under {} refused and {} allowed packets ({}/s sent, {}/s wanted{found}): {} \
         refused ones passed, {} allowed ones lost",
        load.name,
        elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e3 / f64::from(count),
        counts.refused,
        counts.allowed,
        counts.rate,
        2 * rate,
        counts.refused_and_passed,
        counts.allowed_and_lost,
    );
    if counts.not_sent + counts.lost_before > 0 {
        let (full, lost) = (counts.not_sent, counts.lost_before);
        write!(
            shown,
            "; for {full} no queue had room, and {lost} were lost before they were judged ({dropped} by the kernel's counters)"
        )
        .unwrap();
    }
    if let Some(pause) = pause {
        let bytes: u64 = transferred.iter().map(|each| each.received).sum();
        write!(
            shown,
            "; {} TCP transfers of {} MB, longest pause {} ms, {again} segments sent again, {needless} of them needlessly",
            transferred.len(),
            bytes / 1_000_000,
            pause.as_millis()
        )
        .unwrap();
    }
    Outcome {
        is_explained: counts.lost_before <= dropped,
        counts,
        pause,
        is_whole: transferred.iter().all(|each| each.sent == each.received),
        shown,
    }
}

/// How often a load is reloaded under.
fn count(full: u32, short: u32) -> u32 {
    let asked = env::var("SECGROUPD_RELOADS").ok();
    let full = asked.and_then(|count| count.parse().ok()).unwrap_or(full);
    if is_full() { full } else { short }
}

fn reloads() {
    let count = count(1000, 100);
    for load in loads() {
        let kernel = OnceCell::new();
        let outcome = under_flood(&load, count, true, &versions(500), |host, ruleset| {
            let kernel = kernel.get_or_init(|| host.enter(support::kernel));
            kernel.forget();
            let enforced = host.enter(|| kernel.enforce(ruleset, Generation(1)));
            assert_eq!(enforced.expect("enforced").left_behind, None);
        });
        outcome.holds("three transactions");
    }
}

/// The same by one process, which changes what differs and keeps the rest.
fn changes() {
    let count = count(1000, 60);
    for load in loads() {
        let kernel = OnceCell::new();
        let outcome = under_flood(&load, count, true, &versions(500), |host, ruleset| {
            let kernel = kernel.get_or_init(|| host.enter(support::kernel));
            let enforced = host.enter(|| kernel.enforce(ruleset, Generation(1)));
            assert_eq!(enforced.expect("enforced").left_behind, None);
        });
        outcome.holds("by change");
    }
}

/// Elements of living maps come and go beside the flood's own.
fn edits() {
    let count = count(5000, 1000);
    for load in loads() {
        let kernel = OnceCell::new();
        let mut edited = 0;
        let versions = long_lists();
        let outcome = under_flood(&load, count, true, &versions, |host, ruleset| {
            let kernel = kernel.get_or_init(|| host.enter(support::kernel));
            let before = kernel.in_force().expect("asked");
            let enforced = host.enter(|| kernel.enforce(ruleset, Generation(1)));
            assert_eq!(enforced.expect("enforced").left_behind, None);
            edited += u32::from(before.is_some() && before == kernel.in_force().expect("asked"));
        });
        outcome.holds("in place");
        assert_eq!(edited, count, "every change is made in place");
    }
}

/// Another interface is bound besides. Every third ruleset is loaded whole.
fn two_interfaces() {
    let count = count(500, 40);
    for load in loads() {
        let kernel = OnceCell::new();
        let mut number = 0;
        let versions = versions_of_two_interfaces(500);
        let outcome = under_flood(&load, count, true, &versions, |host, ruleset| {
            let kernel = kernel.get_or_init(|| host.enter(support::kernel));
            number += 1;
            if number % 3 == 0 {
                kernel.forget();
            }
            let enforced = host.enter(|| kernel.enforce(ruleset, Generation(1)));
            assert_eq!(enforced.expect("enforced").left_behind, None);
        });
        outcome.holds("two interfaces");
    }
}

/// The measurement sees the hole of a replace in one transaction.
fn one_transaction() {
    let batch = |ruleset: &Ruleset| {
        let table = text::table(ruleset, Generation(1));
        format!("add table inet {TABLE}\ndelete table inet {TABLE}\n{table}")
    };
    // Inside a user namespace so long a transaction does not fit: then fewer rules have to do.
    let fits = |versions: &[Ruleset; 2]| Host::new("scratch").try_nft(&batch(&versions[0])).is_ok();
    let versions = [500, 250, 100].map(versions).into_iter().find(fits);
    let versions = versions.expect("a hundred rules fit into a transaction");
    for round in 1..=5 {
        let outcome = under_flood(&MODERATE, 25, false, &versions, |host, ruleset| {
            host.nft(&batch(ruleset));
        });
        println!("one transaction, round {round}: {}", outcome.shown);
        if outcome.counts.refused_and_passed + outcome.counts.allowed_and_lost > 0 {
            return;
        }
    }
    panic!("one transaction lost and leaked nothing: the measurement is blind");
}
