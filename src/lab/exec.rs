//! A program in a node: it has the node's network, its name as hostname, and the terminal that it was started from.

use crate::netfilter::programs::{find, search_path};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, getpid, sethostname, setpgid, tcgetpgrp, tcsetpgrp};
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command};

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It is not there.
    #[error(
        "`{0}` is not installed on this machine, whose programs the lab uses: install it, or name its path"
    )]
    Missing(String),
    /// The namespaces could not be entered.
    #[error("cannot enter the lab: {0}")]
    Enter(nix::Error),
    /// It could not be started.
    #[error("cannot run `{0}`: {1}")]
    Failed(String, io::Error),
}

/// Where this program is.
fn place(program: &str) -> Option<PathBuf> {
    match program.contains('/') {
        true => Some(PathBuf::from(program)).filter(|path| path.is_file()),
        false => find(program),
    }
}

/// Runs a program in a node, entered by the descriptors of [`Lab::door`](super::live::Lab::door), and returns its exit
/// status; 128 and the signal's number if one has ended it. The process must have a single thread.
pub fn exec(node: &str, door: &[OwnedFd], program: &[String]) -> Result<u8, ExecError> {
    let [name, arguments @ ..] = program else {
        return Err(ExecError::Missing(String::new()));
    };
    let path = place(name).ok_or_else(|| ExecError::Missing(name.clone()))?;
    let path = std::path::absolute(path).map_err(|error| ExecError::Failed(name.clone(), error))?;
    let here = std::env::current_dir();
    let [mounts, processes, network, user @ ..] = door else {
        return Err(ExecError::Enter(nix::Error::EBADF));
    };
    let enter = |descriptor: &OwnedFd, kind| setns(descriptor, kind).map_err(ExecError::Enter);
    for user in user {
        enter(user, CloneFlags::CLONE_NEWUSER)?;
    }
    enter(processes, CloneFlags::CLONE_NEWPID)?;
    enter(network, CloneFlags::CLONE_NEWNET)?;
    enter(mounts, CloneFlags::CLONE_NEWNS)?;
    // A name of its own, so that a prompt says where one is; without one it works as well.
    if unshare(CloneFlags::CLONE_NEWUTS).is_ok() {
        let _ = sethostname(node);
    }
    let mut command = Command::new(&path);
    command
        .arg0(name)
        .args(arguments)
        .env("PATH", search_path())
        .env("SECGROUPD_LAB_NODE", node);
    if let Ok(here) = here {
        // The same folder, found again in the lab's mounts.
        command.current_dir(match here.is_dir() {
            true => here,
            false => PathBuf::from("/"),
        });
    }
    let terminal = Terminal::of_input();
    let is_terminal = terminal.is_some();
    // SAFETY: between fork and exec the closure makes system calls and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(move || {
            // It ends with the command that has started it.
            set_pdeathsig(Signal::SIGKILL)?;
            if is_terminal {
                // A group of its own: that of this command has no number in the lab, and a shell gives the terminal
                // back to it at its end.
                setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
                signal(Signal::SIGTTOU, SigHandler::SigIgn)?;
                tcsetpgrp(std::io::stdin(), getpid())?;
                signal(Signal::SIGTTOU, SigHandler::SigDfl)?;
            }
            signal(Signal::SIGINT, SigHandler::SigDfl)?;
            signal(Signal::SIGQUIT, SigHandler::SigDfl)?;
            Ok(())
        });
    }
    // SAFETY: to ignore is no handler of ours. What the terminal sends is meant for the program.
    #[allow(unsafe_code)]
    unsafe {
        let _ = signal(Signal::SIGINT, SigHandler::SigIgn);
        let _ = signal(Signal::SIGQUIT, SigHandler::SigIgn);
        let _ = signal(Signal::SIGTTOU, SigHandler::SigIgn);
    }
    let mut child = command
        .spawn()
        .map_err(|error| ExecError::Failed(name.clone(), error))?;
    let code = match &terminal {
        Some(terminal) => terminal.wait(&child),
        None => child.wait().map(|status| {
            let by_signal = status.signal().map(|signal| 128 + signal);
            status.code().or(by_signal).unwrap_or(1)
        }),
    };
    let code = code.map_err(|error| ExecError::Failed(name.clone(), error))?;
    Ok(u8::try_from(code).unwrap_or(1))
}

/// The terminal that the program is given, and takes commands from.
struct Terminal {
    /// The group of processes that has it otherwise.
    own: Pid,
}

impl Terminal {
    /// Standard input, if that is a terminal which belongs to this command now.
    fn of_input() -> Option<Self> {
        let own = getpgrp();
        let input = std::io::stdin();
        (input.is_terminal() && tcgetpgrp(&input) == Ok(own)).then_some(Terminal { own })
    }

    /// Waits for the program's end. Where it is stopped this command is, too, and goes on with it.
    fn wait(&self, child: &Child) -> io::Result<i32> {
        let pid = Pid::from_raw(child.id().cast_signed());
        loop {
            let status = match waitpid(pid, Some(WaitPidFlag::WUNTRACED)) {
                Err(Errno::EINTR) => continue,
                status => status?,
            };
            // Whoever comes next at the terminal has it.
            let _ = tcsetpgrp(std::io::stdin(), self.own);
            match status {
                WaitStatus::Exited(_, code) => return Ok(code),
                WaitStatus::Signaled(_, signal, _) => return Ok(128 + signal as i32),
                WaitStatus::Stopped(..) => {
                    kill(getpid(), Signal::SIGSTOP)?;
                    let _ = tcsetpgrp(std::io::stdin(), pid);
                    let _ = killpg(pid, Signal::SIGCONT);
                }
                _ => {}
            }
        }
    }
}
