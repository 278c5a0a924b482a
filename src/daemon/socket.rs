//! Unix sockets that the daemon answers on.

use crate::source::shown::shown;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};

/// The pause between two attempts to connect to a daemon whose queue is full.
const STEP: Duration = Duration::from_millis(10);

/// Why a socket could not be opened, or nothing be asked on it.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
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
    /// It ended the connection without a word.
    #[error("secgroupd on {} ended the connection without an answer: it serves too many at once, or was stopped; ask again", shown(.socket))]
    Ended {
        /// The socket.
        socket: PathBuf,
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

/// The file of an open socket, removed when this is dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and number: the path may be another daemon's by then.
    identity: (u64, u64),
}

impl SocketFile {
    /// Opens a socket, in place of what a dead daemon left. Must be called within a tokio runtime with I/O.
    ///
    /// # Errors
    ///
    /// When another daemon answers there, the name belongs to something else, or the system refuses.
    pub fn open(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |source| SocketError::Failed {
            what: "open",
            socket: path.to_owned(),
            source,
        };
        make_way(path)?;
        let listener = bind(path).map_err(failed)?;
        let file = std::fs::symlink_metadata(path).map_err(failed)?;
        let identity = (file.dev(), file.ino());
        let path = path.to_owned();
        Ok((SocketFile { path, identity }, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let file = std::fs::symlink_metadata(&self.path);
        if file.is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether root is at the other end, as the kernel says.
pub fn of_root(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0)
}

/// Connects without waiting longer than until `end` for a daemon that accepts nobody.
pub fn connect(socket: &Path, end: Instant) -> io::Result<std::os::unix::net::UnixStream> {
    let address = UnixAddr::new(socket)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let ours = nix::sys::socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    loop {
        match nix::sys::socket::connect(ours.as_raw_fd(), &address) {
            Ok(()) => break,
            // Its queue is full.
            Err(Errno::EAGAIN | Errno::EINTR) if Instant::now() < end => {
                std::thread::sleep(STEP);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let stream = std::os::unix::net::UnixStream::from(ours);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Makes sure that whatever has the socket's name is a socket that nobody answers on.
fn make_way(path: &Path) -> Result<(), SocketError> {
    let socket = path.to_owned();
    match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(SocketError::NotASocket { socket });
        }
        Ok(_) => {}
    }
    match connect(path, Instant::now()) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        // One that is too busy to accept lives as well.
        Ok(_) => Err(SocketError::Taken { socket }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketError::Taken { socket })
        }
        Err(source) => Err(SocketError::Failed {
            what: "take over",
            socket,
            source,
        }),
    }
}

/// Binds under another name and renames, so that the socket is never there with the wrong permissions, nor missing.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty());
    let new = directory
        .unwrap_or(Path::new("."))
        .join(format!(".{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new)?;
    let named = std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o660))
        .and_then(|()| std::fs::rename(&new, path));
    if named.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    named.map(|()| listener)
}
