//! What an edit of a definition of 10,000 rules takes: planned, judged whole, and written to a disk. Beside it the whole
//! command, which also lints both definitions and compares the flows of every instance.
//!
//! `cargo bench --bench edits`
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "common/figures.rs"]
mod figures;
#[path = "../tests/workloads/mod.rs"]
mod workloads;

use figures::thousands;
use secgroupd::cloud::edit::{Change, edit};
use secgroupd::cloud::text::RuleText;
use secgroupd::policy::RuleId;
use secgroupd::source::change::change;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNS: usize = 21;
const PROMISED: Duration = Duration::from_millis(150);

/// A hundred groups of a hundred rules, bound to fifty instances, as an account has them.
fn account() -> String {
    let mut text = String::from("version: 1\nsecurity_groups:\n");
    for group in 0..100 {
        text += &format!("  sg-{group}:\n    # group {group}\n    inbound:\n");
        for rule in 0..100 {
            let remote = format!("10.{group}.{rule}.0/24");
            text += &format!(
                "      - {{ action: allow, protocol: tcp, port: {}, source: {remote} }}\n",
                2000 + rule
            );
        }
    }
    text += "instances:\n";
    for instance in 0..50 {
        let groups = format!("[sg-{}, sg-{}]", 2 * instance, 2 * instance + 1);
        text += &format!(
            "  ins-{instance}: {{ hostname: h{instance}, interfaces: {{ eth0: {{ addresses: [10.200.0.{instance}], security_groups: {groups} }} }} }}\n"
        );
    }
    text
}

fn main() -> std::process::ExitCode {
    let sets = [
        ("100 groups of 100 rules, 50 instances", account(), "sg-50"),
        (
            "one group of 10,000 rules (W3)",
            workloads::distinct(10_000).definition,
            "sg-w",
        ),
    ];
    println!("Median and longest of {RUNS} runs, in ms, on a file system in memory.\n");
    println!(
        "| definition | bytes | add a rule | replace | move | delete | the command, with lint and flows |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut held = true;
    for (name, text, group) in sets {
        let group = match text.contains(&format!("  {group}:")) {
            true => group.to_owned(),
            false => text
                .split("  sg-")
                .nth(1)
                .map(|rest| format!("sg-{}", rest.split(':').next().unwrap()))
                .unwrap(),
        };
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let file = folder.path().join("groups.yaml");
        let rule = |index| RuleId::parse(&format!("{group}/in/{index}")).unwrap();
        let new = RuleText {
            allow: true,
            service: "tcp:8080".parse().unwrap(),
            remotes: vec!["198.51.100.7".into()],
            description: None,
            until: None,
        };
        let changes = [
            Change::AddRules {
                position: format!("{group}/in/50").parse().unwrap(),
                rules: vec![new],
            },
            Change::ReplaceRule {
                rule: rule(50),
                change: secgroupd::cloud::edit::RuleChange {
                    remotes: Some(vec!["198.51.100.9".into()]),
                    ..Default::default()
                },
            },
            Change::MoveRule {
                rule: rule(50),
                to: 3,
            },
            Change::DeleteRules(vec![rule(3)]),
        ];
        let mut cells = Vec::new();
        for one in &changes {
            let (middle, longest) = timed(&file, &text, || {
                change(&file, &|draft| edit(draft, one), &|_| {}).unwrap();
            });
            held &= middle <= PROMISED;
            cells.push(cell(middle, longest));
        }
        let program = std::env::var("SECGROUPD_RELEASE")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_secgroupd").into());
        let (middle, longest) = timed(&file, &text, || {
            let position = format!("{group}/in/50");
            let mut command = Command::new(&program);
            command.args([
                "rule",
                "add",
                &position,
                "--allow",
                "tcp:8080",
                "--from",
                "198.51.100.7",
                "--json",
                "--definition",
            ]);
            assert!(command.arg(&file).output().unwrap().status.success());
        });
        cells.push(cell(middle, longest));
        println!(
            "| {name} | {} | {} |",
            thousands(text.len() as f64),
            cells.join(" | ")
        );
    }
    let word = if held { "holds" } else { "is missed" };
    println!(
        "\nAn edit takes at most {} ms, validation included: {word}.",
        PROMISED.as_millis()
    );
    std::process::ExitCode::from(u8::from(!held))
}

fn cell(middle: Duration, longest: Duration) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    format!("{:.1} ({:.1})", ms(middle), ms(longest))
}

/// The median and the longest of several runs, each on the definition as it was.
fn timed(file: &Path, text: &str, mut run: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            std::fs::write(file, text).unwrap();
            let begin = Instant::now();
            run();
            begin.elapsed()
        })
        .collect();
    times.sort();
    (times[RUNS / 2], times[RUNS - 1])
}
