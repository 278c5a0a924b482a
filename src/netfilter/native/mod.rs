//! The kernel's nf_tables spoken to directly, without the nft program.
//!
//! ```text
//! commands -> batch (messages of one transaction) -> socket -> the kernel commits all of it or nothing
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `socket` | the netlink socket, and the kernel's answers |
//! | `batch` | the bytes of a transaction, and which message is whose command |
//! | `answer`, `error`, `needs` | what the kernel's answers to it say; what a kernel lacks that refuses |
//! | `commands` | the messages of each command |
//! | `sets` | sets and maps, and nft's notes in them |
//! | `elements` | what they hold |
//! | `rules` | one rule: its sets in braces and its message |
//! | `conditions` | what a rule asks of a packet, as nft orders and abbreviates it |
//! | `writer` | the fields of a packet, loaded and compared |
//! | `fields` | where they stand |
//! | `expressions` | each expression of the kernel's |
//! | [`tracer`] | a table that has packets traced |
//!
//! What the kernel holds afterwards is the same as after `nft -f` of what [`crate::ruleset::text`] writes;
//! `tests/encoder.rs` compares them. Attributes are in `linux/netfilter/nf_tables.h`.

mod answer;
mod batch;
mod commands;
mod conditions;
mod elements;
mod error;
mod expressions;
mod fields;
mod needs;
mod rules;
mod sets;
mod socket;
pub mod tracer;
mod writer;

use super::ownership::OWNED;
use crate::ruleset::TABLE;
use crate::ruleset::batch::{Command, Names};
use answer::{accepted, judge};
use batch::Batch;
use commands::{add_table, delete_table, encode};
pub use error::{NativeError, Refusal};
use nix::errno::Errno;
use socket::TransactionSocket;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// About how many bytes of what may be cut are sent in one transaction: enough that the wait for the kernel's commit
/// does not count, and little memory.
const PART_BYTES: usize = 1 << 20;

/// One transaction, as the kernel reads it.
#[derive(Debug)]
pub struct Transaction {
    bytes: Vec<u8>,
    /// The message that asks for an acknowledgement.
    asks: u32,
}

/// nf_tables through a netlink socket of our own, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Native {
    socket: TransactionSocket,
    /// Whether the kernel knows ownership, once that was asked: each time costs a transaction that fails.
    ownership: OnceLock<bool>,
}

impl Native {
    /// Opens the socket.
    pub fn open() -> Result<Self, NativeError> {
        Ok(Native {
            socket: TransactionSocket::open()?,
            ownership: OnceLock::new(),
        })
    }

    /// Goes on with a socket that an earlier process opened, so that what it owns stays ours.
    /// Fails also if it is no netlink socket.
    pub fn resume(descriptor: OwnedFd) -> Result<Self, NativeError> {
        Ok(Native {
            socket: TransactionSocket::of(descriptor)?,
            ownership: OnceLock::new(),
        })
    }

    /// Its netlink port, by which the kernel names the owner of a table.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// The socket, to be kept by another process: whoever holds it owns what it owns.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.descriptor()
    }

    /// Makes our table if it is not there, owned by this socket; adopts it if its owner has gone. Returns whether the
    /// kernel can do that: an older one, and any with a table that was made without an owner, refuse.
    pub fn own_table(&self) -> Result<bool, NativeError> {
        accepted(self.wake_table(OWNED))
    }

    /// Makes our table with these flags, or sets them: those that it had switch it on where another program has
    /// switched it off (`dormant`).
    pub fn wake_table(&self, flags: u32) -> Result<(), NativeError> {
        let mut batch = Batch::new();
        batch.command(usize::MAX, |batch| add_table(batch, TABLE, Some(flags)));
        self.commit(&mut batch, &[Command::AddTable], &Names::none())
    }

    /// Whether the kernel knows tables that are owned and stay. It is tried in a transaction that fails in any case.
    pub fn knows_ownership(&self) -> Result<bool, NativeError> {
        if let Some(known) = self.ownership.get() {
            return Ok(*known);
        }
        let known = self.ask_for_ownership()?;
        Ok(*self.ownership.get_or_init(|| known))
    }

    fn ask_for_ownership(&self) -> Result<bool, NativeError> {
        let mut batch = Batch::new();
        batch.command(usize::MAX, |batch| {
            add_table(batch, "secgroupd_probe", Some(OWNED));
            delete_table(batch, "secgroupd_nowhere");
        });
        match self.commit(&mut batch, &[Command::AddTable], &Names::none()) {
            // The first that it refuses: it had nothing against the flags.
            Err(NativeError::Refused(refusal)) if refusal.error == Errno::ENOENT => Ok(true),
            result => accepted(result),
        }
    }

    /// Applies commands as one transaction: all of them or none.
    /// On `Refused`, `TooLong` and `Denied` the kernel has changed nothing.
    pub fn apply(&self, commands: &[Command], names: &Names) -> Result<(), NativeError> {
        self.commit(&mut whole(commands, names), commands, names)
    }

    /// Applies commands as one transaction, in which the table that is made belongs to this socket.
    pub fn apply_owning(&self, commands: &[Command], names: &Names) -> Result<(), NativeError> {
        let mut batch = Batch::new();
        for command in commands {
            batch.command(usize::MAX, |batch| match command {
                Command::AddTable => add_table(batch, TABLE, Some(OWNED)),
                command => encode(batch, command, names),
            });
        }
        self.commit(&mut batch, commands, names)
    }

    /// Writes commands down as one transaction, to be sent later.
    pub fn write_down(commands: &[Command], names: &Names) -> Transaction {
        let mut batch = whole(commands, names);
        Transaction {
            bytes: batch.end().to_vec(),
            asks: batch.asks(),
        }
    }

    /// Sends what was written down.
    /// Fails with [`NativeError::Unanswered`] also where it is refused: the kernel has changed nothing then.
    pub fn send(&self, written: &Transaction) -> Result<(), NativeError> {
        self.socket.room(written.bytes.len());
        let answers = self.socket.exchange(&written.bytes)?;
        let is_done = matches!(answers.answers.as_slice(), [only] if only.sequence == written.asks && only.error.is_none());
        match is_done {
            true => Ok(()),
            false => Err(NativeError::Unanswered),
        }
    }

    /// Applies commands that may be cut, in several transactions if they are long.
    /// The transactions before the one that failed are in force.
    pub fn apply_in_parts(&self, commands: &[Command], names: &Names) -> Result<(), NativeError> {
        let limit = self.socket.room(PART_BYTES);
        in_parts(commands, names, limit, |batch, part| {
            self.commit(batch, part, names)
        })
    }

    /// The bytes of each transaction that [`Self::apply_in_parts`] sends: a benchmark sends them as they are, to know
    /// what of a load is the kernel's time.
    pub fn transactions(commands: &[Command], names: &Names) -> Result<Vec<Vec<u8>>, NativeError> {
        let mut transactions = Vec::new();
        in_parts(commands, names, PART_BYTES, |batch, _| {
            transactions.push(batch.end().to_vec());
            Ok(())
        })?;
        Ok(transactions)
    }

    /// Sends the transaction that these commands have become.
    fn commit(
        &self,
        batch: &mut Batch,
        commands: &[Command],
        names: &Names,
    ) -> Result<(), NativeError> {
        if commands.is_empty() {
            return Ok(());
        }
        let bytes = batch.end();
        let limit = self.socket.room(bytes.len());
        let answers = match self.socket.exchange(bytes) {
            Err(NativeError::Socket(Errno::EMSGSIZE)) => {
                return Err(NativeError::TooLong { limit });
            }
            answers => answers?,
        };
        judge(&answers, batch, commands, names)
    }
}

/// One transaction of these commands.
fn whole(commands: &[Command], names: &Names) -> Batch {
    let mut batch = Batch::new();
    for command in commands {
        batch.command(usize::MAX, |batch| encode(batch, command, names));
    }
    batch
}

/// Makes transactions of at most `limit` bytes of commands that may be cut, and has each sent.
fn in_parts(
    commands: &[Command],
    names: &Names,
    limit: usize,
    mut send: impl FnMut(&mut Batch, &[Command]) -> Result<(), NativeError>,
) -> Result<(), NativeError> {
    let mut batch = Batch::new();
    let mut rest = commands;
    for command in commands {
        if batch.command(limit, |batch| encode(batch, command, names)) {
            continue;
        }
        let (part, after) = rest.split_at(batch.len());
        if part.is_empty() {
            return Err(NativeError::TooLong { limit });
        }
        send(&mut batch, part)?;
        rest = after;
        batch.begin();
        if !batch.command(limit, |batch| encode(batch, command, names)) {
            return Err(NativeError::TooLong { limit });
        }
    }
    send(&mut batch, rest)
}
