//! Refusals as events: what the kernel tells of refused packets, for the log and for whoever asks.
//!
//! ```text
//! kernel (NFLOG) -> thread `refusals` -> limit by remote -> log line, and the last events, which `secgroupd events` asks for
//! ```
//!
//! The packet is long refused when it is told, so nothing here can hold it up or let it pass. Of packets that are told too fast each remote's
//! first ones become events; how many were left out, and how many the kernel had no room for, is an event of its own, once
//! a second.

mod event;
mod journal;
mod limit;
mod recent;
mod thread;

pub use event::{Event, LeftOut, Refusal};
pub use limit::Limit;
pub use recent::Answer;

use crate::policy::Policy;
use parking_lot::Mutex;
use recent::Recent;
use std::sync::Arc;

/// What the thread and the daemon share.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    shared: Arc<Mutex<Shared>>,
}

/// Whole even if a thread panicked while it had it: the parts are each replaced whole.
#[derive(Debug, Default)]
struct Shared {
    recent: Recent,
    /// What is enforced: where its rules stand.
    policy: Option<Arc<Policy>>,
    generation: u64,
    listens: bool,
    /// Why nobody listens.
    failed: Option<String>,
}

impl Refusals {
    /// This is enforced from now on. Whoever is told of refusals listens, from the first such policy on.
    pub fn follow(&self, generation: u64, policy: Option<&Policy>) {
        let mut shared = self.shared.lock();
        if shared.generation == generation && shared.policy.is_some() == policy.is_some() {
            return;
        }
        shared.generation = generation;
        shared.policy = policy.cloned().map(Arc::new);
        let told = policy.is_some_and(|policy| policy.platform.events);
        if told && !shared.listens {
            drop(shared);
            thread::start(self);
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
