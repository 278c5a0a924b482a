//! A flow that connection tracking has lost is a new one in the direction of its next packet. An ended flow of TCP
//! stays ended all the same: what leaves without SYN from a port that is not ephemeral is an answer too. Of UDP nothing
//! is remembered.
//!
//! Everything may go out of the hosts of these tests.

use std::net::UdpSocket;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::several::{FAMILIES, arrived, at, goes_on, is_cut, say, settle};
use super::site::{Daemon, SOON, Site};
use super::talk::{
    DNS, DNS_8053, SSH, Talk, WEB, WEB_8080, change, forwarded_talks, guest, inbound_talks, open,
    outbound_talks, start, translated_talks, two_interfaces, with_outbound,
};
use crate::support::{Host, Injector, Outbound, Probe, Sent, TcpFlags, kernel_test};

pub fn tests() -> Vec<Trial> {
    let needs = &["nft", "conntrack"];
    vec![
        kernel_test("lost_flows_that_came_in", needs, came_in),
        kernel_test("lost_flows_that_the_host_opened", needs, host_opened),
        kernel_test("lost_flows_by_kind_of_port", needs, kind_of_port),
        kernel_test("lost_flows_go_on_when_allowed_again", needs, allowed_again),
        kernel_test("lost_flows_behind_dnat", needs, behind_dnat),
        kernel_test(
            "lost_flows_across_two_interfaces",
            needs,
            across_two_interfaces,
        ),
        kernel_test("lost_flows_of_unbound_interfaces", needs, unbound),
        kernel_test("lost_flows_without_a_daemon", needs, without_a_daemon),
        kernel_test("lost_flows_and_a_lost_table", needs, lost_table),
        kernel_test("lost_flows_of_an_outsider", needs, outsider),
        kernel_test("lost_flows_both_ways_between_two_ports", needs, both_ways),
    ]
}

/// Connection tracking forgets all flows.
fn flush(host: &Host) {
    host.output("conntrack", &["-F"]);
}

/// The flow has ended, however often connection tracking loses it, and whoever speaks first then.
fn stays_ended(site: &Site, talk: &Talk) -> bool {
    [false, true].into_iter().all(|server_first| {
        flush(&site.host);
        [!server_first, server_first].into_iter().all(|by_client| {
            say(talk, by_client);
            settle(&[&site.wire]);
            arrived(talk) == [0, 0]
        })
    }) && talk.has_ended()
}

fn came_in() {
    let (site, daemon) = start(&open(&[SSH, WEB, DNS]));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    let web = Talk::tcp(&site.peer, "10.0.0.5:80", &site.host, "10.0.0.5:80");
    let web6 = Talk::tcp(
        &site.peer,
        "[2001:db8::5]:80",
        &site.host,
        "[2001:db8::5]:80",
    );
    change(&site, &daemon, &open(&[WEB]), 2);
    for talk in [&ssh, &ssh6] {
        assert!(stays_ended(&site, talk), "{}", daemon.log());
    }
    // As long as they are tracked; then whoever sends from here opens a flow that the outbound rules allow.
    for talk in [&dns, &dns6] {
        flush(&site.host);
        say(talk, true);
        settle(&[&site.wire]);
        assert_eq!(arrived(talk), [0, 0], "{}", daemon.log());
        assert!(goes_on(talk), "{}", daemon.log());
    }
    // A flow that is allowed goes on, whoever speaks first.
    for talk in [&web, &web6] {
        for by_client in [true, false] {
            flush(&site.host);
            assert!(talk.hears(by_client) && talk.carries(), "{}", daemon.log());
        }
    }
    // Other changes wake none of them.
    change(&site, &daemon, &open(&[WEB, "protocol: tcp, port: 81"]), 3);
    site.run("reload");
    for talk in [&ssh, &ssh6] {
        assert!(stays_ended(&site, talk), "{}", daemon.log());
    }
}

/// Their ports are ephemeral: the outbound rules alone say whether they go on.
fn host_opened() {
    let out = |remotes: &str| {
        let rule = format!("{{ action: allow, protocol: all, port: all, destination: {remotes} }}");
        with_outbound(&[], &rule)
    };
    let (site, daemon) = start(&out("[10.0.0.9, \"2001:db8::9\"]"));
    let [tcp, udp] = outbound_talks(&site);
    let tcp6 = Talk::tcp(
        &site.host,
        "[2001:db8::9]:443",
        &site.peer,
        "[2001:db8::9]:443",
    );
    for talk in [&tcp, &tcp6, &udp] {
        flush(&site.host);
        assert!(talk.hears(true) && talk.carries(), "{}", daemon.log());
    }
    change(&site, &daemon, &out("10.0.0.10"), 2);
    for talk in [&tcp, &tcp6, &udp] {
        assert!(stays_ended(&site, talk), "{}", daemon.log());
    }
}

/// Without SYN, from a port within and beside the host's ephemeral ones; with SYN from any.
fn kind_of_port() {
    let site = Site::quiet();
    site.host.set("net/ipv4/ip_local_port_range", "40000 50000");
    site.write("groups.yaml", &open(&[SSH]));
    let daemon = site.start();
    let outbound = Outbound::new(&site.wire.a);
    for family in FAMILIES {
        let (own, remote) = (family.host[0], family.peer[0]);
        for (port, flags, wanted) in [
            (22, TcpFlags::Ack, Sent::Passed),
            (2222, TcpFlags::Ack, Sent::Dropped),
            (39_999, TcpFlags::Ack, Sent::Dropped),
            (40_000, TcpFlags::Ack, Sent::Passed),
            (50_000, TcpFlags::Ack, Sent::Passed),
            (50_001, TcpFlags::Ack, Sent::Dropped),
            (60_000, TcpFlags::Ack, Sent::Dropped),
            (2223, TcpFlags::Syn, Sent::Passed),
            (60_001, TcpFlags::Syn, Sent::Passed),
        ] {
            let (from, to) = (at(own, port), at(remote, 7000));
            let sent = outbound.send(&Probe::tcp_with(flags, &*from, &*to));
            assert_eq!(sent, wanted, "{flags:?} from {from}\n{}", daemon.log());
        }
    }
}

fn allowed_again() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    change(&site, &daemon, &open(&[]), 2);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(is_cut(talk, &[&site.wire]), "{}", daemon.log());
    }
    flush(&site.host);
    change(&site, &daemon, &open(&[SSH, DNS]), 3);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        flush(&site.host);
        talk.limit(SOON);
        assert!(talk.hears(false) && talk.carries(), "{}", daemon.log());
    }
}

fn behind_dnat() {
    let (site, daemon) = start(&open(&[WEB_8080, DNS_8053]));
    let [web, dns] = translated_talks(&site);
    change(&site, &daemon, &open(&[DNS_8053]), 2);
    assert!(dns.carries());
    // Nothing leaves from the translated port either.
    site.peer.nft(
        "table inet came { counter web { }; chain pre { type filter hook prerouting priority -400; \
         iifname wire meta l4proto tcp counter name web; }; }",
    );
    assert!(stays_ended(&site, &web), "{}", daemon.log());
    assert_eq!(site.peer.counters("inet came")["web"], 0);
}

/// A forwarded flow that is allowed goes on, whoever speaks first.
fn across_two_interfaces() {
    let (site, daemon) = start(&two_interfaces("action: allow, protocol: all"));
    let (guest, _wire) = guest(&site);
    let [ssh, web] = forwarded_talks(&site, &guest);
    let ssh_alone = two_interfaces("action: allow, protocol: tcp, port: 22");
    change(&site, &daemon, &ssh_alone, 2);
    assert!(web.has_ended(), "{}", daemon.log());
    for by_client in [false, true] {
        flush(&site.host);
        assert!(ssh.hears(by_client) && ssh.carries(), "{}", daemon.log());
    }
}

fn unbound() {
    let definition = |refuse: &str| {
        open(&[SSH]).replace("eth0:", "eth7:")
            + &format!("platform: {{ unbound_interfaces: {refuse} }}\n")
    };
    let (site, daemon) = start(&definition("ignore"));
    let [ssh, ssh6, ..] = inbound_talks(&site);
    change(&site, &daemon, &definition("refuse"), 2);
    for talk in [&ssh, &ssh6] {
        assert!(stays_ended(&site, talk), "{}", daemon.log());
    }
}

/// The same with what `apply` has enforced, by a daemon that is started later, and when that is stopped.
fn without_a_daemon() {
    let site = Site::quiet();
    let apply = |definition: &str| {
        site.save("groups.yaml", definition);
        let ran = site.run("apply");
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    let all = [SSH, WEB];
    apply(&open(&all));
    let [ssh, ssh6] = both(&site, 22);
    let [web, web6] = both(&site, 80);
    apply(&open(&[WEB]));
    for talk in [&ssh, &ssh6] {
        assert!(stays_ended(&site, talk));
    }
    // Lost themselves, they are known again once they speak.
    assert!(web.carries() && web6.carries());
    let daemon = site.start();
    change_now(&site, &daemon, &open(&[]));
    daemon.end(Signal::SIGTERM);
    for talk in [&ssh, &ssh6, &web, &web6] {
        assert!(stays_ended(&site, talk));
    }
}

/// TCP to a port, of both families.
fn both(site: &Site, port: u16) -> [Talk; 2] {
    FAMILIES.map(|family| {
        let to = at(family.host[0], port);
        Talk::tcp(&site.peer, &to, &site.host, &to)
    })
}

fn change_now(site: &Site, daemon: &Daemon, definition: &str) {
    site.save("groups.yaml", definition);
    let ran = site.run("reload");
    assert_eq!(ran.code, 0, "{ran:?} {}", daemon.log());
}

/// Another program takes away the table as well, which is nobody's own.
fn lost_table() {
    let site = Site::quiet();
    site.write("groups.yaml", &open(&[SSH]));
    let daemon = site.launch("run --through nft");
    daemon.until_logged("generation 1 enforced");
    let [ssh, ssh6] = both(&site, 22);
    change(&site, &daemon, &open(&[]), 2);
    flush(&site.host);
    let restored = || daemon.log().matches("restored in").count();
    for times in 1..=3 {
        site.host.nft("flush ruleset");
        super::site::until("it is restored", || restored() >= times);
    }
    for talk in [&ssh, &ssh6] {
        assert!(stays_ended(&site, talk), "{}", daemon.log());
    }
}

/// Who has sent from a resolver's port to many of the host's while that was allowed does not keep it from asking the
/// resolver.
fn outsider() {
    const OPEN: &str = "protocol: udp, port: 20000-60999";
    let (site, daemon) = start(&open(&[OPEN]));
    site.host.ip("route add default via 2001:db8::9");
    let spoofed = || (20_000..61_000).step_by(409);
    let injector = Injector::new(&site.wire.b, &site.wire.a);
    let resolvers = ["8.8.8.8", "2001:4860:4860::8888"];
    let mut scenes = Vec::new();
    for (resolver, family) in resolvers.into_iter().zip(FAMILIES) {
        let length = if resolver.contains(':') { 128 } else { 32 };
        site.peer
            .ip(&format!("addr add {resolver}/{length} dev lo"));
        for port in spoofed() {
            let (from, to) = (at(resolver, 53), at(family.host[0], port));
            injector.send(&Probe::udp(&*from, &*to));
        }
        let server = site
            .peer
            .enter(|| UdpSocket::bind(at(resolver, 53)).unwrap());
        server.set_read_timeout(Some(SOON)).unwrap();
        scenes.push((server, family.host[0], at(resolver, 53)));
    }
    injector.wait();
    change(&site, &daemon, &open(&[]), 2);
    // Whether a question is answered; one that is refused does not leave.
    let ask = |(server, own, resolver): &(UdpSocket, &str, String), port: u16| {
        let client = site.host.enter(|| UdpSocket::bind(at(own, port)).unwrap());
        client.set_read_timeout(Some(SOON)).unwrap();
        if client.send_to(b"word", resolver).is_err() {
            return false;
        }
        let (_, asker) = server.recv_from(&mut [0; 8]).unwrap();
        server.send_to(b"word", asker).unwrap();
        client.recv_from(&mut [0; 8]).is_ok()
    };
    for scene in &scenes {
        for port in spoofed() {
            for other in [port + 1, port - 15_000] {
                assert!(ask(scene, other), "{other}: {}", daemon.log());
            }
        }
        assert!(!ask(scene, 20_000), "an answer to what was refused");
    }
    flush(&site.host);
    for scene in &scenes {
        for port in spoofed() {
            assert!(ask(scene, port), "{port}: {}", daemon.log());
        }
    }
}

/// The host's own direction works while the other side goes on sending what is refused now.
fn both_ways() {
    let (site, daemon) = start(&open(&["protocol: udp, port: 5000"]));
    for family in FAMILIES {
        let (own, remote) = (at(family.host[0], 5000), at(family.peer[0], 5000));
        let talk = Talk::udp(&site.peer, &remote, &own, &site.host, &own);
        let other = match family.host[0].contains(':') {
            true => DNS,
            false => WEB,
        };
        let generation = if other == DNS { 4 } else { 2 };
        change(&site, &daemon, &open(&[other]), generation);
        assert!(is_cut(&talk, &[&site.wire]), "{}", daemon.log());
        flush(&site.host);
        for _ in 0..3 {
            say(&talk, true);
            settle(&[&site.wire]);
            assert_eq!(arrived(&talk), [0, 0], "{}", daemon.log());
        }
        assert!(goes_on(&talk), "{}", daemon.log());
        let inbound = open(&["protocol: udp, port: 5000"]);
        change(&site, &daemon, &inbound, generation + 1);
    }
}
