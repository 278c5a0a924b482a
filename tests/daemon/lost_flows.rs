//! A flow that a change has ended stays ended where connection tracking loses it: `conntrack -F` right after the cut.
//!
//! Everything may go out of the hosts of these tests, and in where the host opens: so whoever answers in an ended flow could open a
//! new one by going on.

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use netlink_bindings::nftables::{Nfgenmsg, Request};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use secgroupd::netfilter::netlink::Reader;

use super::restored_flood::is_full;
use super::site::{Daemon, SOON, Site, until};
use super::talk::{
    DNS, DNS_8053, PING, PING6, SSH, Talk, WEB, WEB_8080, change, forwarded_talks, guest,
    inbound_talks, masqueraded_guest, open, out_to, outbound_talks, pings, start, translated_talks,
    two_interfaces, with_outbound,
};
use crate::support::{Host, Outbound, Probe, Sent, TcpFlags, kernel_test};

pub fn tests() -> Vec<Trial> {
    let needs = &["nft", "conntrack"];
    let for_minutes =
        is_full().then(|| kernel_test("lost_flows_that_went_on_for_minutes", needs, for_minutes));
    let mut tests = vec![
        kernel_test(
            "lost_flows_that_came_in",
            &["nft", "conntrack", "ping"],
            came_in,
        ),
        kernel_test("lost_flows_that_the_host_opened", needs, host_opened),
        kernel_test("lost_flows_right_after_the_switch", needs, right_after),
        kernel_test("lost_flows_are_opened_anew", needs, opened_anew),
        kernel_test("lost_flows_go_on_when_allowed_again", needs, allowed_again),
        kernel_test("lost_flows_go_on_though_lost", needs, allowed_while_lost),
        kernel_test(
            "lost_flows_that_were_tracked_for_long",
            needs,
            tracked_for_long,
        ),
        kernel_test("lost_flows_behind_dnat", needs, behind_dnat),
        kernel_test("lost_flows_behind_masquerade", needs, behind_masquerade),
        kernel_test("lost_flows_of_a_published_port", needs, published_port),
        kernel_test(
            "lost_flows_across_two_interfaces",
            needs,
            across_two_interfaces,
        ),
        kernel_test("lost_flows_of_unbound_interfaces", needs, unbound),
        kernel_test("lost_flows_without_a_daemon", needs, without_a_daemon),
        kernel_test("lost_flows_and_a_lost_table", needs, lost_table),
    ];
    tests.extend(for_minutes);
    tests
}

/// Connection tracking forgets all flows.
fn flush(host: &Host) {
    host.output("conntrack", &["-F"]);
}

/// The flow has ended, however often connection tracking loses it, and whoever speaks first then.
fn stays_ended(host: &Host, talk: &Talk) -> bool {
    [false, true].into_iter().all(|server_first| {
        flush(host);
        talk.limit(SOON / 50);
        let by_client = [!server_first, server_first];
        let heard = by_client.into_iter().any(|by_client| talk.hears(by_client));
        // What was sent meanwhile is sent again.
        !heard && talk.has_ended()
    })
}

/// The number of the last one of nf_tables.
fn transaction(reader: &Reader) -> u32 {
    let request = Request::new().op_getgen_do(&Nfgenmsg::default());
    let number = reader.ask(&request, |(_, generation)| generation.get_id().ok());
    number.unwrap()[0]
}

/// `conntrack -F` without the time that it takes to start it.
struct Flush(OwnedFd);

impl Flush {
    /// Of the namespace that this thread is in.
    fn new() -> Self {
        let family = AddressFamily::Netlink;
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkNetFilter;
        Flush(socket(family, SockType::Raw, flags, protocol).unwrap())
    }

    fn flush(&self) {
        const NFNL_SUBSYS_CTNETLINK: u8 = 1;
        const IPCTNL_MSG_CT_DELETE: u8 = 2;
        const NLM_F_REQUEST: u8 = 1;
        const NLM_F_ACK: u8 = 4;
        let mut message = [0; 20];
        message[0] = 20;
        message[4..7].copy_from_slice(&[
            IPCTNL_MSG_CT_DELETE,
            NFNL_SUBSYS_CTNETLINK,
            NLM_F_REQUEST | NLM_F_ACK,
        ]);
        let kernel = NetlinkAddr::new(0, 0);
        // Its answer is awaited: they are gone then.
        let sent = sendto(self.0.as_raw_fd(), &message, &kernel, MsgFlags::empty());
        assert_eq!(sent, Ok(message.len()));
        // An answer of 36 bytes, of which the error, or 0, follows the header.
        let mut answer = [0; 64];
        let read = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty());
        assert_eq!((read, &answer[16..20]), (Ok(36), &[0; 4][..]));
    }
}

/// What the kernel remembers, as nft lists it.
fn remembered(host: &Host) -> String {
    ["ended_v4", "ended_v6"]
        .map(|set| host.nft_list(&format!("set inet secgroupd {set}")))
        .join("\n")
}

fn came_in() {
    let (site, daemon) = start(&open(&[SSH, WEB, DNS, PING, PING6]));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    let web = Talk::tcp(&site.peer, "10.0.0.5:80", &site.host, "10.0.0.5:80");
    assert!(pings(&site, "10.0.0.5") && pings(&site, "2001:db8::5"));
    change(&site, &daemon, &open(&[WEB]), 2);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(
            stays_ended(&site.host, talk),
            "{}{}",
            remembered(&site.host),
            daemon.log()
        );
    }
    flush(&site.host);
    assert!(!pings(&site, "10.0.0.5") && !pings(&site, "2001:db8::5"));
    // A flow that is allowed goes on, whoever speaks first.
    for by_client in [true, false] {
        flush(&site.host);
        assert!(web.hears(by_client) && web.carries(), "{}", daemon.log());
    }
    // Other changes wake none of them.
    change(&site, &daemon, &open(&[WEB, "protocol: tcp, port: 81"]), 3);
    site.run("reload");
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(stays_ended(&site.host, talk), "{}", remembered(&site.host));
    }
    println!(
        "TCP and UDP of both families and pings: none came to life again after `conntrack -F`, whoever spoke first"
    );
}

fn host_opened() {
    let out = |port: u16| {
        with_outbound(
            &["protocol: all"],
            &format!("{{ action: allow, protocol: all, port: all, destination: 10.0.0.{port} }}"),
        )
    };
    let (site, daemon) = start(&out(9));
    let [tcp, udp] = outbound_talks(&site);
    change(&site, &daemon, &out(10), 2);
    assert!(stays_ended(&site.host, &tcp), "{}", remembered(&site.host));
    assert!(stays_ended(&site.host, &udp), "{}", remembered(&site.host));
}

/// Connection tracking loses them with the first packet that the new policy refuses, when the daemon has not even heard that it is
/// in force.
fn right_after() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let [ssh, _, dns, dns6] = inbound_talks(&site);
    let Talk::Udp(client, server) = &dns else {
        unreachable!("it is UDP");
    };
    let flush = site.host.enter(Flush::new);
    server.set_nonblocking(true).unwrap();
    site.save("groups.yaml", &open(&[]));
    // The switch is a transaction, after which nothing arrives. Without one, what does not arrive at once is late.
    let reader = site.host.enter(|| Reader::netfilter().unwrap());
    let begin = Instant::now();
    let mut last = transaction(&reader);
    loop {
        let before = transaction(&reader);
        let sent = Instant::now();
        client.send(b"word").unwrap_or_default();
        let heard = || server.recv(&mut [0; 8]).is_ok();
        let in_time = |_: &bool| sent.elapsed() < Duration::from_micros(100);
        if std::iter::repeat_with(heard)
            .take_while(in_time)
            .any(|heard| heard)
        {
            last = before;
        } else if transaction(&reader) != last {
            break;
        }
        assert!(begin.elapsed() < SOON, "{}", daemon.log());
    }
    flush.flush();
    server.set_nonblocking(false).unwrap();
    daemon.until_logged("generation 2 enforced");
    for talk in [&ssh, &dns6] {
        assert!(
            stays_ended(&site.host, talk),
            "{}{}",
            remembered(&site.host),
            daemon.log()
        );
    }
}

/// A new connection between the same ports is none of an ended flow; of UDP a pause tells.
fn opened_anew() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let [ssh, _, dns, _] = inbound_talks(&site);
    let peer = match &ssh {
        Talk::Tcp(client, _) => client.local_addr().unwrap(),
        Talk::Udp(..) => unreachable!("it is TCP"),
    };
    change(&site, &daemon, &open(&[]), 2);
    flush(&site.host);
    let outbound = Outbound::new(&site.wire.a);
    let sent = |flags| outbound.send(&Probe::tcp_with(flags, "10.0.0.5:22", peer));
    let listing = remembered(&site.host) + &daemon.log();
    assert_eq!(sent(TcpFlags::Ack), Sent::Dropped, "{listing}");
    assert_eq!(sent(TcpFlags::Syn), Sent::Passed);
    // The host's own conversation with another port of the same peer.
    drop(dns);
    let own = site.host.enter(|| UdpSocket::bind("10.0.0.5:53").unwrap());
    let other = site
        .peer
        .enter(|| UdpSocket::bind("10.0.0.9:5001").unwrap());
    other.set_read_timeout(Some(SOON)).unwrap();
    own.send_to(b"word", "10.0.0.9:5001").unwrap();
    assert_eq!(other.recv_from(&mut [0; 8]).unwrap().1.port(), 53);
    let listing = remembered(&site.host);
    assert!(own.send_to(b"word", "10.0.0.9:5000").is_err(), "{listing}");
    // As long as it goes on it is remembered, and not much longer.
    assert!(listing.contains("udp timeout 3m"), "{listing}");
    assert!(listing.contains("tcp timeout 5d"), "{listing}");
}

/// It is remembered no more, so it outlives the next loss whoever speaks first.
fn allowed_again() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    change(&site, &daemon, &open(&[]), 2);
    assert!(ssh.has_ended() && dns.has_ended());
    change(&site, &daemon, &open(&[SSH, DNS]), 3);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        talk.limit(SOON);
        assert!(talk.carries(), "{}", daemon.log());
    }
    change(&site, &daemon, &open(&[SSH, DNS, WEB]), 4);
    assert!(
        !remembered(&site.host).contains("timeout 5d"),
        "{}",
        remembered(&site.host)
    );
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        flush(&site.host);
        assert!(
            talk.hears(false) && talk.carries(),
            "{}",
            remembered(&site.host)
        );
    }
}

/// What connection tracking does not know when it is allowed again is known by its answers.
fn allowed_while_lost() {
    let (site, daemon) = start(&open(&[SSH, DNS, WEB]));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    let web = Talk::tcp(&site.peer, "10.0.0.5:80", &site.host, "10.0.0.5:80");
    change(&site, &daemon, &open(&[]), 2);
    flush(&site.host);
    // Where no way leads to the remote, nothing is known of it, and nothing forgotten.
    site.host.ip("route del 10.0.0.0/24 dev eth0");
    change(&site, &daemon, &open(&["protocol: tcp, port: 81"]), 3);
    site.host.ip("route add 10.0.0.0/24 dev eth0 src 10.0.0.5");
    assert!(stays_ended(&site.host, &dns), "{}", remembered(&site.host));
    flush(&site.host);
    change(&site, &daemon, &open(&[SSH, DNS]), 4);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        flush(&site.host);
        talk.limit(SOON);
        let listing = remembered(&site.host);
        assert!(talk.hears(false) && talk.carries(), "{listing}");
    }
    assert!(stays_ended(&site.host, &web), "{}", remembered(&site.host));
}

/// While connection tracking knows an ended flow, the set is not asked: its time begins anew.
fn tracked_for_long() {
    let site = Site::quiet();
    site.write("groups.yaml", &open(&[SSH, DNS]));
    let daemon = site.launch("run --through nft");
    daemon.until_logged("generation 1 enforced");
    let dns = Talk::udp(
        &site.peer,
        "10.0.0.9:5000",
        "10.0.0.5:53",
        &site.host,
        "10.0.0.5:53",
    );
    change(&site, &daemon, &open(&[SSH]), 2);
    let listing = remembered(&site.host);
    assert!(listing.contains("udp timeout 3m"), "{listing}");
    // As if that were two and a half minutes ago.
    let element = "element inet secgroupd ended_v4 { 10.0.0.5 . 53 . 10.0.0.9 . 5000 . udp";
    site.host.nft(&format!(
        "delete {element} }}; add {element} timeout 3m expires 30s }};"
    ));
    site.run("reload");
    until("its time begins anew", || {
        remembered(&site.host).contains("expires 2m")
    });
    assert!(stays_ended(&site.host, &dns), "{}", remembered(&site.host));
}

/// For longer than UDP is remembered, one goes on where connection tracking knows it, and one where it does not.
fn for_minutes() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let [_ssh, _ssh6, dns, dns6] = inbound_talks(&site);
    change(&site, &daemon, &open(&[]), 2);
    site.host.output("conntrack", &["-D", "-f", "ipv6"]);
    for _ in 0..20 {
        dns.limit(SOON / 100);
        dns6.limit(SOON / 100);
        assert!(!dns.hears(true) && !dns6.hears(false), "{}", daemon.log());
        std::thread::sleep(Duration::from_secs(10));
    }
    assert!(stays_ended(&site.host, &dns), "{}", remembered(&site.host));
    assert!(stays_ended(&site.host, &dns6), "{}", remembered(&site.host));
}

fn behind_dnat() {
    let (site, daemon) = start(&open(&[WEB_8080, DNS_8053]));
    let [web, dns] = translated_talks(&site);
    // What the translated ports would say decides nothing.
    change(
        &site,
        &daemon,
        &open(&["protocol: tcp, port: 8888", "protocol: udp, port: 5353"]),
        2,
    );
    let sent_before = sent_to_peer(&site);
    assert!(stays_ended(&site.host, &web), "{}", remembered(&site.host));
    assert!(stays_ended(&site.host, &dns), "{}", remembered(&site.host));
    assert_eq!(
        sent_to_peer(&site),
        sent_before,
        "nothing leaves, from whatever port"
    );
}

/// How many packets of TCP and UDP the host has sent; counted from the first call on.
fn sent_to_peer(site: &Site) -> u64 {
    if site.peer.try_nft("list table inet came").is_err() {
        site.peer.nft(
            "table inet came { counter everything { }; chain pre { type filter hook prerouting priority -400; \
             meta l4proto { tcp, udp } counter name everything; }; }",
        );
    }
    site.peer.counters("inet came")["everything"]
}

/// The guest behind the host has opened it, and the answers would open an inbound flow to the host's own address.
fn behind_masquerade() {
    let out = |port: u16| out_to(&["protocol: all"], port);
    let (site, daemon) = start(&out(443));
    let (guest, _wire) = masqueraded_guest(&site);
    let tcp = Talk::tcp(&guest, "10.0.0.9:443", &site.peer, "10.0.0.9:443");
    change(&site, &daemon, &out(444), 2);
    let met_before = met_by_the_host(&site);
    assert!(stays_ended(&site.host, &tcp), "{}", remembered(&site.host));
    assert_eq!(
        met_by_the_host(&site),
        met_before,
        "no answer comes in, to whomever"
    );
}

/// How many packets of TCP have come in that were not refused; counted from the first call on.
fn met_by_the_host(site: &Site) -> u64 {
    if site.host.try_nft("list table inet met").is_err() {
        site.host.nft(
            "table inet met { counter everything { }; chain pre { type filter hook prerouting priority -150; \
             iifname eth0 meta l4proto tcp counter name everything; }; }",
        );
    }
    site.host.counters("inet met")["everything"]
}

/// As Docker publishes one: what the guest goes on sending would leave as a new flow of the host's.
fn published_port() {
    let (site, daemon) = start(&open(&[WEB_8080]));
    let (guest, _wire) = masqueraded_guest(&site);
    site.host.nft(
        "table ip nat { chain pre { type nat hook prerouting priority -100; tcp dport 8080 dnat to 10.1.0.2:80; }; }",
    );
    let web = Talk::tcp(&site.peer, "10.0.0.5:8080", &guest, "10.1.0.2:80");
    change(&site, &daemon, &open(&["protocol: tcp, port: 80"]), 2);
    let sent_before = sent_to_peer(&site);
    assert!(stays_ended(&site.host, &web), "{}", remembered(&site.host));
    assert_eq!(sent_to_peer(&site), sent_before, "nothing leaves");
}

fn across_two_interfaces() {
    let (site, daemon) = start(&two_interfaces("action: allow, protocol: all"));
    let (guest, _wire) = guest(&site);
    let [ssh, web] = forwarded_talks(&site, &guest);
    let ssh_alone = two_interfaces("action: allow, protocol: tcp, port: 22");
    change(&site, &daemon, &ssh_alone, 2);
    assert!(stays_ended(&site.host, &web), "{}", remembered(&site.host));
    flush(&site.host);
    assert!(ssh.hears(false) && ssh.carries());
}

fn unbound() {
    let definition = |refuse: &str| {
        open(&[SSH]).replace("eth0:", "eth7:")
            + &format!("platform: {{ unbound_interfaces: {refuse} }}\n")
    };
    let (site, daemon) = start(&definition("ignore"));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    change(&site, &daemon, &definition("refuse"), 2);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(stays_ended(&site.host, talk), "{}", remembered(&site.host));
    }
}

/// One `apply` remembers, a daemon that is started later goes on with that, and so does the host when that is stopped.
fn without_a_daemon() {
    let site = Site::quiet();
    let apply = |definition: &str| {
        site.save("groups.yaml", definition);
        let ran = site.run("apply");
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    apply(&open(&[SSH, DNS]));
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    apply(&open(&[DNS]));
    for talk in [&ssh, &ssh6] {
        assert!(stays_ended(&site.host, talk), "{}", remembered(&site.host));
    }
    // Lost themselves, they are known again once they speak.
    assert!(dns.carries() && dns6.carries());
    let daemon = site.start();
    change_now(&site, &daemon, &open(&[]));
    daemon.end(Signal::SIGTERM);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(stays_ended(&site.host, talk), "{}", remembered(&site.host));
    }
}

fn change_now(site: &Site, daemon: &Daemon, definition: &str) {
    site.save("groups.yaml", definition);
    let ran = site.run("reload");
    assert_eq!(ran.code, 0, "{ran:?} {}", daemon.log());
}

/// Another program takes away the table as well, which is nobody's own.
fn lost_table() {
    let site = Site::quiet();
    site.write("groups.yaml", &open(&[SSH, DNS]));
    let daemon = site.launch("run --through nft");
    daemon.until_logged("generation 1 enforced");
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    change(&site, &daemon, &open(&[]), 2);
    flush(&site.host);
    for _ in 0..3 {
        site.host.nft("flush ruleset");
        daemon.until_logged("restored in");
        std::thread::sleep(SOON / 20);
    }
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(stays_ended(&site.host, talk), "{}", remembered(&site.host));
    }
}
