//! Which thread goes before which.

use nix::errno::Errno;
use nix::libc;

/// Sets how nice the calling thread is: -20 goes first, 19 last. Below what it is now takes CAP_SYS_NICE, or
/// `LimitNICE=`.
///
/// # Errors
///
/// When the system refuses.
pub fn set_niceness(nice: i32) -> Result<(), Errno> {
    const THIS_THREAD: libc::id_t = 0;
    // SAFETY: a system call without pointers; on Linux it is about the calling thread alone.
    #[allow(unsafe_code)]
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, THIS_THREAD, nice) };
    Errno::result(result).map(drop)
}
