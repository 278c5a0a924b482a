//! The start of the daemon: what was kept holds before the definition is read.

use super::first;
use super::host::Host;
use super::resume::Resumed;
use super::run::{Daemon, off_the_loop, read};
use super::trial::Attempt;
use crate::netfilter::enforce::{EnforceError, Kernel};
use tracing::{error, info, warn};

impl Daemon {
    /// Enforces the kept policy, then reads the definition.
    pub(super) async fn start(&mut self) {
        self.keep_socket();
        let closes = self.options.fail_closed;
        let resumed = self.on_the_host(move |host| resume(host, closes)).await;
        if !matches!(resumed, None | Some(Ok(Resumed::Nothing))) {
            self.keep_socket();
            self.follow_table();
        }
        info!("watching {}", self.options.definition.display());
        self.recall_hold();
        self.time_trial();
        let enforces =
            matches!(resumed, Some(Ok(Resumed::Later(_)))) || self.host().enforced().is_some();
        // Not the definition of before, nor half of a new one; but better that than none. It may have been saved before this start.
        if enforces && self.holds_back(&"start") {
            self.tell_state();
        } else {
            // What stands already is changed as far as it differs.
            let loaded = read(self.options.definition.clone()).await;
            let _ = self.enforce_watched(loaded, "start", Attempt::Plain).await;
        }
        // Now that there is time to read the kept definition, if it still counts.
        self.on_the_host(Host::recollect).await;
        // Also where the definition is refused and the old policy stands: what is ordered after us waits for a host that is protected, and
        // not for a good definition. A start that failed would be tried again and again, and could do nothing better; that the definition is
        // refused is told as DEGRADED. A host that nothing protects is not ready.
        if self.host().enforced().is_some() {
            self.tell_ready();
        }
        self.saver.wake(&self.host);
    }

    /// Works on the host off the loop's thread; gives nothing if that panicked, which is logged.
    pub(super) async fn on_the_host<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Host) -> R + Send + 'static,
    ) -> Option<R> {
        let host = self.host.clone();
        let work = move || work(&mut host.lock());
        let done = off_the_loop(work).await;
        done.inspect_err(|failure| error!("{}", failure.message))
            .ok()
    }
}

/// What is said of a host that is closed.
pub const CLOSED: &str = "this host has no policy and is closed: it refuses new inbound flows to itself until one is enforced";

/// Enforces the kept policy; a host that has none is closed, where that is wanted. Says what was done.
///
/// # Errors
///
/// Why there is a kept policy that cannot be used.
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

/// Closes a host that has no policy. Gives whether it has none.
///
/// # Errors
///
/// When the kernel fails.
pub fn close(kernel: &Kernel) -> Result<bool, EnforceError> {
    if kernel.in_force()?.is_some() {
        return Ok(false);
    }
    // Whatever flows now goes on; what the first policy says about it is another matter.
    kernel.close(|| first::seed(|_| true))?;
    Ok(true)
}
