//! The systemd units: valid, and as narrow as promised.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};

/// The exposure that `systemd-analyze security` may find: 1.2.
const EXPOSURE_AT_MOST: f64 = 1.2;

fn analyze(arguments: &[&str]) -> Output {
    let output = Command::new("systemd-analyze").args(arguments).output();
    output.expect("systemd-analyze is needed: install the package systemd")
}

fn unit() -> String {
    std::fs::read_to_string("systemd/secgroupd.service").expect("the unit")
}

#[test]
fn verify_has_nothing_to_say() {
    // The program is not installed where tests run; its place is all that is replaced.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secgroupd.service");
    std::fs::write(&path, unit().replace("/usr/bin/secgroupd", "/bin/true")).unwrap();
    let output = analyze(&["verify", path.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn exposure_is_low() {
    let output = analyze(&[
        "security",
        "--offline=true",
        "--no-pager",
        "systemd/secgroupd.service",
    ]);
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
    println!("exposure {exposure}");
}

#[test]
fn one_capability_and_a_user_of_its_own() {
    let unit = unit();
    for line in [
        "User=secgroupd",
        "CapabilityBoundingSet=CAP_NET_ADMIN",
        "AmbientCapabilities=CAP_NET_ADMIN",
        "Type=notify",
        "NoNewPrivileges=yes",
    ] {
        assert!(unit.lines().any(|each| each == line), "{line}");
    }
    let users = std::fs::read_to_string("systemd/secgroupd.sysusers").unwrap();
    assert!(users.lines().any(|line| line.starts_with("u secgroupd ")));
    assert!(Path::new("systemd/secgroupd.service").exists());
}
