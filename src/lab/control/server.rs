//! The answering side, in the lab's process.

use super::{LabRequest, REQUEST_AT_MOST, Reply, is_name, name_of};
use crate::lab::live::Lab;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg};
use nix::unistd::geteuid;
use serde_json::json;
use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The time in which a request must have come, and a part of an answer gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a connection that could not be taken: out of descriptors, while others are about to be closed.
const PAUSE: Duration = Duration::from_millis(50);
/// How many are served at once.
const CONNECTIONS_AT_MOST: usize = 64;

/// Why a lab has no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A lab of this name is up.
    #[error(
        "a lab named {0} is up already: end it with `secgroupd lab down --name {0}`, or give this one another name with --name"
    )]
    Taken(String),
    /// The name is none.
    #[error(
        "`{0}` is no name of a lab: give it one of letters, digits, `-`, `_` and `.` with --name"
    )]
    Name(String),
    /// The system refuses.
    #[error("cannot open the lab's control socket: {0}")]
    Failed(io::Error),
}

/// Binds the socket of a lab of this name, in the network namespace of this process.
pub fn bind(lab: &str) -> Result<UnixListener, BindError> {
    if !is_name(lab) {
        return Err(BindError::Name(lab.to_owned()));
    }
    let name = name_of(geteuid().as_raw(), lab);
    let address = SocketAddr::from_abstract_name(name).map_err(BindError::Failed)?;
    UnixListener::bind_addr(&address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(lab.to_owned()),
        _ => BindError::Failed(error),
    })
}

/// Answers from now on, in threads of its own; `down` is called when the end is asked for.
pub fn serve(lab: &Arc<Lab>, listener: UnixListener, down: impl Fn() + Send + Sync + 'static) {
    let (lab, down) = (lab.clone(), Arc::new(down));
    let open = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                std::thread::sleep(PAUSE);
                continue;
            };
            if open.load(Ordering::Relaxed) >= CONNECTIONS_AT_MOST || !is_owner(&stream) {
                continue;
            }
            open.fetch_add(1, Ordering::Relaxed);
            let (lab, down, open) = (lab.clone(), down.clone(), open.clone());
            std::thread::spawn(move || {
                // Who has gone away needs no answer.
                let _ = answer(&lab, stream, &*down);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
}

/// Whether the peer is the user who made the lab; in its user namespace that is 0 for both.
fn is_owner(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

fn answer(lab: &Arc<Lab>, mut stream: UnixStream, down: &dyn Fn()) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?.take(REQUEST_AT_MOST)).read_line(&mut line)?;
    let done = |payload| Reply::Done { payload };
    let error = |message: String| Reply::Error { message };
    let reply = match serde_json::from_str(&line) {
        Err(wrong) => error(format!("this is no request to a lab: {wrong}")),
        Ok(LabRequest::Status) => done(json!(lab.status())),
        Ok(LabRequest::Enter { node }) => match lab.door(&node) {
            Ok(door) => return pass(&stream, &done(json!({ "node": node })), &door),
            Err(message) => error(message),
        },
        Ok(LabRequest::Probe { from, to, service }) => match lab.try_one(&from, &to, service) {
            Ok(cells) => done(json!(cells)),
            Err(message) => error(message),
        },
        Ok(LabRequest::Reach { wanted }) => {
            let mut told = 0;
            let progress = &mut |done: usize, total: usize| {
                // A line for each hundredth; what is tried anew begins again.
                let now = done * 100 / total.max(1);
                if now != told {
                    told = now;
                    let _ = write(&stream, &Reply::Progress { done, total });
                }
            };
            match lab.reach(&wanted, progress) {
                Ok(reach) => done(json!(reach)),
                Err(wrong) => error(wrong.to_string()),
            }
        }
        Ok(LabRequest::Down) => {
            write(&stream, &done(json!({ "pid": std::process::id() })))?;
            down();
            // Whoever asked waits for the end of this connection, and of this process.
            loop {
                std::thread::park();
            }
        }
    };
    write(&stream, &reply)?;
    stream.flush()
}

fn write(mut stream: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Answers with descriptors.
fn pass(stream: &UnixStream, reply: &Reply, descriptors: &[OwnedFd]) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(&line)],
        &[ControlMessage::ScmRights(&raw)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}
