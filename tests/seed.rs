//! Established connections survive the first table that asks for states, because they were seeded, and do not without.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use secgroupd::netfilter::seed::{TcpSocket, established_tcp, track};
use support::{CUT, Host, SOON, bounded, join, kernel_test, until};

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

fn main() -> ExitCode {
    support::run(|| {
        vec![
            story("a push feed goes on, over IPv4", |world| {
                push_feed(world, "0.0.0.0:22", "10.9.0.1:22", Seeded::Yes)
            }),
            story("a push feed goes on, over IPv6", |world| {
                push_feed(world, "[::]:22", "[fd00:9::1]:22", Seeded::Yes)
            }),
            story(
                "a push feed goes on, IPv4 on a dual-stack socket",
                |world| push_feed(world, "[::]:22", "10.9.0.1:22", Seeded::Yes),
            ),
            story("a push feed is cut without the seed", |world| {
                push_feed(world, "0.0.0.0:22", "10.9.0.1:22", Seeded::No)
            }),
            story("a followed log goes on, over IPv4", |world| {
                followed_log(world, "10.9.0.2:5514", Seeded::Yes)
            }),
            story("a followed log goes on, over IPv6", |world| {
                followed_log(world, "[fd00:9::2]:5514", Seeded::Yes)
            }),
            story("a followed log is cut without the seed", |world| {
                followed_log(world, "10.9.0.2:5514", Seeded::No)
            }),
            story("a feed that never pauses goes on", busy_feed),
            story(
                "what the client says is still heard after half a close",
                half_closed,
            ),
            story("who opened what", who_opened_what),
            story("a flow is tracked once", |_| tracked_once()),
            story("ten thousand flows", |_| ten_thousand()),
        ]
    })
}

/// The two machines of a story.
struct World {
    host: Host,
    far: Host,
}

/// A test told on the host, whose `veth0` has 10.9.0.1 and fd00:9::1; beyond it 10.9.0.2 and fd00:9::2.
fn story(name: &str, tell: fn(&World)) -> Trial {
    kernel_test(name, &["nft", "ss", "conntrack"], move || {
        let (host, far) = (Host::new("host"), Host::new("far"));
        let near = ["10.9.0.1/24", "fd00:9::1/64"];
        join(
            &host,
            "veth0",
            &near,
            &far,
            "veth1",
            &["10.9.0.2/24", "fd00:9::2/64"],
        );
        let world = World { host, far };
        world.host.enter(|| tell(&world));
    })
}

#[derive(PartialEq)]
enum Seeded {
    Yes,
    No,
}

/// The far machine's program, in a thread there. It is told and tells one line at a time, and ends with this value.
struct Peer {
    input: Sender<String>,
    lines: Receiver<String>,
}

impl Peer {
    /// `connect ADDRESS` says each line that it is sent, `serve ADDRESS` sends each line that it is told,
    /// `serve-and-connect` is another `serve` that also connects to the host's port 22.
    fn start(world: &World, role: &str) -> Self {
        let (input, told) = channel();
        let (say, lines) = channel();
        let (far, role) = (world.far.clone(), role.to_owned());
        thread::spawn(move || far.enter(move || talk(&role, told, &say)));
        Self { input, lines }
    }

    fn tell(&self, line: &str) {
        self.input.send(line.to_owned()).expect("the peer listens");
    }

    /// The next line it says, or None after `wait`.
    fn hear(&self, wait: Duration) -> Option<String> {
        match self.lines.recv_timeout(wait) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the peer has ended"),
        }
    }

    #[track_caller]
    fn expect(&self, line: &str) {
        assert_eq!(self.hear(SOON).as_deref(), Some(line));
    }
}

fn talk(role: &str, told: Receiver<String>, say: &Sender<String>) {
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
            say.send("listening".into()).unwrap();
            let accepted = listener.accept().unwrap().0;
            if verb == "serve-and-connect" {
                back = Some(TcpStream::connect("10.9.0.1:22").unwrap());
            }
            accepted
        }
    };
    let received = BufReader::new(stream.try_clone().unwrap());
    let say = say.clone();
    thread::spawn(move || {
        received
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| say.send(line))
    });
    told.iter()
        .for_each(|line| writeln!(&stream, "{line}").unwrap());
    // The test is over; the reader's copy of the stream must not outlive it.
    let _ = stream.shutdown(Shutdown::Both);
    drop(back);
}

/// Runs a command line without quoting, on the host, and insists that it succeeds; its output.
fn run(world: &World, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    world.host.output(words[0], &words[1..])
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
fn until_acknowledged(world: &World) {
    until("all is acknowledged", || {
        run(world, "ss -Htn state established")
            .lines()
            .all(|line| line.split_whitespace().nth(1) == Some("0"))
    });
}

/// The host serves and only ever sends; the client only listens.
fn push_feed(world: &World, bind: &str, address: &str, seeded: Seeded) {
    let listener = TcpListener::bind(bind).unwrap();
    let peer = Peer::start(world, &format!("connect {address}"));
    let mut feed = listener.accept().unwrap().0;
    writeln!(feed, "before").unwrap();
    peer.expect("before");
    until_acknowledged(world);

    if seeded == Seeded::Yes {
        assert_eq!(seed(), 1);
    }
    world.host.nft(POLICY);
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
fn followed_log(world: &World, address: &str, seeded: Seeded) {
    let peer = Peer::start(world, &format!("serve {address}"));
    peer.expect("listening");
    let stream = TcpStream::connect(address).unwrap();
    let mut log = BufReader::new(stream.try_clone().unwrap()).lines();
    peer.tell("before");
    assert_eq!(log.next().unwrap().unwrap(), "before");

    if seeded == Seeded::Yes {
        assert_eq!(seed(), 1);
    }
    world.host.nft(POLICY);
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
fn busy_feed(world: &World) {
    let listener = TcpListener::bind("0.0.0.0:22").unwrap();
    let peer = Peer::start(world, "connect 10.9.0.1:22");
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
    world.host.nft(POLICY);
    thread::sleep(Duration::from_millis(100));
    stop.store(true, Ordering::Relaxed);
    let (_feed, sent) = sender.join().unwrap();
    assert!(sent > 100);
    for line in 1..sent {
        peer.expect(&line.to_string());
    }
}

/// The host has shut its own side down and still reads.
fn half_closed(world: &World) {
    let listener = TcpListener::bind("0.0.0.0:22").unwrap();
    let peer = Peer::start(world, "connect 10.9.0.1:22");
    let stream = listener.accept().unwrap().0;
    stream.shutdown(Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut heard = BufReader::new(stream).lines();
    peer.tell("before");
    assert_eq!(heard.next().unwrap().unwrap(), "before");
    assert_eq!(seed(), 1);
    // Without the flow in memory this policy, with no port open, would refuse the client's packets.
    world
        .host
        .nft(&POLICY.replace("tcp dport 22", "tcp dport 23"));
    peer.tell("after");
    assert_eq!(heard.next().unwrap().unwrap(), "after");
}

fn who_opened_what(world: &World) {
    let inbound = TcpListener::bind("[::]:22").unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = Peer::start(world, "serve-and-connect 10.9.0.2:80");
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
    let flows = run(world, "conntrack -L");
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
    bounded("10,000 flows", took, Duration::from_secs(5));
}
