//! kill -9 at any moment of a reload, under a flood: no refused packet is delivered, no allowed one lost, and the next start
//! recovers and leaves nothing behind. 40 rounds; 200 with `SECGROUPD_FULL=1`.

use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::site::{Site, until};
use crate::support::{Flood, Port, Side, is_full, kernel_test};

const ALLOWED: Port = Port::Tcp(2002);
const REFUSED: Port = Port::Udp(1001);

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("killed_while_most_is_refused", &["nft"], || {
            rounds("refuse")
        }),
        kernel_test("killed_while_most_is_allowed", &["nft"], || rounds("allow")),
    ]
}

/// Rules enough that load, switch and delete take some milliseconds each; every version has others. What is behind them all
/// refuses or allows the rest.
fn definition(version: u16, rest: &str) -> String {
    let rules: String = (0..400_u16)
        .map(|n| {
            let action = if n.is_multiple_of(3) { "refuse" } else { "allow" };
            let port = 10_000 + n * 20 + version % 9;
            format!("      - {{ action: {action}, protocol: tcp, port: \"{port},{}\", source: 10.{}.{}.0/24 }}\n", port + 3, n % 200, version % 200)
        })
        .collect();
    format!(
        "version: 1\nsecurity_groups:\n  sg-a:\n    inbound:\n{rules}\
         \x20     - {{ action: refuse, protocol: udp, port: 1001, source: any }}\n\
         \x20     - {{ action: allow, protocol: tcp, port: 2002, source: any }}\n\
         \x20     - {{ action: {rest}, protocol: all, source: any }}\n\
         instances: {{ ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }} }}\n"
    )
}

fn rounds(rest: &str) {
    let rounds: u16 = if is_full() { 100 } else { 20 };
    let site = Site::quiet();
    site.write("groups.yaml", &definition(0, rest));
    let mut daemon = site.start();
    let flood = Flood {
        rate: 10_000,
        at_most: u64::MAX,
        at_longest: Duration::from_secs(600),
        ..Flood::new(Side::Inbound, &[ALLOWED, REFUSED])
    };
    let flood = flood.start(&site.wire);
    let mut rng = fastrand::Rng::with_seed(rest.len() as u64);
    // How long a reload takes here and now.
    let begin = Instant::now();
    site.save("groups.yaml", &definition(500, rest));
    until("it is enforced", || {
        daemon.log().matches(" enforced for ").count() == 2
    });
    let longest = (begin.elapsed().as_micros() as u64 * 3 / 2).max(10_000);
    let mut half_done = 0;
    for round in 1..=rounds {
        let before = daemon.log().matches(" enforced for ").count();
        site.save("groups.yaml", &definition(round, rest));
        thread::sleep(Duration::from_micros(rng.u64(0..longest)));
        let enforced = daemon.log().matches(" enforced for ").count() > before;
        daemon.end(Signal::SIGKILL);
        half_done += usize::from(!enforced);
        if round.is_multiple_of(5) || !is_full() {
            daemon = site.start();
            until("nothing is left over", || site.host.left_over().is_empty());
            site.until_at_rest();
        } else {
            // Some are killed again before they have cleaned up.
            daemon = site.launch("run");
            thread::sleep(Duration::from_micros(rng.u64(0..60_000)));
            daemon.end(Signal::SIGKILL);
            daemon = site.start();
        }
    }
    assert!(flood.is_running());
    let report = flood.stop();
    let (allowed, refused) = (report.port(ALLOWED), report.port(REFUSED));
    println!(
        "{rounds} kills within {} ms of a save, {half_done} of them before the new policy was reported, the rest is to {rest}: of {} refused packets {} passed, of {} allowed ones {} were lost",
        longest / 1000,
        refused.seen_before,
        refused.seen_after,
        allowed.seen_before,
        allowed.lost()
    );
    assert!(allowed.seen_before > 1000 && refused.seen_before > 1000);
    assert_eq!((refused.seen_after, allowed.lost()), (0, 0));
    assert!(half_done > 0, "every kill came too late");
}
