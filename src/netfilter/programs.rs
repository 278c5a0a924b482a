//! Programs of an administrator: where they stand, and that none outlives us.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Where they stand, also for users whose path leaves these out.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin"];

/// The programs of iptables-legacy, each with the kernel's list of its tables in use in the network namespace of the
/// calling thread.
pub(super) const LEGACY: [(&str, &str); 2] = [
    ("iptables-legacy", "/proc/thread-self/net/ip_tables_names"),
    ("ip6tables-legacy", "/proc/thread-self/net/ip6_tables_names"),
];

/// Where programs are looked for.
pub fn search_path() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Nothing between two colons is the current folder, which nobody meant.
    let own = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    std::env::join_paths(own.chain(FOLDERS.iter().map(PathBuf::from))).unwrap_or_default()
}

/// Where a program stands, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Has the program killed when the thread ends that starts it, which therefore waits for it.
pub(super) fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?));
    }
}
