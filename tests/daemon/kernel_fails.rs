//! The kernel fails the daemon at its n-th message, or somebody kills it there: strace has the system call fail or sends the signal.
//! The last good policy stays enforced, and the next good save recovers; nothing is left in the kernel.
//!
//! The short form takes some of the messages, `SECGROUPD_FULL=1` each of them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::site::{Daemon, PROGRAM, SOON, Site, opening, until};
use crate::support::{Skip, is_full, kernel_test, through_nft};

pub fn tests() -> Vec<Trial> {
    if through_nft() {
        return Vec::new();
    }
    let failing = |name: &str, inject: &'static str| {
        kernel_test(name, &["nft", "strace"], move || each(inject, false))
    };
    let killing = |name: &str, inject: &'static str| {
        kernel_test(name, &["nft", "strace"], move || each(inject, true))
    };
    vec![
        failing("a_message_that_cannot_be_sent", "sendto:error=ENOBUFS"),
        failing("a_message_without_memory", "sendto:error=ENOMEM"),
        failing("an_answer_that_is_lost", "recvfrom:error=ENOBUFS"),
        killing("killed_before_a_message", "sendto:signal=KILL"),
        killing("killed_after_a_message", "recvfrom:signal=KILL"),
        kernel_test("a_kernel_without_nf_tables", &["strace"], without),
    ]
}

/// A command that runs the program under strace, which is no parent of it.
pub fn traced(site: &Site, inject: &str, line: &str) -> Command {
    let call = inject.split(':').next().unwrap();
    let mut command = site.host.command("strace");
    let log = site.path("strace.log");
    command.args(["-D", "-f", "-qq", "-o"]).arg(&log);
    command.args([
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={inject}"),
        PROGRAM,
    ]);
    site.arguments(&mut command, line);
    command
}

pub fn can_trace(site: &Site) -> Result<(), Skip> {
    let ran = site
        .host
        .command("strace")
        .args(["-D", "-qq", "-o", "/dev/null", "true"])
        .output();
    match ran.is_ok_and(|ran| ran.status.success()) {
        true => Ok(()),
        false => Err(Skip("strace may not trace here".into())),
    }
}

/// A policy is in force from before; the daemon starts, and a new one is saved. What happens at the n-th call, for each n.
fn each(inject: &str, kills: bool) -> Result<(), Skip> {
    let site = Site::new();
    can_trace(&site)?;
    let (mut tried, mut number) = (0, 1);
    loop {
        let happened = at(&site, &format!("{inject}:when={number}"), kills);
        if !happened {
            break;
        }
        tried += 1;
        // Each of the first, and then fewer and fewer.
        number += if is_full() { 1 } else { 1 + number / 3 };
    }
    println!("{inject}: {tried} of {number} places");
    assert!(tried >= 5, "only {tried}");
    Ok(())
}

/// Gives whether it happened at all.
fn at(site: &Site, inject: &str, kills: bool) -> bool {
    site.write("groups.yaml", &opening(&[22]));
    let applied = site.run("apply");
    assert_eq!(applied.code, 0, "{applied:?}");
    let mut daemon = Daemon::start(traced(site, inject, "run"));
    let told = |daemon: &Daemon| {
        let log = daemon.log();
        log.matches(" enforced for ").count() + log.matches("ERROR").count()
    };
    let wait = |daemon: &mut Daemon, what: &dyn Fn(&Daemon) -> bool| {
        let start = Instant::now();
        while !what(daemon) && !daemon.has_ended() {
            assert!(start.elapsed() < SOON, "{inject}: {}", daemon.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    wait(&mut daemon, &|daemon| told(daemon) > 0);
    let before = told(&daemon);
    site.save("groups.yaml", &opening(&[443]));
    wait(&mut daemon, &|daemon| {
        told(daemon) > before || site.lets_in(443)
    });
    // One of the two holds, and nothing that both refuse; what was told may have been of the start.
    let asked = || (site.lets_in(22), site.lets_in(443));
    let (mut old, mut new) = asked();
    let start = Instant::now();
    while old == new && start.elapsed() < SOON {
        (old, new) = asked();
    }
    assert!(
        old != new,
        "{inject}: 22 {old}, 443 {new}\n{}",
        daemon.log()
    );
    assert!(!site.lets_in(9), "{inject}: open\n{}", daemon.log());
    // Who is killed is started again, whenever that was.
    let mut again = None;
    let mut ended = |daemon: &mut Daemon| {
        let ended = daemon.has_ended();
        assert!(!ended || kills, "{inject}: it has ended\n{}", daemon.log());
        if ended && again.is_none() {
            again = Some(site.start());
        }
        ended
    };
    ended(&mut daemon);
    // strace counts for each thread by itself: a later save may meet a fault of its own, and then the one after it recovers.
    let begin = Instant::now();
    let mut next = (80..).take_while(|_| begin.elapsed() < SOON);
    let recovers = next.any(|port| {
        site.save("groups.yaml", &opening(&[port]));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(2) {
            ended(&mut daemon);
            if site.lets_in(port) && !site.lets_in(22) && !site.lets_in(443) {
                return true;
            }
        }
        false
    });
    assert!(recovers, "{inject}: {}", daemon.log());
    // What is enforced may be of several generations, after changes in place, and what a fault has left goes with the next whole
    // load: a reload that goes well leaves one.
    until("one generation is left", || {
        ended(&mut daemon);
        site.run("reload").code == 0
            && site.host.left_over().is_empty()
            && site.generations().len() == 1
    });
    let ended = ended(&mut daemon);
    site.until_at_rest();
    fs::read_to_string(site.path("strace.log")).is_ok_and(|log| log.contains("INJECTED"))
        || (kills && ended)
}

/// One line that says what to do.
fn without() -> Result<(), Skip> {
    let site = Site::new();
    can_trace(&site)?;
    site.write("groups.yaml", &opening(&[22]));
    // The daemon's first socket is that of netfilter.
    for error in ["EPROTONOSUPPORT", "EAFNOSUPPORT"] {
        let mut command = traced(&site, &format!("socket:error={error}:when=1"), "run");
        let ran = super::site::Ran::of(&mut command);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert_eq!(ran.err.lines().count(), 1, "{ran:?}");
        assert!(ran.err.contains("this kernel has no nf_tables"), "{ran:?}");
        assert!(ran.err.contains("modprobe nf_tables"), "{ran:?}");
    }
    Ok(())
}
