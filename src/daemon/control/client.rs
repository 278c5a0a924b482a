//! The asking side, in the command.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::messages::{Request, Response};
use crate::daemon::socket::{SocketError, connect};

/// The most an answer may hold, in bytes: a status with a hundred thousand rules fits.
const ANSWER_AT_MOST: usize = 256 << 20;

/// Asks the daemon behind `socket`, and waits for its answer at most `limit`.
///
/// # Errors
/// When there is no daemon, we may not ask it, or it does not answer. That it refuses is an answer.
pub fn ask(socket: &Path, request: &Request, limit: Duration) -> Result<Response, SocketError> {
    let end = Instant::now() + limit;
    let bytes = exchange(socket, request, end).map_err(|error| translate(socket, limit, error))?;
    let socket = socket.to_owned();
    if bytes.is_empty() {
        return Err(SocketError::Ended { socket });
    }
    serde_json::from_slice(&bytes).map_err(|error| SocketError::Garbled {
        socket,
        what: error.to_string(),
    })
}

fn exchange(socket: &Path, request: &Request, end: Instant) -> io::Result<Vec<u8>> {
    let mut stream = connect(socket, end)?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.set_write_timeout(Some(left(end)?))?;
    // A daemon that is full, or has no time for us, says so before it has read anything.
    let written = stream.write_all(&line);
    let bytes = read_line(&mut stream, end)?;
    match bytes.is_empty() {
        true => written.map(|()| bytes),
        false => Ok(bytes),
    }
}

fn read_line(stream: &mut UnixStream, end: Instant) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut part = vec![0; 64 << 10];
    while bytes.last() != Some(&b'\n') {
        stream.set_read_timeout(Some(left(end)?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => bytes.extend(part.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Ended with something of ours unread: what it said before still counts.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
        if bytes.len() > ANSWER_AT_MOST {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
    }
    Ok(bytes)
}

/// The time that is left until `end`, which is never zero: a socket takes zero for "for ever".
fn left(end: Instant) -> io::Result<Duration> {
    match end.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    }
}

fn translate(socket: &Path, limit: Duration, source: io::Error) -> SocketError {
    let what = "ask on";
    let socket = socket.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            SocketError::NotRunning { socket }
        }
        io::ErrorKind::PermissionDenied => SocketError::Denied { socket },
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SocketError::Ended { socket },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            SocketError::TimedOut { socket, limit }
        }
        _ => SocketError::Failed {
            what,
            socket,
            source,
        },
    }
}
