//! A flood, counted on both sides of the hook under test.
//!
//! A separate table, `inet bench_inbound` or `inet bench_outbound`, counts each port just before and just after the place where the ruleset under test
//! stands, and eats what came through. So "refused and delivered" and "allowed and lost" are exact, and no packet
//! becomes a tracked flow: every one opens a flow anew.

use std::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Host, Injector, Link, Outbound, Probe};

/// Which hook is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Packets come from the far end, and are counted at prerouting -170 and -150.
    Inbound,
    /// The host sends them, and they are counted at postrouting 240 and 260.
    Outbound,
}

impl Side {
    /// The table that counts, one for each side: both may be flooded at once.
    pub fn table(self) -> &'static str {
        match self {
            Self::Inbound => "inet bench_inbound",
            Self::Outbound => "inet bench_outbound",
        }
    }
}

/// A destination port under flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// TCP segments that open a connection.
    Tcp(u16),
    /// UDP datagrams.
    Udp(u16),
}

impl Port {
    fn name(self) -> String {
        match self {
            Self::Tcp(number) => format!("tcp_{number}"),
            Self::Udp(number) => format!("udp_{number}"),
        }
    }

    fn matched(self) -> String {
        match self {
            Self::Tcp(number) => format!("tcp dport {number}"),
            Self::Udp(number) => format!("udp dport {number}"),
        }
    }

    fn probe(self, source: IpAddr, source_port: u16, destination: IpAddr) -> Probe {
        let from = SocketAddr::new(source, source_port);
        match self {
            Self::Tcp(number) => Probe::tcp(from, SocketAddr::new(destination, number)),
            Self::Udp(number) => Probe::udp(from, SocketAddr::new(destination, number)),
        }
    }
}

/// What happened to the packets for one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodCount {
    /// How many were sent.
    pub sent: u64,
    /// How many reached the hook under test.
    pub seen_before: u64,
    /// How many came through it.
    pub seen_after: u64,
}

impl FloodCount {
    /// How many did not come through: for an allowed port, the loss.
    pub fn lost(&self) -> u64 {
        self.seen_before - self.seen_after
    }
}

/// The end of a flood.
#[derive(Clone, Debug)]
pub struct FloodReport {
    /// How long it lasted.
    pub elapsed: Duration,
    /// The packets per second it reached.
    pub rate: u64,
    /// What happened, in the order of the ports given.
    pub counts: Vec<(Port, FloodCount)>,
}

impl FloodReport {
    /// The count of one port.
    pub fn port(&self, port: Port) -> FloodCount {
        self.counts
            .iter()
            .find(|(each, _)| *each == port)
            .expect("a port of the flood")
            .1
    }
}

/// A flood to be started: set what differs from [`Flood::new`].
#[derive(Clone, Debug)]
pub struct Flood {
    /// Which hook of the link's first host is under test.
    pub side: Side,
    /// Where the packets go, in turn.
    pub ports: Vec<Port>,
    /// Packets per second over all ports.
    pub rate: u64,
    /// It ends by itself after this many packets.
    pub at_most: u64,
    /// It ends by itself after this time.
    pub at_longest: Duration,
}

impl Flood {
    /// 60,000 packets a second, at most five million and at most a minute.
    pub fn new(side: Side, ports: &[Port]) -> Self {
        Self {
            side,
            ports: ports.into(),
            rate: 60_000,
            at_most: 5_000_000,
            at_longest: Duration::from_secs(60),
        }
    }

    /// Loads the counting table on the link's first host and starts to send, over every family that both ends have an
    /// address of.
    pub fn start(self, link: &Link) -> RunningFlood {
        self.install_counters(&link.a.host);
        let stop = Arc::new(AtomicBool::new(false));
        let sent: Arc<[AtomicU64]> = self.ports.iter().map(|_| AtomicU64::new(0)).collect();
        let thread = {
            let (link, flood, stop, sent) = (
                link.clone(),
                self.clone(),
                Arc::clone(&stop),
                Arc::clone(&sent),
            );
            thread::spawn(move || flood.send(&link, &stop, &sent))
        };
        RunningFlood {
            flood: self,
            link: link.clone(),
            stop,
            sent,
            thread: Some(thread),
        }
    }

    fn install_counters(&self, host: &Host) {
        let (hook, before, after) = match self.side {
            Side::Inbound => ("prerouting", -170, -150),
            Side::Outbound => ("postrouting", 240, 260),
        };
        let table = self.side.table();
        let mut counters = String::new();
        let (mut first, mut last) = (String::new(), String::new());
        for port in &self.ports {
            let (name, matched) = (port.name(), port.matched());
            write!(
                counters,
                " counter before_{name} {{ }}\n counter after_{name} {{ }}\n"
            )
            .unwrap();
            writeln!(first, "  {matched} counter name before_{name}").unwrap();
            writeln!(last, "  {matched} counter name after_{name} drop").unwrap();
        }
        host.nft(&format!(
            "add table {table}; delete table {table}\ntable {table} {{\n{counters}\
             \n chain before {{ type filter hook {hook} priority {before};\n{first} }}\
             \n chain after {{ type filter hook {hook} priority {after};\n{last} }}\n}}\n"
        ));
    }

    /// Every port from a few hundred source ports, so that neither a hash nor a cache sees one flow only.
    fn send(&self, link: &Link, stop: &AtomicBool, sent: &[AtomicU64]) -> Duration {
        let pairs: Vec<_> = [true, false]
            .iter()
            .filter_map(|&four| {
                let of = |addresses: &[IpAddr]| {
                    addresses
                        .iter()
                        .copied()
                        .find(|each| each.is_ipv4() == four)
                };
                Some((of(&link.a.addresses)?, of(&link.b.addresses)?))
            })
            .collect();
        let sender = match self.side {
            Side::Inbound => Sender::Outside(Injector::new(&link.b, &link.a)),
            Side::Outbound => Sender::Inside(Outbound::new(&link.a)),
        };
        let mut shots = Vec::new();
        for number in 0..256_u16 {
            let (near, far) = pairs[usize::from(number) % pairs.len()];
            let (source, destination) = if self.side == Side::Inbound {
                (far, near)
            } else {
                (near, far)
            };
            for (index, port) in self.ports.iter().enumerate() {
                let probe = port.probe(source, 40_000 + number, destination);
                shots.push(Shot {
                    port: index,
                    destination,
                    bytes: sender.bytes(&probe),
                });
            }
        }
        self.pace(&shots, stop, |shot| {
            sent[shot.port].fetch_add(u64::from(sender.fire(shot)), Ordering::Relaxed);
        })
    }

    fn pace(&self, shots: &[Shot], stop: &AtomicBool, mut shoot: impl FnMut(&Shot)) -> Duration {
        let (start, mut fired, mut round) = (Instant::now(), 0_u64, shots.iter().cycle());
        loop {
            let elapsed = start.elapsed();
            if stop.load(Ordering::Relaxed) || fired >= self.at_most || elapsed >= self.at_longest {
                return elapsed;
            }
            let due =
                u64::try_from(elapsed.as_micros() * u128::from(self.rate) / 1_000_000).unwrap();
            if fired >= due.min(self.at_most) {
                thread::sleep(Duration::from_micros(100));
            }
            // After a pause there is no catching up in one burst: at most ten milliseconds' worth at a time.
            let next = due.min(self.at_most).min(fired + self.rate / 100 + 1);
            for shot in round
                .by_ref()
                .take(usize::try_from(next.saturating_sub(fired)).unwrap())
            {
                shoot(shot);
            }
            fired = fired.max(next);
        }
    }
}

struct Shot {
    port: usize,
    destination: IpAddr,
    bytes: Vec<u8>,
}

enum Sender {
    Outside(Injector),
    Inside(Outbound),
}

impl Sender {
    fn bytes(&self, probe: &Probe) -> Vec<u8> {
        match self {
            Self::Outside(injector) => injector.frames(probe).swap_remove(0),
            Self::Inside(_) => probe.packets().swap_remove(0),
        }
    }

    fn fire(&self, shot: &Shot) -> bool {
        match self {
            Self::Outside(injector) => injector.send_frame(&shot.bytes).is_ok(),
            Self::Inside(outbound) => outbound.send_packet(shot.destination, &shot.bytes).is_ok(),
        }
    }
}

/// A flood under way. It ends when it is stopped, dropped, or has reached its bounds.
pub struct RunningFlood {
    flood: Flood,
    link: Link,
    stop: Arc<AtomicBool>,
    sent: Arc<[AtomicU64]>,
    thread: Option<JoinHandle<Duration>>,
}

impl RunningFlood {
    /// Whether it still sends: a test whose work outlasts the flood has proved less than it says.
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// How many packets have been sent up to now.
    pub fn sent(&self) -> u64 {
        self.sent
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    /// Ends it, waits until its last packet is judged, and reads the counters.
    pub fn stop(mut self) -> FloodReport {
        self.stop.store(true, Ordering::Relaxed);
        self.report()
    }

    /// Waits until it has reached its bounds, and reads the counters.
    pub fn finish(mut self) -> FloodReport {
        self.report()
    }

    fn report(&mut self) -> FloodReport {
        let elapsed = self
            .thread
            .take()
            .expect("a flood ends once")
            .join()
            .expect("the flood's thread");
        let (host, far) = (&self.link.a, &self.link.b);
        Injector::new(far, host).wait();
        let counters = host.host.counters(self.flood.side.table());
        let count = |(port, sent): (&Port, &AtomicU64)| {
            let seen = |place: &str| counters[&format!("{place}_{}", port.name())];
            let sent = sent.load(Ordering::Relaxed);
            (
                *port,
                FloodCount {
                    sent,
                    seen_before: seen("before"),
                    seen_after: seen("after"),
                },
            )
        };
        let counts = self
            .flood
            .ports
            .iter()
            .zip(&*self.sent)
            .map(count)
            .collect();
        let rate = (self.sent() as f64 / elapsed.as_secs_f64()) as u64;
        FloodReport {
            elapsed,
            rate,
            counts,
        }
    }
}

impl Drop for RunningFlood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the sender is the test's panic already.
            thread.join().ok();
        }
    }
}
