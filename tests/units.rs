//! The systemd units: valid, ordered, and as narrow as promised.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Output};

/// The exposure that `systemd-analyze security` may find: 1.2.
const EXPOSURE_AT_MOST: f64 = 1.2;

const UNITS: [&str; 2] = ["secgroupd.service", "secgroupd-boot.service"];

fn analyze(arguments: &[&str]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).output();
    output.expect("systemd-analyze is needed: install the package systemd")
}

fn unit(name: &str) -> String {
    std::fs::read_to_string(format!("systemd/{name}")).expect("the unit")
}

/// The words of all lines that set this.
fn words<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).collect()
}

/// Together, so that an order that cannot be kept shows; so do the services that may flush our table, where this machine has them.
#[test]
fn verify_has_nothing_to_say() {
    // The program is not installed where tests run; its place is all that is replaced.
    let folder = tempfile::tempdir().unwrap();
    let paths = UNITS.map(|name| {
        let path = folder.path().join(name);
        std::fs::write(&path, unit(name).replace("/usr/bin/secgroupd", "/bin/true")).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let output = analyze(&["verify", "--man=no", &paths[0], &paths[1], "sysinit.target"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    let about_us: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("secgroupd") || line.contains("cycle"))
        .collect();
    assert!(about_us.is_empty(), "{said}");
}

#[test]
fn exposure_is_low() {
    for name in UNITS {
        let path = format!("systemd/{name}");
        let output = analyze(&["security", "--offline=true", "--no-pager", &path]);
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said
            .lines()
            .find(|line| line.contains("Overall exposure level"))
            .unwrap_or_else(|| panic!("{said}"));
        let exposure: f64 = line
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .expect("a number");
        assert!(exposure <= EXPOSURE_AT_MOST, "{line}");
        println!("{name}: exposure {exposure}");
    }
}

#[test]
fn one_capability_and_a_user_of_its_own() {
    for name in UNITS {
        let unit = unit(name);
        for line in [
            "User=secgroupd",
            "CapabilityBoundingSet=CAP_NET_ADMIN",
            "AmbientCapabilities=CAP_NET_ADMIN",
            "NoNewPrivileges=yes",
            "StateDirectory=secgroupd",
            "StateDirectoryMode=0700",
        ] {
            assert!(unit.lines().any(|each| each == line), "{name}: {line}");
        }
    }
    assert_eq!(words(&unit("secgroupd.service"), "Type"), ["notify"]);
    assert_eq!(words(&unit("secgroupd-boot.service"), "Type"), ["oneshot"]);
    let users = std::fs::read_to_string("systemd/secgroupd.sysusers").unwrap();
    assert!(users.lines().any(|line| line.starts_with("u secgroupd ")));
}

#[test]
fn boot_comes_before_the_network_and_after_those_who_flush() {
    let boot = unit("secgroupd-boot.service");
    assert_eq!(words(&boot, "Wants"), ["network-pre.target"]);
    assert_eq!(words(&boot, "DefaultDependencies"), ["no"]);
    let before = words(&boot, "Before");
    for name in ["network-pre.target", "secgroupd.service", "shutdown.target"] {
        assert!(before.contains(&name), "{name}: {before:?}");
    }
    for unit in [boot, unit("secgroupd.service")] {
        let after = words(&unit, "After");
        for name in [
            "nftables",
            "netfilter-persistent",
            "iptables",
            "ip6tables",
            "ufw",
            "firewalld",
        ] {
            assert!(
                after.contains(&&*format!("{name}.service")),
                "{name}: {after:?}"
            );
        }
    }
}

/// A package may enable both units on a host that has no definition yet.
#[test]
fn nothing_starts_before_there_is_a_definition() {
    // Either will do: a definition may be mounted late, or be gone, while a kept policy is to be guarded.
    for name in ["secgroupd.service", "secgroupd-boot.service"] {
        let unit = unit(name);
        let folder = words(&unit, "ConditionDirectoryNotEmpty");
        assert_eq!(folder, ["|/etc/secgroupd"], "{name}");
        let policy = words(&unit, "ConditionPathExists");
        assert_eq!(policy, ["|/var/lib/secgroupd/policy"], "{name}");
    }
}
