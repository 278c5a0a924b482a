//! The table of two commits beside each other, and what is promised about them.

use super::before;
use super::contestants::{ALL, Contestant};
use super::report::figure;
use super::stage::{Floor, Measured, PORT_80, TRACKED, TRACKED_THERE};
use super::wide::At;
use crate::figures::{Promise, thousands};
use std::fmt::Write;

/// A line: what was measured where, by the program of before and by this one.
struct Line {
    place: String,
    packets: String,
    before: f64,
    now: f64,
}

impl Line {
    fn share(&self) -> f64 {
        self.now / self.before
    }
}

/// Lines of hosts with one list; of established flows above the bare rule.
fn one_list(floor: &Floor, workloads: &[Measured]) -> Vec<Line> {
    let mut lines = Vec::new();
    for workload in workloads {
        for (kind, figures) in &workload.rows {
            let (Some(now), Some(Some(before))) = (figures[0], figures.get(ALL.len())) else {
                continue;
            };
            let bare = match is_established(kind) {
                true => floor.established[1],
                false => 0.0,
            };
            lines.push(Line {
                place: workload.name.into(),
                packets: (*kind).into(),
                before: before - bare,
                now: now - bare,
            });
        }
    }
    lines
}

/// Lines of the host with four lists, above the bare rule.
fn four_lists(floor: &Floor, wide: &[At]) -> Vec<Line> {
    let bare = floor.established[1];
    wide.iter()
        .filter_map(|at| {
            Some(Line {
                place: format!("four lists, {}", at.interface),
                packets: match at.opened_there {
                    true => TRACKED_THERE.into(),
                    false => TRACKED.into(),
                },
                before: at.before? - bare,
                now: at.now - bare,
            })
        })
        .collect()
}

fn is_established(kind: &str) -> bool {
    kind == TRACKED || kind == TRACKED_THERE
}

/// Both beside each other; where there is no other commit, what this one costs on a host with four lists.
pub fn table(floor: &Floor, workloads: &[Measured], wide: &[At]) -> String {
    let mut out = String::new();
    let one = one_list(floor, workloads);
    if one.is_empty() {
        out += "An established flow on a host with four interfaces, each with a list of its own:\n\n\
                | interface | opened by the host | opened by the peer |\n|---|---|---|\n";
        let (here, there): (Vec<&At>, Vec<&At>) = wide.iter().partition(|at| !at.opened_there);
        for (here, there) in here.iter().zip(there) {
            let figures = [here.now, there.now].map(thousands).join(" | ");
            let _ = writeln!(out, "| {} | {figures} |", here.interface);
        }
        return out;
    }
    let four = four_lists(floor, wide);
    let _ = writeln!(
        out,
        "Another commit's program in the same run ({}); established flows above the bare rule, the others above the empty hook:\n",
        before::name()
    );
    out += "| | packets | before | now | share |\n|---|---|---|---|---|\n";
    let average = Line {
        place: "four lists, on the average".into(),
        packets: "established, both".into(),
        ..mean(&four)
    };
    for line in one.iter().chain(&four).chain([&average]) {
        let figures = [line.before, line.now].map(thousands).join(" | ");
        let share = line.share() * 100.0;
        let _ = writeln!(
            out,
            "| {} | {} | {figures} | {share:.0} % |",
            line.place, line.packets
        );
    }
    out
}

/// What is promised about the two.
pub fn promises(floor: &Floor, workloads: &[Measured], wide: &[At]) -> Vec<Promise> {
    let one = one_list(floor, workloads);
    let four = four_lists(floor, wide);
    if one.is_empty() {
        return Vec::new();
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let most = |lines: &mut dyn Iterator<Item = &Line>| {
        let worst = lines.max_by(|a, b| a.share().total_cmp(&b.share()));
        let worst = worst.expect("a line");
        let says = format!(
            "{} ({}, {})",
            percent(worst.share()),
            worst.place,
            worst.packets
        );
        (worst.share(), says)
    };
    let mut out = Vec::new();
    let mut promise = |what: &str, (share, says): (f64, String), bound: f64| {
        out.push((what.to_owned(), says, share <= bound));
    };
    let mut established = one.iter().filter(|line| is_established(&line.packets));
    promise(
        "one list: an established flow at most 50 % of before, above the bare rule",
        most(&mut established),
        0.5,
    );
    let average = mean(&four).share();
    promise(
        "four lists: an established flow at most 75 % of before on the average, above the bare rule",
        (average, percent(average)),
        0.75,
    );
    promise(
        "four lists: nowhere more than before",
        most(&mut four.iter()),
        1.0,
    );
    let new = one.iter().find(|line| line.packets == PORT_80);
    let share = new.expect("measured of W1").share();
    promise(
        "W1, a new TCP flow to port 80: at most 60 % of before",
        (share, percent(share)),
        0.6,
    );
    let new = |contestant| figure(workloads, "W1", PORT_80, contestant);
    let times = new(Contestant::Secgroupd) / new(Contestant::NftList);
    promise(
        "W1, a new TCP flow to port 80: at most 1.6 times plain nft rules",
        (times, format!("{times:.2} times")),
        1.6,
    );
    promise("no workload dearer than before", most(&mut one.iter()), 1.0);
    out
}

fn mean(lines: &[Line]) -> Line {
    let count = lines.len() as f64;
    Line {
        place: String::new(),
        packets: String::new(),
        before: lines.iter().map(|line| line.before).sum::<f64>() / count,
        now: lines.iter().map(|line| line.now).sum::<f64>() / count,
    }
}
