//! Replacing a ruleset under a flood: in one transaction, and by loading, switching and deleting in three.

use std::{env, fmt::Write, time::Instant};

use crate::support::{Flood, Host, Port, Side};

const ALLOWED: [Port; 2] = [Port::Udp(2001), Port::Tcp(2002)];
const REFUSED: [Port; 2] = [Port::Udp(1001), Port::Tcp(1002)];

/// What happens to a packet that no element of a map matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Miss {
    Refused,
    Allowed,
}

/// How the one jump is led to the new generation.
#[derive(Clone, Copy, Debug)]
enum Switch {
    FlushAndAdd,
    ReplaceByHandle,
}

fn replacements() -> u32 {
    env::var("SECGROUPD_REPLACEMENTS")
        .ok()
        .and_then(|number| number.parse().ok())
        .unwrap_or(100)
}

/// The maps and chains of a generation; `g` names it.
fn generation(g: &str, miss: Miss) -> String {
    let (verdict, end) = if miss == Miss::Refused {
        ("accept", "drop")
    } else {
        ("drop", "accept")
    };
    let [udp, tcp] = if miss == Miss::Refused {
        [2001, 2002]
    } else {
        [1001, 1002]
    };
    let mut text = String::new();
    for way in ["in", "out"] {
        write!(
            text,
            " chain {g}_{way}_rule {{ counter {verdict}; }}
 map {g}_{way}_udp {{ type inet_service : verdict; flags interval; elements = {{ {udp}-{udp} : jump {g}_{way}_rule, 9000-9999 : jump {g}_{way}_rule }}; }}
 map {g}_{way}_tcp {{ type inet_service : verdict; flags interval; elements = {{ {tcp} : jump {g}_{way}_rule, 9000-9999 : jump {g}_{way}_rule }}; }}
 chain {g}_{way}_udp {{ udp dport vmap @{g}_{way}_udp; }}
 chain {g}_{way}_tcp {{ tcp dport vmap @{g}_{way}_tcp; }}
 map {g}_{way} {{ type inet_proto : verdict; elements = {{ udp : jump {g}_{way}_udp, tcp : jump {g}_{way}_tcp }}; }}
 chain {g}_{way} {{ meta l4proto vmap @{g}_{way}; meta l4proto {{ udp, tcp }} {end}; }}
"
        )
        .unwrap();
    }
    text
}

/// The base chains, which stay.
fn base(g: &str) -> String {
    format!(
        " chain inbound {{ type filter hook prerouting priority -160; jump {g}_in; }}
 chain outbound {{ type filter hook postrouting priority 250; jump {g}_out; }}
"
    )
}

fn deletion(g: &str) -> String {
    let names = |ends: &[&'static str]| {
        let ends = ends.to_vec();
        ["in", "out"].into_iter().flat_map(move |way| {
            ends.clone()
                .into_iter()
                .map(move |end| format!("{way}{end}"))
        })
    };
    let mut text = String::new();
    names(&["", "_udp", "_tcp"])
        .for_each(|name| writeln!(text, "flush chain inet g {g}_{name}").unwrap());
    names(&["", "_udp", "_tcp"])
        .for_each(|name| writeln!(text, "delete map inet g {g}_{name}").unwrap());
    names(&["", "_udp", "_tcp", "_rule"])
        .for_each(|name| writeln!(text, "delete chain inet g {g}_{name}").unwrap());
    text
}

fn switch(host: &Host, g: &str, how: Switch) {
    let mut text = String::new();
    for (chain, way) in [("inbound", "in"), ("outbound", "out")] {
        match how {
            Switch::FlushAndAdd => {
                writeln!(
                    text,
                    "flush chain inet g {chain}; add rule inet g {chain} jump {g}_{way}"
                )
                .unwrap();
            }
            Switch::ReplaceByHandle => {
                let listing = host.output("nft", &["-a", "list", "chain", "inet", "g", chain]);
                let rule = listing
                    .lines()
                    .find(|line| line.contains("jump "))
                    .expect("the jump");
                let handle = rule.rsplit(' ').next().unwrap();
                writeln!(
                    text,
                    "replace rule inet g {chain} handle {handle} jump {g}_{way}"
                )
                .unwrap();
            }
        }
    }
    host.nft(&text);
}

/// Runs the replacements under a flood of both directions; returns how many refused packets passed and how many
/// allowed ones were lost.
fn under_flood(what: &str, miss: Miss, mut replace: impl FnMut(&Host, u32)) -> (u64, u64) {
    let link = crate::cable();
    let host = &link.a.host;
    host.nft(&format!(
        "table inet g {{\n{}{}}}",
        generation("g0", miss),
        base("g0")
    ));
    let ports = [ALLOWED, REFUSED].concat();
    let flood = |side| {
        Flood {
            rate: 30_000,
            ..Flood::new(side, &ports)
        }
        .start(&link)
    };
    let floods = [flood(Side::Inbound), flood(Side::Outbound)];
    let start = Instant::now();
    let mut still_flooding = true;
    for number in 1..=replacements() {
        replace(host, number);
        still_flooding = floods.iter().all(|flood| flood.is_running());
    }
    let elapsed = start.elapsed();
    let (mut passed, mut lost, mut seen, mut rate) = (0, 0, 0, 0);
    for flood in floods {
        let report = flood.stop();
        rate += report.rate;
        for (port, count) in &report.counts {
            assert_eq!(
                count.sent, count.seen_before,
                "{port:?}: the flood counts exactly"
            );
            seen += count.seen_before;
        }
        passed += REFUSED
            .map(|port| report.port(port).seen_after)
            .iter()
            .sum::<u64>();
        lost += ALLOWED
            .map(|port| report.port(port).lost())
            .iter()
            .sum::<u64>();
    }
    println!(
        "{what}, a miss is {miss:?}: {} replacements in {:.1} s under {seen} packets ({rate}/s): {passed} refused ones passed, {lost} allowed ones lost",
        replacements(),
        elapsed.as_secs_f64()
    );
    assert!(
        still_flooding,
        "the flood ended before the last replacement"
    );
    (passed, lost)
}

/// A fact about the kernel, printed and not demanded: one day it may be better.
pub fn one_transaction_leaks_or_loses() {
    for miss in [Miss::Refused, Miss::Allowed] {
        under_flood("one transaction", miss, |host, _| {
            let table = format!(
                "table inet g {{\n{}{}}}",
                generation("g0", miss),
                base("g0")
            );
            host.nft(&format!("add table inet g; delete table inet g\n{table}"));
        });
    }
}

pub fn three_transactions_are_seamless() {
    for how in [Switch::FlushAndAdd, Switch::ReplaceByHandle] {
        for miss in [Miss::Refused, Miss::Allowed] {
            let result = under_flood(
                &format!("load, switch ({how:?}), delete"),
                miss,
                |host, number| {
                    let (old, new) = (format!("g{}", number - 1), format!("g{number}"));
                    host.nft(&format!("table inet g {{\n{}}}", generation(&new, miss)));
                    switch(host, &new, how);
                    host.nft(&deletion(&old));
                },
            );
            assert_eq!(result, (0, 0), "refused and passed, allowed and lost");
        }
    }
}

/// The flood's own arithmetic, without any ruleset and with one that refuses half.
pub fn a_flood_counts_exactly() {
    for side in [Side::Inbound, Side::Outbound] {
        let link = crate::cable();
        let hook = if side == Side::Inbound {
            "prerouting priority -160"
        } else {
            "postrouting priority 250"
        };
        link.a.host.nft(&format!(
            "table inet g {{ chain c {{ type filter hook {hook}; th dport 1001-1002 drop; }}; }}"
        ));
        let ports = [ALLOWED, REFUSED].concat();
        let report = Flood {
            at_most: 60_000,
            ..Flood::new(side, &ports)
        }
        .start(&link)
        .finish();
        println!(
            "{side:?}: {} packets a second of 60,000 asked for, {:?}",
            report.rate, report.counts
        );
        for (port, count) in &report.counts {
            assert_eq!(
                (count.sent, count.seen_before),
                (15_000, 15_000),
                "{port:?}"
            );
            assert_eq!(
                count.seen_after,
                if REFUSED.contains(port) { 0 } else { 15_000 },
                "{port:?}"
            );
        }
        assert_eq!(
            link.a.host.output("conntrack", &["-C"]).trim(),
            "0",
            "no flow is tracked"
        );
    }
}

/// Whether nft reads 500 rules faster as text or as JSON. Inside a user namespace the kernel refuses so long a
/// transaction (`Message too long`): nft may not enlarge its socket's buffer there, so half as many are read.
pub fn text_or_json() {
    let host = Host::new("host");
    let ruleset = |count: u32| {
        let rule = |n| {
            format!(
                "  ip saddr 10.{}.{}.0/24 tcp dport {} counter accept\n",
                n / 250,
                n % 250,
                1000 + n
            )
        };
        format!(
            "table inet t {{ chain c {{\n{} }}; }}",
            (0..count).map(rule).collect::<String>()
        )
    };
    let fits = |count: &u32| host.try_nft(&ruleset(*count)).is_ok();
    let count = [500, 250]
        .into_iter()
        .find(fits)
        .expect("250 rules fit into a transaction");
    let text = ruleset(count);
    let listing: serde_json::Value =
        serde_json::from_str(&host.output("nft", &["-j", "list", "table", "inet", "t"])).unwrap();
    let objects = listing["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|object| object.get("metainfo").is_none());
    let adds: Vec<_> = objects
        .map(|object| serde_json::json!({ "add": object }))
        .collect();
    let json = serde_json::json!({ "nftables": adds }).to_string();
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..15 {
        for (index, form) in ["text", "json"].iter().enumerate() {
            host.nft("delete table inet t");
            let start = Instant::now();
            if *form == "text" {
                host.nft(&text)
            } else {
                host.nft_json(&json)
            }
            figures[index].push(start.elapsed());
        }
    }
    for (figures, form) in figures.iter_mut().zip(["text", "JSON"]) {
        figures.sort();
        println!(
            "{count} rules as {form}: median {:.1} ms, best {:.1} ms",
            figures[7].as_secs_f64() * 1e3,
            figures[0].as_secs_f64() * 1e3
        );
    }
}
