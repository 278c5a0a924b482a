//! A program in a node: it has the node's network, its name as hostname, and the terminal that it was started from.

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::sethostname;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Where programs are looked for: an ordinary user's path often lacks those of administration.
pub fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::split_paths(&path);
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    // Nothing between two colons is the current folder, which nobody meant.
    let folders = own
        .filter(|folder| folder.is_absolute())
        .chain(more.map(PathBuf::from));
    std::env::join_paths(folders).unwrap_or_default()
}

/// Where this program is.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        let path = Path::new(program);
        return path.is_file().then(|| path.to_owned());
    }
    std::env::split_paths(&search_path())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a program in a node, entered by the descriptors of [`Lab::door`](super::live::Lab::door), and gives its exit status; 128 and the
/// signal's number if one has ended it. The process must have a single thread.
///
/// # Errors
///
/// See [`ExecError`].
pub fn exec(node: &str, door: &[OwnedFd], program: &[String]) -> Result<u8, ExecError> {
    let [name, arguments @ ..] = program else {
        return Err(ExecError::Missing(String::new()));
    };
    let path = find(name).ok_or_else(|| ExecError::Missing(name.clone()))?;
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
    // SAFETY: between fork and exec the closure makes system calls and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| {
            // It ends with the command that has started it, and is asked to by the terminal as usual.
            set_pdeathsig(Signal::SIGKILL)?;
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
    }
    let status = command
        .status()
        .map_err(|error| ExecError::Failed(name.clone(), error))?;
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    };
    Ok(u8::try_from(code).unwrap_or(1))
}
