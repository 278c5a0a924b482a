//! What is read from a kernel: interfaces, default routes, the counters of rules, and the ways past the hooks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;

use std::fs;
use std::net::IpAddr;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use secgroupd::netfilter::blind::{BlindSpot, blind_spots, legacy_spots};
use secgroupd::netfilter::hits::{RuleHits, rule_hits};
use secgroupd::netfilter::links::{Link, default_route_links, links};
use support::{Host, bounded, kernel_test, namespace::search_path};

fn main() -> ExitCode {
    support::run(|| {
        let (nft, iptables) = (&["nft"], &["nft", "iptables-nft"]);
        vec![
            view("interfaces", &[], |_| interfaces()),
            view("default routes", &[], |_| default_routes()),
            view("no default route", &[], |_| {
                assert!(default_route_links().unwrap().is_empty())
            }),
            view("the counters of rules", nft, counters),
            view("a table that is not there has no rules", &[], |_| {
                assert!(rule_hits("secgroupd").unwrap().is_empty())
            }),
            view(
                "the counters of ten thousand rules",
                nft,
                ten_thousand_rules,
            ),
            view("an interrupted reading begins anew", nft, changing_ruleset),
            view("a fresh namespace has no blind spots", &[], |_| {
                assert_eq!(seen(), [])
            }),
            view("blind spots of interfaces", &[], |_| blind_interfaces()),
            view("blind spots of rules", iptables, blind_rules),
        ]
    })
}

/// A test told on a fresh host.
fn view(name: &str, tools: &'static [&'static str], look: fn(&Host)) -> Trial {
    kernel_test(name, tools, move || {
        let host = Host::new("host");
        host.enter(|| look(&host));
    })
}

/// Runs a command line without quoting, in the namespace of this thread, and insists that it succeeds.
fn run(line: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.env("PATH", search_path()).args(words);
    support::namespace::run(&mut command).unwrap();
}

fn named(name: &str) -> Link {
    links()
        .unwrap()
        .into_iter()
        .find(|link| link.name == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

fn interfaces() {
    run("ip link set lo up");
    run("ip link add eth0 type veth peer name far0");
    run("ip link add br0 type bridge");
    run("ip link set far0 master br0");
    run("ip link add mac0 link eth0 type macvlan");
    run("ip address add 192.0.2.5/24 dev eth0");
    run("ip address add 192.0.2.9 peer 192.0.2.10 dev eth0");
    run("ip address add 2001:db8::5/64 dev eth0 nodad");

    let (lo, eth0, far0, br0, mac0) = (
        named("lo"),
        named("eth0"),
        named("far0"),
        named("br0"),
        named("mac0"),
    );
    let addresses =
        |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|text| text.parse().unwrap()).collect() };
    assert_eq!(
        (lo.kind, lo.parent, lo.addresses),
        (None, None, addresses(&["127.0.0.1", "::1"]))
    );
    assert_eq!(
        eth0.addresses,
        addresses(&["192.0.2.5", "192.0.2.9", "2001:db8::5"])
    );
    assert_eq!(
        (eth0.kind.as_deref(), eth0.parent, eth0.master),
        (Some("veth"), Some(far0.index), None)
    );
    assert_eq!(far0.master, Some(br0.index));
    assert_eq!(br0.kind.as_deref(), Some("bridge"));
    assert_eq!(
        (mac0.kind.as_deref(), mac0.parent),
        (Some("macvlan"), Some(eth0.index))
    );
    assert!(mac0.is_child() && !eth0.is_child());
    assert!(links().unwrap().iter().all(|link| !link.has_xdp));
}

fn default_routes() {
    for (name, network) in [("eth0", 1), ("eth1", 2), ("eth2", 3), ("eth3", 4)] {
        run(&format!(
            "ip link add {name} type veth peer name far{network}"
        ));
        run(&format!("ip link set far{network} up"));
        run(&format!("ip address add 10.0.{network}.2/24 dev {name}"));
        run(&format!(
            "ip address add fd00:{network}::2/64 dev {name} nodad"
        ));
        run(&format!("ip link set {name} up"));
    }
    let index = |name| named(name).index;
    run("ip route add default nexthop via 10.0.1.1 dev eth0 nexthop via 10.0.2.1 dev eth1");
    run("ip route add default via 10.0.4.1 dev eth3 table 100");
    assert_eq!(
        default_route_links().unwrap(),
        [index("eth0"), index("eth1")]
    );
    run("ip -6 route add default nexthop via fd00:2::1 dev eth1 nexthop via fd00:3::1 dev eth2");
    assert_eq!(
        default_route_links().unwrap(),
        [index("eth0"), index("eth1"), index("eth2")]
    );
    run("ip route del default");
    run("ip route add unreachable default metric 4000");
    assert_eq!(
        default_route_links().unwrap(),
        [index("eth1"), index("eth2")]
    );
    run("ip -6 route del default");
    run("ip nexthop add id 7 via 10.0.4.1 dev eth3");
    run("ip route add default nhid 7");
    assert_eq!(default_route_links().unwrap(), [index("eth3")]);
}

fn counters(host: &Host) {
    run("ip link set lo up");
    host.nft(
        r#"
        table inet secgroupd {
            chain out {
                type filter hook output priority 0
                ip daddr 127.0.0.1 udp dport 9 counter comment "to nowhere"
                jump more
            }
            chain more {
                counter drop comment "größer"
                accept
            }
        }
        table ip secgroupd {
            chain out {
                counter comment "of another family"
            }
        }"#,
    );
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..3 {
        let _ = sender.send_to(&[0; 72], "127.0.0.1:9");
    }
    let hit = |chain: &str, comment: Option<&str>, packets, bytes| RuleHits {
        chain: chain.into(),
        comment: comment.map(str::to_owned),
        packets,
        bytes,
        drops: comment == Some("größer"),
    };
    assert_eq!(
        rule_hits("secgroupd").unwrap(),
        [
            hit("out", Some("to nowhere"), 3, 300),
            hit("out", None, 0, 0),
            hit("more", Some("größer"), 3, 300),
            hit("more", None, 0, 0),
        ]
    );
}

/// In pieces: nft 1.0.6 cannot send more than the default send buffer (208 KiB) at once from a user namespace.
fn load_rules(host: &Host, count: usize) {
    host.nft("add table inet secgroupd\nadd chain inet secgroupd c");
    let rules: Vec<String> = (0..count)
        .map(|n| {
            let port = n % 65_535 + 1;
            format!("add rule inet secgroupd c tcp dport {port} counter accept comment \"sg-web/in/{n}\"\n")
        })
        .collect();
    rules
        .chunks(400)
        .for_each(|piece| host.nft(&piece.concat()));
}

fn ten_thousand_rules(host: &Host) {
    load_rules(host, 10_000);
    let begin = Instant::now();
    let hits = rule_hits("secgroupd").unwrap();
    let took = begin.elapsed();
    println!("the counters of 10,000 rules are read in {took:?}");
    assert_eq!(hits.len(), 10_000);
    assert_eq!(
        hits.last().unwrap().comment.as_deref(),
        Some("sg-web/in/9999")
    );
    bounded("10,000 counters", took, Duration::from_secs(1));
}

/// Someone else's transactions go on meanwhile. Each makes the kernel give up a reading; none may lose or double a rule.
fn changing_ruleset(host: &Host) {
    load_rules(host, 5_000);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let other = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            run("nft insert rule inet secgroupd c counter");
            // Two or three readings long: some are interrupted, some are not.
            thread::sleep(Duration::from_millis(40));
        }
    });
    for _ in 0..30 {
        let hits = rule_hits("secgroupd").unwrap();
        let kept: Vec<&str> = hits
            .iter()
            .filter_map(|hit| hit.comment.as_deref())
            .collect();
        assert_eq!(kept.len(), 5_000);
        assert!(
            kept.iter()
                .enumerate()
                .all(|(n, comment)| *comment == format!("sg-web/in/{n}"))
        );
    }
    stop.store(true, Ordering::Relaxed);
    other.join().unwrap();
}

/// Only root may read the legacy tables; everyone else is told so, which is checked here and left out.
fn seen() -> Vec<BlindSpot> {
    let mut spots = blind_spots(&links().unwrap());
    spots.extend(legacy_spots());
    if !legacy_is_readable() {
        let legacy = |spot: &BlindSpot| matches!(spot, BlindSpot::Unknown { what, .. } if what.contains("legacy"));
        let in_use = fs::exists(LEGACY_TABLES).unwrap();
        assert_eq!(spots.iter().any(legacy), in_use);
        spots.retain(|spot| !legacy(spot));
    }
    spots
}

const LEGACY_TABLES: &str = "/proc/thread-self/net/ip_tables_names";

fn legacy_is_readable() -> bool {
    fs::read(LEGACY_TABLES).is_ok()
}

fn blind_interfaces() {
    run("ip link add eth0 type veth peer name far0");
    run("ip link add br0 type bridge");
    run("ip link set far0 master br0");
    run("ip link add mac0 link eth0 type macvlan");
    let call = |value| {
        for key in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"] {
            // Without br_netfilter there is nothing to switch: it is off.
            let _ = fs::write(format!("/proc/sys/net/bridge/{key}"), value);
        }
    };
    let child = BlindSpot::Child {
        parent: "eth0".into(),
        child: "mac0".into(),
        link_kind: "macvlan".into(),
    };
    let bridge = BlindSpot::Bridge {
        bridge: "br0".into(),
        ports: vec!["far0".into()],
        families: vec!["IPv4", "IPv6"],
    };
    call("0");
    assert_eq!(seen(), [child.clone(), bridge]);
    if fs::exists("/proc/sys/net/bridge").unwrap() {
        call("1");
        assert_eq!(seen(), std::slice::from_ref(&child));
    }

    let _open = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    call("1");
    let spots = seen();
    let BlindSpot::PacketSockets {
        count: 1,
        processes,
    } = &spots[0]
    else {
        panic!("{spots:?}")
    };
    let pid = format!("({})", std::process::id());
    assert!(
        processes.len() == 1 && processes[0].ends_with(&pid),
        "{processes:?}"
    );
}

fn blind_rules(host: &Host) {
    run("ip link add eth0 type veth peer name far0");
    host.nft("add table inet fast");
    // Not every kernel can offload flows.
    let offload = "add flowtable inet fast ft { hook ingress priority 0; devices = { eth0 }; }";
    let offloads = Command::new("nft")
        .env("PATH", search_path())
        .arg(offload)
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success();
    host.nft(
        "
        table ip mine {
            chain quiet {
                udp dport 53 notrack
                udp sport 53 notrack
            }
        }
        table inet secgroupd {
            chain c {
                notrack comment \"ours is not looked at\"
            }
        }",
    );
    run("iptables-nft -t raw -A PREROUTING -p udp -j NOTRACK");
    run("iptables-nft -t raw -A OUTPUT -p udp -j CT --notrack");
    run("iptables-nft -t raw -A OUTPUT -p tcp -j CT --zone 5");
    if legacy_is_readable() {
        run("iptables-legacy -t raw -A OUTPUT -p udp -j CT --notrack");
    }
    let notrack = |program, table: &str, chain: &str, rules| BlindSpot::Notrack {
        program,
        table: table.into(),
        chain: chain.into(),
        rules,
    };
    let flowtable = BlindSpot::Flowtable {
        table: "inet fast".into(),
        name: "ft".into(),
    };
    let mut spots = seen();
    assert_eq!(spots.contains(&flowtable), offloads);
    spots.retain(|spot| *spot != flowtable);
    let mut expected = vec![
        notrack("nftables", "ip mine", "quiet", 2),
        notrack("nftables", "ip raw", "OUTPUT", 1),
        notrack("nftables", "ip raw", "PREROUTING", 1),
    ];
    if legacy_is_readable() {
        expected.push(notrack("iptables-legacy", "raw", "OUTPUT", 1));
    }
    assert_eq!(spots, expected);
}
