//! The answering side, in the daemon.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::messages::{Request, Response};
use crate::daemon::connections::{Asked, serve};
use crate::daemon::seldom::Seldom;
use crate::daemon::socket::{SocketError, SocketFile, of_root};

/// The most a request may hold, in bytes, its line end included.
const REQUEST_AT_MOST: u64 = 64 << 10;
/// The same of root's: it holds the texts of a candidate. Judging them takes four times as much memory, which fits the
/// unit's `MemoryMax=`.
const ROOTS_REQUEST_AT_MOST: u64 = 128 << 20;
/// The time in which a request must have come, and its answer gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests of others than root that the daemon has before it at once. Each may hold an answer of megabytes until its
/// asker has read it, and root's request waits for no more than these.
const TURNS_OF_OTHERS: usize = 4;

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
        let (calls, receiver) = mpsc::channel(1);
        let accept = async move || {
            let (stream, _) = listener.accept().await?;
            let of_root = of_root(&stream);
            Ok((stream, of_root))
        };
        let desk = Desk {
            calls,
            turns_of_others: Arc::new(Semaphore::new(TURNS_OF_OTHERS)),
            refused: Arc::new(Seldom::new()),
        };
        let answer = move |stream, asked| desk.clone().converse(stream, asked);
        let served = async move { serve("the control socket", accept, answer).await };
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

/// What all connections share.
#[derive(Clone)]
struct Desk {
    calls: mpsc::Sender<Call>,
    turns_of_others: Arc<Semaphore>,
    /// Lines of the log about requests that are refused.
    refused: Arc<Seldom>,
}

impl Desk {
    async fn converse(self, mut stream: UnixStream, asked: Asked) {
        let request = read_request(&mut stream).await;
        asked.begin();
        let mut _turn = None;
        let response = match (request, stream.peer_cred()) {
            (Err(why), _) => error(&why),
            (_, Err(why)) => error(&format!("the kernel does not say who asks: {why}")),
            (Ok(request), Ok(peer)) => {
                let peer = Peer {
                    uid: peer.uid(),
                    gid: peer.gid(),
                    pid: peer.pid(),
                };
                if peer.uid != 0 {
                    _turn = self.turns_of_others.acquire().await.ok();
                }
                self.respond(request, peer).await
            }
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

    async fn respond(&self, request: Request, peer: Peer) -> Response {
        if request.changes() && peer.uid != 0 {
            self.refused.log(|left_out| {
                tracing::warn!(
                    uid = peer.uid,
                    pid = peer.pid,
                    left_out,
                    "refused on the control socket: only root may {}",
                    command(&request)
                );
            });
            return only_root(peer);
        }
        let (answer, answered) = oneshot::channel();
        let call = Call {
            request,
            peer,
            answer,
        };
        let stopping = || error("the daemon is stopping");
        if self.calls.send(call).await.is_err() {
            return stopping();
        }
        answered.await.unwrap_or_else(|_| stopping())
    }
}

fn error(message: &str) -> Response {
    Response::Error {
        message: message.to_owned(),
    }
}

/// The request, or why there is none.
async fn read_request(stream: &mut UnixStream) -> Result<Request, String> {
    let most = match of_root(stream) {
        true => ROOTS_REQUEST_AT_MOST,
        false => REQUEST_AT_MOST,
    };
    let mut line = Vec::new();
    let mut limited = BufReader::with_capacity(1024, stream.take(most));
    match timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await {
        Err(_) => return Err("no request came within 5 s".into()),
        Ok(Err(_)) => return Err("the request could not be read".into()),
        Ok(Ok(_)) if line.len() as u64 >= most && line.last() != Some(&b'\n') => {
            return Err(format!("the request is larger than {} KiB", most >> 10));
        }
        Ok(Ok(_)) => {}
    }
    serde_json::from_slice(&line).map_err(|why| format!("not a request: {why}"))
}

/// The request's name alone: the rest of it may be long.
fn command(request: &Request) -> String {
    let value = serde_json::to_value(request).unwrap_or_default();
    value["command"].as_str().unwrap_or_default().to_owned()
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
