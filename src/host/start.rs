//! A start without a daemon: the saved policy is enforced; a host that has none is closed, where that is wanted.

use super::base::Host;
use super::resume::Resumed;
use super::seed::seed;
use crate::netfilter::enforce::{EnforceError, Kernel};
use tracing::{error, info, warn};

/// What is said of a host that is closed.
pub const CLOSED: &str = "this host has no policy and is closed: it refuses new inbound flows to itself until one is enforced";

/// Enforces the saved policy, and logs what was done. Closes a host that has none, where that is wanted.
///
/// # Errors
///
/// Why the saved policy cannot be used.
pub fn resume(host: &mut Host, closes: bool) -> Result<Resumed, String> {
    let resumed = host.resume();
    match &resumed {
        Ok(Resumed::Nothing) => {}
        Ok(Resumed::Standing(generation)) => {
            info!("generation {generation} of an earlier secgroupd is in force, and stays");
        }
        Ok(Resumed::Enforced(generation)) => {
            info!("generation {generation}, the policy that was kept, is enforced again");
        }
        Ok(Resumed::Later(generation)) => info!(
            "generation {generation} of an earlier secgroupd is in force, later than the one that was kept"
        ),
        Err(why) => error!("{why}"),
    }
    if closes && matches!(resumed, Ok(Resumed::Nothing) | Err(_)) {
        match host.close() {
            Ok(true) => warn!("{CLOSED}"),
            Ok(false) => {}
            Err(error) => error!("this host has no policy, and could not be closed: {error}"),
        }
    }
    resumed
}

/// Closes a host that has no policy. Returns whether it has none.
///
/// # Errors
///
/// When the kernel fails.
pub fn close(kernel: &Kernel) -> Result<bool, EnforceError> {
    if kernel.in_force()?.is_some() {
        return Ok(false);
    }
    // Whatever flows now goes on; what the first policy says about it is another matter.
    kernel.close(|| seed(kernel, |_| true))?;
    Ok(true)
}

impl Host {
    /// Closes this host if it has no policy: until there is one, it refuses new inbound flows to itself. Returns
    /// whether it has none.
    ///
    /// # Errors
    ///
    /// When the kernel fails.
    pub fn close(&mut self) -> Result<bool, EnforceError> {
        self.closed = close(&self.kernel)?;
        Ok(self.closed)
    }
}
