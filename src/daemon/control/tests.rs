//! Both sides of the control socket, against each other and against strangers.

use super::*;
use crate::source::texts::Texts;
use serde_json::Value;
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

const LIMIT: Duration = Duration::from_secs(3);

fn socket() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/control.sock");
    (dir, path)
}

/// A daemon that answers each request with itself.
async fn echo(mut calls: Receiver<Call>) {
    while let Some(call) = calls.recv().await {
        let payload = json!({ "uid": call.peer.uid, "request": call.request });
        call.answer(Response::Ok { payload });
    }
}

async fn asked(path: &Path, request: Request) -> Result<Response, ControlError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || ask(&path, &request, LIMIT))
        .await
        .unwrap()
}

async fn said(path: &Path, bytes: Vec<u8>) -> String {
    let path = path.to_owned();
    let talk = move || {
        let mut stream = UnixStream::connect(path).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

#[test]
fn the_words_on_the_wire() {
    let text = |request: &Request| serde_json::to_string(request).unwrap();
    assert_eq!(text(&Request::Status), r#"{"command":"status"}"#);
    let apply = Request::Apply {
        path: "/x.yaml".into(),
        texts: Texts::default(),
        instance: None,
        confirm: None,
    };
    assert_eq!(
        text(&apply),
        r#"{"command":"apply","path":"/x.yaml","texts":{"files":[],"templates":[]}}"#
    );
    // As an earlier command says it.
    let reload: Request = serde_json::from_str(r#"{"command":"reload"}"#).unwrap();
    assert_eq!(reload, Request::Reload { force: false });
    let refused: Response =
        serde_json::from_str(r#"{"outcome":"refused","message":"no"}"#).unwrap();
    assert_eq!(
        refused,
        Response::Refused {
            message: "no".into(),
            details: Value::Null
        }
    );
}

#[tokio::test]
async fn asks_and_answers() {
    let (_dir, path) = socket();
    assert!(matches!(
        asked(&path, Request::Status).await,
        Err(ControlError::NotRunning { .. })
    ));
    let (open, calls) = ControlSocket::open(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );
    tokio::spawn(echo(calls));
    let Response::Ok { payload } = asked(&path, Request::Status).await.unwrap() else {
        panic!()
    };
    assert_eq!(payload["request"]["command"], "status");
    assert_eq!(payload["uid"], nix::unistd::geteuid().as_raw());
    let reload = asked(&path, Request::Reload { force: false })
        .await
        .unwrap();
    match nix::unistd::geteuid().is_root() {
        true => assert!(matches!(reload, Response::Ok { .. })),
        false => assert!(matches!(reload, Response::Refused { .. })),
    }
    assert!(matches!(
        ControlSocket::open(&path),
        Err(ControlError::Taken { .. })
    ));
    drop(open);
    assert!(!path.exists());
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        0
    );
}

/// Not a test of its own: what the one below runs as another user, in a process of its own.
#[test]
fn asker() {
    if let (Some(socket), Ok(request)) = (
        std::env::var_os("ASKER_SOCKET"),
        std::env::var("ASKER_REQUEST"),
    ) {
        let request: Request = serde_json::from_str(&request).unwrap();
        println!("asked: {:?}", ask(Path::new(&socket), &request, LIMIT));
    }
}

#[tokio::test]
async fn others_may_only_ask() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let (dir, path) = socket();
    let (_open, calls) = ControlSocket::open(&path).unwrap();
    tokio::spawn(echo(calls));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(dir.path(), 0o755);
    // Where the tests were built, another user may not be let in.
    let program = dir.path().join("asker");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let as_another = |request: Request| {
        let mut command = std::process::Command::new(&program);
        command.uid(12345).gid(12345).current_dir("/");
        command.args(["--exact", "daemon::control::tests::asker", "--nocapture"]);
        command.env("ASKER_SOCKET", &path);
        command.env("ASKER_REQUEST", serde_json::to_string(&request).unwrap());
        tokio::task::spawn_blocking(move || {
            let output = command.output().ok()?;
            String::from_utf8(output.stdout).ok()
        })
    };
    let Some(denied) = as_another(Request::Status).await.unwrap() else {
        eprintln!("skipped: this user namespace has no other user");
        return;
    };
    assert!(denied.contains("asked: Err(Denied"), "{denied}");
    mode(&path, 0o666);
    let status = as_another(Request::Status).await.unwrap().unwrap();
    assert!(
        status.contains("asked: Ok(Ok") && status.contains("12345"),
        "{status}"
    );
    let apply = Request::Apply {
        path: "/x".into(),
        texts: Texts::default(),
        instance: None,
        confirm: None,
    };
    let confirm = Request::Confirm {
        content: "00".into(),
    };
    let reload = Request::Reload { force: true };
    let files = vec![("x".to_owned(), "#".repeat(100_000))];
    let large = Request::Apply {
        path: "/x".into(),
        texts: Texts {
            files,
            ..Texts::default()
        },
        instance: None,
        confirm: None,
    };
    let told = as_another(large).await.unwrap().unwrap();
    assert!(told.contains("larger than 64 KiB"), "{told}");
    for request in [reload, apply, confirm, Request::Hold, Request::Remove] {
        let refused = as_another(request).await.unwrap().unwrap();
        let expected = "only root may change what is enforced; user 12345";
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn a_dead_daemons_socket_is_replaced_and_nothing_else() {
    let (_dir, path) = socket();
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    assert!(matches!(
        asked(&path, Request::Status).await,
        Err(ControlError::NotRunning { .. })
    ));
    let (open, _calls) = ControlSocket::open(&path).unwrap();
    drop(open);
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(
        ControlSocket::open(&path),
        Err(ControlError::NotASocket { .. })
    ));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn strangers_are_told_off() {
    let (_dir, path) = socket();
    let (_open, calls) = ControlSocket::open(&path).unwrap();
    tokio::spawn(echo(calls));
    for (bytes, answer) in [
        (b"hello\n".to_vec(), "not a request"),
        (b"".to_vec(), "not a request"),
        (b"{\"command\":\"dance\"}\n".to_vec(), "unknown variant"),
        (b"{\"command\":\"status\"}".to_vec(), "\"ok\""),
    ] {
        let text = said(&path, bytes).await;
        assert!(text.contains(answer), "{answer}: {text}");
    }
}

/// Not a test of its own: what the ones below run as another user. Sends the request on each connection, waits for the
/// answers to it, and holds the connections until its input ends.
#[test]
fn crowd() {
    let (Some(socket), Ok(count)) = (std::env::var_os("CROWD_SOCKET"), std::env::var("CROWD"))
    else {
        return;
    };
    let request = std::env::var("CROWD_REQUEST").unwrap_or_default();
    let mut held = Vec::new();
    for _ in 0..count.parse().unwrap() {
        let mut stream = UnixStream::connect(&socket).unwrap();
        if !request.is_empty() {
            let _ = stream.write_all(request.as_bytes());
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(!answer.is_empty());
        }
        held.push(stream);
    }
    println!("connected");
    let _ = std::io::stdin().read_line(&mut String::new());
    let open = |stream: &UnixStream| {
        stream.set_nonblocking(true).unwrap();
        let mut stream = stream;
        matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    println!(
        "open: {}",
        held.iter().filter(|stream| open(stream)).count()
    );
}

/// Starts a crowd as another user and waits until it is connected; `None` where there is no other user.
async fn crowd_of_another(
    dir: &Path,
    socket: &Path,
    count: usize,
    request: &str,
) -> Option<std::process::Child> {
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(dir, 0o755);
    mode(socket, 0o666);
    // By a process of its own: one that this process starts meanwhile would hold the copy open for writing.
    let program = dir.join(format!("crowd-of-{count}"));
    let mut copy = std::process::Command::new("cp");
    copy.arg(std::env::current_exe().unwrap()).arg(&program);
    assert!(copy.status().unwrap().success());
    let mut command = std::process::Command::new(program);
    command.uid(12345).gid(12345).current_dir("/");
    command.args(["--exact", "daemon::control::tests::crowd", "--nocapture"]);
    command.env("CROWD_SOCKET", socket);
    command.env("CROWD", count.to_string());
    command.env("CROWD_REQUEST", request);
    command.stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped());
    let connected = move || {
        let mut child = command.spawn().ok()?;
        let mut said = Vec::new();
        let output = child.stdout.as_mut()?;
        while !said.ends_with(b"connected\n") {
            let mut byte = [0];
            if output.read(&mut byte).ok()? == 0 {
                panic!("{}", String::from_utf8_lossy(&said));
            }
            said.extend(byte);
        }
        Some(child)
    };
    tokio::task::spawn_blocking(connected).await.unwrap()
}

#[tokio::test]
async fn a_silent_crowd_keeps_neither_root_nor_its_own_out() {
    let (dir, path) = socket();
    let (_open, calls) = ControlSocket::open(&path).unwrap();
    tokio::spawn(echo(calls));
    let root = nix::unistd::geteuid().is_root();
    let crowd = match root {
        true => crowd_of_another(dir.path(), &path, 300, "").await,
        false => None,
    };
    let Some(mut crowd) = crowd else {
        eprintln!("skipped: there is no other user");
        return;
    };
    // Root's own silent ones end as well, and the request is answered before any of them gives up.
    let silent: Vec<_> = (0..40)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let reload = asked(&path, Request::Reload { force: false }).await;
    assert!(matches!(reload, Ok(Response::Ok { .. })), "{reload:?}");
    let again = crowd_of_another(dir.path(), &path, 1, "{\"command\":\"status\"}\n").await;
    let mut again = again.unwrap();
    let finish = move || {
        drop(again.stdin.take());
        again.wait().unwrap();
        drop(crowd.stdin.take());
        let mut said = String::new();
        let output = crowd.stdout.as_mut().unwrap();
        output.read_to_string(&mut said).unwrap();
        crowd.wait().unwrap();
        said
    };
    let said = tokio::task::spawn_blocking(finish).await.unwrap();
    // One place went to the member that asked.
    let places = crate::daemon::connections::PLACES;
    assert!(said.contains(&format!("open: {}", places - 1)), "{said}");
    drop(silent);
}

/// Where the messages of this thread go.
#[derive(Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn refused_requests_are_logged_short_and_seldom() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    // Where there is one subscriber only, another test that comes first would keep this line off for all.
    let _another = tracing::Dispatch::new(tracing_subscriber::fmt().finish());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (dir, path) = socket();
    let (_open, calls) = ControlSocket::open(&path).unwrap();
    tokio::spawn(echo(calls));
    let long = "\\u0001".repeat(9000);
    let texts = "{\"files\":[],\"templates\":[]}";
    let apply = format!("{{\"command\":\"apply\",\"path\":\"/{long}\",\"texts\":{texts}}}\n");
    let Some(mut crowd) = crowd_of_another(dir.path(), &path, 200, &apply).await else {
        eprintln!("skipped: there is no other user");
        return;
    };
    drop(crowd.stdin.take());
    crowd.wait().unwrap();
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("only root may apply"), "{text}");
    assert!(text.lines().count() < 10 && text.len() < 2000, "{text}");
}

#[tokio::test]
async fn a_daemon_that_does_not_answer() {
    let (_dir, path) = socket();
    let (_open, mut calls) = ControlSocket::open(&path).unwrap();
    let hanging = path.clone();
    let short = Duration::from_millis(200);
    let asking = tokio::task::spawn_blocking(move || ask(&hanging, &Request::Status, short));
    let call = calls.recv().await.unwrap();
    assert!(matches!(
        asking.await.unwrap(),
        Err(ControlError::TimedOut { .. })
    ));
    call.answer(Response::Ok {
        payload: Value::Null,
    });
    let stopping = path.clone();
    let asking = tokio::task::spawn_blocking(move || ask(&stopping, &Request::Status, LIMIT));
    drop(calls.recv().await.unwrap());
    let answer = asking.await.unwrap().unwrap();
    assert_eq!(
        answer,
        Response::Error {
            message: "the daemon is stopping".into()
        }
    );
}
