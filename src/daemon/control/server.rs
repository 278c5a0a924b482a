//! The answering side, in the daemon.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::messages::{Request, Response};
use crate::daemon::socket::{SocketError, SocketFile, serve};

/// The most a request may hold, in bytes, its line end included.
const REQUEST_AT_MOST: u64 = 64 << 10;
/// The same of root's: it holds the texts of a candidate.
const ROOTS_REQUEST_AT_MOST: u64 = 256 << 20;
/// The time in which a request must have come, and its answer gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many are served at once; others wait in the kernel's queue.
const CONNECTIONS_AT_MOST: usize = 32;

/// Who is at the other end of a connection, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its process, when it is visible here.
    pub pid: Option<i32>,
}

/// A request that awaits its answer. It may be dropped unanswered: the asker is then told that the daemon stops.
#[derive(Debug)]
pub struct Call {
    /// What is asked; whether the peer may ask it is checked already.
    pub request: Request,
    /// Who asks.
    pub peer: Peer,
    answer: oneshot::Sender<Response>,
}

impl Call {
    /// Answers; an asker who has gone away is no error.
    pub fn answer(self, response: Response) {
        let _ = self.answer.send(response);
    }
}

/// The open control socket. Dropped, it serves nobody any more and takes its file away.
#[derive(Debug)]
pub struct ControlSocket {
    server: tokio::task::JoinHandle<()>,
    _file: SocketFile,
}

impl ControlSocket {
    /// Opens the socket at `path`, with its directory when that is missing, in place of what a dead daemon left.
    /// Requests come out of the receiver. Must be called within a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// When another daemon answers there, the name belongs to something else, or the system refuses.
    pub fn open(path: &Path) -> Result<(ControlSocket, mpsc::Receiver<Call>), SocketError> {
        if let Some(directory) = path.parent() {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o755).create(directory);
            made.map_err(|source| SocketError::Failed {
                what: "create the directory of",
                socket: path.to_owned(),
                source,
            })?;
        }
        let (file, listener) = SocketFile::open(path)?;
        let (calls, receiver) = mpsc::channel(CONNECTIONS_AT_MOST);
        let accept = async move || Ok(listener.accept().await?.0);
        let answer = move |stream| converse(stream, calls.clone());
        let served = async move { serve(CONNECTIONS_AT_MOST, accept, answer).await };
        let server = tokio::spawn(served);
        let _file = file;
        Ok((ControlSocket { server, _file }, receiver))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn converse(mut stream: UnixStream, calls: mpsc::Sender<Call>) {
    let response = match stream.peer_cred() {
        Ok(peer) => {
            let peer = Peer {
                uid: peer.uid(),
                gid: peer.gid(),
                pid: peer.pid(),
            };
            respond(&mut stream, peer, &calls).await
        }
        Err(error) => Response::Error {
            message: format!("the kernel does not say who asks: {error}"),
        },
    };
    let mut line = serde_json::to_vec(&response)
        .unwrap_or_else(|_| br#"{"outcome":"error","message":"unsayable"}"#.to_vec());
    line.push(b'\n');
    let _ = timeout(PATIENCE, async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    })
    .await;
}

async fn respond(stream: &mut UnixStream, peer: Peer, calls: &mpsc::Sender<Call>) -> Response {
    let error = |message: &str| Response::Error {
        message: message.to_owned(),
    };
    let mut line = Vec::new();
    let most = match peer.uid {
        0 => ROOTS_REQUEST_AT_MOST,
        _ => REQUEST_AT_MOST,
    };
    let mut limited = BufReader::new(stream.take(most));
    match timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await {
        Err(_) => return error("no request came within 5 s"),
        Ok(Err(_)) => return error("the request could not be read"),
        Ok(Ok(_)) if line.len() as u64 >= most && line.last() != Some(&b'\n') => {
            return error(&format!("the request is larger than {} KiB", most >> 10));
        }
        Ok(Ok(_)) => {}
    }
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(why) => return error(&format!("not a request: {why}")),
    };
    if request.changes() && peer.uid != 0 {
        tracing::warn!(
            uid = peer.uid,
            pid = peer.pid,
            ?request,
            "refused on the control socket: only root may change"
        );
        return only_root(peer);
    }
    let (answer, answered) = oneshot::channel();
    let call = Call {
        request,
        peer,
        answer,
    };
    let stopping = || error("the daemon is stopping");
    if calls.send(call).await.is_err() {
        return stopping();
    }
    answered.await.unwrap_or_else(|_| stopping())
}

fn only_root(peer: Peer) -> Response {
    Response::Refused {
        message: format!(
            "only root may change what is enforced; user {} may only ask for the status",
            peer.uid
        ),
        details: json!({ "uid": peer.uid, "needed": Value::from(0) }),
    }
}
