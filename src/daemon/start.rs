//! The start of the daemon: what was kept holds before the definition is read.

use super::run::{Daemon, off_the_loop, read};
use crate::host::resume::Resumed;
use crate::host::start::resume;
use crate::host::{Attempt, Host};
use tracing::{error, info};

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
