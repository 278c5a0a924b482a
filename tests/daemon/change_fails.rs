//! A change that fails ends no flow, though connection tracking loses it.

use std::fs;
use std::process::Stdio;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::kernel_fails::can_trace;
use super::site::{Daemon, SOON, Site, until};
use super::talk::{Talk, open};
use crate::support::{Skip, kernel_test, through_nft};

pub fn tests() -> Vec<Trial> {
    if through_nft() {
        return Vec::new();
    }
    vec![kernel_test(
        "a_change_that_fails_ends_no_flow",
        &["nft", "strace", "conntrack"],
        ends_no_flow,
    )]
}

/// Which messages of a change fail, counted from the first one of each thread. What cannot be changed in place is loaded whole, so that
/// one that fails is not enough; and these are more than a change has.
const AT_ONCE: u16 = 8;
const MOST: u16 = 20;
/// The port before those that the flows are between.
const FIRST: u16 = 5000;

fn allowed() -> String {
    let ports = format!("protocol: udp, port: '{}-{}'", FIRST + 1, FIRST + MOST);
    open(&[&ports])
}

fn ends_no_flow() -> Result<(), Skip> {
    let site = Site::quiet();
    can_trace(&site)?;
    site.write("groups.yaml", &allowed());
    let daemon = site.start();
    let attempts = (1..=MOST).filter(|at| attempt(&site, &daemon, *at));
    let failed = attempts.count();
    println!("{failed} of {MOST} changes failed, and ended no flow");
    assert!(failed >= 1);
    Ok(())
}

/// The rule of a flow goes, while messages from `at` on fail; then it comes back. Returns whether that failed.
fn attempt(site: &Site, daemon: &Daemon, at: u16) -> bool {
    let told = |word: &str| daemon.log().matches(word).count();
    // Other ports each time: a program that is being started may hold the last ones for a moment.
    let [from, to] = ["10.0.0.9", "10.0.0.5"].map(|address| format!("{address}:{}", FIRST + at));
    let talk = Talk::udp(&site.peer, &from, &to, &site.host, &to);
    let [enforced, saved] = [" enforced for ", " was saved)"].map(told);
    fails_from(site, daemon, at, || {
        site.save("groups.yaml", &open(&[]));
        until("told", || told(" was saved)") > saved);
    });
    let failed = told(" enforced for ") == enforced;
    talk.limit(SOON / 100);
    if failed {
        // Whoever speaks first: everything may go out.
        for by_client in [false, true] {
            until("the flow goes on", || {
                site.host.output("conntrack", &["-F"]);
                talk.hears(by_client)
            });
        }
    } else {
        // The server's next word would open a new one.
        site.host.output("conntrack", &["-F"]);
        assert!(!talk.hears(true), "from {at} on: {}", daemon.log());
    }
    let enforced = told(" enforced for ");
    site.save("groups.yaml", &allowed());
    until("allowed again", || told(" enforced for ") > enforced);
    failed
}

/// What each thread of the daemon tells the kernel meanwhile, from its message `at` on, fails.
fn fails_from(site: &Site, daemon: &Daemon, at: u16, work: impl FnOnce()) {
    let inject = format!(
        "inject=sendto:error=ENOBUFS:when={at}..{}",
        at + AT_ONCE - 1
    );
    let mut strace = site.host.command("strace");
    strace.args(["-f", "-qq", "-e", "trace=sendto", "-e", &inject]);
    strace.args(["-o", "/dev/null", "-p", &daemon.pid().to_string()]);
    let mut strace = strace.stderr(Stdio::null()).spawn().unwrap();
    let threads = format!("/proc/{}/task", daemon.pid());
    let is_traced = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status"));
        // One that has ended meanwhile tells nothing.
        !status.is_ok_and(|status| status.contains("TracerPid:\t0\n"))
    };
    until("traced", || {
        let mut threads = fs::read_dir(&threads).unwrap();
        threads.all(|thread| is_traced(thread.unwrap()))
    });
    work();
    let pid = Pid::from_raw(strace.id().try_into().unwrap());
    // It lets go of the daemon.
    kill(pid, Signal::SIGTERM).unwrap();
    strace.wait().unwrap();
}
