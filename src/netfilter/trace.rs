//! What the rules of a network namespace make of packets, told by the kernel packet by packet: which chain has stopped
//! one, and whether one was sent elsewhere. iptables-nft shows in it like any other table of nftables; iptables-legacy
//! does not.

use super::events::EventSocket;
use super::native::tracer::TRACER;
use super::native::{Native, NativeError};
use super::netlink::of_netfilter;
use super::refusals::Flow;
use super::refusals::message::{attributes, network};
use crate::ruleset::TABLE;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::SockProtocol;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

/// `1 << (NFNLGRP_NFTRACE - 1)`.
const GROUP: u32 = 1 << 8;
/// `NFT_MSG_TRACE` of nf_tables, and the attributes of its messages.
const TRACED: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | 17;
const NFTA_TRACE_TABLE: u16 = 1;
const NFTA_TRACE_CHAIN: u16 = 2;
const NFTA_TRACE_TYPE: u16 = 4;
const NFTA_TRACE_VERDICT: u16 = 5;
const NFTA_TRACE_ID: u16 = 6;
const NFTA_TRACE_NETWORK_HEADER: u16 = 8;
const NFTA_TRACE_TRANSPORT_HEADER: u16 = 9;
const NFTA_TRACE_POLICY: u16 = 16;
const NFTA_VERDICT_CODE: u16 = 1;
/// `NFT_TRACETYPE_…`
const POLICY: u32 = 1;
const RULE: u32 = 3;
/// The verdicts after which a packet goes no further: `NF_DROP`, `NF_STOLEN`, `NF_QUEUE`. Of a queue the number stands
/// above.
const STOPPING: [u32; 3] = [0, 2, 3];
const VERDICT: u32 = 0xff;
/// `NF_ACCEPT`.
const PASSING: u32 = 1;

/// Packets are traced in a namespace as long as this is held.
#[derive(Debug)]
pub struct Trace {
    native: Native,
    socket: EventSocket,
}

/// Why nothing is traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// No table that has packets traced.
    #[error("packets cannot be traced: {0}")]
    Table(#[from] NativeError),
    /// Nobody to listen.
    #[error("packets cannot be traced: {0}")]
    Socket(#[from] Errno),
}

/// The chain of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableChain {
    /// `NFPROTO_…`.
    pub family: u8,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
}

/// What somebody else's rules did with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It went no further than this chain.
    Stopped(TableChain),
    /// It got another address or port; by this chain, where it is known.
    Translated(Option<TableChain>),
}

/// A packet on its way through the hooks.
#[derive(Debug)]
struct Passing {
    /// As it came.
    flow: Flow,
    /// Who accepted it last.
    accepted: Option<TableChain>,
}

/// What was told so far.
#[derive(Debug, Default)]
pub struct Traced {
    passing: HashMap<u32, Passing>,
    /// What was done with packets, each as it came.
    pub done: Vec<(Flow, Done)>,
    /// Whether some of it was lost.
    pub lost: bool,
}

impl Trace {
    /// Begins, in the network namespace of the calling thread.
    pub fn begin() -> Result<Self, TraceError> {
        // `ret 0xffff`: every datagram, whole.
        let whole = [libc::sock_filter {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: 0xffff,
        }];
        let socket = EventSocket::join(SockProtocol::NetlinkNetFilter, GROUP, &whole)?;
        let native = Native::open()?;
        native.trace()?;
        Ok(Trace { native, socket })
    }

    /// Becomes readable when something is reported.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads all that is here.
    pub fn read(&self, told: &mut Traced) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.socket.receive(&mut buffer) {
                Ok(length) => told.take(buffer.get(..length).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => told.lost = true,
                Err(_) => return,
            }
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // If somebody has deleted it, so much the better.
        let _ = self.native.trace_no_more();
    }
}

/// One message.
#[derive(Default)]
struct TraceMessage<'m> {
    id: u32,
    table: &'m str,
    chain: &'m str,
    kind: u32,
    verdict: Option<u32>,
    packet: Vec<u8>,
}

impl<'m> TraceMessage<'m> {
    fn of(bytes: &'m [u8]) -> Self {
        let mut message = TraceMessage::default();
        let text = |value: &'m [u8]| {
            let text = std::str::from_utf8(value).unwrap_or_default();
            text.trim_end_matches('\0')
        };
        for (kind, value) in attributes(bytes) {
            match kind {
                NFTA_TRACE_TABLE => message.table = text(value),
                NFTA_TRACE_CHAIN => message.chain = text(value),
                NFTA_TRACE_ID => message.id = network(value).unwrap_or(0),
                NFTA_TRACE_TYPE => message.kind = network(value).unwrap_or(0),
                NFTA_TRACE_POLICY => message.verdict = network(value),
                NFTA_TRACE_VERDICT => message.verdict = code(value),
                NFTA_TRACE_NETWORK_HEADER | NFTA_TRACE_TRANSPORT_HEADER => {
                    message.packet.extend(value);
                }
                _ => {}
            }
        }
        message
    }
}

fn code(bytes: &[u8]) -> Option<u32> {
    let mut codes = attributes(bytes).filter(|(kind, _)| *kind == NFTA_VERDICT_CODE);
    network(codes.next()?.1)
}

impl Traced {
    fn take(&mut self, datagram: &[u8]) {
        for (kind, family, attributes) in of_netfilter(datagram) {
            if kind == TRACED {
                self.one(family, &TraceMessage::of(attributes));
            }
        }
    }

    fn one(&mut self, family: u8, message: &TraceMessage) {
        let now = Flow::of(&message.packet);
        if message.table == TRACER && matches!(message.chain, "enters" | "sends") {
            // Numbers are used again: this is where a packet begins.
            if let Some(flow) = now {
                let accepted = None;
                self.passing.insert(message.id, Passing { flow, accepted });
            }
            return;
        }
        let Some(packet) = self.passing.get_mut(&message.id) else {
            return;
        };
        if now.is_some_and(|now| now != packet.flow) {
            let by = packet.accepted.take();
            let done = (packet.flow, Done::Translated(by));
            self.done.push(done);
            self.passing.remove(&message.id);
            return;
        }
        if message.table == TABLE || message.table == TRACER {
            return;
        }
        let chain = TableChain {
            family,
            table: message.table.to_owned(),
            chain: message.chain.to_owned(),
        };
        match (message.kind, message.verdict.map(|code| code & VERDICT)) {
            (RULE | POLICY, Some(verdict)) if STOPPING.contains(&verdict) => {
                let done = (packet.flow, Done::Stopped(chain));
                self.done.push(done);
            }
            (RULE, Some(PASSING)) => packet.accepted = Some(chain),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    fn packet(port: u16) -> Vec<u8> {
        let mut packet = Vec::new();
        let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
        let builder = builder.tcp(40000, port, 1, 1024);
        builder.write(&mut packet, &[]).unwrap();
        packet
    }

    fn message<'m>(table: &'m str, chain: &'m str, port: u16, verdict: u32) -> TraceMessage<'m> {
        TraceMessage {
            id: 7,
            table,
            chain,
            kind: RULE,
            verdict: Some(verdict),
            packet: packet(port),
        }
    }

    fn chain(table: &str, chain: &str) -> TableChain {
        TableChain {
            family: 2,
            table: table.into(),
            chain: chain.into(),
        }
    }

    #[test]
    fn who_has_stopped_it() {
        let mut told = Traced::default();
        told.one(2, &message("filter", "INPUT", 80, 0));
        assert_eq!(told.done, [], "nobody knows whose this number is");
        told.one(1, &message(TRACER, "enters", 80, 1));
        told.one(1, &message(TABLE, "in_0", 80, 0));
        assert_eq!(told.done, [], "our own refusals are no evidence");
        told.one(2, &message("filter", "INPUT", 80, 0));
        let flow = Flow::of(&packet(80)).unwrap();
        let by = Done::Stopped(chain("filter", "INPUT"));
        assert_eq!(told.done, [(flow, by)]);
    }

    #[test]
    fn who_has_sent_it_elsewhere() {
        let mut told = Traced::default();
        told.one(1, &message(TRACER, "enters", 80, 1));
        told.one(2, &message("nat", "PREROUTING", 80, 1));
        told.one(1, &message(TRACER, "arrives", 81, 1));
        let flow = Flow::of(&packet(80)).unwrap();
        let by = Done::Translated(Some(chain("nat", "PREROUTING")));
        assert_eq!(told.done, [(flow, by)]);
        // The number is another packet's, which nobody has touched.
        told.one(1, &message(TRACER, "enters", 82, 1));
        told.one(1, &message(TRACER, "arrives", 82, 1));
        assert_eq!(told.done.len(), 1);
    }
}
