//! The definitions that were enforced: who changed them, and back to one of them.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::kept::until_kept;
use super::kernel_fails::{can_trace, traced};
use super::site::{Ran, Site, opening, until, with};
use crate::support::{Skip, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("history_says_who_what_and_when", &["nft"], who),
        kernel_test("rollback_is_a_new_change", &["nft"], back),
        kernel_test("rollback_of_a_folder", &["nft"], folder),
        kernel_test("rollback_spends_no_unblock", &["nft"], spends_none),
        kernel_test(
            "confirm_keeps_what_the_history_has_not",
            &["nft"],
            confirmed,
        ),
        kernel_test("history_over_kills", &["nft"], over_kills),
        kernel_test("rollback_killed_at_each_call", &["nft", "strace"], killed),
        kernel_test("history_gives_way_on_a_full_disk", &["nft"], full_disk),
    ]
}

/// The newest first.
fn entries(site: &Site) -> Vec<Value> {
    let ran = site.run("history --json");
    assert_eq!(ran.code, 0, "{ran:?}");
    let history: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(history["lost"], serde_json::json!([]));
    history["entries"].as_array().unwrap().clone()
}

#[track_caller]
fn until_recorded(site: &Site, number: u64) {
    until(&format!("{number} is recorded"), || {
        site.path(&format!("state/history-{number:06}")).exists()
    });
}

fn who() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_recorded(&site, 1);
    site.save("groups.yaml", &opening(&[22, 443]));
    until_recorded(&site, 2);
    // The same again is no change.
    assert_eq!(site.run("reload").code, 0);
    site.write("other.yaml", &opening(&[443]));
    let other = site.path("other.yaml").display().to_string();
    let applied = Ran::of(
        site.command(&format!("apply {other}"))
            .env("SUDO_USER", "alice"),
    );
    assert_eq!(applied.code, 0, "{applied:?}");
    until_recorded(&site, 3);
    let all = entries(&site);
    let numbers: Vec<u64> = all
        .iter()
        .filter_map(|each| each["number"].as_u64())
        .collect();
    assert_eq!(numbers, [3, 2, 1]);
    let root = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    let root = root.unwrap().name;
    assert_eq!(all[1]["user"], root.as_str());
    assert!(all[1]["command"].is_null(), "saved by hand: {}", all[1]);
    assert_eq!(all[0]["user"], "alice");
    let command = all[0]["command"].as_str().unwrap();
    assert!(
        command.starts_with(&format!("secgroupd apply {other}")),
        "{command}"
    );
    let opens = |entry: &Value| -> Vec<bool> {
        let flows = entry["flows"].as_array().unwrap().iter();
        flows.map(|flow| flow["change"] == "opens").collect()
    };
    assert!(all[2]["flows"].is_null(), "there is none before the first");
    assert_eq!(opens(&all[1]), [true]);
    assert_eq!(opens(&all[0]), [false]);
    let page = site.run("history").out;
    for words in ["alice: secgroupd apply", "saved by hand", "+1 -0", "+0 -1"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let one = site.run("history 2").out;
    assert!(
        one.contains("generation 2 of ins-web1") && one.contains("443"),
        "{one}"
    );
    let text = site.run("history 2 --text").out;
    assert!(text.contains(&opening(&[22, 443])), "{text}");
    site.run("history 9")
        .failed(1, &["has no 9", "`secgroupd history`"]);
    // What nobody has said of these texts counts for no others.
    site.save("groups.yaml", &opening(&[80]));
    until_recorded(&site, 4);
    assert!(entries(&site)[0]["command"].is_null());
    daemon.end(Signal::SIGTERM);
    let _again = site.start();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(entries(&site).len(), 4, "a start is no change");
}

fn back() {
    let site = Site::new();
    // Comments and all.
    let first = format!("# the first\n{}", opening(&[22]));
    site.write("groups.yaml", &first);
    let _daemon = site.start();
    until_recorded(&site, 1);
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
    until_recorded(&site, 2);
    let dry = site.run("rollback --dry-run");
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(dry.out.contains("+# the first"), "{dry:?}");
    let text = || fs::read_to_string(site.definition()).unwrap();
    assert_eq!(text(), opening(&[443]));
    let ran = site.run("rollback");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(text(), first);
    site.until_open(&[22], &[443]);
    until_recorded(&site, 3);
    let newest = entries(&site).remove(0);
    let command = newest["command"].as_str().unwrap();
    assert!(command.starts_with("secgroupd rollback"), "{newest}");
    // Back again, by its number, from a definition that is wrong.
    site.save("groups.yaml", "version: 1\nwrong: 1\n");
    assert_eq!(site.run("rollback 2").code, 0);
    assert_eq!(text(), opening(&[443]));
    site.until_open(&[443], &[22]);
    let ran = site.run("rollback 2");
    assert!(
        ran.code == 0 && ran.out.contains("it is so already"),
        "{ran:?}"
    );
    site.run("rollback 77").failed(1, &["has no 77"]);
}

/// A folder of two files and a template.
fn write_folder(site: &Site, port: u16, source: &str) {
    let group = format!(
        "version: 1\nsecurity_groups: {{ sg-web: {{ inbound: [{{ action: allow, protocol: tcp, port: {port}, source: ipm-a }}] }} }}\n"
    );
    site.save("etc/groups.yaml", &group);
    site.save("etc/lists/a.txt", source);
}

const HOSTS: &str = "version: 1
address_templates: { ipm-a: { file: lists/a.txt } }
instances: { ins-web1: { interfaces: { eth0: { security_groups: [sg-web] } } } }
";

fn folder() {
    let site = Site::new();
    let etc = site.path("etc").display().to_string();
    site.write("etc/hosts.yaml", HOSTS);
    write_folder(&site, 22, "10.0.0.0/24\n");
    let daemon = site.launch(&format!("run --definition {etc}"));
    daemon.until_logged(" enforced for ");
    until_recorded(&site, 1);
    let numbers = || entries(&site).len();
    write_folder(&site, 443, "10.0.0.9\n");
    site.until_open(&[443], &[22]);
    until("it is recorded", || numbers() >= 2);
    site.write("etc/more.yaml", "version: 1\n");
    let more = site.run(&format!("rollback 1 --definition {etc}"));
    more.failed(
        1,
        &["more.yaml was no part of that definition", "move it away"],
    );
    fs::remove_file(site.path("etc/more.yaml")).unwrap();
    let ran = site.run(&format!("rollback 1 --definition {etc}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let list = fs::read_to_string(site.path("etc/lists/a.txt")).unwrap();
    assert_eq!(list, "10.0.0.0/24\n");
    site.until_open(&[22], &[443]);
}

fn spends_none() {
    let site = Site::new();
    let open = "billing: prepaid, smtp: unblocked, ";
    site.write("groups.yaml", &with(&[22], open));
    let _daemon = site.start();
    until_recorded(&site, 1);
    site.save(
        "groups.yaml",
        &with(&[22], "billing: prepaid, smtp: blocked, "),
    );
    until_recorded(&site, 2);
    let spent = || -> Value {
        let ledger = fs::read(site.path("state/unblocks.json")).unwrap();
        serde_json::from_slice::<Value>(&ledger).unwrap()["spent"].clone()
    };
    assert_eq!(spent(), 1);
    site.run("rollback")
        .failed(2, &["ins-web1", "a rollback spends none"]);
    let text = fs::read_to_string(site.definition()).unwrap();
    assert_eq!(text, with(&[22], "billing: prepaid, smtp: blocked, "));
    assert_eq!(spent(), 1);
}

/// What was saved during a trial was never enforced: `confirm` overwrites it, and keeps a copy.
fn confirmed() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_recorded(&site, 1);
    let copy = site.path(".groups.yaml.before-confirm");
    let confirm = |port: u16, during: Option<&str>| {
        site.write("new.yaml", &opening(&[port]));
        let new = site.path("new.yaml").display().to_string();
        let tried = site.run(&format!("apply --confirm 60 {new}"));
        assert_eq!(tried.code, 0, "{tried:?}");
        if let Some(text) = during {
            site.save("groups.yaml", text);
        }
        let ran = site.run("confirm");
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.err
    };
    confirm(443, None);
    assert!(!copy.exists(), "the history has it");
    until_recorded(&site, 2);
    let newest = entries(&site).remove(0);
    assert!(
        newest["command"]
            .as_str()
            .unwrap()
            .starts_with("secgroupd confirm"),
        "{newest}"
    );
    let said = confirm(80, Some(&opening(&[8080])));
    assert!(said.contains(".before-confirm"), "{said}");
    assert_eq!(fs::read_to_string(&copy).unwrap(), opening(&[8080]));
    site.until_open(&[80], &[8080]);
    drop(daemon);
}

/// Whenever the daemon is killed, each entry is whole, and the next goes on.
fn over_kills() {
    let site = Site::new();
    let long = |port: u16| format!("{}# {}\n", opening(&[port]), "long ".repeat(20_000));
    site.write("groups.yaml", &long(1000));
    drop(site.start());
    for round in 0..12 {
        let daemon = site.start();
        site.save("groups.yaml", &long(1001 + round));
        thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
        daemon.end(Signal::SIGKILL);
        let all = entries(&site);
        assert!(all.len() <= 2 + usize::from(round), "{round}");
    }
    let daemon = site.start();
    site.save("groups.yaml", &long(2000));
    site.until_open(&[2000], &[]);
    until("the newest is recorded", || {
        let newest = entries(&site).remove(0);
        let ran = site.run(&format!("history {} --text", newest["number"]));
        ran.out.contains("port: 2000")
    });
    drop(daemon);
}

/// At the n-th call that writes, for each n: the definition is the one or the other, and the same again goes on.
fn killed() -> Result<(), Skip> {
    let site = Site::quiet();
    can_trace(&site)?;
    site.write("etc/hosts.yaml", HOSTS);
    write_folder(&site, 22, "10.0.0.0/24\n");
    let etc = site.path("etc").display().to_string();
    let apply = || {
        let ran = site.run(&format!("apply {etc}"));
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    let read = || {
        ["hosts.yaml", "groups.yaml", "lists/a.txt"]
            .map(|name| fs::read_to_string(site.path(&format!("etc/{name}"))).unwrap())
    };
    apply();
    let old = read();
    let mut kills = 0;
    for call in [
        "renameat2",
        "rename",
        "fsync",
        "fchown",
        "unlink",
        "openat",
        "mkdir",
    ] {
        for number in 1.. {
            write_folder(&site, 443, "10.0.0.9\n");
            let new = read();
            // `openat` also reads: each fifth is enough.
            let when = if call == "openat" { number * 5 } else { number };
            let inject = format!("{call}:signal=SIGKILL:when={when}");
            let line = format!("rollback 1 --definition {etc}");
            let mut command: Command = traced(&site, &inject, &line);
            let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            let now = read();
            assert!(now == old || now == new, "killed at {call} {when}: {now:?}");
            if ended.unwrap().success() {
                assert_eq!(now, old, "{call} {when}");
                break;
            }
            kills += 1;
            assert_eq!(site.run(&line).code, 0, "after {call} {when}");
            assert_eq!(read(), old, "after {call} {when}");
            let left = fs::read_dir(site.path("")).unwrap().flatten();
            let left =
                left.filter(|entry| entry.file_name().to_string_lossy().ends_with(".rollback"));
            assert_eq!(left.count(), 0, "after {call} {when}");
        }
    }
    println!("killed at {kills} calls: each time it was the one or the other");
    assert!(kills > 5);
    Ok(())
}

/// The policy is kept, and older entries go for it.
fn full_disk() {
    let site = Site::new();
    let state = site.path("state");
    fs::create_dir_all(&state).unwrap();
    let none = None::<&str>;
    let size = Some("size=128k,mode=0700");
    mount(none, &state, Some("tmpfs"), MsFlags::empty(), size).unwrap();
    // Texts that cannot be compressed to nothing.
    let noise = |port: u16| {
        let random: String = (0..12_000).map(|_| fastrand::alphanumeric()).collect();
        format!("{}# {random}\n", opening(&[port]))
    };
    site.write("groups.yaml", &noise(1000));
    let daemon = site.start();
    until_kept(&site, "port: 1000");
    for port in 1001..1016 {
        site.save("groups.yaml", &noise(port));
        site.until_open(&[port], &[]);
        until_kept(&site, &format!("port: {port}"));
    }
    assert!(site.status()["not_kept"].is_null());
    let kept = entries(&site).len();
    assert!((1..15).contains(&kept), "{kept} entries");
    daemon.until_logged("older entries of the history were removed");
    drop(daemon);
    umount2(&state, MntFlags::MNT_DETACH).unwrap();
}
