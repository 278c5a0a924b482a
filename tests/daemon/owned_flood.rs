//! Somebody flushes the ruleset every ten milliseconds while the daemon is killed and started again, under a flood: no refused
//! packet is delivered and no allowed one lost. `SECGROUPD_FULL=1` does so for 30 s.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::owned::{can_own, start};
use super::site::{Manager, Site, opening};
use crate::support::{Flood, Port, Side, Skip, is_full, kernel_test, through_nft};

const ALLOWED: Port = Port::Tcp(2002);
const REFUSED: Port = Port::Udp(1001);

pub fn tests() -> Vec<Trial> {
    if through_nft() {
        return Vec::new();
    }
    vec![kernel_test(
        "flushed_and_killed_under_a_flood",
        &["nft"],
        flushed_and_killed,
    )]
}

fn flushed_and_killed() -> Result<(), Skip> {
    can_own()?;
    let long = Duration::from_secs(if is_full() { 30 } else { 4 });
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[2002]));
    let manager = Manager::new(site.path("").as_path());
    let mut daemon = start(&site, &manager, "run");
    manager.hears_until("READY=1");
    let flood = Flood {
        rate: 10_000,
        at_most: u64::MAX,
        at_longest: Duration::from_secs(600),
        guarded: true,
        ..Flood::new(Side::Inbound, &[ALLOWED, REFUSED])
    };
    let flood = flood.start(&site.wire);
    let (stop, flushes) = (AtomicBool::new(false), AtomicU32::new(0));
    let mut kills = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                site.host.nft("flush ruleset");
                flushes.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        let begin = Instant::now();
        while begin.elapsed() < long {
            thread::sleep(Duration::from_millis(900));
            daemon.end(Signal::SIGKILL);
            daemon = start(&site, &manager, "run");
            kills += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(flood.is_running());
    let report = flood.stop();
    let (allowed, refused) = (report.port(ALLOWED), report.port(REFUSED));
    println!(
        "{} flushes and {kills} kills under {} allowed and {} refused packets: {} refused ones passed, {} allowed ones lost",
        flushes.into_inner(),
        allowed.seen_before,
        refused.seen_before,
        refused.seen_after,
        allowed.lost()
    );
    assert!(allowed.seen_before > 1000 && refused.seen_before > 1000);
    assert_eq!((refused.seen_after, allowed.lost()), (0, 0));
    Ok(())
}
