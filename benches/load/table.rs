//! The table of loads, and whether what the project promises about them holds.

use super::ours::{Daemon, Pure, Steps};
use super::site::PROGRAM;
use super::ways::Cost;
use crate::figures::{Promise, thousands};
use crate::workloads::Workload;
use std::net::Ipv4Addr;
use std::time::Duration;
use std::{fmt, fs};

/// One way to load one workload.
#[derive(Default)]
pub struct Row {
    workload: String,
    way: String,
    rules: usize,
    elements: Option<usize>,
    chains: Option<usize>,
    compile: Option<Duration>,
    check: Option<Duration>,
    load: Duration,
    switch: Option<Duration>,
    kernel: Option<i64>,
    own_peak: Option<u64>,
    resident: Option<u64>,
    programs_peak: u64,
}

/// The head of the table.
pub fn heads(runs: usize) -> String {
    format!(
        "Times in ms, medians of {runs}, of *compile* and *check* the processor's time, the least; memory in MB. *Kernel*: what the kernel holds for it. *Daemon*: the most that the\ndaemon \
         had resident, and what it has at rest. *Programs*: the most that a program had resident which was started to load.\n\n\
         | | | rules | elements | chains | compile | check | load | switch | kernel | daemon, peak | at rest | programs |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
}

impl Row {
    /// Ours.
    pub fn ours(workload: &Workload, pure: &Pure, steps: &Steps, daemon: &Daemon) -> Self {
        Row {
            workload: format!(
                "{}, {} rules",
                workload.name,
                thousands(workload.rules as f64)
            ),
            way: "secgroupd".into(),
            rules: pure.ruleset.rule_count(),
            elements: Some(pure.ruleset.element_count()),
            chains: Some(pure.ruleset.chains.len()),
            compile: Some(pure.compile),
            check: Some(pure.check),
            load: steps.load,
            switch: Some(steps.switch),
            kernel: Some(steps.cost.kernel),
            own_peak: Some(daemon.peak),
            resident: Some(daemon.resident),
            programs_peak: daemon.children,
        }
    }

    /// Ours through nft, as where the kernel may not be spoken to directly: what it compiles to is the same.
    pub fn through_nft(pure: &Pure, steps: &Steps) -> Self {
        Row {
            way: "secgroupd, through nft".into(),
            rules: pure.ruleset.rule_count(),
            load: steps.load,
            switch: Some(steps.switch),
            kernel: Some(steps.cost.kernel),
            programs_peak: steps.cost.peak,
            ..Row::default()
        }
    }

    /// Somebody's program.
    pub fn of(way: &str, rules: usize, cost: Cost) -> Self {
        Row {
            way: way.into(),
            rules,
            load: cost.time,
            kernel: Some(cost.kernel),
            programs_peak: cost.peak,
            ..Row::default()
        }
    }

    /// With so many elements.
    pub fn elements(self, elements: usize) -> Self {
        Row {
            elements: Some(elements),
            ..self
        }
    }

    /// Its memory in the kernel was not measured: nothing takes it away again.
    pub fn no_kernel(self) -> Self {
        Row {
            kernel: None,
            ..self
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |number: Option<usize>| number.map_or("-".into(), |number| thousands(number as f64));
        let ms = |time: Option<Duration>| {
            time.map_or("-".into(), |time| {
                let ms = time.as_secs_f64() * 1000.0;
                match ms < 10.0 {
                    true => format!("{ms:.1}"),
                    false => thousands(ms),
                }
            })
        };
        let mb = |bytes: Option<i64>| {
            // A machine that frees a little of its own meanwhile holds no less for it.
            bytes.map_or("-".into(), |bytes| {
                format!("{:.1}", bytes.max(0) as f64 / 1e6)
            })
        };
        let peak = |bytes: Option<u64>| mb(bytes.map(|bytes| bytes as i64));
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.workload,
            self.way,
            thousands(self.rules as f64),
            count(self.elements),
            count(self.chains),
            ms(self.compile),
            ms(self.check),
            ms(Some(self.load)),
            ms(self.switch),
            mb(self.kernel),
            peak(self.own_peak),
            peak(self.resident),
            peak(Some(self.programs_peak)),
        )
    }
}

/// What is promised of one workload: ours are the first three rows, the interval map is known by its elements.
pub fn promises(name: &str, rows: &[Row]) -> Vec<Promise> {
    let mut promises = Vec::new();
    let ours = &rows[0];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let work = ms(ours.compile.unwrap_or_default() + ours.check.unwrap_or_default());
    let load = ms(ours.load + ours.switch.unwrap_or_default());
    let nft = ms(rows[1].load + rows[1].switch.unwrap_or_default());
    let mb = |bytes: Option<u64>| bytes.unwrap_or_default() as f64 / 1e6;
    let mut note = |promise: &str, figure: f64, limit: f64, unit: &str| {
        let holds = figure <= limit;
        promises.push((
            format!("{name}: {promise} {limit}{unit}"),
            match unit {
                " times" => format!("{figure:.2}{unit}"),
                _ => format!("{figure:.1}{unit}"),
            },
            holds,
        ));
    };
    match name {
        "W2" => note("resident at rest at most", mb(ours.resident), 10.0, " MB"),
        "W3" => {
            note("compile and check at most", work, 60.0, " ms");
            note("load and switch at most", load, 1000.0, " ms");
            note(
                "load and switch, in terms of what the kernel takes for the messages alone, at most",
                load / ms(rows[2].load),
                1.3,
                " times",
            );
            note("the same through nft at most", nft, 1000.0, " ms");
            let map = rows[3..].iter().find(|row| row.elements.is_some());
            let map = ms(map.expect("the interval map").load);
            note(
                "the same through nft, in terms of one interval map, at most",
                nft / map,
                5.0,
                " times",
            );
        }
        "W4" => {
            note("compile and check at most", work, 250.0, " ms");
            let all = mb(ours.own_peak) + ours.programs_peak as f64 / 1e6;
            let promise = "peak of all that we start, one address changed too, at most";
            note(promise, all, 60.0, " MB");
        }
        "W5" => {
            note("all of it at most", work + load, 2000.0, " ms");
            let each = ours.elements.unwrap_or_default() as f64 / 2000.0;
            note("elements of a rule at most", each, 20.0, "");
        }
        _ => {}
    }
    promises
}

/// What is promised of the program itself.
pub fn program() -> Promise {
    let size = fs::metadata(PROGRAM).expect("the program").len();
    let mb = size as f64 / 1e6;
    (
        "the program, stripped, at most 8 MB".into(),
        format!("{mb:.1} MB"),
        mb <= 8.0,
    )
}

/// One map of so many intervals: nobody can load as many elements for less.
pub fn interval_map(elements: usize) -> String {
    let list: Vec<String> = (0..elements)
        .map(|at| {
            let first = 0x0b00_0000 + at as u32 * 16;
            format!(
                "{}-{} : accept",
                Ipv4Addr::from(first),
                Ipv4Addr::from(first + 7)
            )
        })
        .collect();
    format!(
        "table inet one {{\nmap m {{ type ipv4_addr : verdict; flags interval; elements = {{ {} }}; }}\n}}\n",
        list.join(", ")
    )
}
