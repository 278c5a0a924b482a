//! A flood: tens of thousands of packets a second, paced, bounded, and counted exactly (see [`super::gauge`]).

use std::{
    net::IpAddr,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    FloodCount, FloodReport, Injector, Link, Outbound, Port, Probe, Side, gauge::install_counters,
};

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
    /// Whether the counters stay when somebody flushes the ruleset.
    pub guarded: bool,
    /// Whether its thread goes before whatever else the machine does, as packets from outside would.
    pub goes_first: bool,
}

/// Has this thread go before those that are nicer. Where that is not allowed it stays as it is.
#[allow(unsafe_code)]
pub fn go_first(nice: i32) {
    // SAFETY: a system call without pointers, about the calling thread alone.
    unsafe { nix::libc::setpriority(nix::libc::PRIO_PROCESS, 0, nice) };
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
            guarded: false,
            goes_first: false,
        }
    }

    /// Loads the counting table on the link's first host and starts to send, over every family that both ends have an
    /// address of.
    pub fn start(self, link: &Link) -> RunningFlood {
        let guard = install_counters(&link.a.host, self.side, &self.ports, self.guarded);
        let stop = Arc::new(AtomicBool::new(false));
        let sent: Arc<[AtomicU64]> = self.ports.iter().map(|_| AtomicU64::new(0)).collect();
        let not_sent = Arc::new(AtomicU64::new(0));
        let thread = {
            let (link, flood, stop, sent, not_sent) = (
                link.clone(),
                self.clone(),
                Arc::clone(&stop),
                Arc::clone(&sent),
                Arc::clone(&not_sent),
            );
            thread::spawn(move || {
                if flood.goes_first {
                    go_first(-15);
                }
                flood.send(&link, &stop, &sent, &not_sent)
            })
        };
        RunningFlood {
            flood: self,
            link: link.clone(),
            stop,
            sent,
            not_sent,
            thread: Some(thread),
            guard,
        }
    }

    /// Every port from a few hundred source ports, so that neither a hash nor a cache sees one flow only.
    fn send(
        &self,
        link: &Link,
        stop: &AtomicBool,
        sent: &[AtomicU64],
        not_sent: &AtomicU64,
    ) -> Duration {
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
            let count = if sender.fire(shot) {
                &sent[shot.port]
            } else {
                not_sent
            };
            count.fetch_add(1, Ordering::Relaxed);
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
    not_sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Duration>>,
    guard: Option<Child>,
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
            not_sent: self.not_sent.load(Ordering::Relaxed),
            counts,
        }
    }
}

impl Drop for RunningFlood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(mut guard) = self.guard.take() {
            guard.kill().ok();
            guard.wait().ok();
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the sender is the test's panic already.
            thread.join().ok();
        }
    }
}
