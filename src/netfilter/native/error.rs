//! Why the kernel could not be told.

use super::needs::needs;
use crate::netfilter::netlink::NetlinkError;
use crate::policy::Reason;
use nix::errno::Errno;
use std::fmt;

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
    match NetlinkError::Socket(*error).about_nf_tables() {
        absent @ NetlinkError::NoNfTables => absent.to_string(),
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
        if self.refused > 1 {
            write!(f, ", and {} more", self.refused - 1)?;
        }
        let command = self.command.as_deref().unwrap_or_default();
        match needs(command, self.error) {
            Some(needs) => write!(f, "; this kernel may lack {needs}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}
