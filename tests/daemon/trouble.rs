//! What a new user meets: wrong paths, empty files, no daemon. Each says what is wrong and what to do, and exits as spec 4 says.

use std::fs;

use libtest_mimic::Trial;

use super::site::{Site, opening};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("wrong_paths_are_named", &["nft"], paths),
        kernel_test("empty_definitions_are_explained", &["nft"], empty),
        kernel_test("without_privilege", &["nft", "setpriv"], no_privilege),
        kernel_test("without_a_daemon", &["nft"], no_daemon),
        kernel_test("usage_errors_exit_with_2", &[], usage),
        kernel_test("help_has_examples", &[], help),
    ]
}

const SUBCOMMANDS: [&str; 20] = [
    "run", "boot", "check", "compile", "apply", "confirm", "diff", "explain", "diagnose", "status",
    "events", "reload", "remove", "group", "rule", "reset", "history", "rollback", "import",
    "export",
];

fn paths() {
    let site = Site::new();
    for line in ["check", "compile", "apply"] {
        let ran = site.run(line);
        let said = format!("{}{}", ran.out, ran.err);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            said.contains("groups.yaml does not exist: create it"),
            "{ran:?}"
        );
    }
    site.run("explain outbound icmp 192.0.2.1")
        .failed(2, &["groups.yaml does not exist: create it"]);
    site.write("groups.yaml", &opening(&[22]));
    let nowhere = site.path("no/where");
    for line in ["apply", "run", "remove"] {
        site.run(&format!("{line} --state {}", nowhere.display()))
            .failed(
                2,
                &["no/where does not exist, nor does its parent", "--state"],
            );
    }
    fs::write(site.path("file"), "").unwrap();
    let file = site.path("file");
    for line in ["apply", "run", "remove"] {
        site.run(&format!("{line} --state {}", file.display()))
            .failed(2, &["is not a directory"]);
    }
    site.run(&format!("run --socket {}", file.display()))
        .failed(2, &["is not a socket"]);
    assert!(site.generations().is_empty());
}

fn empty() {
    let site = Site::new();
    for (text, words) in [
        ("", "version"),
        ("# nothing yet\n", "version"),
        ("version: 1\n", "instance"),
    ] {
        site.write("groups.yaml", text);
        let check = site.run("check");
        if text != "version: 1\n" {
            assert_eq!(check.code, 1, "{text:?}: {check:?}");
            assert!(check.out.contains(words), "{text:?}: {check:?}");
        }
        let code = if text == "version: 1\n" { 2 } else { 1 };
        site.run("apply").failed(code, &[words]);
        assert!(site.generations().is_empty());
    }
}

/// Root without capabilities: what the kernel denies is told with the way out.
fn no_privilege() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let command = |line: &str| {
        let mut command = site.host.command("setpriv");
        command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]);
        command.arg(super::site::PROGRAM);
        site.arguments(&mut command, line);
        command
    };
    let words = ["permission denied", "CAP_NET_ADMIN"];
    super::site::Ran::of(&mut command("apply")).failed(2, &words);
    assert!(site.generations().is_empty());
    // Nobody who may not look says that nothing is enforced.
    assert_eq!(site.run("apply").code, 0);
    for line in ["apply", "boot", "remove"] {
        let ran = super::site::Ran::of(&mut command(line));
        assert_eq!(ran.code, 2, "{line}: {ran:?}");
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("permission denied"), "{line}: {said}");
    }
    let daemon = super::process::Daemon::start(command("run"));
    daemon.until_logged("whether anything is enforced is not known: ");
    let ran = site.run("status");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.out
            .starts_with("Whether anything is enforced on this host is not known"),
        "{ran:?}"
    );
    let log = daemon.log();
    assert!(!log.contains("nothing is enforced"), "{log}");
    assert!(!site.generations().is_empty());
}

fn no_daemon() {
    let site = Site::new();
    let socket = site.path("control.sock");
    for line in ["status", "reload", "status --json", "reload --json"] {
        let ran = site.run(line);
        ran.failed(2, &["no secgroupd runs here", socket.to_str().unwrap()]);
        assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
        assert!(ran.out.is_empty());
    }
}

fn usage() {
    let site = Site::new();
    for line in SUBCOMMANDS {
        site.run(&format!("{line} --no-such-option"))
            .failed(2, &["--no-such-option", "Usage:"]);
    }
    site.run("frobnicate").failed(2, &["frobnicate"]);
    site.run("stauts").failed(2, &["status"]);
    site.run("run --log-level loud")
        .failed(2, &["loud", "debug"]);
}

fn help() {
    let site = Site::new();
    for line in SUBCOMMANDS {
        let ran = site.run(&format!("{line} --help"));
        assert_eq!(ran.code, 0);
        assert!(
            ran.out.contains("Example") && ran.out.contains(&format!("secgroupd {line}")),
            "{}",
            ran.out
        );
    }
    assert!(site.run("--version").out.starts_with("secgroupd 0."));
}
