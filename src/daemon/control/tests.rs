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
use std::time::{Duration, Instant};
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

#[tokio::test]
async fn the_silent_neither_stay_nor_keep_others_out() {
    let (_dir, path) = socket();
    let (_open, calls) = ControlSocket::open(&path).unwrap();
    tokio::spawn(echo(calls));
    let silent: Vec<_> = (0..40)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let start = Instant::now();
    let waiting = path.clone();
    let late = tokio::task::spawn_blocking(move || {
        ask(&waiting, &Request::Status, Duration::from_secs(12))
    });
    assert!(matches!(late.await.unwrap(), Ok(Response::Ok { .. })));
    assert!(
        start.elapsed() >= Duration::from_secs(4),
        "32 were served before it: {:?}",
        start.elapsed()
    );
    drop(silent);
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
