//! What lint and diff take, of the processor's time: the median of several runs, and the longest.
//!
//! `cargo bench --bench insight`
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/figures.rs"]
mod figures;
#[path = "common/processor.rs"]
mod processor;
#[path = "../tests/workloads/mod.rs"]
mod workloads;

use figures::thousands;
use secgroupd::definition::parse;
use secgroupd::insight::diff::diff;
use secgroupd::insight::lint::lint;
use secgroupd::insight::space::Work;
use secgroupd::policy::{Policy, validate};
use std::time::Duration;
use workloads::Workload;

const RUNS: usize = 9;

fn main() {
    let sets = [
        workloads::web_server(),
        workloads::mixed(1_000),
        workloads::distinct(1_000),
        workloads::staircase(1_000),
        workloads::distinct(10_000),
    ];
    println!(
        "Median and longest of {RUNS} runs, in ms of the processor's time. *Diff*: every seventh rule does the opposite.\n"
    );
    println!("| | rules | lint | warnings | diff | rows |\n|---|---|---|---|---|---|");
    for workload in &sets {
        let (lint_ms, warnings) = linted(workload);
        let (diff_ms, rows) = compared(workload);
        let rules = thousands(workload.rules as f64);
        println!(
            "| {} | {rules} | {lint_ms} | {} | {diff_ms} | {} |",
            workload.name,
            thousands(warnings as f64),
            thousands(rows as f64)
        );
    }
}

/// How long something takes, and what came of the last run.
fn timed(mut run: impl FnMut() -> usize) -> (String, usize) {
    let (mut times, mut came): (Vec<Duration>, usize) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let begin = processor::spent();
        came = run();
        times.push(processor::spent() - begin);
    }
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    (
        format!("{:.1} ({:.1})", ms(times[RUNS / 2]), ms(times[RUNS - 1])),
        came,
    )
}

fn linted(workload: &Workload) -> (String, usize) {
    let parsed = parse([("w.yaml", workload.definition.as_str())]);
    let account = validate(&parsed.definition, parsed.diagnostics).account;
    let account = account.expect("a valid definition");
    timed(|| {
        let told = lint(&parsed.definition, &account, Vec::new());
        assert!(told.iter().all(|each| each.code != "lint-given-up"));
        told.len()
    })
}

fn compared(workload: &Workload) -> (String, usize) {
    let old: Policy = workload.policy();
    let lines = workload.definition.lines().enumerate();
    let changed = lines.map(|(at, line)| match at % 7 {
        0 if line.contains("action: allow") => line.replace("action: allow", "action: refuse"),
        0 => line.replace("action: refuse", "action: allow"),
        _ => line.to_owned(),
    });
    let new = Workload {
        name: workload.name,
        definition: changed.collect::<Vec<_>>().join("\n"),
        template: workload.template.clone(),
        rules: workload.rules,
    };
    let new = new.policy();
    timed(|| {
        diff(&old, &new, &mut Work::default())
            .expect("small enough")
            .len()
    })
}
