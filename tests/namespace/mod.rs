//! Scenarios that each run in a user and network namespace of their own, as an ordinary user.
//!
//! The test binary starts itself again through `unshare -Urn` for each scenario; a scenario may start it once more, in a further
//! network namespace, as the other host of the story.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

/// A name, and what is done in the namespace; a panic is a failure.
pub type Scenario = (&'static str, fn());

const SCENARIO: &str = "SECGROUPD_TEST_SCENARIO";
const ROLE: &str = "SECGROUPD_TEST_ROLE";

/// How long anything may take that has to happen.
pub const SOON: Duration = Duration::from_secs(10);

/// The `main` of a test binary. `peer` is what the binary does as the other host; it is given its role.
pub fn main(scenarios: &[Scenario], peer: fn(&str)) -> ExitCode {
    if let Ok(role) = env::var(ROLE) {
        peer(&role);
        return ExitCode::SUCCESS;
    }
    if let Ok(wanted) = env::var(SCENARIO) {
        for (_, run) in scenarios.iter().filter(|(name, _)| *name == wanted) {
            run();
        }
        return ExitCode::SUCCESS;
    }
    let possible = unshared("-Urn", "true")
        .status()
        .is_ok_and(|status| status.success());
    if !possible {
        eprintln!("skipped: no user and network namespaces here (unshare -Urn)");
    }
    let trials = scenarios.iter().map(|&(name, _)| {
        Trial::test(name, move || in_namespace(name)).with_ignored_flag(!possible)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn in_namespace(name: &str) -> Result<(), Failed> {
    let own = env::current_exe()?;
    let output = unshared("-Urn", own).env(SCENARIO, name).output()?;
    if output.status.success() {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        return Ok(());
    }
    Err(format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

fn unshared(flags: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.arg(flags).arg("--").arg(program);
    command
}

/// Runs a command line without quoting, and insists that it succeeds; its output.
pub fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a program"))
        .args(words)
        .output()
        .expect("it starts");
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// Loads a ruleset.
pub fn nft(ruleset: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("nft starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(ruleset.as_bytes())
        .expect("nft reads");
    assert!(
        child.wait().expect("nft ends").success(),
        "nft refuses {ruleset}"
    );
}

/// The other host, in its own network namespace, joined to this one by a veth: `veth0` here has 10.9.0.1 and fd00:9::1, `veth1`
/// there 10.9.0.2 and fd00:9::2. It is told and tells one line at a time; it ends with this value.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Peer {
    pub fn start(role: &str) -> Self {
        let own = env::current_exe().expect("own path");
        let mut child = unshared("-n", own)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (send, lines) = channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| send.send(line))
        });
        let mut peer = Self {
            input: child.stdin.take(),
            child,
            lines,
        };
        peer.expect("started");
        run(&format!(
            "ip link add veth0 type veth peer name veth1 netns {}",
            peer.child.id()
        ));
        configure("veth0", 1);
        peer.tell("joined");
        peer.expect("configured");
        peer
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input.as_mut().expect("piped"), "{line}").expect("the peer reads");
    }

    /// The next line it says, or None after `wait`.
    pub fn hear(&self, wait: Duration) -> Option<String> {
        match self.lines.recv_timeout(wait) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the peer has ended"),
        }
    }

    #[track_caller]
    pub fn expect(&self, line: &str) {
        assert_eq!(self.hear(SOON).as_deref(), Some(line));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The peer's side of [`Peer::start`].
pub fn join() {
    println!("started");
    assert_eq!(told().as_deref(), Some("joined"));
    configure("veth1", 2);
    println!("configured");
}

/// The next line that the peer is told, None at the end.
pub fn told() -> Option<String> {
    std::io::stdin().lines().next().and_then(Result::ok)
}

fn configure(interface: &str, host: u8) {
    run("ip link set lo up");
    run(&format!("ip address add 10.9.0.{host}/24 dev {interface}"));
    run(&format!(
        "ip address add fd00:9::{host}/64 dev {interface} nodad"
    ));
    run(&format!("ip link set {interface} up"));
}
