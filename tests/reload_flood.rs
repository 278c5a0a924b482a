//! 100 reloads (1,000 in full) of a 500-rule definition under a flood: no refused packet is delivered and no allowed one lost. The same
//! measurement over a replace in one transaction does lose or leak.
//!
//! `cargo test --test reload_flood -- --nocapture` prints the figures; `SECGROUPD_FULL=1` reloads 1,000 times.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;

use std::cell::OnceCell;
use std::env;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use secgroupd::ruleset::{Generation, Ruleset, TABLE, text};
use support::{Flood, FloodReport, Host, Link, Port, Side, join, kernel_test, ruleset};

const ALLOWED: Port = Port::Tcp(2002);
const REFUSED: Port = Port::Udp(1001);

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
            "      - {{ action: allow, protocol: tcp, port: 2002, {remote}: ipm-flood }}"
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

/// What a flood in both directions met.
struct Outcome {
    refused_and_passed: u64,
    allowed_and_lost: u64,
    shown: String,
}

/// One flood at a time: two would take the processors from one another.
static FLOODED: Mutex<()> = Mutex::new(());

/// Replaces `count` times under a flood of both directions and both families.
fn under_flood(
    count: u32,
    versions: &[Ruleset; 2],
    mut replace: impl FnMut(&Host, &Ruleset),
) -> Outcome {
    let _alone = FLOODED.lock().unwrap_or_else(PoisonError::into_inner);
    let (host, world) = (Host::new("host"), Host::new("world"));
    let cable = join(
        &host,
        "eth0",
        &["10.0.0.5/24", "2001:db8::5/64"],
        &world,
        "wire",
        &["10.0.0.9/24", "2001:db8::9/64"],
    );
    replace(&host, &versions[0]);
    let floods = [Side::Inbound, Side::Outbound].map(|side| start(side, &cable));
    let begin = Instant::now();
    for number in 1..=count as usize {
        replace(&host, &versions[number % 2]);
    }
    let elapsed = begin.elapsed();
    assert!(
        floods.iter().all(|flood| flood.is_running()),
        "a flood ended before the last reload"
    );
    let reports = floods.map(|flood| flood.stop());
    let sum = |of: fn(&FloodReport) -> u64| reports.iter().map(of).sum::<u64>();
    let refused_and_passed = sum(|report| report.port(REFUSED).seen_after);
    let allowed_and_lost = sum(|report| report.port(ALLOWED).lost());
    for report in &reports {
        for (port, count) in &report.counts {
            assert_eq!(
                count.sent, count.seen_before,
                "{port:?}: the flood counts exactly"
            );
        }
    }
    let shown = format!(
        "{count} replaces in {:.1} s ({:.0} ms each) under {} refused and {} allowed packets ({}/s): \
         {refused_and_passed} refused ones passed, {allowed_and_lost} allowed ones lost",
        elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e3 / f64::from(count),
        sum(|report| report.port(REFUSED).seen_before),
        sum(|report| report.port(ALLOWED).seen_before),
        sum(|report| report.rate),
    );
    Outcome {
        refused_and_passed,
        allowed_and_lost,
        shown,
    }
}

/// A packet is counted before and after our chain on its one way through the hook, so a busy machine slows the flood down
/// and loses nothing.
fn start(side: Side, cable: &Link) -> support::RunningFlood {
    let flood = Flood {
        rate: if is_full() { 30_000 } else { 10_000 },
        at_most: u64::MAX,
        at_longest: Duration::from_secs(600),
        ..Flood::new(side, &[ALLOWED, REFUSED])
    };
    flood.start(cable)
}

fn is_full() -> bool {
    env::var("SECGROUPD_FULL").is_ok_and(|value| value == "1")
}

fn reloads() {
    let count = if is_full() { 1000 } else { 100 };
    let kernel = OnceCell::new();
    let outcome = under_flood(count, &versions(500), |host, ruleset| {
        let kernel = kernel.get_or_init(|| host.enter(support::kernel));
        kernel.forget();
        let enforced = host.enter(|| kernel.enforce(ruleset, Generation(1)));
        assert_eq!(enforced.expect("enforced").left_behind, None);
    });
    println!("three transactions: {}", outcome.shown);
    assert_eq!(
        (outcome.refused_and_passed, outcome.allowed_and_lost),
        (0, 0),
        "refused and passed, allowed and lost: {}",
        outcome.shown
    );
}

/// The same by one process, which changes what differs and keeps the rest.
fn changes() {
    let count = if is_full() { 1000 } else { 60 };
    let kernel = OnceCell::new();
    let outcome = under_flood(count, &versions(500), |host, ruleset| {
        let kernel = kernel.get_or_init(|| host.enter(support::kernel));
        let enforced = host.enter(|| kernel.enforce(ruleset, Generation(1)));
        assert_eq!(enforced.expect("enforced").left_behind, None);
    });
    println!("by change: {}", outcome.shown);
    assert_eq!(
        (outcome.refused_and_passed, outcome.allowed_and_lost),
        (0, 0),
        "refused and passed, allowed and lost: {}",
        outcome.shown
    );
}

/// Elements of living maps come and go beside the flood's own.
fn edits() {
    let count = if is_full() { 5000 } else { 1000 };
    let kernel = OnceCell::new();
    let mut edited = 0;
    let outcome = under_flood(count, &[0, 1].map(long_lists), |host, ruleset| {
        let kernel = kernel.get_or_init(|| host.enter(support::kernel));
        let before = kernel.in_force().expect("asked");
        let enforced = host.enter(|| kernel.enforce(ruleset, Generation(1)));
        assert_eq!(enforced.expect("enforced").left_behind, None);
        edited += u32::from(before.is_some() && before == kernel.in_force().expect("asked"));
    });
    println!("in place: {}", outcome.shown);
    assert_eq!(edited, count, "every change is made in place");
    assert_eq!(
        (outcome.refused_and_passed, outcome.allowed_and_lost),
        (0, 0),
        "refused and passed, allowed and lost: {}",
        outcome.shown
    );
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
            "    {direction}:\n      - {{ action: allow, protocol: tcp, port: [1500, 1600, 2002, 2100], {remote}: ipm-many }}\n      - {{ action: allow, protocol: tcp, port: [2002, 3000], {remote}: [10.0.0.9, '2001:db8::9'] }}\n"
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
        let outcome = under_flood(25, &versions, |host, ruleset| host.nft(&batch(ruleset)));
        println!("one transaction, round {round}: {}", outcome.shown);
        if outcome.refused_and_passed + outcome.allowed_and_lost > 0 {
            return;
        }
    }
    panic!("one transaction lost and leaked nothing: the measurement is blind");
}
