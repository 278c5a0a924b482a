//! A host to filter, a peer that knocks, and the real program between them. One file of the tests and a bench.

#![allow(dead_code, reason = "the bench uses a part of it")]

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secgroupd::netfilter::hits::rule_hits;
use secgroupd::netfilter::objects::objects;
use serde_json::Value;
use tempfile::TempDir;

use super::support::{Host, Injector, Link, Outbound, Probe, Sent, join};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_secgroupd");
/// How long anything may take that has to happen.
pub const SOON: Duration = Duration::from_secs(20);
/// How long nothing must happen before it counts as not happening.
pub const WHILE: Duration = Duration::from_millis(300);

/// A definition whose only group lets these TCP ports in, one rule each, and everything out.
pub fn opening(ports: &[u16]) -> String {
    with(ports, "")
}

/// The same with more keys in the instance, as `billing: prepaid, smtp: unblocked, `.
pub fn with(ports: &[u16], instance: &str) -> String {
    let rules: String = ports
        .iter()
        .map(|port| {
            format!("      - {{ action: allow, protocol: tcp, port: {port}, source: any }}\n")
        })
        .collect();
    format!(
        "version: 1\nsecurity_groups:\n  sg-web:\n    inbound:\n{rules}\
         \x20     - {{ action: refuse, protocol: udp, source: any }}\n    outbound:\n\
         \x20     - {{ action: allow, protocol: all, destination: any }}\n\
         instances:\n  ins-web1: {{ {instance}interfaces: {{ eth0: {{ security_groups: [sg-web] }} }} }}\n"
    )
}

/// A definition that is refused, and the words that must tell so.
pub const WRONG: &str = "version: 1\nsecurity_groups:\n  sg-web:\n    inbound:\n      - { action: alow, protocol: tcp, port: 22, source: any }\n";

/// A host, a peer, and a folder.
pub struct Site {
    pub host: Host,
    pub peer: Host,
    pub wire: Link,
    folder: TempDir,
    injector: Injector,
    port: Cell<u16>,
}

impl Site {
    /// The host has 10.0.0.5 on `eth0`, the peer 10.0.0.9. What the host lets in is counted, then dropped.
    pub fn new() -> Self {
        let site = Self::quiet();
        site.host.nft(
            "table inet seen { chain in { type filter hook prerouting priority -150; \
             ip saddr 10.0.0.9 counter drop comment \"in\"; }; }",
        );
        site
    }

    /// The same without a rule of anyone: the host does not filter or track.
    pub fn quiet() -> Self {
        let (host, peer) = (Host::new("host"), Host::new("peer"));
        let wire = join(
            &host,
            "eth0",
            &["10.0.0.5/24", "2001:db8::5/64"],
            &peer,
            "wire",
            &["10.0.0.9/24", "2001:db8::9/64"],
        );
        host.ip("route add default via 10.0.0.9");
        Self {
            injector: Injector::new(&wire.b, &wire.a),
            folder: tempfile::tempdir().expect("a folder"),
            port: Cell::new(10_000),
            host,
            peer,
            wire,
        }
    }

    /// A path in the site's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `run` watches, unless a test says otherwise.
    pub fn definition(&self) -> PathBuf {
        self.path("groups.yaml")
    }

    /// Writes a file where it is, with the folders it needs.
    pub fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file beside it, and renames it over.
    pub fn save(&self, name: &str, text: &str) {
        self.write(&format!("{name}.new"), text);
        fs::rename(self.path(&format!("{name}.new")), self.path(name)).unwrap();
    }

    /// Points a symbolic link elsewhere in one step, as `mv -T` and configuration management do.
    pub fn link(&self, target: &str, name: &str) {
        let new = self.path(&format!("{name}.new"));
        std::os::unix::fs::symlink(target, &new).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// `secgroupd`, with the site's own places for what the subcommand takes. The first word is the subcommand.
    pub fn command(&self, line: &str) -> Command {
        self.program(PROGRAM, line)
    }

    /// The same through another program, which is given the path of ours and its arguments.
    pub fn program(&self, program: impl AsRef<OsStr>, line: &str) -> Command {
        let mut command = self.host.command(program.as_ref());
        if program.as_ref() != PROGRAM {
            command.arg(PROGRAM);
        }
        self.arguments(&mut command, line);
        command
    }

    /// Adds a subcommand, its words, and the site's own places.
    pub fn arguments(&self, command: &mut Command, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        command.args(&words);
        let places = [
            (
                "--definition",
                "run check compile apply explain",
                self.definition(),
            ),
            (
                "--state",
                "run check compile apply explain remove",
                self.path("state"),
            ),
            (
                "--socket",
                "run apply status reload remove",
                self.path("control.sock"),
            ),
        ];
        for (option, takes, path) in places {
            let given = words
                .iter()
                .any(|word| *word == option || *word == "--help");
            if !given && takes.split(' ').any(|each| each == words[0]) {
                command.arg(option).arg(path);
            }
        }
        command.env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
    }

    /// Runs the program to its end.
    pub fn run(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(line))
    }

    /// The daemon's status, as data.
    pub fn status(&self) -> Value {
        self.status_at(&self.path("control.sock"))
    }

    /// The same of a daemon with another socket.
    pub fn status_at(&self, socket: &Path) -> Value {
        let ran = self.run(&format!("status --json --socket {}", socket.display()));
        assert_eq!(ran.code, 0, "{ran:?}");
        serde_json::from_str(&ran.out).expect("JSON")
    }

    /// Starts the daemon on the site's definition and waits until it enforces it.
    pub fn start(&self) -> Daemon {
        let daemon = self.launch("run");
        daemon.until_logged(" enforced for ");
        daemon
    }

    /// Starts the daemon, without waiting.
    pub fn launch(&self, line: &str) -> Daemon {
        Daemon::start(self.command(line))
    }

    /// Whether a TCP connection from the peer to this port would be let in now: one packet is sent, and judged.
    pub fn lets_in(&self, port: u16) -> bool {
        let before = self.seen();
        let source = format!("10.0.0.9:{}", self.next_port());
        self.injector
            .send(&Probe::tcp(&*source, &*format!("10.0.0.5:{port}")));
        self.injector.wait();
        self.seen() > before
    }

    /// Whether the host may open a TCP connection to this address.
    pub fn lets_out(&self, to: &str) -> bool {
        let source = format!("10.0.0.5:{}", self.next_port());
        Outbound::new(&self.wire.a).send(&Probe::tcp(&*source, to)) == Sent::Passed
    }

    /// How many packets came through.
    fn seen(&self) -> u64 {
        let hits = self.host.enter(|| rule_hits("seen")).unwrap();
        hits.iter().map(|rule| rule.packets).sum()
    }

    /// Another source port each time: no packet belongs to the flow of one before.
    fn next_port(&self) -> u16 {
        self.port.set(self.port.get() + 1);
        self.port.get()
    }

    /// Waits until exactly the ports of the first list among both are open.
    #[track_caller]
    pub fn until_open(&self, open: &[u16], closed: &[u16]) {
        let as_wanted = || {
            open.iter().all(|port| self.lets_in(*port))
                && !closed.iter().any(|port| self.lets_in(*port))
        };
        until(&format!("{open:?} open and {closed:?} closed"), as_wanted);
    }

    /// The generations that have objects in the kernel.
    pub fn generations(&self) -> Vec<u64> {
        let objects = self.host.enter(objects).unwrap();
        objects
            .generations()
            .into_iter()
            .map(|generation| generation.0)
            .collect()
    }

    /// The kernel's ruleset as nft prints it, with handles and without counters: equal only when nothing was touched.
    /// An old generation has gone by then: it is deleted a little after the new one holds.
    #[track_caller]
    pub fn listing(&self) -> String {
        until("the old generations are gone", || {
            self.generations().len() <= 1
        });
        self.host.output("nft", &["-s", "-a", "list", "ruleset"])
    }

    /// Nothing was touched since this listing.
    #[track_caller]
    pub fn unchanged(&self, before: &str) {
        self.unchanged_by(before, "the ruleset has changed");
    }

    /// The same, with a word about what may not have touched it.
    #[track_caller]
    pub fn unchanged_by(&self, before: &str, why: &str) {
        same(before, &self.listing(), why);
    }
}

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
        let Output {
            status,
            stdout,
            stderr,
        } = command.stdin(Stdio::null()).output().expect("it starts");
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

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "never: {what}");
        thread::sleep(Duration::from_millis(10));
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

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn until_logged(&self, words: &str) {
        let start = Instant::now();
        while !self.log().contains(words) {
            assert!(
                start.elapsed() < SOON,
                "{words:?} was never logged:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Sends a signal that ends it, and waits.
    pub fn end(mut self, signal: Signal) -> (ExitStatus, String) {
        self.signal(signal);
        self.wait()
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
    }
}

/// The service manager's end of the notifications.
pub struct Manager {
    socket: UnixDatagram,
    pub path: PathBuf,
}

impl Manager {
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// What the daemon says next, or `None` if it is silent for so long.
    pub fn hears(&self, wait: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
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
