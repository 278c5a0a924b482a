//! Counting what is sent to a port, on both sides of the hook under test.
//!
//! A table of its own, `inet bench_inbound` or `inet bench_outbound`, counts each port just before
//! and just after the place where the ruleset under test stands, and eats what came through. So
//! "refused and delivered" and "allowed and lost" are exact, and no packet becomes a tracked flow:
//! every one opens a flow anew.

use std::{
    fmt::Write,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use super::{Host, Probe};

/// Which hook is under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Packets come from the far end, and are counted at prerouting -170 and -150.
    Inbound,
    /// The host sends them, and they are counted at postrouting 240 and 260.
    Outbound,
}

impl Side {
    /// The table that counts, one for each side: both may be flooded at once.
    pub fn table(self) -> &'static str {
        match self {
            Self::Inbound => "inet bench_inbound",
            Self::Outbound => "inet bench_outbound",
        }
    }
}

/// A destination port under flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// TCP segments that open a connection.
    Tcp(u16),
    /// UDP datagrams.
    Udp(u16),
}

impl Port {
    /// Its name in counters.
    pub fn name(self) -> String {
        match self {
            Self::Tcp(number) => format!("tcp_{number}"),
            Self::Udp(number) => format!("udp_{number}"),
        }
    }

    fn matched(self) -> String {
        match self {
            Self::Tcp(number) => format!("tcp dport {number}"),
            Self::Udp(number) => format!("udp dport {number}"),
        }
    }

    /// One packet for this port.
    pub fn probe(self, source: IpAddr, source_port: u16, destination: IpAddr) -> Probe {
        let from = SocketAddr::new(source, source_port);
        match self {
            Self::Tcp(number) => Probe::tcp(from, SocketAddr::new(destination, number)),
            Self::Udp(number) => Probe::udp(from, SocketAddr::new(destination, number)),
        }
    }
}

/// What happened to the packets for one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodCount {
    /// How many were sent.
    pub sent: u64,
    /// How many reached the hook under test.
    pub seen_before: u64,
    /// How many came through it.
    pub seen_after: u64,
}

impl FloodCount {
    /// How many did not come through: for an allowed port, the loss.
    pub fn lost(&self) -> u64 {
        self.seen_before - self.seen_after
    }
}

/// The end of a flood.
#[derive(Clone, Debug)]
pub struct FloodReport {
    /// How long it lasted.
    pub elapsed: Duration,
    /// The packets per second it reached.
    pub rate: u64,
    /// How many more could not be sent, because a queue of the machine was full.
    pub not_sent: u64,
    /// What happened, in the order of the ports given.
    pub counts: Vec<(Port, FloodCount)>,
}

impl FloodReport {
    /// The count of one port.
    pub fn port(&self, port: Port) -> FloodCount {
        self.counts
            .iter()
            .find(|(each, _)| *each == port)
            .expect("a port of the flood")
            .1
    }
}

/// Loads the counting table of one side. A guarded one belongs to the nft that is given back, and stays when somebody flushes
/// the ruleset; it ends with that nft.
pub fn install_counters(host: &Host, side: Side, ports: &[Port], guarded: bool) -> Option<Child> {
    let (hook, before, after) = match side {
        Side::Inbound => ("prerouting", -170, -150),
        Side::Outbound => ("postrouting", 240, 260),
    };
    let table = side.table();
    let mut counters = String::new();
    let (mut first, mut last) = (String::new(), String::new());
    for port in ports {
        let (name, matched) = (port.name(), port.matched());
        write!(
            counters,
            " counter before_{name} {{ }}\n counter after_{name} {{ }}\n"
        )
        .unwrap();
        writeln!(first, "  {matched} counter name before_{name}").unwrap();
        writeln!(last, "  {matched} counter name after_{name} drop").unwrap();
    }
    let owner = if guarded { "flags owner;" } else { "" };
    let text = format!(
        "table {table} {{ {owner}\n{counters}\
             \n chain before {{ type filter hook {hook} priority {before};\n{first} }}\
             \n chain after {{ type filter hook {hook} priority {after};\n{last} }}\n}}\n"
    );
    if !guarded {
        host.nft(&format!("add table {table}; delete table {table}\n{text}"));
        return None;
    }
    let mut nft = host
        .command("nft")
        .arg("-i")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("nft");
    // It reads commands line by line.
    let line = text.replace('\n', "; ");
    writeln!(nft.stdin.as_mut().expect("a pipe"), "{line}").expect("written");
    while !host.nft_list("tables").contains(table) {
        thread::sleep(Duration::from_millis(5));
    }
    Some(nft)
}
