//! What the service manager is told: READY once a policy is enforced and not before, and a line that says how it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::site::{Daemon, Manager, PROGRAM, SOON, Site, WHILE, WRONG, opening, with};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("ready_when_enforced", &["nft"], ready),
        kernel_test("not_ready_before_a_definition_is_valid", &["nft"], mended),
        kernel_test(
            "degraded_by_a_missing_interface",
            &["nft"],
            missing_interface,
        ),
        kernel_test(
            "a_glob_without_interface_degrades_nothing",
            &["nft"],
            glob_without_interface,
        ),
        kernel_test(
            "addresses_and_names_that_are_not_listed",
            &["nft"],
            unlisted_address,
        ),
        kernel_test("degraded_where_the_policy_is_not_kept", &["nft"], not_kept),
        kernel_test("degraded_by_a_refused_definition", &["nft"], refused),
        kernel_test(
            "what_it_calls_is_allowed",
            &["nft", "strace", "systemd-analyze"],
            allowed_calls,
        ),
    ]
}

fn start(site: &Site) -> (Manager, Daemon) {
    let manager = Manager::new(site.path("").as_path());
    let mut command = site.command("run");
    command.env("NOTIFY_SOCKET", &manager.path);
    (manager, Daemon::start(command))
}

fn ready() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let (manager, daemon) = start(&site);
    let mut heard = Vec::new();
    loop {
        let message = manager.hears(SOON).expect("it says something");
        if message.contains("READY=1") {
            // The kernel has it by now.
            assert_eq!(site.generations(), [1]);
            assert!(site.lets_in(22) && !site.lets_in(443));
            break;
        }
        heard.push(message);
    }
    heard.extend(manager.hears_until("STATUS=generation 1 enforced for ins-web1"));
    site.save("groups.yaml", &opening(&[443]));
    heard.extend(manager.hears_until("STATUS=generation 2 enforced for ins-web1"));
    assert!(
        !heard.iter().any(|each| each.contains("READY=1")),
        "once is enough: {heard:?}"
    );
    assert_eq!(site.run("remove").code, 0);
    manager.hears_until("STATUS=no policy");
    let (status, _) = daemon.end(Signal::SIGTERM);
    assert!(status.success());
    manager.hears_until("STOPPING=1");
}

fn mended() {
    let site = Site::new();
    site.write("groups.yaml", WRONG);
    let (manager, daemon) = start(&site);
    let heard = manager.hears_until("STATUS=waiting for a valid definition");
    assert_eq!(heard.len(), 1, "{heard:?}");
    daemon.until_logged("nothing is enforced");
    site.run("reload").failed(1, &["groups.yaml:5:19"]);
    // It can be asked meanwhile.
    assert!(site.run("status").out.starts_with("Nothing is enforced"));
    manager.hears_until("STATUS=waiting");
    assert_eq!(manager.hears(WHILE), None);
    assert!(site.generations().is_empty());
    assert!(
        site.lets_in(443),
        "a host that has never had a policy stays open"
    );

    site.save("groups.yaml", &opening(&[22]));
    manager.hears_until("READY=1");
    assert_eq!(site.generations(), [1]);
    assert!(site.lets_in(22) && !site.lets_in(443));

    // The same for one that was not there at all.
    let site = Site::new();
    let (manager, _daemon) = start(&site);
    let heard = manager.hears_until("does not exist");
    assert!(!heard.iter().any(|each| each.contains("READY=1")));
    site.write("groups.yaml", &opening(&[22]));
    manager.hears_until("READY=1");
}

/// A glob waits for interfaces that come and go: that there is none now is said, and is no fault.
fn glob_without_interface() {
    let site = Site::new();
    site.write(
        "groups.yaml",
        &opening(&[22]).replace("eth0:", "wg*: { security_groups: [] }, eth0:"),
    );
    let (manager, daemon) = start(&site);
    manager.hears_until("STATUS=generation 1 enforced");
    daemon.until_logged("no interface of this host matches wg*");
    let page = site.run("status");
    assert_eq!(page.code, 0, "{page:?}");
    assert!(
        page.out
            .contains("Notes:\n  - no interface of this host matches wg*")
    );
    assert!(!page.out.contains("DEGRADED"), "{}", page.out);
}

/// A group that names this host's groups as a source misses it.
fn unlisted_address() {
    let site = Site::new();
    let listing = |addresses: &str| {
        let list = format!("eth0: {{ addresses: [{addresses}],");
        opening(&[22]).replace("eth0: {", &list)
    };
    site.write("groups.yaml", &listing("10.0.0.5"));
    let daemon = site.start();
    assert_eq!(site.run("status").code, 0);
    site.host.ip("address add 10.0.0.77/24 dev eth0");
    daemon.until_logged("eth0 has 10.0.0.77, which the definition does not list");
    let page = site.run("status");
    assert_eq!(page.code, 0, "it is filtered all the same: {page:?}");
    assert!(page.out.contains("Notes:\n  - eth0 has 10.0.0.77"));
    site.write("groups.yaml", &listing("10.9.9.9"));
    let check = site.run("check");
    let other = "is it the definition of another host?";
    assert!(check.out.contains(other), "{check:?}");
    site.host.ip("link property add dev eth0 altname enp3s0");
    site.write("groups.yaml", &opening(&[22]).replace("eth0:", "enp3s0:"));
    let check = site.run("check");
    let hint = "enp3s0 is another name of eth0, bind eth0 instead";
    assert!(check.out.contains(hint), "{check:?}");
}

/// `systemctl status` says so, as `secgroupd status` does.
fn not_kept() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let (manager, _daemon) = start(&site);
    manager.hears_until("STATUS=generation 1 enforced");
    super::kept::until_kept(&site, &opening(&[22]));
    // A directory that holds something is in the way of the file.
    std::fs::remove_file(site.path("state/policy")).unwrap();
    site.write("state/policy/in/the/way", "");
    site.save("groups.yaml", &opening(&[443]));
    manager.hears_until("STATUS=DEGRADED: the policy is not kept for the next start:");
    std::fs::remove_dir_all(site.path("state/policy")).unwrap();
    site.save("groups.yaml", &opening(&[80]));
    manager.hears_until("STATUS=generation 3 enforced");
}

fn missing_interface() {
    let site = Site::new();
    site.write(
        "groups.yaml",
        &opening(&[22]).replace("eth0:", "eth0: { security_groups: [] }, eth7:"),
    );
    let (manager, daemon) = start(&site);
    let heard = manager.hears_until("STATUS=");
    let last = heard.last().unwrap();
    assert!(
        last.contains("STATUS=DEGRADED: this host has no interface eth7; generation 1 enforced"),
        "{last}"
    );
    assert_eq!(last.matches('\n').count(), 1, "one line: {last:?}");
    // It is enforced all the same, and ready.
    assert!(
        heard.iter().any(|each| each.contains("READY=1")),
        "{heard:?}"
    );
    daemon.until_logged("this host has no interface eth7");
    let page = site.run("status");
    assert_eq!(page.code, 1, "degraded");
    assert!(
        page.out.contains("enforced, but DEGRADED") && page.out.contains("eth7"),
        "{}",
        page.out
    );
    let check = site.run("check");
    assert_eq!(check.code, 0, "a warning alone is success: {check:?}");
    assert!(
        check.out.contains("this host has no interface eth7"),
        "{check:?}"
    );

    site.save("groups.yaml", &opening(&[22]));
    manager.hears_until("STATUS=generation 2 enforced");
    assert!(!site.run("status").out.contains("DEGRADED"));
}

fn refused() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let (manager, _daemon) = start(&site);
    manager.hears_until("STATUS=generation 1");
    fs::write(site.definition(), WRONG).unwrap();
    manager.hears_until("STATUS=DEGRADED: the definition is refused: ");
    site.save("groups.yaml", &opening(&[22]));
    manager.hears_until("STATUS=generation 2 enforced");
}

/// Every system call of a daemon's life is one that the unit allows.
fn allowed_calls() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let manager = Manager::new(site.path("").as_path());
    let mut command = site.host.command("strace");
    // Elsewhere: what is written beside the definition is looked at, and that is a call.
    let folder = tempfile::tempdir().unwrap();
    let calls = folder.path().join("calls");
    command
        .args(["-D", "-f", "-qq", "-o"])
        .arg(&calls)
        .arg(PROGRAM);
    site.arguments(&mut command, "run");
    command.env("NOTIFY_SOCKET", &manager.path);
    let mut daemon = Daemon::start(command);
    manager.hears_until("READY=1");
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
    site.write("groups.yaml", WRONG);
    manager.hears_until("STATUS=DEGRADED");
    site.save(
        "groups.yaml",
        &with(&[80], "billing: prepaid, smtp: unblocked, "),
    );
    site.until_open(&[80], &[443]);
    let _ = site.host.try_nft("delete table inet secgroupd");
    for line in ["status", "reload", "remove", "reload"] {
        site.run(line);
        while manager.hears(WHILE).is_some() {}
    }
    daemon.signal(Signal::SIGHUP);
    manager.hears_until("STATUS=");
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().0.success());
    let allowed = allowed();
    let text = fs::read_to_string(&calls).unwrap();
    let called = text.lines().filter_map(|line| {
        // `1234  sendto(4, ...`; the first is strace's own doing.
        let call = line.split_once(' ')?.1.trim_start();
        let (name, _) = call.split_once('(')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        (name.chars().all(plain) && !name.is_empty()).then_some(name)
    });
    let called: BTreeSet<&str> = called.collect();
    assert!(called.contains("sendto") && called.len() > 30, "{called:?}");
    let refused: Vec<_> = called
        .iter()
        .filter(|call| !allowed.contains(**call))
        .collect();
    assert!(refused.is_empty(), "the unit does not allow {refused:?}");
}

/// What SystemCallFilter= of the unit allows, its groups unfolded.
fn allowed() -> BTreeSet<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/secgroupd.service");
    let unit = fs::read_to_string(unit).unwrap();
    let mut allowed = BTreeSet::new();
    for line in unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let (line, adds) = match line.strip_prefix('~') {
            Some(line) => (line, false),
            None => (line, true),
        };
        for name in line.split_whitespace().flat_map(unfolded) {
            match adds {
                true => drop(allowed.insert(name)),
                false => drop(allowed.remove(&name)),
            }
        }
    }
    allowed
}

fn unfolded(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let listed = Command::new("systemd-analyze")
        .args(["syscall-filter", name])
        .output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let lines = listed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    // The first line is the group's own name.
    lines.skip(1).flat_map(unfolded).collect()
}
