//! nft's listening to what the kernel says about packets. It says neither when it listens nor when it has printed all:
//! packets of our own, which a chain of our own drops before anybody else sees them, mark both in its output.

use super::fate::{AskedFlow, Turned};
use super::program::{run as run_program, start};
use crate::netfilter::programs::find;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Our table. Its chains stand before everything but what has the very first priority.
pub const TRACE: &str = "secgroupd_probe";
/// The chain that sees a packet as it comes.
pub const ENTERS: &str = "in";
/// The chain that sees a packet after everybody's DNAT.
pub const AFTER_NAT: &str = "after_nat";
/// The marks: each has a chain of its name, and a port.
const BEGIN: (&str, u16) = ("begin", 9);
const END: (&str, u16) = ("end", 10);
/// How often a mark is sent until it is heard.
const AGAIN: Duration = Duration::from_millis(10);
/// How long it is sent at most. Longer than this nothing takes that goes on at all.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// nft while it listens, in the network namespace of the thread that began it.
pub struct NftMonitor {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl NftMonitor {
    /// Returns when it listens; `None` where it does not.
    pub fn begin(asked: &AskedFlow, known: Option<&Turned>) -> Option<Self> {
        find("nft")?;
        let protocol = if asked.tcp { "tcp" } else { "udp" };
        let port = asked.port;
        // An answer comes from where the flow was sent on to.
        let from = known.map_or(port, |turned| turned.to.port());
        let mark = |(chain, port): (&str, u16)| {
            format!(
                "chain {chain} {{ type filter hook output priority -501; \
                 oifname \"lo\" udp dport {port} meta nftrace set 1; oifname \"lo\" udp dport {port} drop; }}\n"
            )
        };
        let table = format!(
            "table inet {TRACE} {{\n{}{}\
             chain {ENTERS} {{ type filter hook prerouting priority -500; {protocol} dport {port} meta nftrace set 1; \
                        {protocol} sport {from} meta nftrace set 1; }}\n\
             chain {AFTER_NAT} {{ type filter hook prerouting priority 500; counter; }}\n\
             chain out {{ type filter hook output priority -500; {protocol} sport {from} meta nftrace set 1; }}\n}}\n",
            mark(BEGIN),
            mark(END)
        );
        run_program("nft", &["-f", "-"], &table).ok()?;
        let mut child = start("nft", &["monitor", "trace"]).ok()?;
        let (sender, lines) = channel();
        let output = child.stdout.take()?;
        // It ends with nft, whose end of the pipe is the only one.
        std::thread::spawn(move || {
            let read = BufReader::new(output).lines();
            for line in read.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut monitor = NftMonitor {
            child,
            lines,
            said: String::new(),
        };
        monitor.hears(BEGIN).then_some(monitor)
    }

    /// All that was said of the packets before this.
    pub fn end(mut self) -> String {
        self.hears(END);
        std::mem::take(&mut self.said)
    }

    /// Sends a mark until it is in the output.
    fn hears(&mut self, (chain, port): (&str, u16)) -> bool {
        let heard = format!(" inet {TRACE} {chain} ");
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) else {
            return false;
        };
        let until = Instant::now() + TIME_LIMIT;
        while Instant::now() < until {
            // It is dropped, which the kernel says at once.
            let _ = socket.send_to(b"secgroupd", (Ipv4Addr::LOCALHOST, port));
            loop {
                match self.lines.recv_timeout(AGAIN) {
                    Ok(line) if line.contains(&heard) => return true,
                    Ok(line) => {
                        self.said += &line;
                        self.said.push('\n');
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return false,
                }
            }
        }
        false
    }
}

impl Drop for NftMonitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
