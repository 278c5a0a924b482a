//! systemd's file descriptor store: it holds a copy of the socket that owns our table, so that no other program can change
//! the table while a daemon is killed, restarted or replaced by a newer one.

use crate::netfilter::enforce::Kernel;
use crate::netfilter::native::Native;
use sd_notify::NotifyState;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The descriptor's name in the store.
const NAME: &str = "nftables";
/// How long the service manager may take to let go of a descriptor.
const PATIENCE: Duration = Duration::from_secs(2);

/// The kernel as a daemon before this one had it, if the store holds its socket and that still owns our table.
pub fn resume() -> Option<Kernel> {
    let socket = take()?;
    let kernel = Native::resume(socket)
        .ok()
        .and_then(|native| Kernel::new(native).ok())
        .filter(Kernel::owns);
    match kernel {
        Some(_) => info!("the table is still owned: the service manager has kept its socket"),
        // Of another network namespace, or of a table that was removed.
        None => forget(),
    }
    kernel
}

/// Gives up what the store holds: afterwards nobody owns our table, and any way to the kernel can change it.
pub fn release(kernel: &Kernel) {
    if take().is_none() {
        return;
    }
    forget();
    let start = Instant::now();
    while kernel.is_owned_by_another() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Has the service manager hold a copy of a socket; without one there is nobody to.
pub fn keep(socket: BorrowedFd) {
    // Not looked at by systemd: a netlink socket that could not hold all answers counts as broken for a moment.
    let states = [
        NotifyState::FdStore,
        NotifyState::FdName(NAME),
        NotifyState::Custom("FDPOLL=0"),
    ];
    if let Err(error) = sd_notify::notify_with_fds(&states, &[socket]) {
        warn!("the service manager cannot keep the socket that owns the table: {error}");
    }
}

fn forget() {
    let states = [NotifyState::FdStoreRemove, NotifyState::FdName(NAME)];
    if let Err(error) = sd_notify::notify(&states) {
        warn!("the service manager cannot be told to let go of a socket: {error}");
    }
}

/// The descriptor of our name among those that this process was started with.
fn take() -> Option<OwnedFd> {
    let passed = match sd_notify::listen_fds_with_names() {
        Ok(passed) => passed,
        Err(error) => {
            warn!("cannot read what the service manager has kept: {error}");
            return None;
        }
    };
    let (number, _) = passed.into_iter().find(|(_, name)| name == NAME)?;
    // SAFETY: the service manager opened it for this process alone (`LISTEN_PID` was compared), and each call that leads here
    // is made once, before anything else could have taken it.
    #[allow(unsafe_code)]
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
