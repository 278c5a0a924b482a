//! Programs that run and programs that have ended, and waiting for what must happen.

#![allow(dead_code, unused_imports, reason = "the bench uses a part of it")]

use std::cell::RefCell;
use std::io::{BufRead, BufReader, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::Pid;

use super::support::until_or;

pub use super::support::{SOON, until};

/// Fails with the lines that differ, for listings are long.
#[track_caller]
pub fn same(before: &str, after: &str, why: &str) {
    let only = |one: &str, other: &str| -> Vec<String> {
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(str::to_owned).collect()
    };
    assert!(
        before == after,
        "{why}: gone are {:#?}, new are {:#?}",
        only(before, after),
        only(after, before)
    );
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        Self::fed(command, Stdio::null())
    }

    /// The same with a standard input.
    pub fn fed(command: &mut Command, input: Stdio) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = command.stdin(input).output().expect("it starts");
        Self {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8(stdout).expect("text"),
            err: String::from_utf8(stderr).expect("text"),
        }
    }

    /// The exit status, and words that it must have said on standard error.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {self:?}");
        }
    }
}

/// A running daemon. It is killed when the test ends.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts a command that is the daemon, or becomes it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it had, in MB.
    pub fn peak_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap() / 1000
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn until_logged(&self, words: &str) {
        until_or(
            || format!("{words:?} was never logged:\n{}", self.log()),
            || self.log().contains(words),
        );
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Sends a signal that ends it, and waits.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        self.wait()
    }

    /// Whether it runs no more.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                thread::sleep(Duration::from_millis(20));
                return (status, self.log());
            }
            assert!(start.elapsed() < SOON, "it does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("its log:\n{}", self.log());
        }
    }
}

/// The service manager's end of the notifications, and its descriptor store.
pub struct Manager {
    socket: UnixDatagram,
    pub path: PathBuf,
    /// The descriptor that it was given last, until it is told to let go of it.
    pub kept: RefCell<Option<OwnedFd>>,
}

impl Manager {
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self {
            socket,
            path,
            kept: RefCell::new(None),
        }
    }

    /// What the daemon says next, or `None` if it is silent for so long.
    pub fn hears(&self, wait: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 4096];
        let mut control = nix::cmsg_space!([RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            flags,
        );
        let received = received.ok()?;
        let passed = received.cmsgs().unwrap().flat_map(|each| match each {
            ControlMessageOwned::ScmRights(passed) => passed,
            _ => Vec::new(),
        });
        // SAFETY: the kernel has just made these for us.
        #[allow(unsafe_code)]
        let passed: Vec<OwnedFd> = passed
            .map(|number| unsafe { OwnedFd::from_raw_fd(number) })
            .collect();
        let length = received.bytes;
        let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if message.contains("FDSTOREREMOVE=1") {
            self.kept.replace(None);
        } else if message.contains("FDSTORE=1") {
            self.kept.replace(passed.into_iter().next());
        }
        Some(message)
    }

    /// Everything up to the message with these words.
    #[track_caller]
    pub fn hears_until(&self, words: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while !heard
            .last()
            .is_some_and(|last: &String| last.contains(words))
        {
            match self.hears(SOON) {
                Some(message) => heard.push(message),
                None => panic!("{words:?} was never told: {heard:?}"),
            }
        }
        heard
    }
}
