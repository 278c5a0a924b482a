//! The policy outlives the daemon; the next one replaces it and leaves one generation.

use std::fs;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::site::{Site, WRONG, opening};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("a_stopped_daemon_leaves_its_policy", &["nft"], stopped),
        kernel_test("a_killed_daemon_leaves_its_policy", &["nft"], killed),
        kernel_test(
            "a_restart_clears_what_a_crash_left",
            &["nft"],
            after_a_crash,
        ),
        kernel_test(
            "a_restart_with_a_wrong_definition_keeps_the_policy",
            &["nft"],
            restarted_wrong,
        ),
    ]
}

fn stopped() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let site = Site::new();
        site.write("groups.yaml", &opening(&[22]));
        let daemon = site.start();
        let before = site.listing();
        assert!(site.path("control.sock").exists());
        let (status, log) = daemon.end(signal);
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("the policy stays enforced"), "{log}");
        site.unchanged(&before);
        assert!(!site.path("control.sock").exists());
        assert!(site.lets_in(22) && !site.lets_in(443));
    }
}

fn killed() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    let before = site.listing();
    daemon.end(Signal::SIGKILL);
    site.unchanged(&before);
    assert!(site.lets_in(22) && !site.lets_in(443));
    // What it left of its socket and lock is in nobody's way.
    assert!(site.path("control.sock").exists());
    site.run("status").failed(2, &["no secgroupd runs here"]);
    site.write("groups.yaml", &opening(&[443]));
    let _daemon = site.start();
    assert!(site.lets_in(443) && !site.lets_in(22));
    assert_eq!(site.status()["enforced"]["generation"], 2);
}

/// Killed between load and switch, a daemon leaves a generation that nothing refers to, perhaps half of it.
fn after_a_crash() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let daemon = site.start();
    daemon.end(Signal::SIGKILL);
    site.host.nft(
        "add set inet secgroupd g2_r1_4 { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 }; }\n\
         add chain inet secgroupd g2_eth0_in\nadd rule inet secgroupd g2_eth0_in tcp dport 22 drop\n\
         add chain inet secgroupd g2_inbound\nadd rule inet secgroupd g2_inbound ip saddr @g2_r1_4 drop\n\
         add rule inet secgroupd g2_inbound jump g2_eth0_in",
    );
    assert!(site.lets_in(22), "nothing refers to it");
    let daemon = site.start();
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert_eq!(site.generations(), [3]);
    assert_eq!(
        site.listing().matches("g2_").count(),
        0,
        "{}",
        site.listing()
    );
    drop(daemon);

    // As much as a fresh start makes, no more.
    let count = |listing: &str| {
        (
            listing.matches("chain ").count(),
            listing.matches("\tset ").count(),
        )
    };
    let fresh = Site::new();
    fresh.write("groups.yaml", &opening(&[22]));
    let _daemon = fresh.start();
    assert_eq!(count(&site.listing()), count(&fresh.listing()));
}

fn restarted_wrong() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    let (status, _) = site.start().end(Signal::SIGTERM);
    assert!(status.success());
    let before = site.listing();
    fs::write(site.definition(), WRONG).unwrap();
    let daemon = site.launch("run");
    daemon.until_logged("generation 1 stays enforced");
    let page = site.run("status").out;
    assert!(page.contains("enforced, but DEGRADED"), "{page}");
    site.unchanged(&before);
    assert!(site.lets_in(22) && !site.lets_in(443));
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
    assert_eq!(site.status()["enforced"]["generation"], 2);
}
