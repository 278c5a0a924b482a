//! The ledger of unblocks of TCP 25, through the daemon.

use std::fs;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::site::{Site, WRONG, until, with};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("an_unblock_is_spent_when_enforced", &["nft"], spent),
        kernel_test(
            "an_unblock_over_the_limit_stays_blocked",
            &["nft"],
            over_the_limit,
        ),
        kernel_test("a_damaged_ledger_changes_nothing", &["nft"], damaged),
    ]
}

const OPEN: &str = "billing: prepaid, smtp: unblocked, ";
const SHUT: &str = "billing: prepaid, smtp: blocked, ";
/// A mail server beyond the default route.
const MAIL: &str = "198.51.100.25:25";

fn spent_on(site: &Site) -> Option<u64> {
    let ledger = fs::read(site.path("state/unblocks.json")).ok()?;
    serde_json::from_slice::<Value>(&ledger).unwrap()["spent"].as_u64()
}

#[track_caller]
fn enforces(site: &Site, instance: &str, port: u16) {
    site.save("groups.yaml", &with(&[port], instance));
    until("it is enforced", || site.lets_in(port));
    // The ledger is written when it is enforced, and then `status` is answered.
    assert!(site.status()["last_error"].is_null());
}

fn spent() {
    let site = Site::new();
    site.write("groups.yaml", &with(&[22], OPEN));
    // Nothing that only looks spends.
    for line in ["check", "compile", "explain outbound tcp 198.51.100.25 25"] {
        let ran = site.run(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
    }
    assert!(!site.path("state").exists());
    let daemon = site.start();
    assert!(site.lets_out(MAIL));
    until("it is kept", || spent_on(&site) == Some(1));
    // The same again is not another.
    assert_eq!(site.run("reload").code, 0);
    enforces(&site, OPEN, 1001);
    assert_eq!(spent_on(&site), Some(1));

    enforces(&site, SHUT, 1002);
    assert!(!site.lets_out(MAIL));
    assert!(site.lets_out("10.0.0.9:25"), "internal mail is not blocked");
    assert_eq!(spent_on(&site), Some(1));
    let before = site.listing();
    site.save("groups.yaml", WRONG);
    until("it is refused", || !site.status()["last_error"].is_null());
    assert_eq!((site.listing(), spent_on(&site)), (before, Some(1)));

    enforces(&site, OPEN, 1003);
    assert!(site.lets_out(MAIL));
    assert_eq!(spent_on(&site), Some(2));
    assert!(site.run("status").out.contains("2 of 5 unblocks spent"));
    for line in ["check", "compile", "explain outbound tcp 198.51.100.25 25"] {
        assert_eq!(site.run(line).code, 0);
    }
    assert_eq!(spent_on(&site), Some(2));

    // Kept over a stop and over a kill.
    daemon.end(Signal::SIGTERM);
    let daemon = site.start();
    assert_eq!(
        site.status()["enforced"]["unblocks"],
        serde_json::json!([2, 5])
    );
    daemon.end(Signal::SIGKILL);
    assert_eq!(site.run("apply").code, 0);
    assert_eq!(spent_on(&site), Some(2));
}

fn over_the_limit() {
    let site = Site::new();
    site.write("groups.yaml", &with(&[22], OPEN));
    fs::create_dir(site.path("state")).unwrap();
    site.write("state/unblocks.json", r#"{"spent":5,"unblocked":[]}"#);
    let words = [
        "groups.yaml:",
        "ins-web1",
        "stays blocked",
        "5 of the account's 5",
    ];

    let check = site.run("check");
    assert_eq!(check.code, 1);
    words
        .iter()
        .for_each(|word| assert!(check.out.contains(word), "{word} is not in {check:?}"));
    let explained = site.run("explain outbound tcp 198.51.100.25 25");
    assert_eq!(explained.code, 1, "{explained:?}");

    let daemon = site.start();
    // The rest is enforced.
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert!(!site.lets_out(MAIL));
    words.iter().for_each(|word| daemon.until_logged(word));
    let reload = site.run("reload");
    reload.failed(0, &words);
    let page = site.run("status").out;
    words
        .iter()
        .for_each(|word| assert!(page.contains(word), "{word} is not in {page}"));
    assert_eq!(spent_on(&site), Some(5));

    // A higher limit serves it.
    let more = format!(
        "{}platform: {{ smtp: {{ unblocks_per_account: 6 }} }}\n",
        with(&[443], OPEN)
    );
    site.save("groups.yaml", &more);
    site.until_open(&[443], &[22]);
    assert!(site.lets_out(MAIL));
    until("it is kept", || spent_on(&site) == Some(6));
    assert!(!site.run("status").out.contains("stays blocked"));
}

fn damaged() {
    let site = Site::new();
    site.write("groups.yaml", &with(&[22], OPEN));
    let daemon = site.start();
    until("it is kept", || spent_on(&site) == Some(1));
    let before = site.listing();
    let good = fs::read(site.path("state/unblocks.json")).unwrap();
    for (bad, words) in [
        ("{\"spent\":", "is damaged"),
        ("", "is damaged"),
        ("{\"spent\":-1,\"unblocked\":[]}", "is damaged"),
        ("\u{0}\u{0}\u{0}", "is damaged"),
    ] {
        fs::write(site.path("state/unblocks.json"), bad).unwrap();
        let words = [
            "the unblock ledger",
            "unblocks.json",
            words,
            "mend it, or remove it",
        ];
        site.run("reload").failed(2, &words);
        site.unchanged(&before);
        assert!(site.run("status").out.contains("unblocks.json"));
        // The same words from what only looks; nothing guesses how many are left.
        for line in ["check", "compile", "explain outbound tcp 198.51.100.25 25"] {
            site.run(line).failed(2, &words);
        }
        assert_eq!(
            fs::read(site.path("state/unblocks.json")).unwrap(),
            bad.as_bytes()
        );
    }
    assert_eq!(
        daemon.log().matches("is damaged").count(),
        4,
        "once each: {}",
        daemon.log()
    );
    // A host that enforces nothing yet is not left open for the sake of TCP 25.
    assert_eq!(site.run("remove").code, 0);
    fs::write(site.path("state/unblocks.json"), "{").unwrap();
    assert_eq!(site.run("reload").code, 0);
    assert!(site.lets_in(22) && !site.lets_in(23) && !site.lets_out(MAIL));
    assert!(site.run("status").out.contains("unblocks.json"));
    assert_eq!(fs::read(site.path("state/unblocks.json")).unwrap(), b"{");
    fs::write(site.path("state/unblocks.json"), good).unwrap();
    assert_eq!(site.run("reload").code, 0);
    assert_eq!(spent_on(&site), Some(1));
}
