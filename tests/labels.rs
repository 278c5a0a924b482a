//! Labels that have gone out of force are taken off tens of thousands of real flows, and nothing else is.
//!
//! `FLOWS=260000 cargo test --test labels -- --nocapture` says what that takes with so many.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use secgroupd::netfilter::flows::{Flow, each_flow};
use secgroupd::netfilter::labels::Labels;
use secgroupd::netfilter::netlink::Reader;
use support::{Host, SOON, kernel_test};

/// Another program's label, and a sticky one of ours.
const THEIRS: u8 = 5;
const STICKY: u8 = 64;

fn main() -> ExitCode {
    support::run(|| {
        vec![
            kernel_test(
                "retired labels go and nothing else",
                &["nft"],
                retired_labels_go,
            ),
            kernel_test(
                "a label set after the switch",
                &["nft"],
                set_after_the_switch,
            ),
            kernel_test("labels of an earlier process", &["nft"], an_earlier_process),
            kernel_test(
                "a rule of somebody else sets them",
                &["nft"],
                somebody_else_sets_them,
            ),
        ]
    })
}

fn bits(of: impl IntoIterator<Item = u8>) -> u128 {
    of.into_iter().fold(0, |all, bit| all | 1 << bit)
}

/// A host on which flows live long. `tell` runs in it.
fn on_host(tell: impl FnOnce(&Host, &Sender) + Send) {
    let host = Host::new("host");
    host.nft(
        "table inet t {
            chain out { type filter hook output priority 0; }
            chain in { type filter hook prerouting priority 0; drop; }
        }",
    );
    host.enter(|| {
        rule_sets(&host, 0);
        host.set("net/netfilter/nf_conntrack_udp_timeout", "600");
        tell(&host, &Sender::open())
    });
}

/// From now on every packet sets these labels, and no others.
fn rule_sets(host: &Host, labels: u128) {
    let set = (0..128).filter(|bit| labels & 1 << bit != 0);
    let set: String = set.map(|bit| format!("ct label set {bit} ")).collect();
    let rule = if set.is_empty() { "ct state new" } else { &set };
    host.nft(&format!(
        "flush chain inet t out\nadd rule inet t out {rule}"
    ));
}

/// The source ports of all flows: open as long as the test lasts, as every program that it starts holds them for a
/// moment.
struct Sender {
    four: UdpSocket,
    six: UdpSocket,
}

impl Sender {
    fn open() -> Self {
        Sender {
            four: UdpSocket::bind("0.0.0.0:1024").unwrap(),
            six: UdpSocket::bind("[::1]:1025").unwrap(),
        }
    }

    /// Packets of the flows with these numbers, some of IPv6. Opens those that are new.
    fn send(&self, numbers: Range<usize>) {
        for n in numbers {
            let port = 2_000 + (n % 50_000) as u16;
            let (socket, to): (_, SocketAddr) = match n % 8 {
                0 if n < 50_000 => (&self.six, (Ipv6Addr::LOCALHOST, port).into()),
                _ => {
                    let address = Ipv4Addr::new(127, 1, 1, (n / 50_000) as u8);
                    (&self.four, (address, port).into())
                }
            };
            socket.send_to(b"packet", to).unwrap();
        }
    }
}

fn flows() -> Vec<Flow> {
    let mut flows = Vec::new();
    let reader = Reader::netfilter().unwrap();
    each_flow(&reader, |flow| match flow {
        None => flows.clear(),
        Some(flow) => flows.push(flow),
    })
    .unwrap();
    flows
}

/// How many flows carry any of these labels.
fn carrying(labels: u128) -> usize {
    flows()
        .iter()
        .filter(|flow| flow.labels & labels != 0)
        .count()
}

fn retired_labels_go() {
    let count: usize = std::env::var("FLOWS").map_or(20_000, |count| count.parse().unwrap());
    on_host(|host, sender| {
        let labels = Labels::new();
        labels.reserve(bits([STICKY]));
        let mut retired = 0;
        let mut in_force = vec![];
        // Each of four generations is set on all flows that there were, and on a quarter of new ones.
        for generation in 1..=4 {
            retired |= bits(in_force);
            in_force = labels.take(2).unwrap();
            retired &= !bits(in_force.clone());
            rule_sets(host, bits([THEIRS, STICKY]) | bits(in_force.clone()));
            labels.switched(bits(in_force.clone()));
            sender.send(0..count * generation / 4);
        }
        assert!(retired != 0);
        assert!(labels.settle(SOON));
        // With many flows nothing is cleared before half is used up, as from here on.
        let (began, before) = (Instant::now(), processor());
        let rest = labels.take(64).unwrap();
        let handed_out = bits(rest.iter().copied());
        assert_eq!(handed_out & bits(in_force.clone()), 0);
        assert_eq!(carrying(handed_out), 0, "what is handed out is clean");
        labels.give_back(&rest);
        while !labels.settle(Duration::from_millis(1)) {
            let taken = bits(labels.take(64).unwrap());
            if taken != 0 {
                assert_eq!(carrying(taken), 0, "handed out while others are cleared");
            }
            assert!(began.elapsed() < SOON);
        }
        println!(
            "{count} flows: {:?}, of which {:?} on a processor, with what the test reads meanwhile",
            began.elapsed(),
            processor() - before
        );
        let flows = flows();
        assert_eq!(flows.len(), count);
        for flow in &flows {
            assert_eq!(flow.labels & retired, 0);
            let kept = bits([THEIRS, STICKY]) | bits(in_force.clone());
            assert_eq!(flow.labels, kept);
        }
        assert!(flows.iter().any(|flow| flow.original.source.is_ipv6()));
    });
}

/// What this process has used of the processors.
fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Packets go on to set the label while it is cleared; when none does any more, it is off all flows.
fn set_after_the_switch() {
    on_host(|host, sender| {
        let labels = Labels::new();
        let old = labels.take(1).unwrap();
        rule_sets(host, bits(old.clone()));
        labels.switched(bits(old.clone()));
        sender.send(0..4_000);
        let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    sender.send(0..4_000);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
            // The rule stays for a while although the label is out of force.
            labels.switched(0);
            thread::sleep(Duration::from_millis(60));
            rule_sets(host, 0);
            // Whatever had been made of it: from here on no rule sets it.
            labels.give_back(&labels.take(64).unwrap());
            labels.switched(0);
            assert!(labels.settle(SOON));
            stop.store(true, Ordering::Relaxed);
        });
        assert!(sent.into_inner() > 0);
        assert_eq!((labels.clean(), carrying(bits(old))), (64, 0));
    });
}

/// Labels that nobody knows the meaning of are gone when the first are handed out.
fn an_earlier_process() {
    on_host(|host, sender| {
        rule_sets(host, bits([THEIRS, STICKY, 70, 80, 127]));
        sender.send(0..10_000);
        rule_sets(host, bits([70]));
        let labels = Labels::new();
        labels.reserve(bits([STICKY]));
        labels.switched(bits([70]));
        assert_eq!(labels.take(2).unwrap(), [65, 66]);
        let flows = flows();
        assert_eq!(flows.len(), 10_000);
        assert!(
            flows
                .iter()
                .all(|flow| flow.labels == bits([THEIRS, STICKY, 70]))
        );
        assert_eq!(labels.clean(), 60);
    });
}

/// It is not handed out and not tried for ever; when that rule goes, the next switch gets it clean.
fn somebody_else_sets_them() {
    on_host(|host, sender| {
        // The first rule about labels makes room for them in the flows that follow.
        rule_sets(host, bits([100]));
        sender.send(0..20_000);
        let labels = Labels::new();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // Two, so that one of them sends during every dump.
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        sender.send(0..20_000);
                    }
                });
            }
            thread::sleep(Duration::from_millis(50));
            let all = labels.take(64).unwrap();
            stop.store(true, Ordering::Relaxed);
            assert!(all.len() == 63 && !all.contains(&100), "{all:?}");
        });
        rule_sets(host, 0);
        labels.switched(0);
        assert!(labels.settle(SOON));
        assert_eq!(labels.take(64).unwrap(), [100]);
        assert_eq!(carrying(bits([100])), 0);
    });
}
