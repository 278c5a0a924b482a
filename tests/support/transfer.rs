//! A TCP transfer that goes on beside something else, and the longest pause in it.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Host;
use super::flood::go_first;

/// 4 MB a second: enough that any pause shows, and a small part of what a machine can do.
const PIECE: [u8; 8192] = [b'x'; 8192];
const EACH: Duration = Duration::from_millis(2);
/// A transfer that makes no progress for so long has ended.
const ENDED: Duration = Duration::from_secs(10);

/// A transfer under way.
pub struct Transfer {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<(u64, Duration)>,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Transferred {
    /// Bytes.
    pub sent: u64,
    /// Bytes.
    pub received: u64,
    /// The longest time between bytes that arrived.
    pub longest_pause: Duration,
}

impl Transfer {
    /// Connects from one host to an address of another, and sends from then on.
    pub fn start(from: &Host, to: &Host, at: SocketAddr) -> Self {
        let listener = to.enter(|| TcpListener::bind(at).expect("a listener"));
        let client = from.enter(|| TcpStream::connect_timeout(&at, ENDED).expect("a connection"));
        let server = listener.accept().expect("a connection").0;
        client.set_write_timeout(Some(ENDED)).expect("a time limit");
        server.set_read_timeout(Some(ENDED)).expect("a time limit");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Self {
            stop,
            // Nobody's programs are kept waiting by the machine that makes the flood.
            sender: thread::spawn(move || {
                go_first(-15);
                send(client, &stopped)
            }),
            receiver: thread::spawn(move || {
                go_first(-15);
                receive(server)
            }),
        }
    }

    /// Ends it, once all is received that was sent.
    pub fn stop(self) -> Transferred {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender's thread");
        let (received, longest_pause) = self.receiver.join().expect("the receiver's thread");
        Transferred {
            sent,
            received,
            longest_pause,
        }
    }
}

fn send(mut client: TcpStream, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) && client.write_all(&PIECE).is_ok() {
        sent += PIECE.len() as u64;
        thread::sleep(EACH);
    }
    sent
}

fn receive(mut server: TcpStream) -> (u64, Duration) {
    let (mut received, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
    let mut buffer = [0; PIECE.len()];
    loop {
        let length = server.read(&mut buffer);
        longest = longest.max(last.elapsed());
        last = Instant::now();
        match length {
            Ok(length) if length > 0 => received += length as u64,
            _ => return (received, longest),
        }
    }
}

impl Host {
    /// How many TCP segments this machine has sent again, and how many of them needlessly: the other side had them already, and said so.
    pub fn retransmissions(&self) -> (u64, u64) {
        let [all, needless] = self.enter(|| {
            [
                ("snmp", "Tcp:", "RetransSegs"),
                ("netstat", "TcpExt:", "TCPDSACKRecv"),
            ]
            .map(|(file, kind, name)| counter(file, kind, name))
        });
        (all, needless)
    }

    /// How many packets the kernel has dropped on their way into or out of this machine's interfaces, before or behind all hooks.
    pub fn dropped_at_interfaces(&self) -> u64 {
        let text = self.enter(|| fs::read_to_string("/proc/thread-self/net/dev"));
        let text = text.expect("the interfaces' counters");
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .map(|(_, numbers)| {
                let numbers: Vec<u64> = numbers
                    .split_whitespace()
                    .map(|number| number.parse().expect("a number"))
                    .collect();
                // Received, then sent: bytes, packets, errors, dropped, and four more.
                numbers[3] + numbers[11]
            })
            .sum()
    }
}

/// A counter of the machine that this thread is on.
fn counter(file: &str, kind: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let text = text.expect("the machine's counters");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(kind));
    let (names, numbers) = (lines.next().expect("names"), lines.next().expect("numbers"));
    names
        .split_whitespace()
        .zip(numbers.split_whitespace())
        .find(|(each, _)| *each == name)
        .and_then(|(_, number)| number.parse().ok())
        .expect("a number")
}
