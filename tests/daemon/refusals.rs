//! Refused packets are told, one by one or in numbers: none is lost without a word, and listening costs little.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;

use super::site::{Daemon, SOON, Site, until};
use crate::support::{Flood, Port, Side, bounded, is_full, kernel_test};

pub fn tests() -> Vec<Trial> {
    let nft = &["nft"];
    vec![
        kernel_test("refusals_are_told", nft, told),
        kernel_test("refusals_are_followed", nft, followed),
        kernel_test("refusals_are_told_only_if_asked_for", nft, asked_for),
        kernel_test("a_flood_of_refusals_is_told_in_numbers", nft, flood),
        kernel_test("what_it_costs_to_tell_refusals", nft, cost),
    ]
}

const EVENTS: &str = "platform: { events: refusals }\n";
const REFUSED: Port = Port::Tcp(23);
const ALLOWED: Port = Port::Tcp(22);

/// A group that opens 22 and refuses 23.
fn definition(platform: &str) -> String {
    format!(
        "version: 1\nsecurity_groups:\n  sg-web:\n    inbound:\n\
         \x20     - {{ action: allow, protocol: tcp, port: 22, source: any }}\n\
         \x20     - {{ action: refuse, protocol: tcp, port: 23, source: any }}\n\
         instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-web] }} }} }}\n{platform}"
    )
}

/// The events that the daemon knows.
fn events(site: &Site) -> Vec<Value> {
    let ran = site.run("events --json");
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines = ran.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn told() {
    let site = Site::new();
    site.write("groups.yaml", &definition(EVENTS));
    let daemon = site.start();
    assert!(!site.lets_in(23) && site.lets_in(22) && !site.lets_in(8080));
    assert!(!site.lets_out("10.0.0.9:25"));
    until("three are told", || events(&site).len() >= 3);
    let events = events(&site);
    let of = |direction: &str, reason: &str| {
        let is = |event: &&Value| {
            event["direction"] == direction && (event["rule"] == reason || event["layer"] == reason)
        };
        let found: Vec<&Value> = events.iter().filter(is).collect();
        assert_eq!(found.len(), 1, "{reason}: {events:#?}");
        found[0].clone()
    };
    let rule = of("inbound", "sg-web/in/1");
    for (key, value) in [
        ("event", Value::from("refused")),
        ("interface", "eth0".into()),
        ("direction", "inbound".into()),
        ("observed", false.into()),
        ("protocol", "tcp".into()),
        ("source", "10.0.0.9".into()),
        ("source_port", 10_001.into()),
        ("destination", "10.0.0.5".into()),
        ("destination_port", 23.into()),
        ("layer", "group".into()),
    ] {
        assert_eq!(rule[key], value, "{key} of {rule}");
    }
    let place = rule["place"].as_str().unwrap();
    assert!(place.ends_with("groups.yaml:6"), "{place}");
    let inbound = of("inbound", "default");
    assert_eq!(inbound["destination_port"], 8080);
    assert_eq!(inbound["rule"], Value::Null);
    let outbound = of("outbound", "default");
    assert_eq!(outbound["interface"], "eth0");
    assert_eq!(outbound["destination"], "10.0.0.9");
    daemon.until_logged("refused interface=eth0 direction=inbound protocol=tcp source=10.0.0.9");
    assert!(
        daemon.log().contains("rule=sg-web/in/1"),
        "{}",
        daemon.log()
    );
    let page = site.run("events").out;
    let line = "eth0 inbound tcp 10.0.0.9:10001 -> 10.0.0.5:23 refused by sg-web/in/1 (";
    assert!(page.contains(line), "{page}");
    // What only observes is told as such.
    site.save(
        "groups.yaml",
        &definition("platform: { events: refusals, mode: observe }\n"),
    );
    site.until_open(&[23], &[]);
    let observed = |event: &Value| event["observed"] == true && event["rule"] == "sg-web/in/1";
    until("it is told", || self::events(&site).iter().any(observed));
}

fn followed() {
    let site = Site::new();
    site.write("groups.yaml", &definition(EVENTS));
    let _daemon = site.start();
    assert!(!site.lets_in(8080));
    until("it is told", || !events(&site).is_empty());
    let mut command = site.command("events --follow --json");
    let mut follower = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    // It may not have begun yet.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!site.lets_in(23));
    let line = lines.next().unwrap().unwrap();
    follower.kill().unwrap();
    follower.wait().unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["rule"], "sg-web/in/1", "and none from before: {line}");
}

fn asked_for() {
    let site = Site::new();
    site.write("groups.yaml", &definition(""));
    let _daemon = site.start();
    assert!(!site.lets_in(23));
    let ran = site.run("events");
    assert_eq!((ran.code, &*ran.out), (0, ""));
    assert!(ran.err.contains("events: refusals"), "{}", ran.err);
    site.save("groups.yaml", &definition(EVENTS));
    let told = || !site.lets_in(23) && !events(&site).is_empty();
    until("they are told", told);
    // Nobody listens any more, and it is refused all the same.
    site.save("groups.yaml", &definition(""));
    until("no longer", || {
        site.run("events").err.contains("events: refusals")
    });
    assert!(!site.lets_in(23) && site.lets_in(22));
}

/// Packets that were told one by one, left out and lost.
fn counted(site: &Site) -> [u64; 3] {
    let mut counts = [0; 3];
    for event in events(site) {
        match event["event"].as_str().unwrap() {
            "refused" => counts[0] += 1,
            _ => {
                counts[1] += event["limited"].as_u64().unwrap();
                counts[2] += event["lost"].as_u64().unwrap();
            }
        }
    }
    counts
}

/// Packets that were refused, by the kernel's counters.
fn refused(site: &Site) -> u64 {
    let status = site.status();
    let hits = status["hits"].as_array().unwrap();
    let refuses = |hit: &&Value| hit["action"] == "refuse" || hit["reason"] == "default";
    let refusing = hits.iter().filter(refuses);
    refusing.map(|hit| hit["packets"].as_u64().unwrap()).sum()
}

/// All that the kernel has refused was told of or counted. What was lost last shows with the next packet.
fn all_is_told(site: &Site) -> [u64; 3] {
    assert!(!site.lets_in(23));
    let begin = Instant::now();
    loop {
        let (counts, refused) = (counted(site), refused(site));
        if counts.iter().sum::<u64>() == refused {
            return counts;
        }
        assert!(
            begin.elapsed() < SOON,
            "{counts:?} were told of, left out and lost; refused were {refused}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The processor's time that a process has used.
fn used(daemon: &Daemon) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let nanoseconds = tasks.map(|task| {
        // Time on the processor, in nanoseconds, is the first number.
        let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// 5 % of a core at 100,000 a second.
const MOST_FOR_EACH: f64 = 500.0;

/// Tests beside it take the caches away: what it costs is the least of some floods.
fn flood() {
    let site = Site::quiet();
    site.write("groups.yaml", &definition(EVENTS));
    let daemon = site.start();
    let mut each = Vec::new();
    let floods = if is_full() { 5 } else { 1 };
    while each.len() < floods && !each.iter().any(|each| *each < MOST_FOR_EACH) {
        each.push(flood_for(&site, &daemon, if is_full() { 10 } else { 2 }));
    }
    let least = each.into_iter().fold(f64::INFINITY, f64::min);
    bounded("nanoseconds for each", least, MOST_FOR_EACH);
}

/// What a refusal that the daemon hears of takes of its time, in nanoseconds.
fn flood_for(site: &Site, daemon: &Daemon, seconds: u64) -> f64 {
    let [told, limited, lost] = counted(site);
    let before = used(daemon);
    let flood = Flood {
        rate: 100_000,
        at_most: u64::MAX,
        at_longest: Duration::from_secs(seconds),
        ..Flood::new(Side::Inbound, &[REFUSED])
    };
    let report = flood.start(&site.wire).finish();
    let cost = used(daemon).saturating_sub(before);
    let now = all_is_told(site);
    let [told, limited, lost] = [now[0] - told, now[1] - limited, now[2] - lost];
    let packets = report.port(REFUSED).seen_before;
    let heard = packets - lost.min(packets);
    let each = cost.as_nanos() as f64 / heard as f64;
    println!(
        "{} refusals a second for {:.1} s: {told} told one by one, {limited} in numbers, {lost} lost by the kernel and counted; \
         {:.1} % of a core, {each:.0} ns each",
        report.rate,
        report.elapsed.as_secs_f64(),
        100.0 * cost.as_secs_f64() / report.elapsed.as_secs_f64(),
    );
    assert_eq!(report.port(REFUSED).seen_after, 0);
    assert!((10..1000).contains(&told) && limited > packets / 10);
    site.host.nft("delete table inet bench_inbound");
    each
}

/// What the kernel takes for a packet more where it is told, and for one that is allowed.
fn cost() {
    let rounds = if is_full() { 10 } else { 3 };
    let site = Site::quiet();
    site.write("groups.yaml", &definition(EVENTS));
    let _daemon = site.start();
    let mut least: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for round in 0..2 * rounds {
        let (mode, platform) = [("told", EVENTS), ("not told", "")][round % 2];
        site.save("groups.yaml", &definition(platform));
        until("it is enforced", || {
            site.run("events").err.contains("events: refusals") == platform.is_empty()
        });
        for (what, port) in [("refused", REFUSED), ("allowed", ALLOWED)] {
            let flood = Flood {
                rate: 10_000_000,
                at_most: 30_000,
                ..Flood::new(Side::Inbound, &[port])
            };
            let report = flood.start(&site.wire).finish();
            let each = report.elapsed.as_secs_f64() * 1e9 / 30_000.0;
            let known = least.entry((what, mode)).or_insert(each);
            *known = known.min(each);
            site.host.nft("delete table inet bench_inbound");
        }
    }
    for what in ["refused", "allowed"] {
        let (told, not) = (least[&(what, "told")], least[&(what, "not told")]);
        println!(
            "a packet that is {what}: {told:.0} ns with events, {not:.0} ns without: {:+.0} ns in the kernel",
            told - not
        );
    }
    site.save("groups.yaml", &definition(EVENTS));
    until("the last is enforced", || {
        !site.run("events").err.contains("events: refusals")
    });
    // Only packets of the policies that tell are told of.
    assert!(!site.lets_in(23));
    until("it is told", || {
        counted(&site).iter().sum::<u64>() > 30_000 * rounds as u64
    });
    assert!(counted(&site).iter().sum::<u64>() <= 30_000 * rounds as u64 + 10);
}
