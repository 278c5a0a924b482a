//! Established connections survive the first table that asks for states, because they were seeded, and do not without.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod namespace;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use namespace::{Peer, SOON, nft, run, told};
use secgroupd::netfilter::seed::{TcpSocket, established_tcp, track};

/// Inbound TCP 22 is allowed, and nothing else: no outbound flow.
const POLICY: &str = "
table inet secgroupd {
    chain inbound {
        type filter hook prerouting priority -160; policy drop
        iifname != veth0 accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        ct state established accept
        ct state new tcp dport 22 accept
    }
    chain outbound {
        type filter hook postrouting priority 250; policy drop
        oifname != veth0 accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        ct state established accept
    }
}";

/// Longer than two retransmissions: the first comes after 0.2 s, the second 0.4 s later.
const CUT: Duration = Duration::from_millis(700);

fn main() -> ExitCode {
    namespace::main(
        &[
            ("a push feed goes on, over IPv4", || {
                push_feed("0.0.0.0:22", "10.9.0.1:22", Seeded::Yes)
            }),
            ("a push feed goes on, over IPv6", || {
                push_feed("[::]:22", "[fd00:9::1]:22", Seeded::Yes)
            }),
            ("a push feed goes on, IPv4 on a dual-stack socket", || {
                push_feed("[::]:22", "10.9.0.1:22", Seeded::Yes)
            }),
            ("a push feed is cut without the seed", || {
                push_feed("0.0.0.0:22", "10.9.0.1:22", Seeded::No)
            }),
            ("a followed log goes on, over IPv4", || {
                followed_log("10.9.0.2:5514", Seeded::Yes)
            }),
            ("a followed log goes on, over IPv6", || {
                followed_log("[fd00:9::2]:5514", Seeded::Yes)
            }),
            ("a followed log is cut without the seed", || {
                followed_log("10.9.0.2:5514", Seeded::No)
            }),
            ("a feed that never pauses goes on", busy_feed),
            (
                "what the client says is still heard after half a close",
                half_closed,
            ),
            ("who opened what", who_opened_what),
            ("a flow is tracked once", tracked_once),
            ("ten thousand flows", ten_thousand),
        ],
        peer,
    )
}

#[derive(PartialEq)]
enum Seeded {
    Yes,
    No,
}

/// The other host: `connect ADDRESS` says each line that it is sent, `serve ADDRESS` sends each line that it is told,
/// `serve-and-connect` is another `serve` that also connects to the host's port 22.
fn peer(role: &str) {
    namespace::join();
    let (verb, address) = role.split_once(' ').unwrap();
    let mut back = None;
    let stream = match verb {
        "connect" => loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        },
        _ => {
            let listener = TcpListener::bind(address).unwrap();
            println!("listening");
            let accepted = listener.accept().unwrap().0;
            if verb == "serve-and-connect" {
                back = Some(TcpStream::connect("10.9.0.1:22").unwrap());
            }
            accepted
        }
    };
    let received = BufReader::new(stream.try_clone().unwrap());
    thread::spawn(move || {
        received
            .lines()
            .map_while(Result::ok)
            .for_each(|line| println!("{line}"))
    });
    while let Some(line) = told() {
        writeln!(&stream, "{line}").unwrap();
    }
    drop(back);
}

fn seed() -> usize {
    let flows: u32 = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(flows, 0, "nothing asks for states yet");
    track(&established_tcp().unwrap()).unwrap()
}

/// Waits until the other side has acknowledged everything: a belated ACK would be a packet of the peer's and change the story.
fn until_acknowledged() {
    let begin = Instant::now();
    while run("ss -Htn state established")
        .lines()
        .any(|line| line.split_whitespace().nth(1) != Some("0"))
    {
        assert!(begin.elapsed() < SOON);
        thread::sleep(Duration::from_millis(2));
    }
}

/// The host serves and only ever sends; the client only listens.
fn push_feed(bind: &str, address: &str, seeded: Seeded) {
    let listener = TcpListener::bind(bind).unwrap();
    let peer = Peer::start(&format!("connect {address}"));
    let mut feed = listener.accept().unwrap().0;
    writeln!(feed, "before").unwrap();
    peer.expect("before");
    until_acknowledged();

    if seeded == Seeded::Yes {
        assert_eq!(seed(), 1);
    }
    nft(POLICY);
    for line in ["one", "two", "three"] {
        writeln!(feed, "{line}").unwrap();
        match seeded {
            Seeded::Yes => peer.expect(line),
            Seeded::No => assert_eq!(
                peer.hear(CUT),
                None,
                "it was not cut, so this test proves nothing"
            ),
        }
    }
}

/// The host is the client, and only the server ever sends.
fn followed_log(address: &str, seeded: Seeded) {
    let mut peer = Peer::start(&format!("serve {address}"));
    peer.expect("listening");
    let stream = TcpStream::connect(address).unwrap();
    let mut log = BufReader::new(stream.try_clone().unwrap()).lines();
    peer.tell("before");
    assert_eq!(log.next().unwrap().unwrap(), "before");

    if seeded == Seeded::Yes {
        assert_eq!(seed(), 1);
    }
    nft(POLICY);
    peer.tell("after");
    stream
        .set_read_timeout(Some(if seeded == Seeded::Yes { SOON } else { CUT }))
        .unwrap();
    match seeded {
        Seeded::Yes => assert_eq!(log.next().unwrap().unwrap(), "after"),
        Seeded::No => assert!(
            log.next().unwrap().is_err(),
            "it was not cut, so this test proves nothing"
        ),
    }
}

/// Lines flow before, while and after the sockets are read and the table is loaded.
fn busy_feed() {
    let listener = TcpListener::bind("0.0.0.0:22").unwrap();
    let peer = Peer::start("connect 10.9.0.1:22");
    let mut feed = listener.accept().unwrap().0;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let sender = thread::spawn(move || {
        let mut sent = 0;
        while !stopped.load(Ordering::Relaxed) {
            writeln!(feed, "{sent}").unwrap();
            sent += 1;
            thread::sleep(Duration::from_micros(100));
        }
        (feed, sent)
    });
    peer.expect("0");
    assert_eq!(seed(), 1);
    nft(POLICY);
    thread::sleep(Duration::from_millis(100));
    stop.store(true, Ordering::Relaxed);
    let (_feed, sent) = sender.join().unwrap();
    assert!(sent > 100);
    for line in 1..sent {
        peer.expect(&line.to_string());
    }
}

/// The host has shut its own side down and still reads.
fn half_closed() {
    let listener = TcpListener::bind("0.0.0.0:22").unwrap();
    let mut peer = Peer::start("connect 10.9.0.1:22");
    let stream = listener.accept().unwrap().0;
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut heard = BufReader::new(stream).lines();
    peer.tell("before");
    assert_eq!(heard.next().unwrap().unwrap(), "before");
    assert_eq!(seed(), 1);
    // Without the flow in memory this policy, with no port open, would refuse the client's packets.
    nft(&POLICY.replace("tcp dport 22", "tcp dport 23"));
    peer.tell("after");
    assert_eq!(heard.next().unwrap().unwrap(), "after");
}

fn who_opened_what() {
    let inbound = TcpListener::bind("[::]:22").unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Peer::start("serve-and-connect 10.9.0.2:80");
    peer.expect("listening");
    let out = TcpStream::connect("10.9.0.2:80").unwrap();
    let accepted = inbound.accept().unwrap().0;
    let loopback = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();

    let mut sockets = established_tcp().unwrap();
    sockets.sort_by_key(|socket| socket.opened_by_remote);
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let expected = [(&out, false), (&accepted, true)].map(|(stream, opened_by_remote)| TcpSocket {
        local: plain(stream.local_addr().unwrap()),
        remote: plain(stream.peer_addr().unwrap()),
        opened_by_remote,
    });
    assert_eq!(sockets, expected);

    assert_eq!(track(&sockets).unwrap(), 2);
    let flows = run("conntrack -L");
    for socket in expected {
        let (from, to) = if socket.opened_by_remote {
            (socket.remote, socket.local)
        } else {
            (socket.local, socket.remote)
        };
        let ends = |a: SocketAddr, b: SocketAddr| {
            format!(
                "src={} dst={} sport={} dport={}",
                a.ip(),
                b.ip(),
                a.port(),
                b.port()
            )
        };
        let flow = format!(
            "ESTABLISHED {} {} [ASSURED]",
            ends(from, to),
            ends(to, from)
        );
        assert!(flows.contains(&flow), "{flow} is not in {flows}");
    }
    drop(loopback);
}

fn tracked_once() {
    let end = |port| SocketAddr::from(([10, 9, 0, 1], port));
    let socket = TcpSocket {
        local: end(22),
        remote: "10.9.0.2:4000".parse().unwrap(),
        opened_by_remote: true,
    };
    let turned = TcpSocket {
        opened_by_remote: false,
        ..socket
    };
    let other = TcpSocket {
        local: end(23),
        ..socket
    };
    assert_eq!(track(&[socket]).unwrap(), 1);
    assert_eq!(
        track(&[socket, turned, other]).unwrap(),
        1,
        "the flow is known in either direction"
    );
    assert_eq!(track(&[]).unwrap(), 0);
}

fn ten_thousand() {
    let sockets: Vec<TcpSocket> = (0..10_000)
        .map(|n| TcpSocket {
            local: "10.9.0.1:22".parse().unwrap(),
            remote: SocketAddr::from(([10, 9, 1, (n / 5_000) as u8], 10_000 + (n % 5_000))),
            opened_by_remote: true,
        })
        .collect();
    let begin = Instant::now();
    assert_eq!(track(&sockets).unwrap(), 10_000);
    let took = begin.elapsed();
    println!("10,000 flows are put into connection tracking in {took:?}");
    assert!(took < Duration::from_secs(5));
}
