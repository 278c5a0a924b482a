//! A candidate that the command can read and the daemon cannot: from a folder that the unit hides, and from another program.

use std::fs::{self, File};
use std::process::Command;

use libtest_mimic::Trial;

use super::site::{Daemon, PROGRAM, Ran, Site, opening};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "a_candidate_from_a_hidden_folder",
            &["nft", "unshare"],
            hidden,
        ),
        kernel_test(
            "a_template_that_the_daemon_will_not_read_is_not_tried",
            &["nft", "unshare"],
            unreadable_later,
        ),
        kernel_test("a_copy_that_expires_is_no_fault", &["nft"], a_copy),
        kernel_test("a_definition_from_standard_input", &["nft"], standard_input),
    ]
}

/// Port 443 is open to whom a list names.
fn listed(list: &str) -> String {
    opening(&[22])
        .replace(
            "version: 1\n",
            &format!("version: 1\naddress_templates: {{ ipm-peer: {{ file: {list} }} }}\n"),
        )
        .replace("port: 22, source: any", "port: 443, source: ipm-peer")
}

/// A daemon that does not see the folder `hidden`, as under `ProtectHome=` and `PrivateTmp=`.
fn blinkered(site: &Site) -> Daemon {
    fs::create_dir_all(site.path("hidden")).unwrap();
    let mut command: Command = site.host.command("unshare");
    let hide = "mount -t tmpfs -o mode=0700 none \"$0\" && exec \"$@\"";
    command.args(["--mount", "sh", "-c", hide]);
    command.arg(site.path("hidden")).arg(PROGRAM);
    site.arguments(&mut command, "run");
    let daemon = Daemon::start(command);
    daemon.until_logged("generation 1 enforced");
    daemon
}

fn hidden() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = blinkered(&site);
    site.write("hidden/new.yaml", &listed("lists/peer.txt"));
    site.write("hidden/lists/peer.txt", "10.0.0.9\n");
    let candidate = site.path("hidden/new.yaml").display().to_string();
    let ran = site.run(&format!("apply {candidate}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));

    // For good, with what it names.
    let ran = site.run(&format!("apply --confirm 60 {candidate}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = site.run("confirm");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        fs::read_to_string(site.definition()).unwrap(),
        listed("lists/peer.txt")
    );
    assert_eq!(
        fs::read_to_string(site.path("lists/peer.txt")).unwrap(),
        "10.0.0.9\n"
    );
    assert_eq!(site.run("reload").code, 0);
    assert!(site.lets_in(443) && !site.lets_in(22));
    // The list is followed where it stands now.
    site.save("lists/peer.txt", "10.0.0.8\n");
    site.until_open(&[], &[443]);
    drop(daemon);
}

fn unreadable_later() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = blinkered(&site);
    let before = site.listing();
    let list = site.path("hidden/peer.txt").display().to_string();
    site.write("hidden/peer.txt", "10.0.0.9\n");
    site.write("hidden/new.yaml", &listed(&list));
    let candidate = site.path("hidden/new.yaml").display().to_string();
    site.run(&format!("apply --confirm 60 {candidate}"))
        .failed(1, &["peer.txt", "does not exist"]);
    // Another list stands where this one would.
    site.write("peer.txt", "10.0.0.7\n");
    site.write("hidden/new.yaml", &listed("peer.txt"));
    site.run(&format!("apply --confirm 60 {candidate}")).failed(
        2,
        &[
            "holds something else than",
            "give one of the two another name",
        ],
    );
    site.unchanged(&before);
    assert!(site.status()["trial"].is_null());
    assert_eq!(
        fs::read_to_string(site.path("peer.txt")).unwrap(),
        "10.0.0.7\n"
    );
}

/// What was enforced before the trial and after it was not refused by it.
fn a_copy() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    site.write("same.yaml", &opening(&[22]));
    let candidate = site.path("same.yaml").display().to_string();
    assert_eq!(site.run(&format!("apply --confirm 1 {candidate}")).code, 0);
    daemon.until_logged("the old policy is back");
    let ran = site.run("reload");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(site.lets_in(22) && !site.lets_in(443));
    // Generations go on after a removal.
    let generation = || site.status()["enforced"]["generation"].as_u64();
    let before = generation();
    assert_eq!(site.run("remove").code, 0);
    assert_eq!(site.run("reload").code, 0);
    assert!(generation() > before);
    // A device is none, whoever may write it.
    site.run("apply /dev/null").failed(1, &["is a device"]);
}

fn standard_input() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    site.write("elsewhere/peer.txt", "10.0.0.9\n");
    site.write("text", &listed("peer.txt"));
    let piped = |line: &str| {
        let mut command = site.command(line);
        command.current_dir(site.path("elsewhere"));
        let text = File::open(site.path("text")).unwrap();
        Ran::fed(&mut command, text.into())
    };
    let ran = piped("check -");
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = piped("apply -");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));
    assert!(site.run("status").out.contains("standard input"));
    piped("apply --confirm 60 -").failed(2, &["write it to a file"]);
    site.write("text", super::site::WRONG);
    for line in ["check -", "apply -"] {
        let ran = piped(line);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!((ran.out + &ran.err).contains("standard input:5:19"));
    }
    assert!(site.lets_in(443) && !site.lets_in(22));
    drop(daemon);
    // Without a daemon as well.
    site.write("text", &opening(&[22]));
    assert_eq!(piped("apply -").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(443));
}
