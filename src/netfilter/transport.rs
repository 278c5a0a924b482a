//! How commands reach the kernel: over netlink, or through the nft program.

use super::events::Sentinel;
use super::events::tables::TableEvents;
use super::native::{Native, NativeError};
use super::nft::{Nft, NftError};
use super::ownership::{Owner, Table};
use super::standby::Standby;
use crate::policy::Reason;
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::text;
use nix::errno::Errno;
use std::sync::Arc;

/// A way to the kernel.
#[derive(Debug)]
pub enum Transport {
    /// Our own messages.
    Native(Arc<Native>),
    /// The nft program.
    Nft(Nft),
}

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

impl Transport {
    /// Makes or adopts the table as far as this way can, before anything is sent about it.
    pub(super) fn prepare<'c, 'r>(
        &self,
        table: Option<Table>,
        commands: &'c [Command<'r>],
    ) -> Result<&'c [Command<'r>], ApplyError> {
        if let (Transport::Native(native), Some(table)) = (self, table)
            && let Some(flags) = table.before_sleep()
        {
            native.wake_table(flags)?;
        }
        match (self, table) {
            (Transport::Native(native), table) if table.is_none_or(|table| table.is_orphan()) => {
                // A kernel that cannot has the plain way.
                native.own_table()?;
                Ok(commands)
            }
            // nft would take from it the flags that it does not know.
            (Transport::Nft(_), Some(table)) if table.persists() => match commands {
                [Command::AddTable, rest @ ..] => Ok(rest),
                _ => Ok(commands),
            },
            _ => Ok(commands),
        }
    }

    /// Whether a table that is made now could be owned.
    pub(super) fn may_own(&self) -> bool {
        match self {
            Transport::Native(native) => native.knows_ownership().unwrap_or(true),
            Transport::Nft(_) => false,
        }
    }

    /// Its netlink port, where it has one that stays.
    pub fn port(&self) -> Option<Owner> {
        match self {
            Transport::Native(native) => Some(Owner(native.port())),
            Transport::Nft(_) => None,
        }
    }

    /// Listens to what everybody else changes in our table; within the runtime.
    pub(super) fn listen(&self, standby: &Arc<Standby>) -> Result<TableEvents, Errno> {
        match self {
            Transport::Native(native) => {
                let (events, _) = TableEvents::listen(Some(native.port()))?;
                Ok(match sentinel(native.clone(), standby) {
                    Ok(sentinel) => events.with(sentinel),
                    // Slower, and not less.
                    Err(error) => {
                        tracing::debug!("no sentinel: {error}");
                        events
                    }
                })
            }
            Transport::Nft(nft) => {
                let (events, socket) = TableEvents::listen(None)?;
                nft.is_not_for(&socket);
                Ok(events)
            }
        }
    }

    /// Applies commands as one transaction: all of them or none.
    pub fn apply(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        match self {
            Transport::Native(native) => native.apply(commands, names)?,
            Transport::Nft(nft) => nft.apply(&text::transaction(commands, names))?,
        }
        Ok(())
    }

    /// Applies commands that may be cut between any two of them, in as few transactions as the kernel takes.
    /// What was applied before a failure stays.
    pub fn apply_in_parts(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        match self {
            Transport::Native(native) => native.apply_in_parts(commands, names)?,
            Transport::Nft(nft) => halve(nft, commands, names)?,
        }
        Ok(())
    }
}

/// Sends what was written down as soon as another program deletes our table.
fn sentinel(native: Arc<Native>, standby: &Arc<Standby>) -> Result<Sentinel, Errno> {
    let standby = standby.clone();
    Sentinel::post(native.port(), move || {
        standby.send(&native);
    })
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

impl From<Native> for Transport {
    fn from(native: Native) -> Self {
        Transport::Native(Arc::new(native))
    }
}

impl From<Nft> for Transport {
    fn from(nft: Nft) -> Self {
        Transport::Nft(nft)
    }
}
