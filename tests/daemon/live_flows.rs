//! A changed rule holds for live flows: a flow ends whose rule has gone, in both directions, and no other is touched.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use libtest_mimic::Trial;
use secgroupd::netfilter::seed::{TcpSocket, track};

use super::site::{SOON, Site};
use super::talk::{
    DNS, PING, PING6, SSH, Talk, WEB, change, guest, inbound_talks, open, pings, start,
    with_outbound,
};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    let nft = &["nft"];
    vec![
        kernel_test(
            "flows_end_with_their_rule",
            &["nft", "ping"],
            end_with_their_rule,
        ),
        kernel_test("flows_end_that_the_host_opened", nft, that_the_host_opened),
        kernel_test("flows_end_when_groups_change_order", nft, order_of_groups),
        kernel_test("flows_end_behind_dnat", nft, behind_dnat),
        kernel_test(
            "flows_of_the_hosts_own_dnat_outbound",
            nft,
            own_dnat_outbound,
        ),
        kernel_test("flows_end_behind_masquerade", nft, behind_masquerade),
        kernel_test("flows_across_two_interfaces", nft, across_two_interfaces),
        kernel_test("flows_survive_many_reloads", nft, many_reloads),
        kernel_test("flows_keep_their_marks", nft, keep_marks),
        kernel_test("flows_are_left_with_keep", nft, left_with_keep),
        kernel_test("flows_are_counted_by_what_ends_them", nft, counted),
        kernel_test(
            "flows_older_than_the_first_policy",
            nft,
            older_than_the_policy,
        ),
    ]
}

fn end_with_their_rule() {
    let all = [SSH, WEB, DNS, PING, PING6];
    let (site, daemon) = start(&open(&all));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    let web = Talk::tcp(&site.peer, "10.0.0.5:80", &site.host, "10.0.0.5:80");
    assert!(pings(&site, "10.0.0.5") && pings(&site, "2001:db8::5"));
    // The removal of another rule touches none of them.
    change(&site, &daemon, &open(&[SSH, DNS, PING, PING6]), 2);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(talk.carries(), "{}", daemon.log());
    }
    assert!(web.has_ended());
    assert!(pings(&site, "10.0.0.5") && pings(&site, "2001:db8::5"));
    change(&site, &daemon, &open(&[SSH]), 3);
    assert!(!pings(&site, "10.0.0.5") && !pings(&site, "2001:db8::5"));
    assert!(dns.has_ended() && dns6.has_ended());
    assert!(ssh.carries() && ssh6.carries());
    // What is allowed again goes on.
    change(&site, &daemon, &open(&all), 4);
    dns.limit(SOON);
    assert!(dns.carries() && ssh.carries());
    change(&site, &daemon, &open(&[DNS]), 5);
    assert!(ssh.has_ended() && ssh6.has_ended());
}

fn that_the_host_opened() {
    let out = |rule: &str| with_outbound(&["protocol: all"], rule);
    let (site, daemon) = start(&out("{ action: allow, protocol: all, destination: any }"));
    let tcp = Talk::tcp(&site.host, "10.0.0.9:443", &site.peer, "10.0.0.9:443");
    let udp = Talk::udp(
        &site.host,
        "10.0.0.5:5000",
        "10.0.0.9:123",
        &site.peer,
        "10.0.0.9:123",
    );
    change(
        &site,
        &daemon,
        &out("{ action: allow, protocol: tcp, port: 443, destination: any }"),
        2,
    );
    assert!(udp.has_ended());
    assert!(tcp.carries());
    change(
        &site,
        &daemon,
        &out("{ action: allow, protocol: tcp, port: 444, destination: any }"),
        3,
    );
    assert!(tcp.has_ended());
}

fn order_of_groups() {
    let bound = |groups: &str| {
        format!(
            "version: 1\nsecurity_groups:\n  sg-a: {{ inbound: [{{ action: allow, protocol: all, source: any }}], outbound: [{{ action: allow, protocol: all, destination: any }}] }}\n  \
             sg-b: {{ inbound: [{{ action: refuse, protocol: tcp, port: 22, source: any }}] }}\n\
             instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [{groups}] }} }} }}\n"
        )
    };
    let (site, daemon) = start(&bound("sg-a, sg-b"));
    let [ssh, ssh6, dns, _] = inbound_talks(&site);
    change(&site, &daemon, &bound("sg-b, sg-a"), 2);
    assert!(ssh.has_ended() && ssh6.has_ended() && dns.carries());
}

/// The groups see the port before it is translated.
fn behind_dnat() {
    let (site, daemon) = start(&open(&[
        SSH,
        "protocol: tcp, port: 8080",
        "protocol: udp, port: 8053",
    ]));
    site.host.nft(
        "table ip nat { chain pre { type nat hook prerouting priority -100; tcp dport 8080 dnat to 10.0.0.5:8888; \
         udp dport 8053 redirect to :5353; }; }",
    );
    let web = Talk::tcp(&site.peer, "10.0.0.5:8080", &site.host, "10.0.0.5:8888");
    let dns = Talk::udp(
        &site.peer,
        "10.0.0.9:5000",
        "10.0.0.5:8053",
        &site.host,
        "10.0.0.5:5353",
    );
    change(
        &site,
        &daemon,
        &open(&["protocol: tcp, port: 8080", "protocol: udp, port: 8053"]),
        2,
    );
    assert!(web.carries() && dns.carries(), "{}", daemon.log());
    change(&site, &daemon, &open(&["protocol: tcp, port: 8080"]), 3);
    assert!(web.carries() && dns.has_ended());
    change(&site, &daemon, &open(&["protocol: tcp, port: 8888"]), 4);
    assert!(web.has_ended());
}

/// The host's own translation of where it sends to: the outbound rules see where it really goes.
fn own_dnat_outbound() {
    let out = |port: u16| {
        with_outbound(
            &["protocol: all"],
            &format!("{{ action: allow, protocol: tcp, port: {port}, destination: 10.0.0.9 }}"),
        )
    };
    let (site, daemon) = start(&out(9999));
    site.host.nft(
        "table ip nat { chain out { type nat hook output priority -100; ip daddr 192.0.2.1 tcp dport 80 dnat to 10.0.0.9:9999; }; }",
    );
    let tcp = Talk::tcp(&site.host, "192.0.2.1:80", &site.peer, "10.0.0.9:9999");
    change(
        &site,
        &daemon,
        &out(9999).replace("10.0.0.9 }", "[10.0.0.9, 10.0.0.77] }"),
        2,
    );
    assert!(tcp.carries(), "{}", daemon.log());
    change(&site, &daemon, &out(80), 3);
    assert!(tcp.has_ended());
}

fn behind_masquerade() {
    let out = |port: u16| {
        with_outbound(
            &[SSH],
            &format!("{{ action: allow, protocol: tcp, port: {port}, destination: any }}"),
        )
    };
    let (site, daemon) = start(&out(443));
    let (guest, _wire) = guest(&site);
    site.host.nft(
        "table ip nat { chain post { type nat hook postrouting priority 100; ip saddr 10.1.0.0/24 oifname eth0 masquerade; }; }",
    );
    let tcp = Talk::tcp(&guest, "10.0.0.9:443", &site.peer, "10.0.0.9:443");
    change(
        &site,
        &daemon,
        &out(443).replace("destination: any", "destination: 10.0.0.0/8"),
        2,
    );
    assert!(tcp.carries(), "{}", daemon.log());
    change(&site, &daemon, &out(444), 3);
    assert!(tcp.has_ended());
}

/// Each interface has its own say about a flow that crosses two, and a changed group of one is enough.
fn across_two_interfaces() {
    let both = |inner: &str| {
        format!(
            "version: 1\nsecurity_groups:\n  sg-all: {{ inbound: [{{ action: allow, protocol: all, source: any }}], outbound: [{{ action: allow, protocol: all, destination: any }}] }}\n  \
             sg-inner: {{ inbound: [{{ action: allow, protocol: all, source: any }}], outbound: [{{ {inner}, destination: any }}] }}\n\
             instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ security_groups: [sg-all] }}, eth1: {{ security_groups: [sg-inner] }} }} }}\n"
        )
    };
    let (site, daemon) = start(&both("action: allow, protocol: all"));
    let (guest, _wire) = guest(&site);
    site.peer.ip("route add 10.1.0.0/24 via 10.0.0.5");
    let ssh = Talk::tcp(&site.peer, "10.1.0.2:22", &guest, "10.1.0.2:22");
    let web = Talk::tcp(&site.peer, "10.1.0.2:80", &guest, "10.1.0.2:80");
    change(
        &site,
        &daemon,
        &both("action: allow, protocol: tcp, port: 22"),
        2,
    );
    assert!(web.has_ended());
    assert!(ssh.carries());
}

/// Stamps come round again: an idle flow is known by none of them that is not of its policy.
fn many_reloads() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let [ssh, ssh6, dns, _] = inbound_talks(&site);
    let reloads = if std::env::var_os("SECGROUPD_FULL").is_some() {
        300
    } else {
        70
    };
    for generation in 2..reloads + 2 {
        let other = format!("protocol: tcp, port: {}", 1000 + generation);
        change(&site, &daemon, &open(&[SSH, DNS, &other]), generation);
    }
    assert!(ssh.carries() && dns.carries(), "{}", daemon.log());
    for generation in reloads + 2..2 * reloads + 2 {
        let other = format!("protocol: tcp, port: {}", 1000 + generation);
        change(&site, &daemon, &open(&[DNS, &other]), generation);
    }
    assert!(ssh.has_ended() && ssh6.has_ended() && dns.carries());
    println!(
        "{reloads} reloads while flows were idle: none was cut; and {reloads} after their rule went: none came to life again"
    );
}

/// A user's policy routing by marks of connections goes on beside us, and so do labels that are not ours.
fn keep_marks() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    site.host.nft(
        "table inet routing { chain pre { type filter hook prerouting priority -150; ct state new ct mark set 42 ct label set 5; }; }",
    );
    let [ssh, _, dns, _] = inbound_talks(&site);
    for generation in 2..36 {
        let other = format!("protocol: tcp, port: {}", 1000 + generation);
        change(&site, &daemon, &open(&[SSH, DNS, &other]), generation);
    }
    assert!(ssh.carries() && dns.carries());
    site.host.nft(
        "table inet seen { counter marked { }; chain pre { type filter hook prerouting priority -140; \
         ct mark 42 ct label 5 tcp dport 22 counter name marked; }; }",
    );
    assert!(ssh.carries());
    assert!(site.host.counters("inet seen")["marked"] > 0);
}

fn left_with_keep() {
    let keep = |rules: &[&str]| open(rules) + "platform: { established: keep }\n";
    let (site, daemon) = start(&keep(&[SSH, DNS]));
    let [ssh, _, dns, _] = inbound_talks(&site);
    change(&site, &daemon, &keep(&[DNS]), 2);
    assert!(ssh.carries() && dns.carries());
    // Back to judging again, and it ends.
    change(&site, &daemon, &open(&[DNS]), 3);
    assert!(ssh.has_ended() && dns.carries());
    change(&site, &daemon, &keep(&[SSH]), 4);
    assert!(dns.carries());
}

/// They have no room for stamps, and are judged at every packet.
fn older_than_the_policy() {
    let site = Site::quiet();
    site.host.nft("table inet tracking { chain in { type filter hook input priority 0; ct state new counter; }; }");
    let [ssh, ssh6, dns, _] = inbound_talks(&site);
    site.write("groups.yaml", &open(&[SSH, DNS]));
    let daemon = site.start();
    daemon.until_logged("generation 1 enforced");
    assert!(ssh.carries() && ssh6.carries() && dns.carries());
    change(&site, &daemon, &open(&[DNS]), 2);
    assert!(ssh.has_ended() && ssh6.has_ended() && dns.carries());
}

/// The log says how many flows a change ends, and by which rule; the count of very many takes no long time.
fn counted() {
    let flows: u32 = if std::env::var_os("SECGROUPD_FULL").is_some() {
        100_000
    } else {
        10_000
    };
    let (site, daemon) = start(&open(&[SSH, WEB]));
    let sockets: Vec<TcpSocket> = (0..flows)
        .map(|number| TcpSocket {
            local: SocketAddr::from(([10, 0, 0, 5], if number % 4 == 0 { 80 } else { 22 })),
            remote: SocketAddr::from((
                Ipv4Addr::from(0x0a00_0009 + number / 16_000),
                1_000 + (number % 16_000 * 4) as u16,
            )),
            opened_by_remote: true,
        })
        .collect();
    assert_eq!(site.host.enter(|| track(&sockets)).unwrap() as u32, flows);
    let before = std::time::Instant::now();
    change(&site, &daemon, &open(&[SSH]), 2);
    daemon.until_logged(&format!(
        "{} of {flows} tracked flows end: {} by default",
        flows / 4,
        flows / 4
    ));
    println!(
        "a change and the count over {flows} flows: {:.1?}",
        before.elapsed()
    );
    assert!(before.elapsed() < Duration::from_secs(5));
    // Apart from hits, of which there are none: no packet was sent.
    let status = site.status();
    assert_eq!(status["judged_again_flows"], flows, "{status}");
    assert_eq!(status["ended_flows"], flows / 4);
    let hits = status["hits"].as_array().unwrap();
    let of_rules = hits.iter().filter(|hit| hit["action"].is_string());
    assert!(
        of_rules
            .map(|hit| hit["packets"].as_u64())
            .all(|packets| packets == Some(0)),
        "{status}"
    );
}
