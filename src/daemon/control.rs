//! The control socket: how the command asks a running daemon.
//!
//! One JSON object on a line each way, then the connection ends. Whoever the socket's group lets connect may ask; only
//! root may change anything.

mod client;
mod server;

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::source::shown::shown;
pub use client::ask;
pub use server::{Call, ControlSocket, Peer};
pub(super) use server::{bind, make_way};

/// Where the socket is when the command line does not say otherwise.
pub const DEFAULT_SOCKET: &str = "/run/secgroupd/control.sock";

/// What a daemon can be asked: `{"command":"apply","path":"/root/new.yaml"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// What is enforced, and how it goes.
    Status,
    /// The refused packets that are told of; after those before this number, if one is given.
    Events {
        /// What the last answer gave as `next`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
    },
    /// Read the definition again, and enforce it.
    Reload {
        /// Also if it was tried as a candidate and not confirmed.
        #[serde(default)]
        force: bool,
    },
    /// Do not follow the definition until the next reload.
    Hold,
    /// Enforce another definition.
    Apply {
        /// The definition; absolute, since the daemon has a working directory of its own.
        path: PathBuf,
        /// As this instance, instead of the daemon's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<String>,
        /// For so many seconds, unless it is confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm: Option<u32>,
    },
    /// The candidate has taken the definition's place.
    Confirm {
        /// The hash of its texts, as the status says.
        content: String,
    },
    /// Take the policy off this host.
    Remove,
}

impl Request {
    /// Whether it changes anything, which only root may.
    pub fn changes(&self) -> bool {
        match self {
            Request::Status | Request::Events { .. } => false,
            Request::Reload { .. }
            | Request::Hold
            | Request::Apply { .. }
            | Request::Confirm { .. }
            | Request::Remove => true,
        }
    }
}

/// What a daemon answers: `{"outcome":"ok","payload":{...}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Response {
    /// Done; the answer.
    Ok {
        /// What was asked for; `null` where there is nothing to say.
        #[serde(default)]
        payload: Value,
    },
    /// Understood, and not done: a definition with errors, or somebody who may not.
    Refused {
        /// One line for a person.
        message: String,
        /// The same for a program, as the diagnostics of a definition.
        #[serde(default)]
        details: Value,
    },
    /// It did not work.
    Error {
        /// One line for a person.
        message: String,
    },
}

/// Why nothing could be asked, or the socket not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No socket, or nobody behind it.
    #[error("no secgroupd runs here (nobody answers on {}): start it with `secgroupd run`, or name its socket with --socket", shown(.socket))]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket's group is not ours.
    #[error("permission denied on {}: be root, or a member of its group", shown(.socket))]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// No answer in time. What was asked may still be done.
    #[error("secgroupd on {} did not answer within {} s", shown(.socket), .limit.as_secs_f32())]
    TimedOut {
        /// The socket.
        socket: PathBuf,
        /// The time it had.
        limit: Duration,
    },
    /// An answer of another version, or of something else.
    #[error("{} answers in a way this secgroupd does not understand ({what}): is it of another version?", shown(.socket))]
    Garbled {
        /// The socket.
        socket: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another daemon has the socket.
    #[error("another secgroupd answers on {}: end it first, or use another socket", shown(.socket))]
    Taken {
        /// The socket.
        socket: PathBuf,
    },
    /// Something else has the socket's name.
    #[error("{} is not a socket: take it away, or use another name", shown(.socket))]
    NotASocket {
        /// The socket.
        socket: PathBuf,
    },
    /// Anything else the system refuses.
    #[error("cannot {what} {}: {source}", shown(.socket))]
    Failed {
        /// What was tried.
        what: &'static str,
        /// On what.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Connects without waiting longer than until `end` for a daemon that accepts nobody.
fn connect(socket: &Path, end: Instant) -> io::Result<std::os::unix::net::UnixStream> {
    let address = UnixAddr::new(socket)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let ours = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    loop {
        match nix::sys::socket::connect(ours.as_raw_fd(), &address) {
            Ok(()) => break,
            // Its queue is full.
            Err(Errno::EAGAIN | Errno::EINTR) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let stream = std::os::unix::net::UnixStream::from(ours);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
