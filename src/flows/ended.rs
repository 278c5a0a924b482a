//! Counts the flows that changes of the policy end, in a thread of its own, for the log and the metrics.

use super::count::{Ended, EndedError, allowed_by};
use crate::netfilter::netlink::Reader;
use crate::netfilter::priority::set_niceness;
use crate::policy::{Packet, Policy};
use crate::ruleset::Ruleset;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// How long a process that ends waits until the tracked flows are counted: many times what very many flows take.
pub const LONGEST_COUNT: Duration = Duration::from_secs(10);

/// How nice the thread is that counts. Nobody waits for it but a process that ends.
const GIVES_WAY: i32 = 10;

/// Counts the tracked flows that changes end, in a thread of its own.
#[derive(Debug, Clone, Default)]
pub struct EndedFlows(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    total: AtomicU64,
    reevaluated: AtomicU64,
    work: Mutex<Work>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    running: bool,
    next: Option<PolicyChange>,
    /// Not closed between counts, since that may hold up whoever changes rules; see [`Reader`].
    reader: Option<Reader>,
}

/// What is enforced now, and what was before.
#[derive(Debug)]
pub struct PolicyChange {
    /// What was enforced before.
    pub before: Before,
    /// What is enforced.
    pub policy: Policy,
    /// Its ruleset.
    pub ruleset: Ruleset,
}

/// What was enforced before a change.
#[derive(Debug)]
pub enum Before {
    /// Nothing: all flows were allowed.
    Nothing,
    /// This.
    Policy(Box<Policy>),
    /// It is not known, or the same: nothing is counted.
    Unknown,
}

impl Before {
    /// What this process enforced. What an earlier one enforced is not known.
    pub fn of(policy: Option<Policy>) -> Self {
        match policy {
            Some(policy) => Before::Policy(Box::new(policy)),
            None => Before::Unknown,
        }
    }

    fn allowed(&self, new: &Policy, packet: &Packet) -> bool {
        match self {
            Before::Nothing => true,
            Before::Policy(policy) => allowed_by(policy, new, packet),
            Before::Unknown => false,
        }
    }
}

impl EndedFlows {
    /// Counts nothing, as if it still counted: a kernel in memory tracks no flows, and to list this host's takes long.
    #[cfg(test)]
    pub fn counting_for_ever() -> Self {
        let this = Self::default();
        this.0.work.lock().running = true;
        this
    }

    /// How many flows ended since the daemon began.
    pub fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// How many flows changes had the kernel evaluate again since then. They are no hits.
    pub fn reevaluated(&self) -> u64 {
        self.0.reevaluated.load(Relaxed)
    }

    /// Starts counting, in a thread. Changes that arrive while it counts are counted as one.
    pub fn count(&self, mut change: PolicyChange) {
        let may_end = change.ruleset.recheck || change.policy.has_acls();
        if !may_end || matches!(change.before, Before::Unknown) {
            return;
        }
        let mut work = self.0.work.lock();
        if let Some(skipped) = work.next.take() {
            change.before = skipped.before;
        }
        work.next = Some(change);
        if std::mem::replace(&mut work.running, true) {
            return;
        }
        let this = self.clone();
        let thread = std::thread::Builder::new().name("flows".into());
        let counts = move || {
            // To list very many flows takes a processor for a while, which the next save needs.
            if let Err(error) = set_niceness(GIVES_WAY) {
                debug!("flows are counted as any other thread runs: {error}");
            }
            this.run();
        };
        if let Err(error) = thread.spawn(counts) {
            warn!("it is not known which flows end: {error}");
            *work = Work::default();
        }
    }

    fn run(&self) {
        loop {
            let mut work = self.0.work.lock();
            let Some(change) = work.next.take() else {
                work.running = false;
                self.0.idle.notify_all();
                return;
            };
            let reader = work.reader.take();
            drop(work);
            let begin = Instant::now();
            match change.count(reader) {
                Ok((ended, reader)) => {
                    self.0.work.lock().reader = Some(reader);
                    self.add(&ended, begin.elapsed());
                }
                Err(error) => warn!("it is not known which flows end: {error}"),
            }
        }
    }

    fn add(&self, ended: &Ended, took: Duration) {
        self.0
            .reevaluated
            .fetch_add(ended.looked_at as u64, Relaxed);
        self.0.total.fetch_add(ended.count() as u64, Relaxed);
        match ended.count() {
            0 => debug!("{ended}, counted in {took:.1?}"),
            _ => info!("{ended}"),
        }
    }

    /// Drops the count that has not begun: nothing is enforced any more.
    pub fn forget(&self) {
        self.0.work.lock().next = None;
    }

    /// Waits until all is counted.
    pub fn finish(&self, at_most: Duration) {
        let mut work = self.0.work.lock();
        self.0
            .idle
            .wait_while_for(&mut work, |work| work.running, at_most);
    }
}

impl PolicyChange {
    /// Counts. Returns the socket to the kernel for the next count. After a failure the next one opens another.
    fn count(&self, reader: Option<Reader>) -> Result<(Ended, Reader), EndedError> {
        let reader = match reader {
            Some(reader) => reader,
            None => Reader::netfilter()?,
        };
        let allowed = |packet: &Packet| self.before.allowed(&self.policy, packet);
        let ended = Ended::between(&reader, allowed, &self.policy, &self.ruleset)?;
        Ok((ended, reader))
    }
}
