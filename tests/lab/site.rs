//! A folder with a definition, and the real program as an ordinary user calls it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;
use tempfile::TempDir;

use super::support::namespace::search_path;
use super::support::until_or;
pub use super::support::{SOON, until};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_secgroupd");

/// A folder, and the name of the labs that are made in it.
pub struct Site {
    folder: TempDir,
    name: String,
    /// Run everything as this user.
    user: Option<u32>,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
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

    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Site {
    pub fn new(definition: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let site = Self {
            folder: tempfile::tempdir().expect("a folder"),
            name: format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            user: None,
        };
        fs::set_permissions(site.folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        site.write("groups.yaml", definition);
        site
    }

    /// The same for an ordinary user, if the test is one of root: nobody.
    pub fn of_ordinary_user(definition: &str) -> Self {
        let mapped = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        // In a user namespace there is no other user, and the lab makes one within it.
        let is_root = geteuid().is_root() && mapped.contains("4294967295");
        Self {
            user: is_root.then_some(65534),
            ..Self::new(definition)
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes a file beside it, and renames it over.
    pub fn save(&self, text: &str) {
        self.write("new", text);
        fs::rename(self.path("new"), self.path("groups.yaml")).unwrap();
    }

    /// `secgroupd` in this folder.
    pub fn command(&self, line: &str) -> Command {
        let mut command = match self.user {
            None => Command::new(PROGRAM),
            Some(user) => {
                let mut command = Command::new("setpriv");
                let user = user.to_string();
                command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
                // The program may lie where only root looks.
                let copy = self.path("secgroupd");
                if !copy.exists() {
                    crate::support::copy_program(PROGRAM, &copy);
                }
                command.arg(copy);
                command
            }
        };
        command
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env("PATH", search_path());
        command
    }

    /// A subcommand of the lab of this site: `reach --json`.
    pub fn lab(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(&self.line(line)))
    }

    /// The same with a last argument that is taken as it is, after `--` and the program that gets it.
    pub fn shell(&self, node: &str, script: &str) -> Ran {
        let line = self.line(&format!("exec {node}")) + " -- sh -c";
        Ran::of(self.command(&line).arg(script))
    }

    fn line(&self, line: &str) -> String {
        let (subcommand, rest) = line.split_once(' ').unwrap_or((line, ""));
        format!("lab {subcommand} --name {} {rest}", self.name)
    }

    /// Runs it without this site's name.
    pub fn run(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(line))
    }

    /// Brings the lab up, in the foreground of a process of its own.
    #[track_caller]
    pub fn up(&self) -> Up {
        self.up_with("up groups.yaml")
    }

    #[track_caller]
    pub fn up_with(&self, line: &str) -> Up {
        let up = Up::start(self.command(&self.line(line)));
        up.until_said("ends the lab");
        up
    }

    /// What a probe finds: `reached`, `closed` or `silent`; it must be as predicted.
    #[track_caller]
    pub fn found(&self, probe: &str) -> String {
        let ran = self.lab(&format!("probe {probe} --json"));
        let cells = ran.json();
        let cells = cells.as_array().unwrap_or_else(|| panic!("{ran:?}"));
        let found: BTreeSet<&str> = cells
            .iter()
            .map(|cell| {
                assert_eq!(cell["agreement"], "equal", "{cell}");
                cell["found"].as_str().unwrap()
            })
            .collect();
        assert_eq!(found.len(), 1, "{probe}: {ran:?}");
        found.into_iter().next().unwrap().to_owned()
    }

    /// What a reach of this lab finds.
    #[track_caller]
    pub fn reach(&self, options: &str) -> Value {
        self.lab(&format!("reach --json {options}")).json()
    }

    /// The generation of each instance.
    pub fn generations(&self) -> std::collections::BTreeMap<String, u64> {
        let status = self.lab("status --json").good().json();
        let nodes = status["nodes"].as_array().unwrap().iter();
        nodes
            .filter_map(|node| {
                let generation = node["enforced"]["generation"].as_u64()?;
                Some((node["name"].as_str()?.to_owned(), generation))
            })
            .collect()
    }
}

/// A lab in the foreground. It is killed when the test ends.
pub struct Up {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Up {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = Arc::new(Mutex::new(String::new()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let keep = |lines: Box<dyn BufRead + Send>| {
            let said = said.clone();
            thread::spawn(move || {
                for line in lines.lines().map_while(Result::ok) {
                    *said.lock().unwrap() += &(line + "\n");
                }
            });
        };
        keep(Box::new(BufReader::new(out.unwrap())));
        keep(Box::new(BufReader::new(err.unwrap())));
        Self { child, said }
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn until_said(&self, words: &str) {
        until_or(
            || format!("never said {words:?}: {}", self.said()),
            || self.said().contains(words),
        );
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, and gives the exit status.
    #[track_caller]
    pub fn end(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < SOON, "it never ends: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The network, process and user namespaces that any thread of this machine is in, or holds open.
pub fn namespaces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let entries = |path: String| {
        fs::read_dir(path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
    };
    for process in entries("/proc".into()) {
        for task in entries(format!("{}/task", process.display())) {
            for kind in ["net", "pid", "user", "mnt"] {
                let link = fs::read_link(task.join("ns").join(kind));
                found.extend(link.ok().map(|link| link.display().to_string()));
            }
        }
        for descriptor in entries(format!("{}/fd", process.display())) {
            if let Ok(link) = fs::read_link(descriptor) {
                let link = link.display().to_string();
                if link.starts_with("net:[") || link.starts_with("pid:[") {
                    found.insert(link);
                }
            }
        }
    }
    found
}

/// The namespaces that this process's descendants, and what they have left, are in: those of one site's lab.
pub fn namespaces_of(pid: u32) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let namespace = fs::metadata(task.path().join("ns/net"));
        found.extend(namespace.map(|namespace| format!("net:[{}]", namespace.ino())));
    }
    found
}

impl Up {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}
