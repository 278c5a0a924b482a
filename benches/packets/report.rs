//! The tables, and whether what the project promises about packets holds.

use super::beside;
use super::contestants::{ALL, Contestant};
use super::stage::{ANY, Floor, LAST, Measured, TRACKED};
use super::wide::At;
use crate::figures::{Promise, table, thousands};

/// What it costs over the number of rules: for each number, a figure for each contestant.
pub type Sweep = [(usize, Vec<Option<f64>>)];

/// Prints everything as markdown.
pub fn print(floor: &Floor, workloads: &[Measured], sweep: &Sweep, wide: &[At]) {
    println!(
        "Nanoseconds for a packet above an empty hook, the least of interleaved rounds; every contestant begins with \
         `ct state established accept`,\nand gives the same verdicts. *New*: the first packet of a flow, IPv4. *Last \
         rules*: it is decided by the last rules of the list; *any rule*:\nby any of them, at random.\n"
    );
    let heads = || ALL.map(Contestant::name).join(" | ");
    println!("| | rules | packets | {} |", heads());
    println!("|---|---|---|{}", "---|".repeat(ALL.len()));
    for workload in workloads {
        for (at, (kind, figures)) in workload.rows.iter().enumerate() {
            let (name, rules) = match at {
                0 => (workload.name, thousands(workload.rules as f64)),
                _ => ("", String::new()),
            };
            println!("| {name} | {rules} | {kind} | {} |", cells(figures));
        }
    }
    println!(
        "\nA packet takes {} ns through a veth, the empty hook and connection tracking to the drop. Connection tracking \
         takes {} ns of them\nfor a new flow and {} ns for an established one. A bare `ct state established accept` adds \
         {} ns and {} ns.\n",
        thousands(floor.packet),
        thousands(floor.tracking[0]),
        thousands(floor.tracking[1]),
        thousands(floor.established[0]),
        thousands(floor.established[1]),
    );
    println!(
        "*A rule each*: one rule for each of the policy's; only the list of W4 is a set (in iptables, of ipset). By hand:\n"
    );
    for workload in workloads {
        for (contestant, says) in &workload.says {
            println!("- {}, {contestant}: {says}.", workload.name);
        }
    }
    println!(
        "\nA new flow over the number of rules, each with a network and a port of its own, last rules:\n"
    );
    println!("| rules | {} |\n|---|{}", heads(), "---|".repeat(ALL.len()));
    for (rules, figures) in sweep {
        println!("| {} | {} |", thousands(*rules as f64), cells(figures));
    }
    println!("\n{}", beside::table(floor, workloads, wide));
    let mut promises = promises(floor, workloads, sweep);
    promises.extend(beside::promises(floor, workloads, wide));
    println!("{}", table(&promises));
}

fn promises(floor: &Floor, workloads: &[Measured], sweep: &Sweep) -> Vec<Promise> {
    let ours = |name: &str, kind: &str| figure(workloads, name, kind, Contestant::Secgroupd);
    let mut out = Vec::new();
    for (kind, promise) in [
        (LAST, "W3 at most 1,200 ns above W1, last rules"),
        (ANY, "W3 at most 1,200 ns above W1, any rule"),
    ] {
        let more = ours("W3", kind) - ours("W1", kind);
        out.push((
            promise.into(),
            format!("{} ns", thousands(more)),
            more <= 1200.0,
        ));
    }
    let times = figure(workloads, "W3", LAST, Contestant::NftList) / ours("W3", LAST);
    out.push((
        "W3 at least 200 times less than plain nft rules".into(),
        format!("{times:.0} times"),
        times >= 200.0,
    ));
    let crossing = crossing(sweep, Contestant::IptablesLegacy);
    out.push((
        "less than iptables-legacy from 300 rules on".into(),
        match crossing {
            Some(rules) => format!("from {rules:.0} rules on"),
            None => "never".into(),
        },
        crossing.is_some_and(|rules| rules <= 300.0),
    ));
    for (kind, promise) in [
        (LAST, "W5 at most 5 times W1, last rules"),
        (ANY, "W5 at most 5 times W1, any rule"),
    ] {
        let times = ours("W5", kind) / ours("W1", kind);
        out.push((promise.into(), format!("{times:.1} times"), times <= 5.0));
    }
    let tracked: Vec<f64> = workloads
        .iter()
        .map(|workload| ours(workload.name, TRACKED) - floor.established[1])
        .collect();
    let (least, most) = tracked
        .iter()
        .fold((f64::MAX, f64::MIN), |(least, most), each| {
            (least.min(*each), most.max(*each))
        });
    out.push((
        "an established flow at most 300 ns above the bare rule, in all five".into(),
        format!("{} to {} ns", thousands(least), thousands(most)),
        most <= 300.0,
    ));
    out
}

pub fn figure(workloads: &[Measured], name: &str, kind: &str, contestant: Contestant) -> f64 {
    let workload = workloads.iter().find(|workload| workload.name == name);
    let rows = &workload.expect("all five").rows;
    let (_, figures) = rows.iter().find(|row| row.0 == kind).expect("all kinds");
    let column = ALL.iter().position(|each| *each == contestant);
    figures[column.expect("a column")].expect("a figure")
}

/// From how many rules on we cost less than a contestant, between the measured numbers on a line of logarithms.
fn crossing(sweep: &Sweep, with: Contestant) -> Option<f64> {
    let column = ALL.iter().position(|each| *each == with)?;
    let points: Vec<(f64, f64)> = sweep
        .iter()
        .filter_map(|(rules, figures)| {
            let (ours, theirs) = (figures[0]?, figures[column]?);
            Some(((*rules as f64).ln(), (ours / theirs.max(1.0)).ln()))
        })
        .collect();
    let last_above = points.iter().rposition(|(_, ratio)| *ratio > 0.0);
    let Some(at) = last_above else {
        return points.first().map(|(rules, _)| rules.exp());
    };
    let ((x0, y0), (x1, y1)) = (points[at], *points.get(at + 1)?);
    Some((x0 + (x1 - x0) * y0 / (y0 - y1)).exp())
}

fn cells(figures: &[Option<f64>]) -> String {
    let cells: Vec<String> = figures
        .iter()
        // The program of before has a table of its own.
        .take(ALL.len())
        .map(|figure| figure.map_or("-".into(), thousands))
        .collect();
    cells.join(" | ")
}
