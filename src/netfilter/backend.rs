//! What takes commands to the kernel: our own netlink messages, the program nft, or a kernel in memory. It is asked for
//! what it can do, never for what it is.

use super::events::Sentinel;
use super::events::tables::TableEvents;
use super::native::{Native, NativeError, Transaction};
use super::nft::{Nft, NftError};
use super::ownership::{Owner, Table};
use super::standby::Standby;
use crate::policy::Reason;
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::text;
use nix::errno::Errno;
use std::fmt::Debug;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Why commands could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused, or could not be told.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// nft failed.
    #[error(transparent)]
    Nft(#[from] NftError),
}

/// Takes commands to the kernel.
pub trait Backend: Debug + Send + Sync {
    /// Makes or adopts the table as far as this backend can, before commands about it. Returns those that are left to
    /// apply.
    ///
    /// # Errors
    ///
    /// See [`ApplyError`].
    fn prepare<'c, 'r>(
        &self,
        table: Option<Table>,
        commands: &'c [Command<'r>],
    ) -> Result<&'c [Command<'r>], ApplyError>;

    /// Applies commands as one transaction: all of them or none.
    ///
    /// # Errors
    ///
    /// See [`ApplyError`].
    fn apply(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError>;

    /// Applies commands that may be cut between any two of them, in as few transactions as the kernel takes.
    ///
    /// # Errors
    ///
    /// See [`ApplyError`]. What was applied before the failure stays.
    fn apply_in_parts(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError>;

    /// Applies commands as one transaction, in which the table that is made belongs to this backend where it can.
    ///
    /// # Errors
    ///
    /// See [`ApplyError`].
    fn apply_owning(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        self.apply(commands, names)
    }

    /// The netlink port by which the kernel names this backend as an owner; `None` if it keeps no socket that could own
    /// a table.
    fn port(&self) -> Option<Owner>;

    /// Whether a table that is made now can belong to this backend, so that nobody else can change it.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    fn can_own(&self) -> Result<bool, ApplyError>;

    /// The socket that owns what this backend owns.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Writes commands down as one transaction that [`Self::send`] sends later; `None` where there is no such form.
    fn write_down(&self, _commands: &[Command], _names: &Names) -> Option<Transaction> {
        None
    }

    /// Sends what was written down. Returns whether it was applied.
    fn send(&self, _transaction: &Transaction) -> bool {
        false
    }

    /// Listens to what everybody else changes in our table; within the runtime.
    ///
    /// # Errors
    ///
    /// What the kernel has against it.
    fn listen(&self, standby: &Arc<Standby>) -> Result<TableEvents, Errno>;
}

impl Backend for Arc<Native> {
    fn prepare<'c, 'r>(
        &self,
        table: Option<Table>,
        commands: &'c [Command<'r>],
    ) -> Result<&'c [Command<'r>], ApplyError> {
        if let Some(flags) = table.and_then(|table| table.before_sleep()) {
            self.wake_table(flags)?;
        }
        if table.is_none_or(|table| table.is_orphan()) {
            // A kernel that cannot is told the plain way.
            self.own_table()?;
        }
        Ok(commands)
    }

    fn apply(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        Ok(Native::apply(self, commands, names)?)
    }

    fn apply_in_parts(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        Ok(Native::apply_in_parts(self, commands, names)?)
    }

    fn apply_owning(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        Ok(Native::apply_owning(self, commands, names)?)
    }

    fn can_own(&self) -> Result<bool, ApplyError> {
        Ok(self.knows_ownership()?)
    }

    fn port(&self) -> Option<Owner> {
        Some(Owner(Native::port(self)))
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.descriptor())
    }

    fn write_down(&self, commands: &[Command], names: &Names) -> Option<Transaction> {
        Some(Native::write_down(commands, names))
    }

    fn send(&self, transaction: &Transaction) -> bool {
        Native::send(self, transaction).is_ok()
    }

    fn listen(&self, standby: &Arc<Standby>) -> Result<TableEvents, Errno> {
        let (events, _) = TableEvents::listen(Some(Native::port(self)))?;
        let (native, standby) = (self.clone(), standby.clone());
        // As soon as another program deletes our table.
        let answer = move || standby.send(|transaction| Backend::send(&native, transaction));
        Ok(match Sentinel::post(Native::port(self), answer) {
            Ok(sentinel) => events.with(sentinel),
            // Slower, and not less.
            Err(error) => {
                tracing::debug!("no sentinel: {error}");
                events
            }
        })
    }
}

impl Backend for Nft {
    fn prepare<'c, 'r>(
        &self,
        table: Option<Table>,
        commands: &'c [Command<'r>],
    ) -> Result<&'c [Command<'r>], ApplyError> {
        Ok(match commands {
            // nft would take from it the flags that it does not know.
            [Command::AddTable, rest @ ..] if table.is_some_and(|table| table.persists()) => rest,
            _ => commands,
        })
    }

    fn apply(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        Ok(Nft::apply(self, &text::transaction(commands, names))?)
    }

    fn apply_in_parts(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        Ok(halve(self, commands, names)?)
    }

    fn can_own(&self) -> Result<bool, ApplyError> {
        Ok(false)
    }

    fn port(&self) -> Option<Owner> {
        None
    }

    fn listen(&self, _: &Arc<Standby>) -> Result<TableEvents, Errno> {
        let (events, socket) = TableEvents::listen(None)?;
        self.is_not_for(&socket);
        Ok(events)
    }
}

/// Applies commands through nft, in halves where they are too long. Inside a user namespace nft cannot enlarge the
/// kernel's socket buffer (`SO_SNDBUFFORCE` wants CAP_NET_ADMIN in the first one), and about 460 rules fit.
fn halve(nft: &Nft, commands: &[Command], names: &Names) -> Result<(), NftError> {
    match nft.apply(&text::transaction(commands, names)) {
        Err(NftError::Refused { message, .. })
            if message.contains("Message too long") && commands.len() > 1 =>
        {
            let (first, second) = commands.split_at(commands.len() / 2);
            halve(nft, first, names)?;
            halve(nft, second, names)
        }
        result => result,
    }
}

impl ApplyError {
    /// The transaction that was refused, as nft text.
    pub fn batch(&self) -> Option<&str> {
        match self {
            ApplyError::Native(NativeError::Refused(refusal)) => Some(&refusal.batch),
            ApplyError::Nft(NftError::Refused { batch, .. }) => Some(batch),
            _ => None,
        }
    }

    /// What the rule that was refused decides for.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            ApplyError::Native(NativeError::Refused(refusal)) => refusal.reason.as_ref(),
            _ => None,
        }
    }
}

impl From<Native> for Box<dyn Backend> {
    fn from(native: Native) -> Self {
        Box::new(Arc::new(native))
    }
}

impl From<Nft> for Box<dyn Backend> {
    fn from(nft: Nft) -> Self {
        Box::new(nft)
    }
}
