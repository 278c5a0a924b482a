//! Who sees a packet first: counting rules in every iptables table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::UdpSocket;

use crate::support::{Iptables, Probe, Scene};

/// Inbound 22, 80 and 443 are open; outbound 5000, 5002 and 5004.
const POLICY: &str = "
version: 1
security_groups:
  sg-a:
    inbound:
      - { action: allow, protocol: tcp, port: '22,80,443', source: any }
      - { action: allow, protocol: udp, port: '22,80,443', source: any }
    outbound:
      - { action: allow, protocol: tcp, port: '5000,5002,5004', destination: any }
      - { action: allow, protocol: udp, port: '5000,5002,5004', destination: any }
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-a] } } }
";

/// Counting rules for these ports in a chain of a table, named `raw-udp-80`.
fn counting(table: &str, chain: &str, name: &str, ports: &[u16]) -> String {
    let mut text = format!("*{table}\n");
    for (port, protocol) in ports.iter().flat_map(|port| [(port, "tcp"), (port, "udp")]) {
        writeln!(
            text,
            "-A {chain} -p {protocol} --dport {port} -m comment --comment {name}-{protocol}-{port}"
        )
        .unwrap();
    }
    text + "COMMIT\n"
}

/// `REDIRECT --to-ports 8080` or `DNAT --to …:5000` for both protocols.
fn translating(chain: &str, port: u16, to: &str) -> String {
    let rules =
        ["tcp", "udp"].map(|protocol| format!("-A {chain} -p {protocol} --dport {port} -j {to}\n"));
    format!("*nat\n{}COMMIT\n", rules.concat())
}

/// `filter … -j DROP` for both protocols, after the counting rules.
fn dropping(chain: &str, port: u16) -> String {
    let rules =
        ["tcp", "udp"].map(|protocol| format!("-A {chain} -p {protocol} --dport {port} -j DROP\n"));
    format!("*filter\n{}COMMIT\n", rules.concat())
}

type Make = fn(&str, &str) -> Probe;

const TRANSPORTS: [(&str, Make, u8); 2] = [
    ("tcp", |from, to| Probe::tcp(from, to), 0),
    ("udp", |from, to| Probe::udp(from, to), 1),
];

fn ends(iptables: Iptables) -> (&'static str, &'static str) {
    match iptables.is_ipv4() {
        true => ("10.0.0.5", "10.0.0.9"),
        false => ("[2001:db8::5]", "[2001:db8::9]"),
    }
}

/// Which counting rules have grown by one packet.
fn grown(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<String> {
    let mut grown = Vec::new();
    for (name, packets) in after {
        let growth = packets - before.get(name).unwrap_or(&0);
        assert!(growth <= 1, "{name} counted a packet {growth} times");
        grown.extend((growth == 1).then(|| name.clone()));
    }
    grown
}

pub fn inbound(variant: &'static str) {
    let scene = Scene::new();
    let host = &scene.host;
    let ports = [22, 23, 80, 90, 443, 8080];
    for iptables in Iptables::of(variant) {
        for (table, chain, name) in [
            ("raw", "PREROUTING", "raw"),
            ("mangle", "PREROUTING", "mangle"),
            ("nat", "PREROUTING", "nat"),
            ("mangle", "INPUT", "mangle_input"),
            ("filter", "INPUT", "filter"),
        ] {
            iptables.restore(host, &counting(table, chain, name, &ports));
        }
        iptables.restore(
            host,
            &translating("PREROUTING", 80, "REDIRECT --to-ports 8080"),
        );
        iptables.restore(
            host,
            &translating("PREROUTING", 90, "REDIRECT --to-ports 22"),
        );
        iptables.restore(host, &dropping("INPUT", 443));
    }
    host.enforce(POLICY);
    let sockets = host.enter(|| {
        [22, 23, 80, 443, 8080].map(|port| {
            let socket = UdpSocket::bind(("::", port)).unwrap();
            socket.set_nonblocking(true).unwrap();
            (port, socket)
        })
    });
    let delivered = || {
        let heard = sockets
            .iter()
            .filter(|(_, socket)| socket.recv(&mut [0; 100]).is_ok());
        heard.map(|(port, _)| *port).collect::<Vec<u16>>()
    };
    let all = "filter mangle mangle_input nat raw";
    for iptables in Iptables::of(variant) {
        let (near, far) = ends(iptables);
        for (protocol, make, rule) in TRANSPORTS {
            let rule = format!("pass sg-a/in/{rule}");
            // The port, what our chain decides, who else counts it under which port, and the port that hears it.
            for (port, decided, seen, heard) in [
                (22, rule.as_str(), vec![(all, 22)], Some(22)),
                (23, "drop default", vec![("raw", 23)], None),
                // Published: our chain sees 80, which is open; 8080, which is not, is what the filter table sees.
                (
                    80,
                    &rule,
                    vec![("mangle nat raw", 80), ("filter mangle_input", 8080)],
                    Some(8080),
                ),
                // That it leads to the open port 22 does not help the refused port 90.
                (90, "drop default", vec![("raw", 90)], None),
                // iptables refuses what the group allows.
                (443, &rule, vec![(all, 443)], None),
                (8080, "drop default", vec![("raw", 8080)], None),
            ] {
                let before = iptables.counts(host);
                let probe = make(&format!("{far}:4{port:04}"), &format!("{near}:{port}"));
                assert_eq!(
                    scene.inbound(&probe),
                    decided,
                    "{iptables:?} {protocol} {port}"
                );
                let mut expected: Vec<_> = seen
                    .iter()
                    .flat_map(|(names, port)| {
                        names
                            .split(' ')
                            .map(move |name| format!("{name}-{protocol}-{port}"))
                    })
                    .collect();
                expected.sort();
                let counted = grown(&before, &iptables.counts(host));
                assert_eq!(counted, expected, "{iptables:?} {protocol} {port}");
                if protocol == "udp" {
                    assert_eq!(delivered(), Vec::from_iter(heard), "{iptables:?} {port}");
                }
            }
        }
    }
}

pub fn outbound(variant: &'static str) {
    let scene = Scene::new();
    let host = &scene.host;
    let ports = [5000, 5001, 5002, 5003, 5004];
    for iptables in Iptables::of(variant) {
        let (_, far) = ends(iptables);
        for (table, chain, name) in [
            ("raw", "OUTPUT", "raw"),
            ("mangle", "OUTPUT", "mangle"),
            ("nat", "OUTPUT", "nat"),
            ("filter", "OUTPUT", "filter"),
            ("mangle", "POSTROUTING", "mangle_post"),
            ("nat", "POSTROUTING", "nat_post"),
        ] {
            iptables.restore(host, &counting(table, chain, name, &ports));
        }
        iptables.restore(host, &dropping("OUTPUT", 5002));
        iptables.restore(
            host,
            &translating("OUTPUT", 5003, &format!("DNAT --to-destination {far}:5000")),
        );
        iptables.restore(
            host,
            &translating("OUTPUT", 5004, &format!("DNAT --to-destination {far}:5001")),
        );
    }
    host.enforce(POLICY);
    for iptables in Iptables::of(variant) {
        let (near, far) = ends(iptables);
        for (protocol, make, rule) in TRANSPORTS {
            let rule = format!("pass sg-a/out/{rule}");
            let all = "filter mangle mangle_post nat nat_post raw";
            let translated = |port, to| {
                vec![
                    ("mangle nat raw", port),
                    ("filter mangle_post nat_post", to),
                ]
            };
            for (port, decided, seen) in [
                (5000, rule.as_str(), vec![(all, 5000)]),
                // All of iptables has seen what the group then refuses.
                (5001, "drop default", vec![(all, 5001)]),
                // What iptables has dropped, the group never sees.
                (5002, "drop unjudged", vec![("filter mangle nat raw", 5002)]),
                // The group sees the port after the translation.
                (5003, &rule, translated(5003, 5000)),
                (5004, "drop default", translated(5004, 5001)),
            ] {
                let before = iptables.counts(host);
                let probe = make(&format!("{near}:4{port}"), &format!("{far}:{port}"));
                assert_eq!(
                    scene.outbound(&probe),
                    decided,
                    "{iptables:?} {protocol} {port}"
                );
                let mut expected: Vec<_> = seen
                    .iter()
                    .flat_map(|(names, port)| {
                        names
                            .split(' ')
                            .map(move |name| format!("{name}-{protocol}-{port}"))
                    })
                    .collect();
                expected.sort();
                let counted = grown(&before, &iptables.counts(host));
                assert_eq!(counted, expected, "{iptables:?} {protocol} {port}");
            }
        }
    }
}
