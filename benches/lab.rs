//! A lab of fifty instances: how long it takes to come up, to be tried, to be changed and to go, beside what is promised.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The program under test.
/// The release, where it was built before.
const PROGRAM: &str = match option_env!("SECGROUPD_RELEASE") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_secgroupd"),
};
const INSTANCES: usize = 50;
/// Instances of one group.
const TOGETHER: usize = 5;
const PORTS: usize = 10;

/// Fifty instances of ten groups, both families, ten ports each. Each group lets some ports in from others, and one from anybody.
fn definition(one: u16, all: u16) -> String {
    let groups = INSTANCES / TOGETHER;
    let mut text = String::from("version: 1\nsecurity_groups:\n");
    for group in 0..groups {
        text += &format!("  sg-{group}:\n    inbound:\n");
        for port in 0..PORTS {
            let action = if (port + group) % 3 == 0 {
                "refuse"
            } else {
                "allow"
            };
            text += &format!(
                "      - {{ action: {action}, protocol: tcp, port: {}, source: sg-{} }}\n",
                8000 + port,
                (group + port) % groups
            );
        }
        let open = if group == 0 { one } else { all };
        text += &format!("      - {{ action: allow, protocol: tcp, port: {open}, source: any }}\n");
        text += "    outbound:\n      - { action: allow, protocol: all, destination: any }\n";
    }
    text += "instances:\n";
    for number in 0..INSTANCES {
        text += &format!(
            "  ins-{number}: {{ interfaces: {{ eth0: {{ addresses: [10.0.1.{0}, \"2001:db8::1:{0:x}\"], security_groups: [sg-{1}] }} }} }}\n",
            number + 1,
            number / TOGETHER
        );
    }
    text += "lab:\n  services:\n";
    for number in 0..INSTANCES {
        text += &format!("    ins-{number}: [\"tcp:8000-{}\"]\n", 8000 + PORTS - 1);
    }
    text
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn run(&self, line: &str) -> String {
        let output = Command::new(PROGRAM)
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .stderr(Stdio::inherit())
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{line}: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    fn save(&self, text: &str) {
        fs::write(self.folder.path().join("new"), text).unwrap();
        let path = self.folder.path();
        fs::rename(path.join("new"), path.join("bench50.yaml")).unwrap();
    }

    /// Generation, and since when in ms, of each instance.
    fn enforced(&self) -> BTreeMap<String, (u64, u64)> {
        let status: Value = serde_json::from_str(&self.run("lab status --json")).unwrap();
        let of = |node: &Value| {
            let enforced = &node["enforced"];
            Some((
                node["name"].as_str()?.to_owned(),
                (
                    enforced["generation"].as_u64()?,
                    enforced["since_ms"].as_u64()?,
                ),
            ))
        };
        status["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(of)
            .collect()
    }

    /// From the rename until the last of those that the save is about enforces it, in ms; no other has a new generation.
    fn edit(&self, text: &str, touched: usize) -> f64 {
        let before = self.enforced();
        thread::sleep(Duration::from_millis(300));
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.save(text);
        let changed = || -> Vec<(u64, u64)> {
            let now = self.enforced().into_iter();
            now.filter(|(name, (generation, _))| before[name].0 != *generation)
                .map(|(_, enforced)| enforced)
                .collect()
        };
        // Nothing is asked while it is measured, and nobody else comes later.
        thread::sleep(Duration::from_millis(600));
        let deadline = Instant::now() + Duration::from_secs(20);
        while changed().len() < touched && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(Duration::from_millis(300));
        let changed = changed();
        assert_eq!(
            changed.len(),
            touched,
            "as many as it touches, and no other"
        );
        let last = changed.iter().map(|(_, since)| *since).max().unwrap();
        last as f64 - start.as_secs_f64() * 1000.0
    }
}

/// The README's first command, from its start until the matrix and what comes after it are printed, in s.
fn first_command(folder: &Path) -> f64 {
    let start = Instant::now();
    let mut lab = Command::new(PROGRAM)
        .args(["lab", "up", "--demo", "--name", "bench-demo"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines();
    let mut said = |words: &str| lines.any(|line| line.unwrap().contains(words));
    assert!(said("Every cell equals its prediction."));
    assert!(said("ends the lab"));
    let took = start.elapsed().as_secs_f64();
    lab.kill().unwrap();
    lab.wait().unwrap();
    took
}

/// The median, the least and the most; the most must be within what is promised.
fn row(what: &str, unit: &str, mut times: Vec<f64>, promised: Option<f64>) {
    times.sort_by(f64::total_cmp);
    let shown = |time: f64| match unit {
        "s" => format!("{time:.2} s"),
        _ => format!("{time:.0} ms"),
    };
    let most = times[times.len() - 1];
    let (bound, holds) = match promised {
        None => ("-".to_owned(), "-"),
        Some(bound) if most <= bound => (format!("{bound:.0} {unit}"), "yes"),
        Some(bound) => (format!("{bound:.0} {unit}"), "NO"),
    };
    println!(
        "| {what} | {} | {} | {} | {bound} | {holds} |",
        shown(times[times.len() / 2]),
        shown(times[0]),
        shown(most)
    );
}

fn main() {
    let rounds = match std::env::var_os("SECGROUPD_QUICK") {
        Some(_) => 2,
        None => 5,
    };
    let site = Site {
        folder: tempfile::tempdir().unwrap(),
    };
    site.save(&definition(8000, 8000));
    let (mut first, mut up, mut down, mut reach, mut five, mut fifty) = (
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
    );
    let mut cells = 0;
    for _ in 0..rounds {
        first.push(first_command(site.folder.path()));
        let start = Instant::now();
        site.run("lab up bench50.yaml --detach");
        up.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let names: Vec<String> = (0..INSTANCES)
            .map(|number| format!("ins-{number}"))
            .collect();
        let reached: Value =
            serde_json::from_str(&site.run(&format!("lab reach --json --to {}", names.join(","))))
                .unwrap();
        reach.push(start.elapsed().as_secs_f64());
        cells = reached["cells"].as_array().unwrap().len();
        let equal = |cell: &Value| cell["agreement"] == "equal";
        assert!(reached["cells"].as_array().unwrap().iter().all(equal));
        for port in 8001..8004 {
            five.push(site.edit(&definition(port, 8000), TOGETHER));
        }
        for port in 8004..8006 {
            fifty.push(site.edit(&definition(port, port), INSTANCES));
        }
        let start = Instant::now();
        site.run("lab down");
        down.push(start.elapsed().as_secs_f64());
        site.save(&definition(8000, 8000));
    }
    println!("| | median | least | most | promised | holds |\n|---|---|---|---|---|---|");
    row(
        "`lab up --demo`, until the matrix is printed",
        "s",
        first,
        Some(20.0),
    );
    row(
        "50 instances up, each enforcing its groups",
        "s",
        up,
        Some(15.0),
    );
    let what = format!(
        "`lab reach` of {cells} cells: from each instance and the internet to each instance, {PORTS} ports, both families"
    );
    row(&what, "s", reach, Some(60.0));
    row(
        "save to enforced, 5 instances of 50 touched",
        "ms",
        five,
        Some(200.0),
    );
    row(
        "save to enforced, all 50 touched",
        "ms",
        fifty,
        Some(1500.0),
    );
    row("down", "s", down, None);
    println!(
        "\n50 instances of 10 groups. Every cell equals its prediction, and no save gives an instance that it does not touch a new generation: \
         else this ends with an error. A promise holds if the most does."
    );
}
