//! A changed rule holds for live flows: a flow ends whose rule has gone, in both directions, and no other is touched.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use libtest_mimic::Trial;
use secgroupd::netfilter::seed::{TcpSocket, track};

use super::site::{SOON, Site};
use super::talk::{
    DNS, DNS_8053, PING, PING6, SSH, Talk, WEB, WEB_8080, change, forwarded_talks, guest,
    inbound_talks, masqueraded_guest, open, out_to, outbound_talks, pings, start, translated_talks,
    two_interfaces,
};
use crate::support::{bounded, is_full, kernel_test};

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
    let all = ["protocol: all"];
    let (site, daemon) = start(&open(&all));
    let [tcp, udp] = outbound_talks(&site);
    change(&site, &daemon, &out_to(&all, 443), 2);
    assert!(udp.has_ended(), "{}", daemon.log());
    assert!(tcp.carries(), "{}", daemon.log());
    change(&site, &daemon, &out_to(&all, 444), 3);
    assert!(tcp.has_ended(), "{}", daemon.log());
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
    let (site, daemon) = start(&open(&[SSH, WEB_8080, DNS_8053]));
    let [web, dns] = translated_talks(&site);
    change(&site, &daemon, &open(&[WEB_8080, DNS_8053]), 2);
    assert!(web.carries() && dns.carries(), "{}", daemon.log());
    change(&site, &daemon, &open(&[WEB_8080]), 3);
    assert!(web.carries() && dns.has_ended());
    change(&site, &daemon, &open(&["protocol: tcp, port: 8888"]), 4);
    assert!(web.has_ended());
}

/// The host's own translation of where it sends to: the outbound rules see where it really goes.
fn own_dnat_outbound() {
    let out = |port: u16| {
        out_to(&["protocol: all"], port).replace("destination: any", "destination: 10.0.0.9")
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
    let out = |port: u16| out_to(&[SSH], port);
    let (site, daemon) = start(&out(443));
    let (guest, _wire) = masqueraded_guest(&site);
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
    let (site, daemon) = start(&two_interfaces("action: allow, protocol: all"));
    let (guest, _wire) = guest(&site);
    let [ssh, web] = forwarded_talks(&site, &guest);
    let ssh_alone = two_interfaces("action: allow, protocol: tcp, port: 22");
    change(&site, &daemon, &ssh_alone, 2);
    assert!(web.has_ended());
    assert!(ssh.carries());
}

/// Stamps come round again: an idle flow is known by none of them that is not of its policy.
fn many_reloads() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let [ssh, ssh6, dns, _] = inbound_talks(&site);
    let reloads = if is_full() { 300 } else { 70 };
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

/// They have no room for marks, and are judged at every packet.
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
    let flows: u32 = if is_full() { 100_000 } else { 10_000 };
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
    bounded("the change", before.elapsed(), Duration::from_secs(5));
    // Apart from hits, of which there are none: no packet was sent.
    let status = site.status();
    // On a busy machine the count of the start may have seen some of them, too.
    let judged = status["judged_again_flows"].as_u64();
    assert!(judged >= Some(u64::from(flows)), "{status}");
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
