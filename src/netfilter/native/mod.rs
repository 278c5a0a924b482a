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
//! | `commands` | the messages of each command |
//! | `sets` | sets and maps, and nft's notes in them |
//! | `elements` | what they hold |
//! | `rules` | one rule: its sets in braces and its message |
//! | `conditions` | what a rule asks of a packet, as nft orders and abbreviates it |
//! | `expressions` | each expression of the kernel's |
//! | `tracer` | a table that has packets traced |
//!
//! What the kernel holds afterwards is the same as after `nft -f` of what [`crate::ruleset::text`] writes; `tests/encoder.rs`
//! compares them. Attributes are in `linux/netfilter/nf_tables.h`.

mod batch;
mod commands;
mod conditions;
mod elements;
mod expressions;
mod rules;
mod sets;
mod socket;
mod tracer;

use super::ownership::OWNED;
use crate::policy::Reason;
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::{TABLE, text};
use batch::Batch;
use commands::{add_table, delete_table, encode};
use nix::errno::Errno;
use socket::{Answers, Socket};
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
pub use tracer::TRACER;

/// About how many bytes of what may be cut are sent in one transaction: enough that the wait for the kernel's commit does
/// not count, and little memory.
const PART_BYTES: usize = 1 << 20;

/// Why the kernel could not be told.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The socket could not be opened, written or read.
    #[error("{}", no_socket(.0))]
    Socket(Errno),
    /// CAP_NET_ADMIN is missing.
    #[error("permission denied by the kernel: be root, or have CAP_NET_ADMIN")]
    Denied,
    /// One transaction, which must not be cut, is longer than the kernel takes from us.
    #[error(
        "the transaction is longer than the {limit} bytes that the kernel takes at once; raise net.core.wmem_max"
    )]
    TooLong {
        /// What it takes.
        limit: usize,
    },
    /// The kernel refused a transaction, and changed nothing.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The kernel did not say what became of the transaction.
    #[error("the kernel did not acknowledge the transaction")]
    Unanswered,
}

/// A kernel without nfnetlink has no such socket.
fn no_socket(error: &Errno) -> String {
    match super::netlink::NetlinkError::Socket(*error).about_nf_tables() {
        absent @ super::netlink::NetlinkError::NoNfTables => absent.to_string(),
        _ => format!("cannot talk to the kernel's nf_tables over netlink: {error}"),
    }
}

/// A transaction that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its number of the reason.
    pub error: Errno,
    /// Its words, where it has any.
    pub words: Option<String>,
    /// Where in its message the attribute stands that it refused, in bytes, where it says so.
    pub offset: Option<u32>,
    /// The command that was refused, as nft text; the first of several.
    pub command: Option<String>,
    /// What the rule decides for that was refused.
    pub reason: Option<Reason>,
    /// How many messages were refused.
    pub refused: usize,
    /// The whole transaction as nft text.
    pub batch: String,
}

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
    socket: Socket,
    /// Whether the kernel knows ownership, once that was asked: each time costs a transaction that fails.
    ownership: OnceLock<bool>,
}

impl Native {
    /// Opens the socket.
    ///
    /// # Errors
    ///
    /// [`NativeError::Socket`].
    pub fn open() -> Result<Self, NativeError> {
        Ok(Native {
            socket: Socket::open()?,
            ownership: OnceLock::new(),
        })
    }

    /// Goes on with a socket that an earlier process opened, so that what it owns stays ours.
    ///
    /// # Errors
    ///
    /// [`NativeError::Socket`], also if it is no netlink socket.
    pub fn resume(descriptor: OwnedFd) -> Result<Self, NativeError> {
        Ok(Native {
            socket: Socket::of(descriptor)?,
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

    /// Makes our table if it is not there, owned by this socket; adopts it if its owner has gone. Gives whether the
    /// kernel can do that: an older one, and any with a table that was made without an owner, refuse.
    ///
    /// # Errors
    ///
    /// See [`NativeError`].
    pub fn own_table(&self) -> Result<bool, NativeError> {
        let mut batch = Batch::new();
        batch.command(usize::MAX, |batch| add_table(batch, TABLE, Some(OWNED)));
        accepted(self.commit(&mut batch, &[Command::AddTable], &Names::none()))
    }

    /// Switches on a table that another program has switched off (`dormant`), by giving it the flags that it had.
    ///
    /// # Errors
    ///
    /// See [`NativeError`].
    pub fn wake_table(&self, flags: u32) -> Result<(), NativeError> {
        let mut batch = Batch::new();
        batch.command(usize::MAX, |batch| add_table(batch, TABLE, Some(flags)));
        self.commit(&mut batch, &[Command::AddTable], &Names::none())
    }

    /// Whether the kernel knows tables that are owned and stay. It is tried in a transaction that fails in any case.
    ///
    /// # Errors
    ///
    /// See [`NativeError`].
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
    ///
    /// # Errors
    ///
    /// See [`NativeError`]. On `Refused`, `TooLong` and `Denied` the kernel has changed nothing.
    pub fn apply(&self, commands: &[Command], names: &Names) -> Result<(), NativeError> {
        let mut batch = Batch::new();
        for command in commands {
            batch.command(usize::MAX, |batch| encode(batch, command, names));
        }
        self.commit(&mut batch, commands, names)
    }

    /// Applies commands as one transaction, in which the table that is made belongs to this socket.
    ///
    /// # Errors
    ///
    /// See [`Self::apply`].
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
        let mut batch = Batch::new();
        for command in commands {
            batch.command(usize::MAX, |batch| encode(batch, command, names));
        }
        Transaction {
            bytes: batch.end().to_vec(),
            asks: batch.asks(),
        }
    }

    /// Sends what was written down.
    ///
    /// # Errors
    ///
    /// [`NativeError::Socket`], and [`NativeError::Unanswered`] also where it is refused; the kernel has changed nothing then.
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
    ///
    /// # Errors
    ///
    /// See [`NativeError`]. The transactions before the one that failed are in force.
    pub fn apply_in_parts(&self, commands: &[Command], names: &Names) -> Result<(), NativeError> {
        let limit = self.socket.room(PART_BYTES);
        in_parts(commands, names, limit, |batch, part| {
            self.commit(batch, part, names)
        })
    }

    /// The bytes of each transaction that [`Self::apply_in_parts`] sends: a benchmark sends them as they are, to know what of
    /// a load is the kernel's time.
    ///
    /// # Errors
    ///
    /// [`NativeError::TooLong`].
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

/// What the answers say. Of a transaction that is committed there is one answer: its last message asked for it. What was
/// refused is answered unasked, and more of that than the socket holds is no success either.
fn judge(
    answers: &Answers,
    batch: &Batch,
    commands: &[Command],
    names: &Names,
) -> Result<(), NativeError> {
    let mut refused = answers
        .answers
        .iter()
        .filter_map(|answer| Some((answer, answer.error?)));
    let Some((answer, error)) = refused.next() else {
        let asked = |answer: &socket::Answer| answer.sequence == batch.asks();
        return match answers.answers.iter().any(asked) && !answers.overrun {
            true => Ok(()),
            false => Err(NativeError::Unanswered),
        };
    };
    let command = batch
        .command_of(answer.sequence)
        .and_then(|index| commands.get(index));
    // Of the whole batch it says so where we may not ask at all.
    if command.is_none() && error == Errno::EPERM {
        return Err(NativeError::Denied);
    }
    Err(NativeError::Refused(Box::new(Refusal {
        error,
        words: answer.words.clone(),
        offset: answer.offset,
        command: command.map(|command| text::command(command, names)),
        reason: command.and_then(Command::reason).cloned(),
        refused: 1 + refused.count(),
        batch: text::transaction(commands, names),
    })))
}

/// Whether the kernel can do what it was asked for: before 5.12 it knows no flag of ownership (EINVAL), before 6.9 none
/// that outlives its owner (EOPNOTSUPP).
fn accepted(result: Result<(), NativeError>) -> Result<bool, NativeError> {
    match result {
        Err(NativeError::Refused(refusal))
            if matches!(refusal.error, Errno::EOPNOTSUPP | Errno::EINVAL) =>
        {
            Ok(false)
        }
        result => result.map(|()| true),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kernel refused ")?;
        match &self.command {
            Some(command) => write!(f, "`{command}`")?,
            None => f.write_str("the transaction")?,
        }
        write!(f, ": {}", self.error.desc())?;
        if let Some(words) = &self.words {
            write!(f, " ({words})")?;
        }
        match self.refused {
            0 | 1 => Ok(()),
            several => write!(f, ", and {} more", several - 1),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::socket::Answer;
    use super::*;
    use crate::policy::{Interval, PortSet};
    use crate::ruleset::Generation;
    use crate::ruleset::ir::Side;
    use crate::ruleset::ir::{Match, NftRule, NftVerdict, Transport};
    use std::borrow::Cow;

    fn answer(sequence: u32, error: Option<Errno>) -> Answer {
        Answer {
            sequence,
            error,
            words: None,
            offset: None,
        }
    }

    /// Three commands, of which the second is three messages: a set, its elements, and the rule.
    fn commands() -> Vec<Command<'static>> {
        let points = [22, 80].map(|port| Interval {
            first: port,
            last: port,
        });
        let ports = PortSet::new(points.to_vec()).expect("ports");
        let rule = NftRule {
            matches: vec![Match::Port(Transport::Tcp, Side::Destination, ports)],
            verdict: NftVerdict::Accept,
            reason: Some(Reason::Default),
        };
        vec![
            Command::AddTable,
            Command::AddRule {
                chain: "g1_a".into(),
                rule: Cow::Owned(rule),
            },
            Command::FlushChain("inbound".into()),
        ]
    }

    fn judged(answers: Vec<Answer>, overrun: bool) -> Result<(), NativeError> {
        let (commands, names) = (commands(), Names::new(Generation(1)));
        let mut batch = Batch::new();
        for command in &commands {
            assert!(batch.command(usize::MAX, |batch| encode(batch, command, &names)));
        }
        batch.end();
        assert_eq!(batch.asks(), 5, "begin is 0, and the messages follow");
        judge(&Answers { answers, overrun }, &batch, &commands, &names)
    }

    #[test]
    fn only_the_answer_that_was_asked_for_is_success() {
        assert!(judged(vec![answer(5, None)], false).is_ok());
        for (answers, overrun) in [
            (vec![], false),
            (vec![answer(4, None)], false),
            (vec![answer(5, None)], true),
        ] {
            let judged = judged(answers, overrun);
            assert!(matches!(judged, Err(NativeError::Unanswered)), "{judged:?}");
        }
    }

    #[test]
    fn a_refusal_is_traced_to_its_command() {
        for sequence in 2..=4 {
            let answers = vec![answer(sequence, Some(Errno::ENOENT)), answer(5, None)];
            let Err(NativeError::Refused(refusal)) = judged(answers, false) else {
                panic!("message {sequence} was refused");
            };
            assert_eq!(refusal.reason, Some(Reason::Default));
            assert_eq!(
                refusal.to_string(),
                "the kernel refused `add rule inet secgroupd g1_a tcp dport { 22, 80 } counter accept comment \"default\"`: \
                 No such file or directory"
            );
        }
    }

    #[test]
    fn a_refusal_of_the_whole_batch_is_of_no_command() {
        let refused = judged(vec![answer(0, Some(Errno::EPERM))], false);
        assert!(matches!(refused, Err(NativeError::Denied)), "{refused:?}");
        // As when the commit itself fails, after each message was found good.
        let refused = judged(vec![answer(0, Some(Errno::ENOMEM)), answer(5, None)], false);
        match refused {
            Err(NativeError::Refused(refusal)) => assert_eq!(refusal.command, None),
            other => panic!("{other:?}"),
        }
        // Another's table.
        let refused = judged(vec![answer(1, Some(Errno::EPERM))], false);
        assert!(
            matches!(refused, Err(NativeError::Refused(_))),
            "{refused:?}"
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let (commands, names) = (commands(), Names::new(Generation(1)));
        let mut batch = Batch::new();
        let fits = |batch: &mut Batch, limit| {
            batch.command(limit, |batch| encode(batch, &commands[1], &names))
        };
        assert!(fits(&mut batch, usize::MAX));
        let long = batch.end().len();
        batch.begin();
        assert!(!fits(&mut batch, long - 1));
        assert_eq!(batch.len(), 0);
        assert!(fits(&mut batch, long));
        assert_eq!(batch.end().len(), long);
    }
}
