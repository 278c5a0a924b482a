//! One daemon to a host; `apply` and `remove` with it and without.

use std::fs;

use libtest_mimic::Trial;

use super::site::{Site, WRONG, opening, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("a_second_daemon_is_refused", &["nft"], second),
        kernel_test("apply_without_a_daemon", &["nft"], apply_alone),
        kernel_test("apply_goes_through_the_daemon", &["nft"], apply_through),
        kernel_test("remove_without_a_daemon", &["nft"], remove_alone),
        kernel_test("remove_goes_through_the_daemon", &["nft"], remove_through),
    ]
}

fn second() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let before = site.listing();
    let pid = format!("pid {}", daemon.pid());
    let other = site.path("other.sock");
    let second = site.run(&format!("run --socket {}", other.display()));
    second.failed(2, &["another secgroupd", &pid]);
    assert!(!other.exists());
    // The same socket with a state directory of its own is refused as well.
    let state = site.path("other-state");
    let second = site.run(&format!("run --state {}", state.display()));
    second.failed(2, &["another secgroupd answers on"]);
    // So is `apply` that cannot find the daemon's socket.
    let apply = site.run(&format!("apply --socket {}", other.display()));
    apply.failed(2, &["another secgroupd", &pid]);
    site.unchanged(&before);
    assert_eq!(site.status()["pid"], daemon.pid());
}

fn apply_alone() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let ran = site.run("apply");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out
            .starts_with("generation 1 enforced for ins-web1 in "),
        "{ran:?}"
    );
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert!(!site.path("control.sock").exists());

    site.write("candidate.yaml", &opening(&[443]));
    let candidate = site.path("candidate.yaml");
    let ran = site.run(&format!("apply {} --json", candidate.display()));
    let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (ran.code, &answer["enforced"]["generation"]),
        (0, &2.into()),
        "{ran:?}"
    );
    assert!(site.lets_in(443) && !site.lets_in(22));

    let before = site.listing();
    site.write("candidate.yaml", WRONG);
    let ran = site.run(&format!("apply {}", candidate.display()));
    ran.failed(
        1,
        &["candidate.yaml:5:19", "alow", "the definition is refused: "],
    );
    fs::remove_file(&candidate).unwrap();
    site.run(&format!("apply {}", candidate.display()))
        .failed(1, &["candidate.yaml does not exist"]);
    site.unchanged(&before);
}

fn apply_through() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    site.write("candidate.yaml", &opening(&[443]));
    // A relative path is relative to whoever asks, not to the daemon.
    let mut command = site.command("apply candidate.yaml");
    let ran = super::site::Ran::of(command.current_dir(site.path("")));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));
    daemon.until_logged("generation 2 enforced for ins-web1");
    let page = site.run("status").out;
    assert!(
        page.contains("candidate.yaml") && page.contains("Watched"),
        "{page}"
    );

    let before = site.listing();
    site.write("candidate.yaml", WRONG);
    let mut command = site.command("apply candidate.yaml");
    super::site::Ran::of(command.current_dir(site.path(""))).failed(1, &["candidate.yaml:5:19"]);
    site.unchanged(&before);

    // The watched definition takes over when it is saved.
    site.save("groups.yaml", &opening(&[80]));
    site.until_open(&[80], &[443, 22]);
    assert!(site.status()["last_error"].is_null());
    assert_eq!(site.status()["pid"], daemon.pid());
}

fn remove_alone() {
    let site = Site::new();
    let untouched = site.listing();
    let ran = site.run("remove");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (0, "there was no policy on this host\n")
    );
    site.write("groups.yaml", &opening(&[22]));
    assert_eq!(site.run("apply").code, 0);
    assert!(!site.lets_in(443));
    let ran = site.run("remove --json");
    assert_eq!((ran.code, ran.out.as_str()), (0, "{\"removed\":true}\n"));
    site.unchanged_by(&untouched, "other tables are never touched");
    assert!(site.lets_in(443));
}

fn remove_through() {
    let site = Site::new();
    let untouched = site.listing();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let ran = site.run("remove");
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("filters nothing now"), "{ran:?}");
    site.unchanged(&untouched);
    daemon.until_logged("taken off this host on request");
    assert!(site.run("status").out.starts_with("Nothing is enforced"));
    assert_eq!(site.run("remove").out, "there was no policy on this host\n");
    // Until the next save.
    site.save("groups.yaml", &opening(&[443]));
    until("it is enforced again", || {
        site.lets_in(443) && !site.lets_in(22)
    });
    assert_eq!(site.run("remove").code, 0);
    assert_eq!(site.run("reload").code, 0);
    assert!(!site.lets_in(22));
}
