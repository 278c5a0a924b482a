//! `--fail-closed`: a host that has no policy refuses new inbound flows to itself, and nothing else.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::site::{Site, WRONG, opening, until};
use crate::support::{Host, join, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("a_host_without_a_policy_is_closed", &["nft"], closed),
        kernel_test("boot_closes_a_host_with_a_damaged_policy", &["nft"], boot),
        kernel_test("a_host_with_a_policy_is_not_closed", &["nft"], enforced),
        kernel_test("what_closes_a_host_is_restored", &["nft"], restored),
    ]
}

const SHORT: Duration = Duration::from_millis(400);

/// Whether a TCP connection can be opened and carries a byte each way.
fn connects(from: &Host, to: &Host, address: &str) -> bool {
    connects_to(from, to, address, address)
}

/// The same where the address that is connected to is another one than the address that listens.
fn connects_to(from: &Host, to: &Host, listens: &str, address: &str) -> bool {
    let listener = to.enter(|| TcpListener::bind(listens).unwrap());
    let address: SocketAddr = address.parse().unwrap();
    let Ok(mut near) = from.enter(|| TcpStream::connect_timeout(&address, SHORT)) else {
        return false;
    };
    let (mut far, _) = listener.accept().unwrap();
    carries(&mut near, &mut far) && carries(&mut far, &mut near)
}

fn carries(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    to.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    from.write_all(b"x").unwrap();
    to.read_exact(&mut [0]).is_ok()
}

fn hears(from: &Host, to: &Host, at: &str) -> bool {
    let ear = to.enter(|| UdpSocket::bind(at).unwrap());
    ear.set_read_timeout(Some(SHORT)).unwrap();
    let mouth = from.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    mouth.send_to(b"x", at).unwrap();
    ear.recv(&mut [0; 8]).is_ok()
}

/// Whether an echo request is answered. The kernel's own kind of socket for it, which needs no program.
fn pings(from: &Host, to: &str) -> bool {
    from.set("net/ipv4/ping_group_range", "0 0");
    let to: SocketAddr = SocketAddr::new(to.parse().unwrap(), 0);
    from.enter(|| {
        let (family, protocol, request) = match to.is_ipv4() {
            true => (AddressFamily::Inet, SockProtocol::Icmp, 8),
            false => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128),
        };
        let socket = socket(family, SockType::Datagram, SockFlag::empty(), protocol).unwrap();
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(SHORT)).unwrap();
        let echo = [request, 0, 0, 0, 0, 0, 0, 1];
        socket.send_to(&echo, to).is_ok() && socket.recv(&mut [0; 64]).is_ok()
    })
}

fn closed() {
    let site = Site::quiet();
    let (host, peer) = (&site.host, &site.peer);
    // The host is a router, too, and publishes a port of what stands behind it.
    let inner = Host::new("inner");
    join(
        host,
        "eth1",
        &["10.1.0.1/24"],
        &inner,
        "wire",
        &["10.1.0.9/24"],
    );
    host.forwards();
    peer.ip("route add 10.1.0.0/24 via 10.0.0.5");
    inner.ip("route add default via 10.1.0.1");
    host.nft("table ip dock { chain pre { type nat hook prerouting priority -100; iifname eth0 tcp dport 8080 dnat to 10.1.0.9:80; }; }");
    // Sessions of before, one each way; nobody says a word while it starts.
    let sessions: Vec<_> = [(host, peer, "10.0.0.5:22"), (peer, host, "10.0.0.9:5514")]
        .map(|(server, client, address)| {
            let listener = server.enter(|| TcpListener::bind(address).unwrap());
            let near = client.enter(|| TcpStream::connect(address).unwrap());
            let far = listener.accept().unwrap().0;
            (near, far, listener)
        })
        .into();
    assert!(pings(peer, "10.0.0.5") && connects(peer, host, "10.0.0.5:80"));

    site.write("groups.yaml", WRONG);
    let daemon = site.launch("run --fail-closed");
    daemon.until_logged("this host has no policy and is closed");
    daemon.until_logged(
        "this host is closed: it refuses new inbound flows until a policy is enforced",
    );
    let page = site.run("status").out;
    assert!(page.starts_with("This host is closed"), "{page}");
    assert_eq!(site.status()["closed"], true);

    // New flows to the host itself.
    assert!(!connects(peer, host, "10.0.0.5:80") && !connects(peer, host, "[2001:db8::5]:80"));
    assert!(!connects(&inner, host, "10.1.0.1:80"), "on every interface");
    assert!(!hears(peer, host, "10.0.0.5:53"));
    assert!(!pings(peer, "10.0.0.5") && !pings(peer, "2001:db8::5"));
    // Sessions of before, either side first.
    for (number, (mut near, mut far, _listener)) in sessions.into_iter().enumerate() {
        let goes_on = match number {
            0 => carries(&mut far, &mut near) && carries(&mut near, &mut far),
            _ => carries(&mut near, &mut far) && carries(&mut far, &mut near),
        };
        assert!(goes_on, "session {number} was cut");
    }
    // Outbound, with its replies; what is forwarded, plain and behind DNAT; and lo.
    assert!(connects(host, peer, "10.0.0.9:80") && pings(host, "10.0.0.9"));
    assert!(connects(peer, &inner, "10.1.0.9:80") && connects(&inner, peer, "10.0.0.9:80"));
    assert!(connects_to(peer, &inner, "10.1.0.9:80", "10.0.0.5:8080"));
    assert!(connects(host, host, "127.0.0.1:80") && connects(host, host, "10.0.0.5:81"));
    // Essential traffic: the peer has to find the host before it can answer.
    peer.ip("neigh flush dev wire nud permanent");
    assert!(connects(host, peer, "[2001:db8::9]:80"));
    assert!(pings(host, "2001:db8::9"));

    // The first policy opens it as far as it says.
    site.save("groups.yaml", &opening(&[80]));
    until("the policy holds", || site.generations() == [1]);
    site.until_at_rest();
    assert!(connects(peer, host, "10.0.0.5:80") && !connects(peer, host, "10.0.0.5:81"));
    assert!(connects(&inner, host, "10.1.0.1:81"), "it is not bound");
    assert_eq!(site.status()["closed"], false);
    until("the chain is gone", || {
        !site
            .host
            .nft_list("table inet secgroupd")
            .contains("closed")
    });
}

fn boot() {
    let site = Site::quiet();
    fs::create_dir(site.path("state")).unwrap();
    fs::write(site.path("state/policy"), "no policy").unwrap();
    site.run("boot --fail-closed").failed(
        2,
        &["it is damaged", "this host has no policy and is closed"],
    );
    assert!(!connects(&site.peer, &site.host, "10.0.0.5:80"));
    assert!(connects(&site.host, &site.peer, "10.0.0.9:80"));
    // Again, and then the daemon: it stays closed, by the environment as well, until there is a policy.
    let ran = super::site::Ran::of(site.command("boot").env("SECGROUPD_FAIL_CLOSED", "1"));
    ran.failed(
        2,
        &["it is damaged", "this host has no policy and is closed"],
    );
    assert!(!connects(&site.peer, &site.host, "10.0.0.5:80"));
    // A daemon that was not told so leaves it closed as well, and says it.
    let daemon = site.launch("run");
    daemon.until_logged("does not exist");
    assert_eq!(site.status()["closed"], true);
    assert!(!connects(&site.peer, &site.host, "10.0.0.5:80"));
    site.write("groups.yaml", &opening(&[80]));
    daemon.until_logged("generation 1 enforced");
    assert!(connects(&site.peer, &site.host, "10.0.0.5:80"));
    // A state directory that cannot be had says nothing of a policy either.
    drop(daemon);
    let site = Site::quiet();
    fs::write(site.path("state"), "no directory").unwrap();
    for line in ["boot", "run"] {
        let ran = site.run(&format!("{line} --fail-closed"));
        ran.failed(
            2,
            &[
                "is not a directory",
                "this host has no policy and is closed",
            ],
        );
    }
    assert!(!connects(&site.peer, &site.host, "10.0.0.5:80"));
}

fn enforced() {
    let site = Site::quiet();
    site.write("groups.yaml", &opening(&[80]));
    site.start().end(Signal::SIGTERM);
    site.write("groups.yaml", WRONG);
    let daemon = site.launch("run --fail-closed");
    daemon.until_logged("generation 1 stays enforced");
    assert!(connects(&site.peer, &site.host, "10.0.0.5:80"));
    assert!(!connects(&site.peer, &site.host, "10.0.0.5:81"));
    assert_eq!(site.run("remove").code, 0);
    assert!(
        connects(&site.peer, &site.host, "10.0.0.5:81"),
        "off is off"
    );
}

fn restored() {
    let site = Site::quiet();
    let _daemon = site.launch("run --fail-closed --through nft");
    until("it is closed", || {
        !connects(&site.peer, &site.host, "10.0.0.5:80")
    });
    site.host.nft("flush ruleset");
    until("it is closed again", || {
        !connects(&site.peer, &site.host, "10.0.0.5:80")
    });
    let status = site.status();
    assert_eq!(
        (&status["closed"], &status["restorations"]),
        (&true.into(), &1.into())
    );
}
