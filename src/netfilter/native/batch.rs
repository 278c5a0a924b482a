//! The bytes of one transaction: messages between a batch's begin and its end, and whose command each is.

use crate::netfilter::netlink::{NLM_F_ACK, NLM_F_REQUEST, inet};
use netlink_bindings::builtin::Nlmsghdr;
use netlink_bindings::nftables::Nfgenmsg;
use nix::libc;

/// The bytes of the message that ends a batch.
const END_BYTES: usize = Nlmsghdr::len() + Nfgenmsg::len();
/// Where the flags stand in a message's header.
const FLAGS_AT: usize = 6;

/// A transaction in the making.
pub(super) struct Batch {
    /// The messages so far.
    buffer: Vec<u8>,
    at: Position,
    /// The first sequence number of each command.
    commands: Vec<u32>,
}

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// Where the last message begins.
    last: usize,
    /// The sequence number of the next message.
    sequence: u32,
    /// The number of the last set without a name.
    set_id: u32,
}

impl Batch {
    pub fn new() -> Self {
        let mut batch = Batch {
            buffer: Vec::new(),
            at: Position::default(),
            commands: Vec::new(),
        };
        batch.begin();
        batch
    }

    /// Empties it for the next transaction; its memory is kept.
    pub fn begin(&mut self) {
        self.buffer.clear();
        self.commands.clear();
        self.at = Position::default();
        self.boundary(libc::NFNL_MSG_BATCH_BEGIN);
    }

    /// Adds the messages of one more command, which `encode` writes, unless the transaction were longer than `limit`
    /// bytes then. Returns whether it was added.
    pub fn command(&mut self, limit: usize, encode: impl FnOnce(&mut Self)) -> bool {
        let (length, before) = (self.buffer.len(), self.at);
        self.commands.push(self.at.sequence);
        encode(self);
        let fits = self.buffer.len() + END_BYTES <= limit;
        if !fits {
            self.buffer.truncate(length);
            self.commands.pop();
            self.at = before;
        }
        fits
    }

    /// The whole transaction, to be sent. Its last message asks for an acknowledgement; refusals come unasked.
    pub fn end(&mut self) -> &[u8] {
        let flags = self.at.last + FLAGS_AT;
        if let Some([low, high]) = self.buffer.get_mut(flags..flags + 2) {
            [*low, *high] = (u16::from_ne_bytes([*low, *high]) | NLM_F_ACK).to_ne_bytes();
        }
        self.boundary(libc::NFNL_MSG_BATCH_END);
        &self.buffer
    }

    /// The sequence number of the message that asks for an acknowledgement, of a transaction that was ended.
    pub fn asks(&self) -> u32 {
        self.at.sequence.saturating_sub(2)
    }

    /// How many commands it holds.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// The command that a message belongs to, counted from the transaction's first; none for the batch's begin.
    pub fn command_of(&self, sequence: u32) -> Option<usize> {
        let after = self.commands.partition_point(|first| *first <= sequence);
        after.checked_sub(1)
    }

    /// A message of nf_tables in the family `inet`, such as `libc::NFT_MSG_NEWCHAIN`, with the attributes that
    /// `attributes` appends.
    pub fn message(
        &mut self,
        kind: libc::c_int,
        flags: u16,
        attributes: impl FnOnce(&mut Vec<u8>),
    ) {
        let kind = (libc::NFNL_SUBSYS_NFTABLES << 8) | kind;
        self.write(kind, flags, inet(), attributes);
    }

    /// The number of a new set without a name, by which a later message of the transaction finds it.
    pub fn next_set_id(&mut self) -> u32 {
        self.at.set_id += 1;
        self.at.set_id
    }

    fn boundary(&mut self, kind: libc::c_int) {
        let mut header = Nfgenmsg::default();
        header.set_res_id(libc::NFNL_SUBSYS_NFTABLES as u16);
        self.write(kind, 0, header, |_| {});
    }

    fn write(
        &mut self,
        kind: libc::c_int,
        flags: u16,
        header: Nfgenmsg,
        attributes: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.buffer.len();
        let mut message = Nlmsghdr {
            len: 0,
            r#type: kind as u16,
            flags: flags | NLM_F_REQUEST,
            seq: self.at.sequence,
            pid: 0,
        };
        self.buffer.extend_from_slice(message.as_slice());
        self.buffer.extend_from_slice(header.as_slice());
        attributes(&mut self.buffer);
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
        message.len = (self.buffer.len() - start) as u32;
        if let Some(place) = self.buffer.get_mut(start..start + Nlmsghdr::len()) {
            place.copy_from_slice(message.as_slice());
        }
        self.at.sequence += 1;
        self.at.last = start;
    }
}
