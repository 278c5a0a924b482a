//! The asking side, in the command.

use super::{LabRequest, REQUEST_AT_MOST, Reply, is_name, name_of};
use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, getsockopt, recvmsg};
use nix::unistd::geteuid;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

/// The longest that a lab may be silent while it works.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is asked whether the lab's process has ended, which takes some milliseconds.
const LOOK: Duration = Duration::from_millis(1);

/// Why a lab did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It names too much.
    #[error("more is named than a lab takes at once: name fewer ports (--ports)")]
    TooLong,
    /// None is up.
    #[error(
        "no lab is up: bring one up with `secgroupd lab up PATH` in another terminal, or in this one with --detach"
    )]
    None,
    /// None of this name.
    #[error("no lab named {asked} is up; up: {}", list(.up))]
    Unknown {
        /// As asked.
        asked: String,
        /// What there is.
        up: Vec<String>,
    },
    /// More than one, and none was named.
    #[error("several labs are up: {}; name one with --name", .0.join(", "))]
    Several(Vec<String>),
    /// Another user has the name.
    #[error("the socket of the lab {0} belongs to another user")]
    Foreign(String),
    /// The connection broke.
    #[error("the lab does not answer: {0}")]
    Broken(#[from] io::Error),
    /// What the lab says.
    #[error("{0}")]
    Refused(String),
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

/// The labs of this user that are up.
pub fn labs() -> Vec<String> {
    // Anybody may bind any name: bytes that are no text, and what no lab is called, are passed over.
    let text = std::fs::read("/proc/net/unix").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let prefix = format!("@{}", name_of(geteuid().as_raw(), ""));
    let names: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().last()?.strip_prefix(&prefix))
        .filter(|name| is_name(name))
        .map(str::to_owned)
        .collect();
    names.into_iter().collect()
}

/// A connection to a lab.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

/// An answer.
#[derive(Debug)]
pub struct LabAnswer {
    /// What was asked for.
    pub payload: serde_json::Value,
    /// Descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

impl Client {
    /// Connects to the lab of this name, or to the only one.
    pub fn connect(name: Option<&str>) -> Result<Self, ClientError> {
        let up = labs();
        let lab = match (name, up.as_slice()) {
            (Some(name), _) => name.to_owned(),
            (None, [only]) => only.clone(),
            (None, []) => return Err(ClientError::None),
            (None, _) => return Err(ClientError::Several(up)),
        };
        let uid = geteuid().as_raw();
        let address = SocketAddr::from_abstract_name(name_of(uid, &lab))?;
        let stream = match UnixStream::connect_addr(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(ClientError::Unknown { asked: lab, up });
            }
            stream => stream?,
        };
        let peer = getsockopt(&stream, PeerCredentials).map_err(io::Error::from)?;
        if peer.uid() != uid {
            return Err(ClientError::Foreign(lab));
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream })
    }

    /// Asks, and waits for the answer.
    pub fn ask(
        &mut self,
        request: &LabRequest,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<LabAnswer, ClientError> {
        let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
        line.push(b'\n');
        if line.len() as u64 > REQUEST_AT_MOST {
            return Err(ClientError::TooLong);
        }
        self.stream.write_all(&line)?;
        // Descriptors come with the first bytes.
        let (first, descriptors) = self.receive()?;
        let mut reader = BufReader::new(io::Cursor::new(first).chain(&self.stream));
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            match serde_json::from_str(&line).map_err(io::Error::from)? {
                Reply::Progress { done, total } => progress(done, total),
                Reply::Done { payload } => {
                    return Ok(LabAnswer {
                        payload,
                        descriptors,
                    });
                }
                Reply::Error { message } => return Err(ClientError::Refused(message)),
            }
        }
    }

    fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let mut bytes = vec![0; 4096];
        let mut space = nix::cmsg_space!([i32; 8]);
        let mut descriptors = Vec::new();
        let length = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let received = recvmsg::<()>(
                self.stream.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                MsgFlags::MSG_CMSG_CLOEXEC,
            );
            let message = match received {
                Err(Errno::EINTR) => continue,
                message => message?,
            };
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = control {
                    // SAFETY: the kernel has just made these descriptors for this process, and nobody else has them.
                    #[allow(unsafe_code)]
                    descriptors.extend(
                        raw.into_iter()
                            .map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }),
                    );
                }
            }
            break message.bytes;
        };
        bytes.truncate(length);
        Ok((bytes, descriptors))
    }

    /// Waits until the lab's process has ended, and its namespaces with it.
    pub fn until_it_ends(mut self, pid: u64) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        let start = Instant::now();
        while is_alive(pid) && start.elapsed() < PATIENCE {
            std::thread::sleep(LOOK);
        }
    }
}

/// Whether a process has a thread that has not ended: one that nobody has waited for yet has none.
fn is_alive(pid: u64) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default();
        !matches!(state.split_whitespace().next(), None | Some("Z" | "X"))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_prefix_is_of_one_user() {
        assert!(super::name_of(7, "x").starts_with(super::super::PREFIX));
        assert_ne!(super::name_of(7, "1/x"), super::name_of(71, "x"));
    }
}
