//! The pure steps under criterion: from text to policy, from policy to ruleset, and the check of the ruleset.
//!
//! `cargo bench --bench compile`; criterion's own words go to standard error, the table to standard output.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/figures.rs"]
mod figures;
#[path = "common/processor.rs"]
mod processor;
#[path = "../tests/workloads/mod.rs"]
mod workloads;

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use figures::thousands;
use nix::unistd::{dup, dup2_stdout};
use secgroupd::ruleset::{check, compile};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The processor's time, for a machine that others use too.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        processor::spent()
    }

    fn end(&self, start: Duration) -> Duration {
        processor::spent() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

const STEPS: [&str; 3] = ["read", "compile", "check"];

fn main() {
    let results = PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/criterion"));
    // What an earlier run has measured is no figure of this one.
    let _ = std::fs::remove_dir_all(&results);
    let quick = std::env::var_os("SECGROUPD_QUICK").is_some();
    let (warm_up, measure) = match quick {
        true => (200, 500),
        false => (1_000, 5_000),
    };
    let mut criterion = Criterion::default()
        .with_measurement(ProcessorTime)
        .output_directory(&results)
        .sample_size(if quick { 10 } else { 30 })
        .warm_up_time(Duration::from_millis(warm_up))
        .measurement_time(Duration::from_millis(measure))
        .configure_from_args();

    let output = dup(std::io::stdout()).expect("standard output");
    dup2_stdout(std::io::stderr()).expect("standard error in its place");
    let workloads = workloads::all();
    for workload in &workloads {
        let policy = workload.policy();
        let ruleset = compile(&policy);
        let mut group = criterion.benchmark_group(workload.name);
        group.bench_function(STEPS[0], |b| b.iter(|| workload.policy()));
        group.bench_function(STEPS[1], |b| b.iter(|| compile(&policy)));
        group.bench_function(STEPS[2], |b| {
            b.iter(|| check(&policy, &ruleset).expect("right"));
        });
        group.finish();
    }
    dup2_stdout(output).expect("standard output");

    println!(
        "Mean processor time in ms by criterion, with the interval of 95 % confidence. *Read*: from text to policy.\n"
    );
    println!("| | rules | read | compile | check |\n|---|---|---|---|---|");
    for workload in &workloads {
        let cells = STEPS.map(|step| estimate(&results, workload.name, step));
        let rules = thousands(workload.rules as f64);
        println!("| {} | {rules} | {} |", workload.name, cells.join(" | "));
    }
}

/// The mean that criterion has just written down.
fn estimate(results: &Path, workload: &str, step: &str) -> String {
    let path = results.join(workload).join(step).join("new/estimates.json");
    // One that was left out by a filter.
    let Ok(text) = std::fs::read_to_string(path) else {
        return "-".into();
    };
    let json: serde_json::Value = serde_json::from_str(&text).expect("criterion's estimates");
    let ms = |value: &serde_json::Value| value.as_f64().expect("nanoseconds") / 1e6;
    let mean = &json["mean"];
    let interval = &mean["confidence_interval"];
    format!(
        "{:.2} ({:.2} to {:.2})",
        ms(&mean["point_estimate"]),
        ms(&interval["lower_bound"]),
        ms(&interval["upper_bound"])
    )
}
