//! A host under flood in both directions, and what the floods met.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::support::{End, Flood, FloodReport, Host, Link, Port, Side, Transfer, join};
use super::{REFUSED, TRANSFERRED, is_full};

/// What is flooded, in both directions at once.
pub struct Load {
    pub name: &'static str,
    pub ports: &'static [Port],
    /// Addresses of the host, and of the world.
    pub addresses: [&'static [&'static str]; 2],
    pub rate: Rate,
}

/// Packets per second, in each direction.
#[derive(Clone, Copy)]
pub enum Rate {
    Fixed(u64),
    /// Of the highest that loses nothing without reloads, so many percent.
    OfTheHighest(u64),
}

/// What floods in both directions met.
#[derive(Debug, Default)]
pub struct Counts {
    pub refused: u64,
    pub refused_and_passed: u64,
    pub allowed: u64,
    pub allowed_and_lost: u64,
    /// What the machine itself had no room for: no queue took it, or it was lost on its way to the hook under test.
    pub not_sent: u64,
    pub lost_before: u64,
    /// Packets per second that were sent, all directions together.
    pub rate: u64,
}

impl Counts {
    fn of(reports: &[FloodReport]) -> Self {
        let mut counts = Self::default();
        for report in reports {
            counts.not_sent += report.not_sent;
            counts.rate += report.rate;
            for (port, count) in &report.counts {
                counts.lost_before += count.sent - count.seen_before;
                match *port == REFUSED {
                    true => {
                        counts.refused += count.seen_before;
                        counts.refused_and_passed += count.seen_after;
                    }
                    false => {
                        counts.allowed += count.seen_before;
                        counts.allowed_and_lost += count.lost();
                    }
                }
            }
        }
        counts
    }

    fn is_clean(&self) -> bool {
        let wrong = self.refused_and_passed + self.allowed_and_lost;
        wrong + self.not_sent + self.lost_before == 0
    }
}

/// The host under flood, and the world that floods it.
pub struct Scene {
    pub host: Host,
    pub world: Host,
    cable: Link,
    ports: &'static [Port],
}

impl Scene {
    pub fn new(load: &Load) -> Self {
        let (host, world) = (Host::new("host"), Host::new("world"));
        let [near, far] = load.addresses;
        let cable = join(&host, "eth0", near, &world, "wire", far);
        Scene {
            host,
            world,
            cable,
            ports: load.ports,
        }
    }

    /// Floods both directions while this works. A packet is counted before and after our chain on its one way through the hook, so
    /// a busy machine slows the flood down and loses nothing.
    pub fn flood<R>(&self, rate: u64, work: impl FnOnce() -> R) -> (R, Counts) {
        let floods = [Side::Inbound, Side::Outbound].map(|side| {
            let flood = Flood {
                rate,
                at_most: u64::MAX,
                at_longest: Duration::from_secs(3_600),
                goes_first: is_full(),
                ..Flood::new(side, self.ports)
            };
            flood.start(&self.cable)
        });
        let result = work();
        assert!(
            floods.iter().all(|flood| flood.is_running()),
            "a flood ended before the last reload"
        );
        (result, Counts::of(&floods.map(|flood| flood.stop())))
    }

    /// A transfer in each direction and each family.
    pub fn transfers(&self) -> Vec<Transfer> {
        let (a, b) = (&self.cable.a, &self.cable.b);
        let to = |from: &Host, to: &End| -> Vec<Transfer> {
            let addresses = to.addresses.iter();
            addresses
                .map(|address| {
                    Transfer::start(from, &to.host, SocketAddr::new(*address, TRANSFERRED))
                })
                .collect()
        };
        let mut both = to(&self.world, a);
        both.extend(to(&self.host, b));
        both
    }

    /// The highest rate in each direction that loses nothing: doubled until something is lost or the senders do not reach it, and
    /// then bisected.
    pub fn highest(&self) -> u64 {
        let is_good = |rate: u64| {
            let ((), counts) = self.flood(rate, || thread::sleep(Duration::from_millis(500)));
            counts.is_clean() && counts.rate >= 2 * rate * 95 / 100
        };
        let (mut good, mut bad) = (0, 10_000);
        while is_good(bad) {
            (good, bad) = (bad, bad * 2);
        }
        assert!(good > 0, "not even 10,000 packets a second pass unhurt");
        for _ in 0..4 {
            let middle = good.midpoint(bad);
            match is_good(middle) {
                true => good = middle,
                false => bad = middle,
            }
        }
        good
    }

    pub fn dropped(&self) -> u64 {
        self.host.dropped_at_interfaces() + self.world.dropped_at_interfaces()
    }

    /// TCP segments that were sent again, and those of them that had arrived before.
    pub fn retransmissions(&self) -> [u64; 2] {
        let (a, b) = (self.host.retransmissions(), self.world.retransmissions());
        [a.0 + b.0, a.1 + b.1]
    }
}
