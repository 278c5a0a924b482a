//! The same packets three ways: the evaluator, a walk through the compiled ruleset, and the kernel, into
//! which they are really sent. Compared is the deciding rule, packet by packet, and not only the verdict.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod generate;
mod support;

use generate::{Edges, definition};
use secgroupd::definition::parse;
use secgroupd::netfilter::hits::rule_hits;
use secgroupd::policy::{Direction, Packet, Policy, Protocol, Reason, State, Verdict, validate};
use secgroupd::ruleset::{Generation, TABLE, Walker, compile};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use support::{End, Host, Injector, Outbound, Probe, join, kernel, kernel_test};

/// Policies and packets of each; SECGROUPD_FULL=1 makes ten times as many policies.
const POLICIES: u64 = 500;
const PACKETS: usize = 20;

/// Eats what our hooks let pass, so that nothing answers and connection tracking stays empty.
const SINK: &str = "table inet sink {
    chain inbound { type filter hook prerouting priority -150; policy accept; iifname \"eth0\" counter drop comment \"passed\"; }
    chain outbound { type filter hook postrouting priority 260; policy accept; oifname \"eth0\" counter drop comment \"passed\"; }
}";

fn main() -> std::process::ExitCode {
    support::run(|| {
        vec![kernel_test(
            "evaluator_ruleset_and_kernel_agree",
            &["nft"],
            agree,
        )]
    })
}

fn agree() {
    let (host, world) = (Host::new("host"), Host::new("world"));
    let link = join(
        &host,
        "eth0",
        &["198.18.0.5/24", "2001:db8:ffff::5/64"],
        &world,
        "wire",
        &["198.18.0.9/24", "2001:db8:ffff::9/64"],
    );
    host.ip("route add 0.0.0.0/0 dev eth0\nroute add ::/0 dev eth0");
    host.nft(SINK);
    let injector = Injector::new(&link.b, &link.a);
    let outbound = Outbound::new(&link.a);
    let kernel = host.enter(kernel);
    let factor = if std::env::var_os("SECGROUPD_FULL").is_some() {
        10
    } else {
        1
    };
    let (mut pairs, mut sent) = (0, 0);
    let mut layers: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..POLICIES * factor {
        let mut rng = fastrand::Rng::with_seed(seed + 1_000_000);
        let text = definition(&mut rng);
        let policy = policy(&text);
        let ruleset = compile(&policy);
        host.enter(|| kernel.enforce(&ruleset, Generation(1)))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        let edges = Edges::of(&policy);
        // Nine of ten pairs two ways only, as many as the issue asks for.
        for _ in 0..PACKETS * 9 {
            two_ways(&policy, &ruleset, &edges.any(&mut rng), seed, &text);
            pairs += 1;
        }
        let mut seen = host.enter(counters);
        for _ in 0..PACKETS {
            let packet = sendable(&edges, &mut rng);
            let reason = two_ways(&policy, &ruleset, &packet, seed, &text);
            pairs += 1;
            let mut wanted = BTreeSet::from([reason.as_str()]);
            if policy.decide(&packet).verdict == Verdict::Allow {
                wanted.insert("sink");
            }
            // The kernel's own multicast reports may come between; twice in a row they do not.
            for attempt in 1.. {
                match packet.direction {
                    Direction::Inbound => {
                        injector.send(&probe(&packet, &link.a));
                        injector.wait();
                    }
                    Direction::Outbound => {
                        outbound.send(&probe(&packet, &link.a));
                    }
                }
                let now = host.enter(counters);
                let moved: BTreeSet<&str> = now
                    .iter()
                    .filter(|(name, count)| seen.get(*name) != Some(count))
                    .map(|(name, _)| name.as_str())
                    .collect();
                let agree = moved == wanted;
                assert!(
                    agree || attempt < 3,
                    "seed {seed}: the kernel decided {moved:?}, not {wanted:?}\n{packet:?}\n{text}"
                );
                seen = now;
                if agree {
                    break;
                }
            }
            sent += 1;
            *layers
                .entry(policy.decide(&packet).reason.layer().to_owned())
                .or_default() += 1;
        }
    }
    println!(
        "{pairs} pairs of {} policies agree, {sent} of them through the kernel: {layers:?}",
        POLICIES * factor
    );
    assert!(
        layers["group"] * 3 > sent,
        "a third of the packets must meet rules of groups: {layers:?}"
    );
}

/// Evaluator and walk; the deciding reason.
fn two_ways(
    policy: &Policy,
    ruleset: &secgroupd::ruleset::Ruleset,
    packet: &Packet,
    seed: u64,
    text: &str,
) -> String {
    let decided = policy.decide(packet);
    let (verdict, reason) = Walker::new(ruleset).walk(packet);
    let reason = reason.cloned().unwrap_or(Reason::Unmanaged);
    assert_eq!(
        (decided.verdict, &decided.reason),
        (verdict, &reason),
        "seed {seed}\n{packet:?}\n{text}"
    );
    reason.to_string()
}

fn policy(text: &str) -> Policy {
    let parsed = parse([("random.yaml", text)]);
    let account = validate(&parsed.definition, parsed.diagnostics)
        .account
        .expect("the generator writes valid definitions");
    let first = &account.instances[0];
    let unblocked = first
        .smtp_request
        .then(|| first.id.clone())
        .into_iter()
        .collect();
    account
        .policy(&first.id, &unblocked)
        .expect("the first instance")
}

/// Packets by comment, over our table, and of the sink.
fn counters() -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for hits in rule_hits(TABLE).expect("our table") {
        *counters
            .entry(hits.comment.unwrap_or_default())
            .or_default() += hits.packets;
    }
    let sink: u64 = rule_hits("sink")
        .expect("the sink")
        .iter()
        .map(|hits| hits.packets)
        .sum();
    counters.insert("sink".into(), sink);
    counters
}

/// A packet at `eth0` that can really be sent with the state that the kernel will give it: openings, and
/// ICMPv6 and DHCP around the edges of the essential traffic.
fn sendable(edges: &Edges, rng: &mut fastrand::Rng) -> Packet {
    let mut packet = edges.opening(rng, "eth0");
    let v6 = packet.remote.is_ipv6();
    if v6 && rng.u8(..) < 30 {
        packet.protocol = Protocol::ICMPV6;
        packet.icmp_type =
            [128, 129, 130, 131, 132, 133, 134, 135, 136, 138, 143, 144][rng.usize(..12)];
        packet.hop_limit = [1, 2, 64, 254, 255][rng.usize(..5)];
        // nf_conntrack_proto_icmpv6.c: discovery and multicast membership are not tracked, only questions open a flow.
        packet.state = match packet.icmp_type {
            130..=136 | 143 => State::Untracked,
            128 => State::New,
            _ => State::Invalid,
        };
    } else if rng.u8(..) < 15 {
        packet.protocol = Protocol::UDP;
        (packet.source_port, packet.destination_port) =
            [(67, 68), (68, 67), (547, 546), (546, 547)][rng.usize(..4)];
    }
    // A route to another link's scope would need a zone.
    if let IpAddr::V6(address) = packet.remote
        && address.is_unicast_link_local()
    {
        packet.remote = "fe80::77".parse().unwrap();
    }
    packet
}

fn probe(packet: &Packet, own: &End) -> Probe {
    /// Each packet is a flow of its own.
    static IDENTIFIER: AtomicU16 = AtomicU16::new(1);
    let identifier = IDENTIFIER.fetch_add(1, Ordering::Relaxed);
    let v6 = packet.remote.is_ipv6();
    let own_address = own
        .addresses
        .iter()
        .copied()
        .find(|address| address.is_ipv6() == v6)
        .unwrap();
    let (own, remote) = (own_address, packet.remote);
    let (source, destination) = match packet.direction {
        Direction::Inbound => (remote, own),
        Direction::Outbound => (own, remote),
    };
    let (from, to) = (
        std::net::SocketAddr::new(source, packet.source_port),
        std::net::SocketAddr::new(destination, packet.destination_port),
    );
    let probe = match packet.protocol {
        Protocol::TCP => Probe::tcp(from, to),
        Protocol::UDP => Probe::udp(from, to),
        Protocol::ICMP => Probe::echo(source, destination, identifier),
        Protocol::ICMPV6 if packet.icmp_type == 128 => Probe::echo(source, destination, identifier),
        Protocol::ICMPV6 => Probe::icmp(source, destination, packet.icmp_type, 0),
        Protocol::GRE => Probe::gre(source, destination),
        Protocol(number) => Probe::other(source, destination, number),
    };
    probe.hop_limit(packet.hop_limit)
}
