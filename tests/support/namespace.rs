//! A private world for the test process, and hosts in it.
//!
//! [`isolate`] moves the process into a mount and a network namespace of its own, as an ordinary user through a user
//! namespace in which that user is root. Nothing in them has a name outside, so they end with the process.
//! A [`Host`] is one more network namespace, held open by a descriptor and by nothing else.
//!
//! Root keeps all its user ids that way; `SECGROUPD_TEST_USERNS=1` makes root take the ordinary user's way.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{fd::AsRawFd, unix::process::CommandExt},
    panic::resume_unwind,
    process::{self, Command, Stdio},
    sync::Arc,
    thread,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{getegid, geteuid},
};

/// Leaves the machine's network and mounts behind. Must run while the process has a single thread.
pub fn isolate() -> Result<(), String> {
    let why = |what: &'static str| move |error: nix::Error| format!("{what}: {error}");
    let (user, group) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    let as_user = !user.is_root() || env::var_os("SECGROUPD_TEST_USERNS").is_some();
    if as_user {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).map_err(why("no namespaces for this user"))?;
    if as_user {
        let write =
            |path, text: String| fs::write(path, text).map_err(|error| format!("{path}: {error}"));
        write("/proc/self/setgroups", "deny".into())?;
        write("/proc/self/uid_map", format!("0 {user} 1"))?;
        write("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(why("no private mounts"))?;
    // A /run of our own: `ip netns add`, iptables' lock and a daemon's socket stay private.
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .map_err(why("no private /run"))?;
    fs::create_dir("/run/netns").map_err(|error| format!("/run/netns: {error}"))?;
    run(Command::new("ip")
        .env("PATH", search_path())
        .args(["link", "set", "lo", "up"]))
    .map(drop)
}

/// Where programs are looked for: an ordinary user's path often lacks `nft`'s place.
pub fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// A machine: a network namespace. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    namespace: Arc<File>,
}

impl Host {
    /// A new machine with nothing but `lo`. The name is for messages; two hosts may share one.
    pub fn new(name: &str) -> Self {
        let made = in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            File::open("/proc/thread-self/ns/net").expect("the namespace's descriptor")
        });
        let host = Self {
            name: name.into(),
            namespace: Arc::new(made),
        };
        for scope in ["all", "default"] {
            for knob in ["accept_dad", "accept_ra", "router_solicitations"] {
                // Addresses count at once, and nobody asks for a router.
                host.set(&format!("net/ipv6/conf/{scope}/{knob}"), "0");
            }
        }
        host.ip("link set lo up");
        host
    }

    /// The name given to [`Host::new`].
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a closure on this machine, in a thread of its own. Sockets opened in it stay on the machine.
    pub fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        in_thread(|| {
            setns(&*self.namespace, CloneFlags::CLONE_NEWNET).expect("entering a host");
            work()
        })
    }

    /// A program that will run on this machine. It is killed when the thread that started it ends, so keep a daemon in
    /// the test's own thread and do not start it inside [`Host::enter`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let namespace = Arc::clone(&self.namespace);
        let mut command = Command::new(program);
        command.env("PATH", search_path());
        // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(move || {
                set_pdeathsig(Signal::SIGKILL)?;
                setns(&*namespace, CloneFlags::CLONE_NEWNET)?;
                Ok(())
            });
        }
        command
    }

    /// Runs a program to its end and returns what it printed.
    ///
    /// # Panics
    /// When it fails, with what it wrote to stderr.
    pub fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output = run(self.command(program).args(arguments));
        output.unwrap_or_else(|error| panic!("on {}: {error}", self.name))
    }

    /// One or more lines of `ip`, without the word `ip`: `host.ip("route add default via 10.0.0.1")`. An address of IPv6 counts at
    /// once: without `nodad` the kernel may take its time on a busy machine, on `lo` too.
    pub fn ip(&self, lines: &str) {
        let at_once = |line: &str| match line.split_once("addr add ") {
            Some((_, rest)) if rest.contains(':') && !rest.contains("nodad") => {
                format!("{line} nodad\n")
            }
            _ => format!("{line}\n"),
        };
        let lines: String = lines.lines().map(at_once).collect();
        let mut command = self.command("ip");
        let fed = feed(command.args(["-batch", "-"]), &lines);
        fed.unwrap_or_else(|error| panic!("on {}: {error}\n{lines}", self.name));
    }

    /// Sets a kernel setting of this machine, named by its path below `/proc/sys`.
    pub fn set(&self, path: &str, value: &str) {
        self.enter(|| fs::write(format!("/proc/sys/{path}"), value))
            .unwrap_or_else(|error| panic!("on {}: {path} = {value}: {error}", self.name));
    }

    /// Reads a kernel setting.
    pub fn get(&self, path: &str) -> String {
        let text = self.enter(|| fs::read_to_string(format!("/proc/sys/{path}")));
        text.unwrap_or_else(|error| panic!("on {}: {path}: {error}", self.name))
            .trim()
            .to_owned()
    }

    /// Lets the machine forward packets of both families.
    pub fn forwards(&self) {
        self.set("net/ipv4/ip_forward", "1");
        self.set("net/ipv6/conf/all/forwarding", "1");
    }

    /// The machine's name for other programs, such as `ip link set eth0 netns PATH`.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.namespace.as_raw_fd())
    }
}

fn in_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Runs a program to its end: what it printed, or why it failed.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let shown = format!("{command:?}");
    finish(&shown, output.map_err(|error| format!("{shown}: {error}"))?)
}

/// Runs a program with this text as its input: what it printed, or why it failed.
pub fn feed(command: &mut Command, text: &str) -> Result<String, String> {
    use io::Write;
    let shown = format!("{command:?}");
    let failed = |error: io::Error| format!("{shown}: {error}");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    let output = thread::scope(|scope| {
        // A program that fails early closes its input; its message says more than the broken pipe.
        scope.spawn(move || input.write_all(text.as_bytes()));
        child.wait_with_output()
    });
    finish(&shown, output.map_err(failed)?)
}

fn finish(shown: &str, output: process::Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{shown}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}
