//! The last good policy outlives the daemon: it is enforced before the definition is read, and a restart disturbs nothing.

use std::fs;
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::kernel_fails::{can_trace, traced};
use super::site::{Daemon, Ran, Site, WRONG, opening, until};
use crate::support::{Skip, is_full, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "the_kept_policy_holds_before_the_definition",
            &["nft"],
            before,
        ),
        kernel_test("a_restart_disturbs_nothing", &["nft"], undisturbed),
        kernel_test(
            "what_was_changed_meanwhile_is_loaded_anew",
            &["nft"],
            changed,
        ),
        kernel_test(
            "a_later_policy_is_not_replaced_by_an_earlier",
            &["nft"],
            later,
        ),
        kernel_test(
            "a_later_policy_in_the_same_chains_is_not_replaced",
            &["nft"],
            later_in_place,
        ),
        kernel_test("a_damaged_kept_policy_is_named", &["nft"], damaged),
        kernel_test(
            "a_full_disk_keeps_nothing_and_stops_nothing",
            &["nft", "mount"],
            full,
        ),
        kernel_test("removed_is_removed_from_the_disk_too", &["nft"], removed),
        kernel_test(
            "removed_while_it_is_being_written",
            &["nft", "strace"],
            removed_while_written,
        ),
        kernel_test(
            "a_writer_killed_anywhere_leaves_one_policy_whole",
            &["nft"],
            killed,
        ),
    ]
}

/// Waits until what is enforced is kept, whatever it was before.
#[track_caller]
pub fn until_kept(site: &Site, text: &str) {
    until("it is kept", || {
        holds(site, text) && site.path("state/in-force").exists()
    });
}

/// Whether the kept policy is of this text.
fn holds(site: &Site, text: &str) -> bool {
    let policy = fs::read(site.path("state/policy")).unwrap_or_default();
    let mut parts = policy.windows(text.len());
    parts.any(|part| part == text.as_bytes())
}

/// What a machine that starts again has: nothing.
pub fn lose(site: &Site) {
    site.host.nft("delete table inet secgroupd");
    assert!(site.generations().is_empty());
}

fn before() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    site.start().end(Signal::SIGTERM);
    lose(&site);
    site.write("groups.yaml", WRONG);
    let daemon = site.launch("run");
    daemon.until_logged("generation 1 stays enforced");
    let log = daemon.log();
    let at = |words: &str| {
        log.find(words)
            .unwrap_or_else(|| panic!("{words:?}: {log}"))
    };
    assert!(
        at("generation 1, the policy that was kept, is enforced again") < at("watching "),
        "{log}"
    );
    assert!(site.lets_in(22) && !site.lets_in(443));
    // It is known as well as one that this daemon has read.
    let status = site.status();
    assert_eq!(status["enforced"]["generation"], 1);
    assert_eq!(status["enforced"]["instance"], "ins-web1");
    assert_eq!(status["from_kept"], true);
    let hits = &status["hits"][0];
    assert_eq!(
        (&hits["reason"], &hits["packets"]),
        (&"sg-web/in/0".into(), &1.into())
    );
    assert!(
        hits["place"].as_str().unwrap().ends_with("groups.yaml:5"),
        "{hits}"
    );
    let page = site.run("status").out;
    assert!(
        page.contains("the policy that was kept") && page.contains("DEGRADED"),
        "{page}"
    );
    let flow = "inbound tcp 198.51.100.7 22";
    site.run(&format!("explain {flow}"))
        .failed(2, &["groups.yaml:5:19"]);
    let explained = site.run(&format!("explain --enforced {flow}"));
    assert_eq!(explained.code, 0, "{explained:?}");
    assert!(
        explained.out.starts_with("allow: rule sg-web/in/0 ("),
        "{explained:?}"
    );
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
    assert_eq!(site.status()["from_kept"], false);
    assert_eq!(site.status()["enforced"]["generation"], 2);
}

fn undisturbed() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let site = Site::new();
        site.write("groups.yaml", &opening(&[22, 80]));
        let daemon = site.start();
        // In place: names of two generations.
        site.save("groups.yaml", &opening(&[22, 443]));
        site.until_open(&[22, 443], &[80]);
        until_kept(&site, &opening(&[22, 443]));
        assert!(site.lets_in(22));
        let hits = |site: &Site| site.status()["hits"][0]["packets"].as_u64().unwrap();
        let seen = hits(&site);
        let before = site.listing();
        // Its last word is on the disk.
        until("nothing is being written", || {
            thread::sleep(Duration::from_millis(50));
            let names = fs::read_dir(site.path("state")).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name());
            let names = names.map(|name| name.into_string().unwrap());
            names.filter(|name| !name.starts_with("history-")).count() == 6
        });
        daemon.end(signal);
        let daemon = site.start();
        assert!(
            daemon
                .log()
                .contains("of an earlier secgroupd is in force, and stays"),
            "{}",
            daemon.log()
        );
        site.unchanged_by(&before, "the restart has changed it");
        assert_eq!(hits(&site), seen, "the counters go on");
        // And it can be changed in place again.
        site.save("groups.yaml", &opening(&[22, 8080]));
        site.until_open(&[22, 8080], &[443]);
        let log = daemon.log();
        assert!(!log.contains("is loaded whole"), "{log}");
    }
}

fn changed() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    daemon.end(Signal::SIGTERM);
    site.host.nft("insert rule inet secgroupd inbound accept");
    assert!(site.lets_in(443), "nobody watches");
    site.write("groups.yaml", WRONG);
    let daemon = site.launch("run");
    daemon.until_logged("the policy that was kept, is enforced again");
    site.until_open(&[22], &[443]);
}

fn later() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    let kept = ["policy", "in-force"].map(|name| site.path(&format!("state/{name}")));
    let old = kept.clone().map(|path| fs::read(path).unwrap());
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
    daemon.end(Signal::SIGKILL);
    // As if it had been killed after the switch, before anything was written.
    kept.iter()
        .zip(&old)
        .for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    site.write("groups.yaml", WRONG);
    let daemon = site.launch("run");
    daemon.until_logged("generation 2 of an earlier daemon stays enforced");
    assert!(site.lets_in(443) && !site.lets_in(22));
}

fn later_in_place() {
    // One address of many: an element of a set.
    let many = |one: &str| {
        let list: String = (0..200).map(|n| format!("20.0.{}.1, ", n + 1)).collect();
        format!(
            "version: 1\naddress_templates: {{ ipm-list: [{list}{one}] }}\nsecurity_groups:\n  sg-web:\n    inbound:\n\
             \x20     - {{ action: allow, protocol: tcp, port: 22, source: ipm-list }}\n\
             instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-web] }} }} }}\n"
        )
    };
    let site = Site::new();
    site.write("groups.yaml", &many("10.0.0.8"));
    let daemon = site.start();
    until_kept(&site, &many("10.0.0.8"));
    let [policy, in_force, aside] =
        ["policy", "in-force", "before-change"].map(|name| site.path(&format!("state/{name}")));
    let old = [&policy, &in_force].map(|path| fs::read(path).unwrap());
    site.save("groups.yaml", &many("10.0.0.9"));
    site.until_open(&[22], &[]);
    until_kept(&site, &many("10.0.0.9"));
    daemon.end(Signal::SIGKILL);
    assert!(!aside.exists(), "it is gone once all is written");
    // As if it had been killed after the change, before anything was written.
    fs::write(&policy, &old[0]).unwrap();
    fs::remove_file(&in_force).unwrap();
    fs::write(&aside, &old[1]).unwrap();
    site.write("groups.yaml", WRONG);
    let daemon = site.launch("run");
    daemon.until_logged(" of an earlier daemon stays enforced");
    assert!(site.lets_in(22));
    // That it was changed in place: what leads there is as old as before.
    assert_eq!(site.generations(), [1], "{}", daemon.log());
}

fn damaged() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    daemon.end(Signal::SIGTERM);
    lose(&site);
    let path = site.path("state/policy");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    site.run("boot").failed(
        2,
        &[
            "the kept policy",
            "state/policy",
            "cannot be used: it is damaged (its checksum is wrong)",
        ],
    );
    assert!(site.generations().is_empty());
    // The definition is as good as ever, and heals it.
    let daemon = site.start();
    assert!(
        daemon.log().contains("cannot be used: it is damaged"),
        "{}",
        daemon.log()
    );
    until("it is kept again", || {
        fs::read(&path).unwrap() != bytes[..bytes.len() / 2]
    });
    daemon.end(Signal::SIGTERM);
    lose(&site);
    assert_eq!(site.run("boot").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
}

fn full() {
    let site = Site::new();
    fs::create_dir(site.path("state")).unwrap();
    let state = site.path("state").display().to_string();
    let mount = Ran::of(site.host.command("mount").args([
        "-t",
        "tmpfs",
        "-o",
        "size=64k,mode=0700",
        "small",
        &state,
    ]));
    assert_eq!(mount.code, 0, "{mount:?}");
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    let long = format!("{}# {}\n", opening(&[443]), "long ".repeat(10_000));
    site.save("groups.yaml", &long);
    site.until_open(&[443], &[22]);
    daemon.until_logged("is not kept for the next start");
    let status = site.status();
    assert!(
        status["not_kept"]
            .as_str()
            .unwrap()
            .contains("No space left"),
        "{status}"
    );
    let page = site.run("status").out;
    assert!(
        page.contains("Not kept") && page.contains("DEGRADED"),
        "{page}"
    );
    // The old one is whole, and the next that fits is kept.
    assert!(holds(&site, &opening(&[22])));
    site.save("groups.yaml", &opening(&[8080]));
    site.until_open(&[8080], &[443]);
    until_kept(&site, &opening(&[8080]));
    until("all is well", || site.status()["not_kept"].is_null());
    drop(daemon);
    let _ = Ran::of(site.host.command("umount").arg(&state));
}

fn removed() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    assert_eq!(site.run("remove").code, 0);
    daemon.end(Signal::SIGTERM);
    assert!(!site.path("state/policy").exists() && !site.path("state/in-force").exists());
    assert_eq!(site.run("boot").code, 0);
    assert!(site.generations().is_empty());
}

/// The disk takes a second for each file: what was under way when the policy was removed does not bring it back.
fn removed_while_written() -> Result<(), Skip> {
    let site = Site::new();
    can_trace(&site)?;
    site.write("groups.yaml", &opening(&[22]));
    let daemon = Daemon::start(traced(&site, "fsync:delay_enter=1000000", "run"));
    daemon.until_logged(" enforced for ");
    until_kept(&site, &opening(&[22]));
    until("the hits are written", || site.path("state/hits").exists());
    site.save("groups.yaml", &opening(&[443]));
    let names = |site: &Site| -> Vec<String> {
        let files = fs::read_dir(site.path("state")).unwrap();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    until("it is being written", || {
        names(&site).iter().any(|name| name.starts_with(".policy."))
    });
    assert_eq!(site.run("remove").code, 0);
    let left = || {
        names(&site)
            .into_iter()
            // What was enforced, and when, is no policy.
            .filter(|name| !name.starts_with("history-") && name != "latest-time")
            .filter(|name| *name != "lock")
            .collect::<Vec<_>>()
    };
    assert_eq!(left(), Vec::<String>::new());
    daemon.end(Signal::SIGTERM);
    assert_eq!(left(), Vec::<String>::new());
    assert_eq!(site.run("boot").code, 0);
    assert!(site.generations().is_empty());
    Ok(())
}

/// Long enough that writing takes a while.
fn killed() {
    let site = Site::new();
    let long = |ports: &[u16]| format!("{}# {}\n", opening(ports), "long ".repeat(100_000));
    site.write("groups.yaml", &long(&[22]));
    let daemon = site.start();
    until_kept(&site, &opening(&[22]));
    drop(daemon);
    let rounds = if is_full() { 200 } else { 12 };
    for round in 0..rounds {
        let daemon = site.start();
        let port = if round % 2 == 0 { 443 } else { 22 };
        site.save("groups.yaml", &long(&[port]));
        thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
        daemon.end(Signal::SIGKILL);
        lose(&site);
        let boot = site.run("boot");
        assert_eq!(boot.code, 0, "{boot:?}");
        let open = [22, 443].map(|port| site.lets_in(port));
        assert!(
            open == [true, false] || open == [false, true],
            "round {round}: {open:?}"
        );
    }
    println!("{rounds} writers killed: each time one of the two policies was whole");
}
