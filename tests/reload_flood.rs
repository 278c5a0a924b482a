//! Reloads of a 500-rule definition under a flood: no refused packet is delivered, no allowed one lost, and no TCP transfer beside them
//! stalls. The same measurement over a replace in one transaction does lose or leak.
//!
//! The short form floods at a moderate rate with allowed and refused packets of both families at once, and reloads 100 times.
//! `SECGROUPD_FULL=1` reloads 1,000 times for each polarity (the policy allows the flooded port, or refuses it) and each family alone,
//! at 80 % of the highest rate that loses nothing while nothing is reloaded, which it finds before.
//! `cargo test --test reload_flood -- --nocapture` prints the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;

use std::cell::OnceCell;
use std::env;
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use secgroupd::ruleset::{Generation, Ruleset, TABLE, text};
use support::{
    End, Flood, FloodReport, Host, Link, Port, Side, Transfer, join, kernel_test, ruleset,
};

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
            kernel_test("one_transaction_loses_or_leaks", &["nft"], one_transaction),
        ]
    })
}

/// So many rules: half of them inbound, half outbound, with lists of ports and of addresses and long templates. The flooded ports keep
/// their verdict in every version, behind all the others; `version` changes every other rule.
fn definition(rules: u16, version: u16) -> String {
    let mut text = String::from("version: 1\nsecurity_groups:\n  sg-flood:\n");
    for (direction, remote) in [("inbound", "source"), ("outbound", "destination")] {
        writeln!(text, "    {direction}:").unwrap();
        for number in 0..rules / 2 - 2 {
            let (action, protocol) = match number % 2 {
                0 => ("allow", "tcp"),
                _ => ("refuse", "udp"),
            };
            let port = 10_000 + number * 20 + version * 3;
            let (ports, peers) = match number % 4 {
                0 => (format!("{port}"), "ipm-many".to_owned()),
                1 => (
                    format!("'{port},{}-{}'", port + 2, port + 9),
                    "any".to_owned(),
                ),
                2 => (
                    format!("'{port}-{}'", port + 9),
                    format!("[10.{number}.0.0/16, '2001:db8:{number}::/48']"),
                ),
                _ => (
                    format!("'{port},{}'", port + 4),
                    format!("[172.16.{number}.0/24, 192.0.2.{}]", number % 250),
                ),
            };
            writeln!(text, "      - {{ action: {action}, protocol: {protocol}, port: {ports}, {remote}: {peers} }}").unwrap();
        }
        writeln!(
            text,
            "      - {{ action: refuse, protocol: udp, port: 1001, {remote}: any }}"
        )
        .unwrap();
        writeln!(
            text,
            "      - {{ action: allow, protocol: tcp, port: [2002, {TRANSFERRED}], {remote}: ipm-flood }}"
        )
        .unwrap();
    }
    // More than sixteen addresses make a named set. The flood's own address is one of them: a set that misses is a lost packet.
    let many = |base: u16| {
        (0..40).map(move |n| format!("198.51.100.{}, '2001:db8:{base:x}:{:x}::/64'", n * 2, n * 2))
    };
    let many = |base| many(base).collect::<Vec<_>>().join(", ");
    writeln!(
        text,
        "address_templates:\n  ipm-many: [{}]",
        many(0x100 + version)
    )
    .unwrap();
    writeln!(
        text,
        "  ipm-flood: [10.0.0.9, '2001:db8::9', {}]",
        many(0x200 + version)
    )
    .unwrap();
    text + "instances:\n  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-flood] } } }\n"
}

fn versions(rules: u16) -> [Ruleset; 2] {
    let versions = [0, 1].map(|version| ruleset(&definition(rules, version)));
    // What is created and used in one transaction is what loses packets: sets, or maps of both families.
    let [sets, maps] = [versions[0].sets.len(), versions[0].maps.len()];
    assert!(sets + maps >= 4, "{sets} named sets and {maps} maps");
    versions
}

/// What is flooded, in both directions at once.
struct Load {
    name: &'static str,
    ports: &'static [Port],
    /// Addresses of the host, and of the world.
    addresses: [&'static [&'static str]; 2],
    rate: Rate,
}

/// Packets per second, in each direction.
#[derive(Clone, Copy)]
enum Rate {
    Fixed(u64),
    /// Of the highest that loses nothing without reloads, so many percent.
    OfTheHighest(u64),
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

/// No retransmission timer is shorter than 200 ms. A busy machine may keep a thread waiting for longer.
fn longest_pause() -> Duration {
    Duration::from_millis(if is_full() { 200 } else { 2_000 })
}

/// What floods in both directions met.
#[derive(Debug, Default)]
struct Counts {
    refused: u64,
    refused_and_passed: u64,
    allowed: u64,
    allowed_and_lost: u64,
    /// What the machine itself had no room for: no queue took it, or it was lost on its way to the hook under test.
    not_sent: u64,
    lost_before: u64,
    /// Packets per second that were sent, all directions together.
    rate: u64,
}

impl Counts {
    fn of(reports: &[FloodReport]) -> Self {
        let mut counts = Self::default();
        for report in reports {
            counts.not_sent += report.not_sent;
            counts.rate += report.rate;
            for (port, count) in &report.counts {
                counts.lost_before += count.sent - count.seen_before;
                match *port == REFUSED {
                    true => {
                        counts.refused += count.seen_before;
                        counts.refused_and_passed += count.seen_after;
                    }
                    false => {
                        counts.allowed += count.seen_before;
                        counts.allowed_and_lost += count.lost();
                    }
                }
            }
        }
        counts
    }

    fn is_clean(&self) -> bool {
        let wrong = self.refused_and_passed + self.allowed_and_lost;
        wrong + self.not_sent + self.lost_before == 0
    }
}

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
            assert!(
                pause < longest_pause(),
                "a transfer stalled: {}",
                self.shown
            );
        }
    }
}

/// One flood at a time: two would take the processors from one another.
static FLOODED: Mutex<()> = Mutex::new(());

/// The host under flood, and the world that floods it.
struct Scene {
    host: Host,
    world: Host,
    cable: Link,
    ports: &'static [Port],
}

impl Scene {
    fn new(load: &Load) -> Self {
        let (host, world) = (Host::new("host"), Host::new("world"));
        let [near, far] = load.addresses;
        let cable = join(&host, "eth0", near, &world, "wire", far);
        Scene {
            host,
            world,
            cable,
            ports: load.ports,
        }
    }

    /// Floods both directions while this works. A packet is counted before and after our chain on its one way through the hook, so
    /// a busy machine slows the flood down and loses nothing.
    fn flood<R>(&self, rate: u64, work: impl FnOnce() -> R) -> (R, Counts) {
        let floods = [Side::Inbound, Side::Outbound].map(|side| {
            let flood = Flood {
                rate,
                at_most: u64::MAX,
                at_longest: Duration::from_secs(3_600),
                goes_first: is_full(),
                ..Flood::new(side, self.ports)
            };
            flood.start(&self.cable)
        });
        let result = work();
        assert!(
            floods.iter().all(|flood| flood.is_running()),
            "a flood ended before the last reload"
        );
        (result, Counts::of(&floods.map(|flood| flood.stop())))
    }

    /// A transfer in each direction and each family.
    fn transfers(&self) -> Vec<Transfer> {
        let (a, b) = (&self.cable.a, &self.cable.b);
        let to = |from: &Host, to: &End| -> Vec<Transfer> {
            let addresses = to.addresses.iter();
            addresses
                .map(|address| {
                    Transfer::start(from, &to.host, SocketAddr::new(*address, TRANSFERRED))
                })
                .collect()
        };
        let mut both = to(&self.world, a);
        both.extend(to(&self.host, b));
        both
    }

    /// The highest rate in each direction that loses nothing: doubled until something is lost or the senders do not reach it, and
    /// then bisected.
    fn highest(&self) -> u64 {
        let is_good = |rate: u64| {
            let ((), counts) = self.flood(rate, || thread::sleep(Duration::from_millis(500)));
            counts.is_clean() && counts.rate >= 2 * rate * 95 / 100
        };
        let (mut good, mut bad) = (0, 10_000);
        while is_good(bad) {
            (good, bad) = (bad, bad * 2);
        }
        assert!(good > 0, "not even 10,000 packets a second pass unhurt");
        for _ in 0..4 {
            let middle = good.midpoint(bad);
            match is_good(middle) {
                true => good = middle,
                false => bad = middle,
            }
        }
        good
    }

    fn dropped(&self) -> u64 {
        self.host.dropped_at_interfaces() + self.world.dropped_at_interfaces()
    }

    /// TCP segments that were sent again, and those of them that had arrived before.
    fn retransmissions(&self) -> [u64; 2] {
        let (a, b) = (self.host.retransmissions(), self.world.retransmissions());
        [a.0 + b.0, a.1 + b.1]
    }
}

/// Replaces `count` times under a flood of both directions; with `beside`, TCP transfers go on meanwhile.
fn under_flood(
    load: &Load,
    count: u32,
    beside: bool,
    versions: &[Ruleset; 2],
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
            replace(&scene.host, &versions[number % 2]);
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

fn is_full() -> bool {
    env::var("SECGROUPD_FULL").is_ok_and(|value| value == "1")
}

fn reloads() {
    let count = if is_full() { 1000 } else { 100 };
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
    let count = if is_full() { 1000 } else { 60 };
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
    let count = if is_full() { 5000 } else { 1000 };
    for load in loads() {
        let kernel = OnceCell::new();
        let mut edited = 0;
        let versions = [0, 1].map(long_lists);
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

/// Long lists of addresses, whose versions differ in some of them.
fn long_lists(version: u32) -> Ruleset {
    let others = |base: u32| {
        (0..700).map(move |n| {
            let n = n * 2 + if n % 50 == 0 { version * 100_000 } else { 0 };
            format!(
                "20.{}.{}.{}, '2001:db8:{base}:{:x}::{:x}'",
                n >> 16,
                (n >> 8) & 255,
                n & 255,
                n >> 16,
                n & 0xffff
            )
        })
    };
    let list = |base| others(base).collect::<Vec<_>>().join(", ");
    let mut text = String::from(
        "version: 1\nplatform: { blocked_ports: { profile: none } }\nsecurity_groups:\n  sg-flood:\n",
    );
    for (direction, remote) in [("inbound", "source"), ("outbound", "destination")] {
        write!(
            text,
            "    {direction}:\n      - {{ action: allow, protocol: tcp, port: [1500, 1600, 2002, 2100], {remote}: ipm-many }}\n      - {{ action: allow, protocol: tcp, port: [2002, {TRANSFERRED}], {remote}: [10.0.0.9, '2001:db8::9'] }}\n"
        )
        .unwrap();
    }
    writeln!(text, "address_templates:\n  ipm-many: [{}]", list(7)).unwrap();
    ruleset(
        &(text
            + "instances:\n  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-flood] } } }\n"),
    )
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
