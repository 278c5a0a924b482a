//! The namespaces that all of a lab shares. Nothing in them has a name outside, so they end with the lab's process, however that
//! ends: what `lab exec` has started is in a process namespace, whose first process lives as long as a pipe to the lab does.

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, clone, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::waitpid;
use nix::unistd::{
    Pid, dup2_stderr, dup2_stdin, dup2_stdout, getegid, geteuid, pipe2, read, setsid, write,
};
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Why there are no namespaces for a lab.
#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    /// The kernel, a container or a security module is against it.
    #[error(
        "this user may not make namespaces here ({what}: {error}): run it as root, or allow it (`sysctl kernel.apparmor_restrict_unprivileged_userns=0` \
         on Ubuntu, `kernel.unprivileged_userns_clone=1` on older Debian, `user.max_user_namespaces` and `user.max_net_namespaces` above 0; in a container --privileged)"
    )]
    Forbidden {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        error: Errno,
    },
    /// Something else.
    #[error("cannot make the lab's namespaces: {what}: {error}")]
    Failed {
        /// What was asked for.
        what: &'static str,
        /// What the system said.
        error: Errno,
    },
}

fn failed(what: &'static str) -> impl FnOnce(Errno) -> GroundError {
    move |error| match error {
        Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL => {
            GroundError::Forbidden { what, error }
        }
        error => GroundError::Failed { what, error },
    }
}

fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// What all of a lab stands on. Dropped, everything that runs in it is killed.
#[derive(Debug)]
pub struct Ground {
    /// The user namespace, unless root has made the lab.
    user: Option<OwnedFd>,
    mounts: OwnedFd,
    processes: OwnedFd,
    init: Pid,
    /// Whether that has ended.
    cleared: Mutex<bool>,
    /// Open while the lab lives.
    _alive: OwnedFd,
}

impl Ground {
    /// Moves this process off the machine's network. Root stays who it is, if it may; anybody else becomes root of a user namespace.
    /// Must run while the process has a single thread; `unneeded`, the lab's socket, is closed in the process that is forked.
    pub fn leave(unneeded: Option<BorrowedFd<'_>>) -> Result<Self, GroundError> {
        let (uid, gid) = (geteuid(), getegid());
        let as_root = uid.is_root() && unshare(CloneFlags::CLONE_NEWNET).is_ok();
        if !as_root {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
                .map_err(failed("user and network namespaces"))?;
            let map = |path, text: String| {
                let written = std::fs::write(path, text).map_err(errno);
                written.map_err(failed("the user's id in its namespace"))
            };
            map("/proc/self/setgroups", "deny".into())?;
            map("/proc/self/uid_map", format!("0 {uid} 1"))?;
            map("/proc/self/gid_map", format!("0 {gid} 1"))?;
        }
        let (ended, alive) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(failed("a pipe"))?;
        let (said, say) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(failed("a pipe"))?;
        let mut to_close = vec![alive.as_raw_fd(), said.as_raw_fd()];
        to_close.extend(unneeded.map(|socket| socket.as_raw_fd()));
        let mut stack = vec![0; 64 * 1024];
        let child = || first_process(&to_close, ended.as_fd(), say.as_fd());
        // SAFETY: this process has one thread, so that the child, which has a copy of its memory, may do whatever it could.
        #[allow(unsafe_code)]
        let init = unsafe {
            clone(
                Box::new(child),
                &mut stack,
                CloneFlags::CLONE_NEWPID,
                Some(libc::SIGCHLD),
            )
        }
        .map_err(failed("a process namespace"))?;
        drop((ended, say));
        let mut answer = [0; 4];
        let length = read(said.as_fd(), &mut answer).unwrap_or(0);
        match (length, i32::from_ne_bytes(answer)) {
            (4, 0) => {}
            (4, code) => return Err(failed("a mount namespace")(Errno::from_raw(code))),
            _ => return Err(failed("the lab's first process")(Errno::ECHILD)),
        }
        let namespace = |kind: &str| {
            let opened = File::open(format!("/proc/{init}/ns/{kind}"));
            let opened = opened.map(OwnedFd::from).map_err(errno);
            opened.map_err(failed("a namespace's descriptor"))
        };
        Ok(Ground {
            user: match as_root {
                true => None,
                false => Some(namespace("user")?),
            },
            mounts: namespace("mnt")?,
            processes: namespace("pid")?,
            init,
            cleared: Mutex::new(false),
            _alive: alive,
        })
    }

    /// The user namespace, if the lab has one of its own.
    pub fn user(&self) -> Option<BorrowedFd<'_>> {
        self.user.as_ref().map(AsFd::as_fd)
    }

    /// The mounts: those of the machine, and a `/run` of the lab's own.
    pub fn mounts(&self) -> BorrowedFd<'_> {
        self.mounts.as_fd()
    }

    /// The processes.
    pub fn processes(&self) -> BorrowedFd<'_> {
        self.processes.as_fd()
    }

    /// Kills everything that runs in the lab, and waits for it.
    pub fn clear(&self) {
        let mut cleared = self.cleared.lock();
        if !std::mem::replace(&mut *cleared, true) {
            // With the first process of their namespace the kernel kills all others, and waits for them.
            let _ = kill(self.init, Signal::SIGKILL);
            let _ = waitpid(self.init, None);
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The lab's first process: it makes the mounts, waits until the lab has ended, and reaps what becomes an orphan.
fn first_process(to_close: &[RawFd], ended: BorrowedFd<'_>, say: BorrowedFd<'_>) -> isize {
    let _ = set_pdeathsig(Signal::SIGKILL);
    for descriptor in to_close {
        // The copies of this process; the parent has its own.
        let _ = nix::unistd::close(*descriptor);
    }
    let _ = setsid();
    // SAFETY: to ignore is no handler of ours; the kernel reaps what is ignored.
    #[allow(unsafe_code)]
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    let code = match mounts() {
        Ok(()) => 0i32,
        Err(error) => error as i32,
    };
    let _ = silence();
    let _ = write(say, &code.to_ne_bytes());
    let mut byte = [0];
    while matches!(read(ended, &mut byte), Err(Errno::EINTR)) {}
    0
}

/// A `/run` of our own, where iptables has its lock and `ip netns` its names; and `/proc` of our processes, where that is allowed.
fn mounts() -> nix::Result<()> {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let mode = Some("mode=0755");
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), mode)?;
    let _ = std::fs::create_dir("/run/netns");
    let _ = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none);
    Ok(())
}

/// Lets go of the terminal and of pipes that somebody waits at the end of.
pub fn silence() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(dup2_stderr(&null)?)
}
