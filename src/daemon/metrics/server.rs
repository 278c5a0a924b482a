//! HTTP/1.1, as little as Prometheus and curl need: one request on a connection, bounded in size and time.

use crate::daemon::connections::Asked;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The most a request may hold, in bytes, its headers included.
const REQUEST_AT_MOST: usize = 4 << 10;
/// The time for the request to come, for the page to be made, and for the answer to go: each.
const PATIENCE: Duration = Duration::from_secs(5);

/// An asker of the page. Dropped unanswered, the answer says that the daemon stops. All askers share one text: it may be
/// megabytes, and not all of them read it.
pub type Asker = oneshot::Sender<Arc<str>>;

pub async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    asked: Asked,
    askers: mpsc::Sender<Asker>,
) {
    let head = timeout(PATIENCE, read_head(&mut stream)).await;
    asked.begin();
    let (head, page) = match head {
        // One who connects and says nothing wants no answer, but is told why there is none.
        Err(_) => (
            refusal("408 Request Timeout", "no request came within 5 s"),
            None,
        ),
        Ok(Err(_)) => return,
        Ok(Ok(None)) => (
            refusal(
                "431 Request Header Fields Too Large",
                "the request is larger than 4 KiB",
            ),
            None,
        ),
        Ok(Ok(Some(head))) => match wanted(&head) {
            Err(refusal) => (refusal, None),
            Ok(with_body) => answer(with_body, &askers).await,
        },
    };
    let _ = timeout(PATIENCE, async {
        stream.write_all(head.as_bytes()).await?;
        if let Some(page) = &page {
            stream.write_all(page.as_bytes()).await?;
        }
        stream.shutdown().await?;
        asked.end();
        // What is unread when a socket is closed takes back what was said.
        let mut rest = [0; 512];
        for _ in 0..32 {
            if stream.read(&mut rest).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    })
    .await;
}

/// The head of the answer, and the page where it goes with it.
async fn answer(with_body: bool, askers: &mpsc::Sender<Asker>) -> (String, Option<Arc<str>>) {
    const UNAVAILABLE: &str = "503 Service Unavailable";
    match timeout(PATIENCE, ask(askers)).await {
        Ok(Some(page)) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            let head = answer_head("200 OK", kind, "", page.len());
            (head, with_body.then_some(page))
        }
        Ok(None) => (refusal(UNAVAILABLE, "the daemon is stopping"), None),
        Err(_) => {
            let why = "the daemon is busy with a policy; ask again";
            (refusal(UNAVAILABLE, why), None)
        }
    }
}

async fn ask(askers: &mpsc::Sender<Asker>) -> Option<Arc<str>> {
    let (asker, answer) = oneshot::channel();
    askers.send(asker).await.ok()?;
    answer.await.ok()
}

/// The request up to its empty line; `None` if there is more of it than may be.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        let count = stream.read(&mut part).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend(part.iter().take(count));
        let ends = |end: &[u8]| head.windows(end.len()).any(|window| window == end);
        if ends(b"\r\n\r\n") || ends(b"\n\n") {
            return Ok(Some(head));
        }
        if head.len() >= REQUEST_AT_MOST {
            return Ok(None);
        }
    }
}

/// Whether the page is wanted with its text, as GET asks, or without, as HEAD does; else the answer that it is not.
fn wanted(head: &[u8]) -> Result<bool, String> {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else {
        return Err(refusal("400 Bad Request", "this is no HTTP request"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(refusal("505 HTTP Version Not Supported", "only HTTP/1"));
    }
    let path = target.split('?').next().unwrap_or_default();
    match (method, path) {
        ("GET", "/metrics") => Ok(true),
        ("HEAD", "/metrics") => Ok(false),
        (_, "/metrics") => {
            let text = "only GET is answered\n";
            let allow = "Allow: GET, HEAD\r\n";
            let status = "405 Method Not Allowed";
            Err(answer_head(status, "text/plain", allow, text.len()) + text)
        }
        _ => Err(refusal(
            "404 Not Found",
            "there is /metrics, and nothing else",
        )),
    }
}

fn refusal(status: &str, why: &str) -> String {
    answer_head(status, "text/plain", "", why.len() + 1) + why + "\n"
}

/// The head of an answer whose body has so many bytes, its empty line included.
fn answer_head(status: &str, kind: &str, more: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered to these bytes, sent whole; the daemon's page is `page`.
    async fn answered(request: &[u8]) -> String {
        let (mut ours, theirs) = tokio::io::duplex(64 << 10);
        let (askers, mut receiver) = mpsc::channel::<Asker>(1);
        let daemon = tokio::spawn(async move {
            while let Some(asker) = receiver.recv().await {
                let _ = asker.send("page".into());
            }
        });
        let server = tokio::spawn(converse(theirs, Asked::default(), askers));
        ours.write_all(request).await.unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).await.unwrap();
        drop(ours);
        server.await.unwrap();
        daemon.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn only_get_of_one_page() {
        let ok = answered(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            ok.starts_with("HTTP/1.1 200 OK\r\n") && ok.ends_with("\r\n\r\npage"),
            "{ok}"
        );
        assert!(
            ok.contains("Content-Length: 4\r\n") && ok.contains("version=0.0.4"),
            "{ok}"
        );
        let head = answered(b"HEAD /metrics HTTP/1.0\n\n").await;
        assert!(
            head.contains(" 200 ") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        let mut large = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
        large.resize(5000, b'x');
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"GET /metrics/../x HTTP/1.1\r\n\r\n", "404"),
            (
                b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
                "405",
            ),
            (b"\0\xff\r\n\r\n", "400"),
            (b"GET /metrics\r\n\r\n", "400"),
            (b"GET /metrics HTTP/2\r\n\r\n", "505"),
            (&large, "431"),
        ] {
            let answer = answered(request).await;
            let begin = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&begin), "{answer}");
        }
        assert!(
            answered(b"GET /metrics?x=1 HTTP/1.1\r\n\r\n")
                .await
                .contains(" 200 ")
        );
    }
}
