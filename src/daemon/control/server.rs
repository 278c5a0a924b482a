//! The answering side, in the daemon.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::{ControlError, Request, Response, connect};

/// The most a request may hold, in bytes, its line end included.
const REQUEST_AT_MOST: u64 = 64 << 10;
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
    path: PathBuf,
    identity: (u64, u64),
    server: tokio::task::JoinHandle<()>,
}

impl ControlSocket {
    /// Opens the socket at `path`, with its directory when that is missing, in place of what a dead daemon left.
    /// Requests come out of the receiver. Must be called within a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// When another daemon answers there, the name belongs to something else, or the system refuses.
    pub fn open(path: &Path) -> Result<(ControlSocket, mpsc::Receiver<Call>), ControlError> {
        let failed = |what| {
            move |source| ControlError::Failed {
                what,
                socket: path.to_owned(),
                source,
            }
        };
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(directory);
            made.map_err(failed("create the directory of"))?;
        }
        make_way(path)?;
        let listener = bind(path).map_err(failed("open"))?;
        let file = std::fs::symlink_metadata(path).map_err(failed("look at"))?;
        let (calls, receiver) = mpsc::channel(CONNECTIONS_AT_MOST);
        let socket = ControlSocket {
            path: path.to_owned(),
            identity: (file.dev(), file.ino()),
            server: tokio::spawn(serve(listener, calls)),
        };
        Ok((socket, receiver))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.server.abort();
        // Perhaps another daemon's by now.
        let file = std::fs::symlink_metadata(&self.path);
        if file.is_ok_and(|file| (file.dev(), file.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes sure that whatever has the socket's name is a socket that nobody answers on.
pub(in crate::daemon) fn make_way(path: &Path) -> Result<(), ControlError> {
    let socket = path.to_owned();
    match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(ControlError::NotASocket { socket });
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
        Ok(_) => Err(ControlError::Taken { socket }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(ControlError::Taken { socket })
        }
        Err(source) => Err(ControlError::Failed {
            what: "take over",
            socket,
            source,
        }),
    }
}

/// Binds under another name and renames, so that the socket is never there with the wrong permissions, nor missing.
pub(in crate::daemon) fn bind(path: &Path) -> io::Result<UnixListener> {
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

async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_AT_MOST));
    // Ended with this task: nobody is served by a daemon that has closed its socket.
    let mut served = tokio::task::JoinSet::new();
    loop {
        while served.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let calls = calls.clone();
                served.spawn(async move {
                    converse(stream, calls).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: without a pause this would spin.
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
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
    let mut limited = BufReader::new(stream.take(REQUEST_AT_MOST));
    match timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await {
        Err(_) => return error("no request came within 5 s"),
        Ok(Err(_)) => return error("the request could not be read"),
        Ok(Ok(_)) if line.len() as u64 >= REQUEST_AT_MOST && line.last() != Some(&b'\n') => {
            return error("the request is larger than 64 KiB");
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
