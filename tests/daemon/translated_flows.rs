//! A changed rule holds for live flows that the host translates: TCP, UDP and pings of both families, each ended by the removal of its own
//! rule and untouched by the removal of another.

use std::time::Duration;

use libtest_mimic::Trial;

use super::site::{Daemon, SOON, Site};
use super::talk::{SSH, Talk, change, guest, open, start, with_outbound};
use crate::support::{Host, kernel_test};

pub fn tests() -> Vec<Trial> {
    let needs = &["nft", "ping"];
    vec![
        kernel_test("translated_flows_by_dnat", needs, dnat),
        kernel_test("translated_flows_by_redirect", needs, redirect),
        kernel_test("translated_flows_by_snat", needs, || {
            source("oifname eth0 snat ip to 10.0.0.5; oifname eth0 snat ip6 to 2001:db8::5")
        }),
        kernel_test("translated_flows_by_masquerade", needs, || {
            source("oifname eth0 masquerade")
        }),
    ]
}

/// A flow, and the number of the rule that allows it.
struct Flow<'s>(usize, Kind<'s>);

enum Kind<'s> {
    Talk(Talk),
    Ping(&'s Host, &'static str),
}

impl Flow<'_> {
    fn carries(&self) -> bool {
        match &self.1 {
            Kind::Talk(talk) => {
                talk.limit(SOON);
                talk.carries()
            }
            Kind::Ping(from, to) => ping(from, to, SOON),
        }
    }

    fn has_ended(&self) -> bool {
        match &self.1 {
            Kind::Talk(talk) => talk.has_ended(),
            Kind::Ping(from, to) => !ping(from, to, Duration::from_millis(300)),
        }
    }
}

/// Always the same identifier, and so the same flow.
fn ping(from: &Host, to: &str, limit: Duration) -> bool {
    let limit = format!("{}", limit.as_secs_f64());
    let mut ping = from.command("ping");
    ping.args(["-c1", "-q", "-e", "77", "-W", &limit, to]);
    ping.output().unwrap().status.success()
}

/// The first rule that goes is nobody's, and then one after the other.
fn end_one_by_one(
    (site, daemon): (&Site, &Daemon),
    flows: &[Flow],
    rules: &[&str],
    definition: impl Fn(&[&str]) -> String,
) {
    for gone in 0..rules.len() {
        change(
            site,
            daemon,
            &definition(&rules[gone + 1..]),
            gone as u32 + 2,
        );
        for (number, flow) in flows.iter().enumerate() {
            let Flow(rule, _) = flow;
            let holds = match rule.cmp(&gone) {
                std::cmp::Ordering::Greater => flow.carries(),
                std::cmp::Ordering::Equal => flow.has_ended(),
                // It does not come to life again with the changes that follow.
                std::cmp::Ordering::Less => gone + 1 < rules.len() || flow.has_ended(),
            };
            let of = rules[*rule];
            assert!(
                holds,
                "flow {number}, of {of}, without rule {gone}\n{}",
                daemon.log()
            );
        }
    }
}

const INBOUND: [&str; 5] = [
    "protocol: tcp, port: 1",
    "protocol: tcp, port: 8080",
    "protocol: udp, port: 8053",
    "protocol: icmp",
    "protocol: icmpv6",
];

/// The peer opens it, to ports that are translated on the way to `server`.
fn inbound_flows<'s>(site: &'s Site, server: &Host, [v4, v6]: [&str; 2]) -> Vec<Flow<'s>> {
    let peer = &site.peer;
    let talks = [
        ("10.0.0.5", "10.0.0.9", v4),
        ("[2001:db8::5]", "[2001:db8::9]", v6),
    ];
    let mut flows = Vec::new();
    for (host, from, at) in talks {
        let tcp = Talk::tcp(peer, &format!("{host}:8080"), server, &format!("{at}:8888"));
        let (from, to) = (format!("{from}:5000"), format!("{host}:8053"));
        let udp = Talk::udp(peer, &from, &to, server, &format!("{at}:5353"));
        flows.extend([Flow(1, Kind::Talk(tcp)), Flow(2, Kind::Talk(udp))]);
    }
    flows
}

/// To a guest behind the host, as Docker publishes ports.
fn dnat() {
    let (site, daemon) = start(&open(&INBOUND));
    let (guest, _wire) = guest(&site);
    site.host.nft(
        "table ip nat { chain pre { type nat hook prerouting priority -100; \
         ip daddr 10.0.0.5 tcp dport 8080 dnat to 10.1.0.2:8888; ip daddr 10.0.0.5 udp dport 8053 dnat to 10.1.0.2:5353; \
         ip daddr 10.0.0.5 icmp type echo-request dnat to 10.1.0.2; }; }",
    );
    site.host.nft(
        "table ip6 nat { chain pre { type nat hook prerouting priority -100; \
         ip6 daddr 2001:db8::5 tcp dport 8080 dnat to [2001:db8:1::2]:8888; ip6 daddr 2001:db8::5 udp dport 8053 dnat to [2001:db8:1::2]:5353; \
         ip6 daddr 2001:db8::5 icmpv6 type echo-request dnat to 2001:db8:1::2; }; }",
    );
    let mut flows = inbound_flows(&site, &guest, ["10.1.0.2", "[2001:db8:1::2]"]);
    flows.push(Flow(3, Kind::Ping(&site.peer, "10.0.0.5")));
    flows.push(Flow(4, Kind::Ping(&site.peer, "2001:db8::5")));
    end_one_by_one((&site, &daemon), &flows, &INBOUND, open);
}

fn redirect() {
    let (site, daemon) = start(&open(&INBOUND));
    site.host.nft(
        "table inet nat { chain pre { type nat hook prerouting priority -100; \
         tcp dport 8080 redirect to :8888; udp dport 8053 redirect to :5353; }; }",
    );
    let flows = inbound_flows(&site, &site.host, ["10.0.0.5", "[2001:db8::5]"]);
    end_one_by_one((&site, &daemon), &flows, &INBOUND[..3], open);
}

/// A guest behind the host opens it, and it leaves with the host's address.
fn source(translation: &str) {
    const RULES: [&str; 5] = [
        "protocol: tcp, port: 1",
        "protocol: tcp, port: 443",
        "protocol: udp, port: 123",
        "protocol: icmp",
        "protocol: icmpv6",
    ];
    let definition = |rules: &[&str]| {
        // Something is always allowed.
        let rules = rules.iter().chain(&["protocol: tcp, port: 2"]);
        let rules = rules.map(|rule| format!("{{ action: allow, {rule}, destination: any }}"));
        with_outbound(&[SSH], &rules.collect::<Vec<_>>().join("\n      - "))
    };
    let (site, daemon) = start(&definition(&RULES));
    let (guest, _wire) = guest(&site);
    site.host.nft(&format!(
        "table inet nat {{ chain post {{ type nat hook postrouting priority 100; {translation}; }}; }}"
    ));
    let peer = &site.peer;
    let mut flows = Vec::new();
    for (from, to) in [
        ("10.1.0.2", "10.0.0.9"),
        ("[2001:db8:1::2]", "[2001:db8::9]"),
    ] {
        let tcp = format!("{to}:443");
        let tcp = Talk::tcp(&guest, &tcp, peer, &tcp);
        let (from, to) = (format!("{from}:5000"), format!("{to}:123"));
        let udp = Talk::udp(&guest, &from, &to, peer, &to);
        flows.extend([Flow(1, Kind::Talk(tcp)), Flow(2, Kind::Talk(udp))]);
    }
    flows.push(Flow(3, Kind::Ping(&guest, "10.0.0.9")));
    flows.push(Flow(4, Kind::Ping(&guest, "2001:db8::9")));
    // They are translated, or no answer would have come.
    end_one_by_one((&site, &daemon), &flows, &RULES, definition);
}
