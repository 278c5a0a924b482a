//! A saved change is enforced without a command, however it is saved (spec 3): what counts is what the kernel lets in.

use std::fs::{self, File};
use std::io::Write;
use std::thread;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::site::{Site, WHILE, opening, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("saved_in_place", &["nft"], in_place),
        kernel_test("half_a_file_is_not_read", &["nft"], half_written),
        kernel_test("saved_by_rename", &["nft"], renamed),
        kernel_test("saved_by_a_link_to_a_file", &["nft"], link_to_a_file),
        kernel_test("saved_by_a_link_to_a_folder", &["nft"], link_to_a_folder),
        kernel_test("saved_as_kubernetes_does", &["nft"], kubernetes),
        kernel_test("saved_template_file", &["nft"], template_file),
        kernel_test("files_come_and_go_in_a_folder", &["nft"], folder),
        kernel_test("sighup_reads_again", &["nft"], hangup),
        kernel_test("reload_reads_again", &["nft"], reload),
        kernel_test("found_by_polling", &["nft"], polled),
        kernel_test(
            "a_save_that_says_the_same_changes_nothing",
            &["nft"],
            says_what_it_said,
        ),
        kernel_test("permissions_are_no_save", &["nft"], permissions_are_no_save),
        kernel_test("saved_many_times_at_once", &["nft"], burst),
    ]
}

/// A daemon that lets in port 22, and then another once `save` has saved that.
fn followed(save: impl Fn(&Site, &str)) {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = site.start();
    site.until_open(&[22], &[443]);
    save(&site, &opening(&[443]));
    site.until_open(&[443], &[22]);
    // And again: what is watched was not lost with the first change.
    save(&site, &opening(&[22, 80]));
    site.until_open(&[22, 80], &[443]);
    site.until_at_rest();
}

fn in_place() {
    followed(|site, text| site.write("groups.yaml", text));
}

fn renamed() {
    followed(|site, text| site.save("groups.yaml", text));
}

fn half_written() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = site.start();
    let before = site.listing();
    let text = opening(&[443]);
    // Each half is cut where it is valid YAML, and means a group without rules.
    let (first, second) = text.split_at(text.find("    inbound").unwrap());
    let mut file = File::create(site.definition()).unwrap();
    for part in [first, second] {
        file.write_all(part.as_bytes()).unwrap();
        file.sync_all().unwrap();
        thread::sleep(3 * WHILE);
        site.unchanged(&before);
        let status = site.status();
        assert_eq!(
            (status["reloads"].as_u64(), status["failures"].as_u64()),
            (Some(1), Some(0))
        );
    }
    assert!(site.lets_in(22) && !site.lets_in(443));
    drop(file);
    site.until_open(&[443], &[22]);
}

fn link_to_a_file() {
    let site = Site::new();
    site.write("one/first.yaml", &opening(&[22]));
    site.write("two/second.yaml", &opening(&[443]));
    std::os::unix::fs::symlink("one/first.yaml", site.definition()).unwrap();
    let _daemon = site.start();
    site.until_open(&[22], &[443]);
    // `ln -sfn` takes the old link away first; there is a moment without one.
    let path = site.definition().display().to_string();
    site.host.output("ln", &["-sfn", "two/second.yaml", &path]);
    site.until_open(&[443], &[22]);
    // What the link leads to is watched as well.
    site.save("two/second.yaml", &opening(&[80]));
    site.until_open(&[80], &[443]);
    site.link("one/first.yaml", "groups.yaml");
    site.until_open(&[22], &[80]);
}

fn link_to_a_folder() {
    let site = Site::new();
    site.write("releases/1/groups.yaml", &opening(&[22]));
    site.write("releases/2/groups.yaml", &opening(&[443]));
    site.link("releases/1", "current");
    let current = site.path("current");
    let daemon = site.launch(&format!("run --definition {}", current.display()));
    daemon.until_logged(" enforced for ");
    site.host
        .output("ln", &["-sfn", "releases/2", current.to_str().unwrap()]);
    site.until_open(&[443], &[22]);
    site.link("releases/1", "current");
    site.until_open(&[22], &[443]);
    // The release that nothing leads to any more is nobody's business.
    let before = site.listing();
    site.save("releases/2/groups.yaml", &opening(&[80]));
    thread::sleep(2 * WHILE);
    site.unchanged(&before);
}

/// A mounted ConfigMap: `groups.yaml -> ..data/groups.yaml`, `..data -> ..2024`, and one rename of `..data` is an update.
fn kubernetes() {
    let site = Site::new();
    site.write("map/..1/groups.yaml", &opening(&[22]));
    site.link("..1", "map/..data");
    site.link("..data/groups.yaml", "map/groups.yaml");
    let daemon = site.launch(&format!("run --definition {}", site.path("map").display()));
    daemon.until_logged(" enforced for ");
    for (round, (open, closed)) in [(2, (443, 22)), (3, (80, 443))] {
        site.write(&format!("map/..{round}/groups.yaml"), &opening(&[open]));
        site.link(&format!("..{round}"), "map/..data");
        fs::remove_dir_all(site.path(&format!("map/..{}", round - 1))).unwrap();
        site.until_open(&[open], &[closed]);
    }
}

fn template_file() {
    let site = Site::new();
    let text = opening(&[22]).replace(
        "source: any }\n      - { action: refuse",
        "source: ipm-peer }\n      - { action: refuse",
    );
    let text = format!("{text}address_templates: {{ ipm-peer: {{ file: lists/peer.txt }} }}\n");
    assert!(text.contains("source: ipm-peer"));
    site.write("groups.yaml", &text);
    site.write("lists/peer.txt", "192.0.2.1\n");
    let _daemon = site.start();
    assert!(!site.lets_in(22));
    site.write("lists/peer.txt", "# the peer\n10.0.0.0/28\n");
    site.until_open(&[22], &[]);
    site.save("lists/peer.txt", "192.0.2.1\n");
    site.until_open(&[], &[22]);
    let before = site.listing();
    site.save("lists/peer.txt", "10.0.0.9\nno address\n");
    until("the bad line is told", || {
        site.run("status").out.contains("lists/peer.txt:2")
    });
    site.unchanged(&before);
    site.save("lists/peer.txt", "10.0.0.9\n");
    site.until_open(&[22], &[]);
}

fn folder() {
    let site = Site::new();
    site.write("etc/10-groups.yaml", &opening(&[22]));
    let daemon = site.launch(&format!("run --definition {}", site.path("etc").display()));
    daemon.until_logged(" enforced for ");
    let platform = |port| {
        format!(
            "version: 1\nplatform:\n  approved_services:\n    probe: {{ direction: inbound, protocol: tcp, port: {port}, source: any }}\n"
        )
    };
    site.write("etc/20-platform.yaml", &platform(8080));
    site.until_open(&[22, 8080], &[443]);
    // Not a definition's names, so nothing is read.
    let before = site.listing();
    site.write("etc/notes.txt", "no yaml: [");
    site.write("etc/.20-platform.yaml.swp", "no yaml: [");
    thread::sleep(2 * WHILE);
    site.unchanged(&before);
    site.save("etc/20-platform.yaml", &platform(9090));
    site.until_open(&[22, 9090], &[8080]);
    fs::remove_file(site.path("etc/20-platform.yaml")).unwrap();
    site.until_open(&[22], &[9090]);
}

/// SIGHUP reads at once: with `--poll` nothing else would for some seconds.
fn hangup() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.launch("run --poll");
    daemon.until_logged(" enforced for ");
    site.save("groups.yaml", &opening(&[443]));
    daemon.signal(Signal::SIGHUP);
    daemon.until_logged("generation 2 enforced for ");
    assert!(site.lets_in(443));
    let log = daemon.log();
    let second = log.lines().find(|line| line.contains("generation 2 "));
    assert!(
        second.is_some_and(|line| line.ends_with("(SIGHUP)")),
        "{log}"
    );
}

fn reload() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.launch("run --poll");
    daemon.until_logged(" enforced for ");
    site.save("groups.yaml", &opening(&[443]));
    let ran = site.run("reload");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out
            .starts_with("generation 2 enforced for ins-web1 in "),
        "{ran:?}"
    );
    // It answers when it is done, not before.
    assert!(site.lets_in(443) && !site.lets_in(22));
    let ran = site.run("reload --json");
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(answer["enforced"]["generation"], 3);
}

fn polled() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.launch("run --poll");
    daemon.until_logged(" enforced for ");
    site.write("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
}

/// The last of many saves is the one that holds, and no generation is left behind.
fn burst() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    for port in 1000..1060 {
        match port % 2 {
            0 => site.write("groups.yaml", &opening(&[port])),
            _ => site.save("groups.yaml", &opening(&[port])),
        }
    }
    site.until_open(&[1059], &[22, 1058]);
    site.until_at_rest();
    thread::sleep(WHILE);
    assert!(site.lets_in(1059) && !site.lets_in(1058));
    // Of a file that is written where it is, a half may be read. It is refused, and the next save holds.
    assert!(site.status()["last_error"].is_null(), "{}", daemon.log());
}

/// A save that changes nothing, as configuration management makes one every half hour: flows are not judged again.
fn says_what_it_said() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let before = site.listing();
    site.save("groups.yaml", &opening(&[22]));
    daemon.until_logged("groups.yaml was saved: the definition says what it said");
    site.unchanged(&before);
    // A reload enforces all of it.
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(site.status()["enforced"]["generation"], 2);
    // After another definition, and after a refused one, it counts.
    site.write("other.yaml", &opening(&[443]));
    let other = site.path("other.yaml").display().to_string();
    assert_eq!(site.run(&format!("apply {other}")).code, 0);
    site.save("groups.yaml", &opening(&[22]));
    site.until_open(&[22], &[443]);
    site.save("groups.yaml", super::site::WRONG);
    until("it is refused", || !site.status()["last_error"].is_null());
    site.save("groups.yaml", &opening(&[22]));
    until("it is right again", || {
        site.status()["last_error"].is_null()
    });
}

/// An applied candidate holds until the definition is saved: `chmod` is no save, of a folder on the way neither.
fn permissions_are_no_save() {
    let site = Site::new();
    site.write("etc/groups.yaml", &opening(&[22]));
    let daemon = site.launch(&format!(
        "run --definition {}",
        site.path("etc/groups.yaml").display()
    ));
    daemon.until_logged("generation 1 enforced");
    site.write("other.yaml", &opening(&[443]));
    let other = site.path("other.yaml").display().to_string();
    assert_eq!(site.run(&format!("apply {other}")).code, 0);
    let mode = |path: &str, mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(site.path(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("etc", 0o750);
    daemon.until_logged("permissions of");
    assert!(site.lets_in(443) && !site.lets_in(22));
    // Whom it does not trust it says, and nothing changes.
    mode("etc", 0o777);
    until("it is told", || !site.status()["last_error"].is_null());
    mode("etc", 0o755);
    until("it is well again", || site.status()["last_error"].is_null());
    assert!(site.lets_in(443) && !site.lets_in(22));
    site.save("etc/groups.yaml", &opening(&[22]));
    site.until_open(&[22], &[443]);
}
