//! A lab of fifty instances: how long it takes to come up, to be tried, to be changed and to go, beside what is promised.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_secgroupd");
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
        thread::sleep(Duration::from_millis(2500));
        let changed: Vec<(u64, u64)> = self
            .enforced()
            .into_iter()
            .filter(|(name, (generation, _))| before[name].0 != *generation)
            .map(|(_, enforced)| enforced)
            .collect();
        assert_eq!(
            changed.len(),
            touched,
            "as many as it touches, and no other"
        );
        let last = changed.iter().map(|(_, since)| *since).max().unwrap();
        last as f64 - start.as_secs_f64() * 1000.0
    }
}

/// The median, the least and the most.
fn row(what: &str, unit: &str, mut times: Vec<f64>, promised: &str) {
    times.sort_by(f64::total_cmp);
    let shown = |time: f64| match unit {
        "s" => format!("{time:.2} s"),
        _ => format!("{time:.0} ms"),
    };
    println!(
        "| {what} | {} | {} | {} | {promised} |",
        shown(times[times.len() / 2]),
        shown(times[0]),
        shown(times[times.len() - 1])
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
    let (mut up, mut down, mut reach, mut five, mut fifty) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut cells = 0;
    for round in 0..rounds {
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
        five.push(site.edit(&definition(8001, 8000), TOGETHER));
        fifty.push(site.edit(&definition(8002, 8003), INSTANCES));
        let start = Instant::now();
        site.run("lab down");
        down.push(start.elapsed().as_secs_f64());
        site.save(&definition(8000, 8000));
        assert!(round < rounds);
    }
    println!("| {INSTANCES} instances | median | least | most | promised |\n|---|---|---|---|---|");
    row("up, each enforcing its groups", "s", up, "15 s");
    let what = format!(
        "`lab reach` of {cells} cells: from each instance and the internet to each instance, {PORTS} ports, both families"
    );
    row(&what, "s", reach, "60 s");
    row(
        "save to enforced, 5 instances touched",
        "ms",
        five,
        "200 ms",
    );
    row("save to enforced, all 50 touched", "ms", fifty, "1500 ms");
    row("down", "s", down, "-");
    println!(
        "\nEvery cell equals its prediction, and no save gives an instance that it does not touch a new generation: else this ends with an error."
    );
}
