//! The packet log: what the kernel reports of refused packets, as events for the log and for whoever asks.
//!
//! ```text
//! kernel (NFLOG) -> thread `packet-log` -> limit by remote -> log line, and the last events, which `secgroupd events` asks for
//! ```
//!
//! The packet is long refused when it is reported, so nothing here can hold it up or let it pass. Of packets that come
//! too fast each remote's first ones become events; how many were left out, and how many the kernel had no room for, is
//! an event of its own, once a second.

mod event;
mod journal;
mod limit;
mod recent;
mod shared;
mod thread;

pub use event::{Event, LeftOut, Refusal};
pub use limit::Limit;
pub use recent::Answer;

use crate::policy::Policy;
use shared::Shared;
use std::sync::Arc;

/// The packet log.
#[derive(Debug, Clone, Default)]
pub struct PacketLog {
    shared: Shared,
}

impl PacketLog {
    /// This is enforced from now on. The thread listens from the first policy on that has refusals logged.
    pub fn follow(&self, generation: u64, policy: Option<&Policy>) {
        let mut shared = self.shared.lock();
        if shared.generation == generation && shared.policy.is_some() == policy.is_some() {
            return;
        }
        shared.generation = generation;
        shared.policy = policy.cloned().map(Arc::new);
        let logs = policy.is_some_and(|policy| policy.platform.events);
        if logs && !shared.listens {
            drop(shared);
            thread::start(&self.shared);
        }
    }

    /// The events after this number, see [`Answer`].
    pub fn after(&self, number: Option<u64>) -> Answer {
        let shared = self.shared.lock();
        let policy = shared.policy.as_ref();
        let mut answer = shared.recent.after(number);
        answer.told = policy.is_some_and(|policy| policy.platform.events);
        answer.failed = shared.failed.clone();
        answer
    }
}
