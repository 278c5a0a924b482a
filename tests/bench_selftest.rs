//! The test bench tested on hand-written rulesets, and the kernel facts that the design stands on, measured again.
//!
//! `cargo test --test bench -- --nocapture` prints the figures.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "bench/facts.rs"]
mod facts;
#[path = "bench/replace.rs"]
mod replace;
mod support;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use support::{
    Extension::{DestinationOptions, Fragment, HopByHop},
    Flood, Host, Injector, Link, Outbound, Port, Probe, Sent, Side, join, kernel_test,
};

fn main() -> ExitCode {
    support::run(|| {
        let (nft, flows) = (&["nft"], &["nft", "conntrack"]);
        vec![
            kernel_test(
                "each_kind_hits_its_rule_inbound",
                nft,
                each_kind_hits_its_rule_inbound,
            ),
            kernel_test(
                "each_kind_hits_its_rule_outbound",
                nft,
                each_kind_hits_its_rule_outbound,
            ),
            kernel_test(
                "injection_is_synchronous_with_a_wait",
                nft,
                injection_is_synchronous_with_a_wait,
            ),
            kernel_test(
                "a_flood_counts_exactly",
                flows,
                replace::a_flood_counts_exactly,
            ),
            kernel_test(
                "one_transaction_leaks_or_loses",
                nft,
                replace::one_transaction_leaks_or_loses,
            ),
            kernel_test(
                "three_transactions_are_seamless",
                nft,
                replace::three_transactions_are_seamless,
            ),
            kernel_test("text_or_json", nft, replace::text_or_json),
            kernel_test(
                "own_packets_have_no_input_interface",
                nft,
                facts::own_packets_have_no_input_interface,
            ),
            kernel_test(
                "looped_back_packets_carry_a_route",
                nft,
                facts::looped_back_packets_carry_a_route,
            ),
            kernel_test(
                "fib_tells_host_from_forwarded",
                nft,
                facts::fib_tells_host_from_forwarded,
            ),
        ]
    })
}

/// A host `a` with `eth0`, and the world behind it.
fn cable() -> Link {
    let (host, world) = (Host::new("host"), Host::new("world"));
    join(
        &host,
        "eth0",
        &["10.0.0.5/24", "2001:db8::5/64"],
        &world,
        "wire",
        &["10.0.0.9/24", "2001:db8::9/64"],
    )
}

/// One of each kind from `from` to `to` of one family; the name is the counter that must see it once.
fn kinds(from: &str, to: &str) -> Vec<(&'static str, Probe)> {
    let four = !from.contains(':');
    let at = |address: &str, port: u16| {
        if four {
            format!("{address}:{port}")
        } else {
            format!("[{address}]:{port}")
        }
    };
    let tcp = |port| Probe::tcp(at(from, 40_000).as_str(), at(to, port).as_str());
    let udp = |port| Probe::udp(at(from, 40_000).as_str(), at(to, port).as_str());
    let mut kinds = vec![
        ("tcp", tcp(1000)),
        ("udp", udp(1000)),
        ("echo", Probe::echo(from, to, 7)),
        ("gre", Probe::gre(from, to)),
        ("esp", Probe::other(from, to, 50)),
        ("p253", Probe::other(from, to, 253)),
        ("tcp_fragments", tcp(1001).in_fragments(3)),
        ("udp_fragments", udp(1001).in_fragments(2)),
    ];
    if !four {
        kinds.extend([
            ("nd", Probe::icmp(from, to, 135, 0).hop_limit(255)),
            (
                "udp_options",
                udp(1002).behind(&[HopByHop, DestinationOptions]),
            ),
            ("tcp_options", tcp(1002).behind(&[DestinationOptions])),
            (
                "udp_atomic",
                udp(1003).behind(&[HopByHop, Fragment, DestinationOptions]),
            ),
            (
                "udp_options_fragments",
                udp(1004)
                    .behind(&[HopByHop, DestinationOptions])
                    .in_fragments(2),
            ),
        ]);
    }
    kinds
}

/// Counts each kind at a hook by what the packet is, its state included; anything else is `stray`.
fn counting(hook: &str, priority: i32, family: &str) -> String {
    let rules = [
        ("tcp", "tcp dport 1000 ct state new"),
        ("udp", "udp dport 1000 ct state new"),
        (
            "echo",
            "meta l4proto { 1, 58 } @th,0,8 { 8, 128 } ct state new",
        ),
        ("gre", "meta l4proto 47 ct state new"),
        ("esp", "meta l4proto 50 ct state new"),
        ("p253", "meta l4proto 253 ct state new"),
        ("tcp_fragments", "tcp dport 1001 ct state new"),
        ("udp_fragments", "udp dport 1001 ct state new"),
        (
            "nd",
            "icmpv6 type nd-neighbor-solicit ip6 hoplimit 255 ct state untracked",
        ),
        ("udp_options", "udp dport 1002 ct state new"),
        ("tcp_options", "tcp dport 1002 ct state new"),
        ("udp_atomic", "udp dport 1003 ct state new"),
        ("udp_options_fragments", "udp dport 1004 ct state new"),
        ("stray", ""),
    ];
    // "ip" must not meet "ip6" in one rule. A bare `tcp` is a word of nft's, `k_tcp` is a name.
    let rules = || {
        rules
            .iter()
            .filter(|(_, when)| family.starts_with("ip6") || !when.contains("ip6"))
    };
    let counters: String = rules()
        .map(|(name, _)| format!(" counter k_{name} {{ }}\n"))
        .collect();
    let body: String = rules()
        .map(|(name, when)| format!("  {family} {when} counter name k_{name} drop\n"))
        .collect();
    format!(
        "table inet seen {{\n{counters} chain c {{ type filter hook {hook} priority {priority};\n{body} }}\n}}\n"
    )
}

fn assert_each_once(host: &Host, kinds: &[(&str, Probe)]) {
    for (name, packets) in host.counters("inet seen") {
        let expected = u64::from(kinds.iter().any(|(kind, _)| name == format!("k_{kind}")));
        assert_eq!(
            packets,
            expected,
            "counter {name}\n{}",
            host.nft_list("table inet seen")
        );
    }
}

fn each_kind_hits_its_rule_inbound() {
    for (from, to, family) in [
        ("10.0.0.9", "10.0.0.5", "ip saddr 10.0.0.9"),
        ("2001:db8::9", "2001:db8::5", "ip6 saddr 2001:db8::9"),
    ] {
        let link = cable();
        let injector = Injector::new(&link.b, &link.a);
        link.a.host.nft(&counting("prerouting", -160, family));
        let kinds = kinds(from, to);
        kinds.iter().for_each(|(_, probe)| injector.send(probe));
        injector.wait();
        assert_each_once(&link.a.host, &kinds);
    }
}

fn each_kind_hits_its_rule_outbound() {
    for (from, to, family) in [
        ("10.0.0.5", "10.0.0.9", "ip saddr 10.0.0.5"),
        ("2001:db8::5", "2001:db8::9", "ip6 saddr 2001:db8::5"),
    ] {
        let link = cable();
        let outbound = Outbound::new(&link.a);
        link.a.host.nft(&counting("postrouting", 250, family));
        let kinds = kinds(from, to);
        for (name, probe) in &kinds {
            assert_eq!(outbound.send(probe), Sent::Dropped, "{name}");
        }
        assert_each_once(&link.a.host, &kinds);
    }
}

/// How often a packet is still unjudged when `send` returns, on an idle machine and under a flood, and that `wait`
/// makes it none.
fn injection_is_synchronous_with_a_wait() {
    for flooded in [false, true] {
        let link = cable();
        let injector = Injector::new(&link.b, &link.a);
        let host = &link.a.host;
        host.nft(
            "table inet seen { counter k_all { }; chain c { type filter hook prerouting priority -160; \
             udp dport 1 counter name k_all drop; }; }",
        );
        let flood = flooded.then(|| Flood::new(Side::Inbound, &[Port::Udp(9)]).start(&link));
        let frame = injector
            .frames(&Probe::udp("10.0.0.9:4000", "10.0.0.5:1"))
            .swap_remove(0);
        let (rounds, burst) = (100, 1000);
        let mut spent = Duration::ZERO;
        for round in 1..=rounds {
            let start = Instant::now();
            (0..burst).for_each(|_| injector.send_frame(&frame).unwrap());
            spent += start.elapsed();
            injector.wait();
            assert_eq!(host.counters("inet seen")["k_all"], round * burst);
        }
        let late = (0..100_000)
            .filter(|_| !injector.is_judged_at_once())
            .count();
        let start = Instant::now();
        (0..100).for_each(|_| injector.wait());
        println!(
            "{}: {:.2} us to inject a packet; {late} of 100,000 frames were not through when send returned; \
             a wait takes {:.0} us",
            if flooded { "flooded" } else { "idle" },
            spent.as_secs_f64() * 1e6 / (rounds * burst) as f64,
            start.elapsed().as_secs_f64() * 1e4
        );
        drop(flood);
    }
}
