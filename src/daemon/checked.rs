//! The check of a ruleset, which runs beside the load and ends before the switch.

use super::host::Host;
use crate::netfilter::enforce::{EnforceError, Enforced};
use crate::policy::Policy;
use crate::ruleset::{Generation, Ruleset, check};
use std::thread::{Builder, ScopedJoinHandle};
use std::time::Instant;
use tracing::debug;

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
            let thread = Builder::new().name("check".into());
            let mut checking = Some(thread.spawn_scoped(scope, check).ok());
            self.kernel.enforce_if(ruleset, at_least, || {
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
