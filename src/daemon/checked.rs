//! What goes on beside the load, and is done before the switch: the check, and a look at the flows that are about to end.

use super::host::Host;
use crate::netfilter::enforce::{EnforceError, Enforced};
use crate::policy::Policy;
use crate::ruleset::{Generation, Ruleset, check};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};
use tracing::debug;

/// So long the switch waits for the flows on a busy machine. On an idle one they are found while the ruleset is loaded, or few
/// milliseconds later.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

impl Host {
    /// Checked before it counts: what is loaded takes effect once the check, which goes on meanwhile, has found no difference. So no
    /// fault of the compiler can open the host.
    pub(super) fn enforce_checked(
        &self,
        policy: &Policy,
        ruleset: &Ruleset,
        at_least: Generation,
        mut before_switch: impl FnMut(),
    ) -> Result<Enforced, EnforceError> {
        let check = || compare(policy, ruleset);
        std::thread::scope(|scope| {
            let mut checking = Some(beside(scope, "check", check));
            self.enforce_remembering(ruleset, at_least, || {
                before_switch();
                match checking.take() {
                    Some(Some(thread)) => joined(thread),
                    // No thread to be had.
                    Some(None) => check(),
                    // It was right before, and is loaded another way.
                    None => Ok(()),
                }
            })
        })
    }

    /// What is about to end is remembered before the switch, where few flows are tracked: connection tracking may lose it right after
    /// (see `ruleset::ended`).
    pub(super) fn enforce_remembering(
        &self,
        ruleset: &Ruleset,
        at_least: Generation,
        mut may_switch: impl FnMut() -> Result<(), String>,
    ) -> Result<Enforced, EnforceError> {
        let is_late = AtomicBool::new(false);
        let mut is_remembered = false;
        let enforced = std::thread::scope(|scope| {
            let (found, looked) = sync_channel(1);
            let (flows, is_late) = (&self.ended, &is_late);
            let look = move || found.send(flows.about_to_end(ruleset, is_late));
            let looking = beside(scope, "flows", look);
            let mut ended = None;
            let enforced = self.kernel.enforce_if(ruleset, at_least, || {
                may_switch()?;
                // Nothing comes where there was no thread to be had. A second time it is asked where what was remembered may have
                // gone with its table.
                let ended = ended
                    .get_or_insert_with(|| looked.recv_timeout(LONGEST_WAIT).unwrap_or_default());
                is_late.store(true, Relaxed);
                if !ended.is_empty() {
                    is_remembered = true;
                    if let Err(error) = self.kernel.remember(ended, &[]) {
                        // The look after the change does it, or says that it cannot.
                        debug!("what ends cannot be remembered ahead: {error}");
                    }
                }
                Ok(())
            });
            is_late.store(true, Relaxed);
            // What it panics about must not be said of a switch that is done.
            let _ = looking.map(ScopedJoinHandle::join);
            enforced
        });
        if enforced.is_err() && is_remembered {
            // It goes on.
            self.look_at_remembered();
        }
        enforced
    }
}

/// In a thread, if there is one to be had.
fn beside<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    let thread = Builder::new().name(name.into());
    thread.spawn_scoped(scope, work).ok()
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Whether a compiled ruleset says what its policy says.
pub(super) fn compare(policy: &Policy, ruleset: &Ruleset) -> Result<(), String> {
    let begin = Instant::now();
    let compared = check(policy, ruleset);
    debug!("checked in {:.1?}", begin.elapsed());
    let fault =
        |difference| format!("this is a fault of secgroupd, and nothing was changed: {difference}");
    compared.map(|_| ()).map_err(fault)
}
