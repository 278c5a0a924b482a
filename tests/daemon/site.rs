//! A host to filter, a peer that knocks, and the real program between them. One file of the tests and a bench.

#![allow(dead_code, unused_imports, reason = "the bench uses a part of it")]

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use secgroupd::netfilter::hits::rule_hits;
use secgroupd::netfilter::objects::objects;
use serde_json::Value;
use tempfile::TempDir;

use super::process::same;
pub use super::process::{Daemon, Manager, Ran, SOON, until};
pub use super::support::WHILE;
use super::support::{Host, Injector, Link, Outbound, Probe, Sent, join, through_nft};

/// The program under test; of a benchmark the release, where it was built before.
pub const PROGRAM: &str = match option_env!("SECGROUPD_RELEASE") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_secgroupd"),
};

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

/// A listing without whom our table belongs to: that changes when a daemon ends or begins.
pub fn whoever_owns_it(listing: &str) -> String {
    let mut out = String::new();
    let mut lines = listing.lines();
    while let Some(line) = lines.next() {
        match line {
            "\tflags owner" | "\tflags " => {
                // And the empty line after it.
                lines.next();
                continue;
            }
            _ => {
                let line = line.split(" # progname ").next().unwrap_or_default();
                out += line.split(" progname ").next().unwrap_or_default();
            }
        }
        out.push('\n');
    }
    out
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
                "run check compile apply diff explain diagnose group rule reset rollback",
                self.definition(),
            ),
            (
                "--state",
                "run boot check compile apply diff explain diagnose remove confirm history rollback",
                self.path("state"),
            ),
            (
                "--socket",
                "run apply status events reload confirm remove group rule reset rollback",
                self.path("control.sock"),
            ),
        ];
        for (option, takes, path) in places {
            let given = words
                .iter()
                .any(|word| *word == option || *word == "--help")
                || (option == "--definition" && words.contains(&"--enforced"))
                || (option == "--socket"
                    && words[0] == "group"
                    && ["list", "show"].contains(&words[1]));
            if !given && takes.split(' ').any(|each| each == words[0]) {
                command.arg(option).arg(path);
            }
        }
        if through_nft()
            && !words.contains(&"--through")
            && "run boot apply remove".contains(words[0])
        {
            command.args(["--through", "nft"]);
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
        let status: Value = serde_json::from_str(&ran.out).expect("JSON");
        let doubts = status["warnings"].as_array().expect("a list");
        let is_well = !status["enforced"].is_null()
            && status["last_error"].is_null()
            && status["not_kept"].is_null()
            && doubts.is_empty();
        assert_eq!(ran.code, i32::from(!is_well), "{ran:?}");
        status
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

    /// Sends a packet from the peer.
    pub fn inject(&self, probe: &Probe) {
        self.injector.send(probe);
        self.injector.wait();
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

    /// Waits until nothing is left in the kernel of policies that were replaced.
    #[track_caller]
    pub fn until_at_rest(&self) {
        until("nothing is left over", || self.host.left_over().is_empty());
    }

    /// The kernel's ruleset as nft prints it, with handles and without counters: equal only when nothing was touched.
    /// An old generation has gone by then: it is deleted a little after the new one holds.
    #[track_caller]
    pub fn listing(&self) -> String {
        self.until_at_rest();
        whoever_owns_it(&self.host.output("nft", &["-s", "-a", "list", "ruleset"]))
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
