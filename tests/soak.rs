//! Reload after reload of random policies: the memory stays flat, nothing is left in the kernel, and every k-th policy is, rule for
//! rule, what a fresh load of the same file is. 100 reloads; 10,000 with `SECGROUPD_FULL=1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test"
)]

mod generate;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use secgroupd::netfilter::objects::objects;
use secgroupd::ruleset::{Generation, TABLE};
use support::{Host, is_full, kernel_test, through_nft, whatever_labels};

#[path = "daemon/process.rs"]
mod process;

use process::{Daemon, until};

fn main() -> ExitCode {
    support::run(|| vec![kernel_test("reloads_of_random_policies", &["nft"], soak)])
}

/// Half of the policies are near to the one before: one rule of it is gone, so that most is changed in place.
fn next(rng: &mut fastrand::Rng, before: &str) -> String {
    let rules: Vec<usize> = before
        .lines()
        .enumerate()
        .filter(|(_, line)| line.trim_start().starts_with("- { action"))
        .map(|(at, _)| at)
        .collect();
    if rng.bool() || rules.len() < 8 {
        return generate::definition(rng);
    }
    let gone = rules[rng.usize(..rules.len())];
    let left = before.lines().enumerate().filter(|(at, _)| *at != gone);
    let text: String = left.map(|(_, line)| format!("{line}\n")).collect();
    // A list that has lost its only rule is written so.
    let mut out = String::new();
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let empty = (line.ends_with("inbound: ") || line.ends_with("outbound: "))
            && !lines.get(at + 1).is_some_and(|next| next.contains("- {"));
        out += line;
        out += if empty { "[]\n" } else { "\n" };
    }
    out
}

/// Without what depends on how often it was asked for: the unblocks of TCP 25.
fn granted(text: &str) -> String {
    text.replace("smtp: unblocked", "smtp: blocked")
}

fn soak() {
    let (count, each) = if is_full() { (10_000, 50) } else { (100, 20) };
    let (host, fresh) = (Host::new("host"), Host::new("fresh"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut rng = fastrand::Rng::with_seed(5);
    let mut text = generate::definition(&mut rng);
    fs::write(path("groups.yaml"), granted(&text)).unwrap();
    let program = env!("CARGO_BIN_EXE_secgroupd");
    let command = |host: &Host, line: &str, name: &str| {
        let mut command = host.command(program);
        command.args(line.split(' ')).args([
            "--state",
            &path(&format!("{name}-state")),
            "--socket",
            &path(&format!("{name}.sock")),
        ]);
        command.args(["--definition", &path("groups.yaml"), "--instance", "ins-a"]);
        if through_nft() {
            command.args(["--through", "nft"]);
        }
        command
    };
    let daemon = Daemon::start(command(&host, "run --log-level info", "host"));
    daemon.until_logged(" enforced for ");
    let mut memory = Vec::new();
    let (mut compared, mut reloaded) = (0, 0);
    for number in 1..=count {
        text = next(&mut rng, &text);
        fs::write(path("new.yaml"), granted(&text)).unwrap();
        fs::rename(path("new.yaml"), path("groups.yaml")).unwrap();
        until("it is enforced", || {
            daemon.log().matches(" enforced for ").count() > number + reloaded
        });
        // The next one is then loaded whole, and no change of this one.
        if number % 7 == 0 {
            let mut reload = host.command(program);
            let reload = reload
                .args(["reload", "--socket", &path("host.sock")])
                .output();
            assert!(reload.unwrap().status.success(), "{number}\n{text}");
            reloaded += 1;
        }
        if number % each != 0 {
            continue;
        }
        until("nothing is left over", || host.left_over().is_empty());
        let applied = command(&fresh, "apply", "fresh").output().unwrap();
        assert!(applied.status.success(), "{applied:?}");
        let (here, there) = (policy(&host), policy(&fresh));
        assert_eq!(here, there, "{number}\n{text}");
        fresh.remove();
        compared += 1;
        memory.push(resident_kb(daemon.pid()));
    }
    let (first, last) = (memory[memory.len() / 5], memory[memory.len() - 1]);
    let most = memory.iter().max().unwrap();
    println!(
        "{count} reloads, {compared} compared with a fresh load; {first} kB after the first fifth, {last} kB at the end, {most} kB at most; \
         {} objects in the kernel",
        host.enter(objects).unwrap().chains.len()
    );
    assert!(last <= first + first / 10 + 2000, "it grows: {memory:?}");
    let log = daemon.log();
    assert!(
        !log.contains("ERROR") && !log.contains("cleaned up"),
        "{log}"
    );
}

fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What is enforced, from the base chains on, with what each chain, map and set holds in the place of its name: the names tell
/// when a thing was loaded, and the order of elements how.
fn policy(host: &Host) -> String {
    let listing = host.output("nft", &["-s", "list", "table", "inet", TABLE]);
    let listing = whatever_labels(&listing);
    let mut objects: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = String::new();
    for line in listing.lines().map(str::trim) {
        let head = line
            .strip_suffix(" {")
            .and_then(|line| line.split_once(' '));
        if let Some(("chain" | "map" | "set", object)) = head {
            name = object.to_owned();
            // A chain may have no rule.
            objects.entry(name.clone()).or_default();
        } else if !name.is_empty() && line != "}" && !line.is_empty() {
            objects
                .entry(name.clone())
                .or_default()
                .push(line.to_owned());
        }
    }
    let mut done = BTreeMap::new();
    let inbound = unfolded("inbound", &objects, &mut done);
    let outbound = unfolded("outbound", &objects, &mut done);
    format!("{inbound}\n{outbound}")
}

/// A digest of a thing, made of what it holds.
fn unfolded(
    name: &str,
    objects: &BTreeMap<String, Vec<String>>,
    done: &mut BTreeMap<String, String>,
) -> String {
    if let Some(known) = done.get(name) {
        return known.clone();
    }
    let body = objects.get(name).cloned().unwrap_or_default().join("\n");
    let mut text = String::new();
    let mut word = String::new();
    for c in body.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if Generation::of(&word).is_some() && objects.contains_key(&word) {
            text += &unfolded(&word, objects, done);
        } else {
            text += &word;
        }
        word.clear();
        text.push(c);
    }
    let digest = match name {
        "inbound" | "outbound" => text,
        _ => {
            use std::hash::{DefaultHasher, Hash, Hasher};
            let mut hasher = DefaultHasher::new();
            text.split([',', '\n', '\t', ' '])
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .hash(&mut hasher);
            format!("<{:016x}>", hasher.finish())
        }
    };
    done.insert(name.to_owned(), digest.clone());
    digest
}
