//! The flows that a change of the policy ends: how many, and by which rule, for the log; and what their answers look like, so that they stay
//! ended where connection tracking loses them (see `ruleset::ended`). While it knows them the kernel refuses their packets by itself (see
//! `ruleset::recheck`).
//!
//! | file | subject |
//! |---|---|
//! | `look` | one look at all tracked flows |
//! | `ahead` | a shorter one before the switch |
//! | `judge` | what a policy says of a flow |
//! | `memory` | what is remembered, and until when |
//! | `count` | how many end, for the log |

mod ahead;
mod count;
mod judge;
mod look;
mod memory;

use self::ahead::Listing;
pub use self::count::Ended;
pub use self::look::{EndedError, ended};
use self::memory::Memory;
use crate::netfilter::netlink::Reader;
use crate::policy::Policy;
use crate::ruleset::Ruleset;
use crate::ruleset::ended::{EndedFlow, remembered_for};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

/// How often it is asked whether what is remembered is due to be looked at again: a quarter of the time of UDP.
pub const ASK_AGAIN: Duration = Duration::from_secs(45);

/// Looks at the tracked flows in a thread of its own, so that nothing waits for it.
#[derive(Debug, Clone, Default)]
pub struct EndedFlows(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    total: AtomicU64,
    judged_again: AtomicU64,
    work: Mutex<Work>,
    idle: Condvar,
    found: Notify,
    /// Kept, since closing one may hold up whoever changes rules; see [`Reader`].
    reader: Mutex<Option<Reader>>,
    /// What was begun ahead of a change.
    listing: Mutex<Option<Listing>>,
}

#[derive(Debug, Default)]
struct Work {
    running: bool,
    next: Option<Look>,
    found: Option<Found>,
    /// What the kernel was to remember after the last look; a table that is made anew remembers nothing.
    remembered: Memory,
    /// When that began.
    looked: Option<Instant>,
    /// How often all was forgotten. A look that began before tells nothing of what is enforced since.
    forgotten: u64,
}

/// What is enforced now, and what was before.
#[derive(Debug)]
pub struct Look {
    /// What was enforced before.
    pub before: Before,
    /// What is enforced; of a kept one it may not be known yet.
    pub policy: Option<Policy>,
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

/// What the kernel is to be told after a look.
#[derive(Debug, Default)]
pub struct Found {
    /// What has ended and is not remembered yet.
    pub ended: Vec<EndedFlow>,
    /// What is remembered and is not to be any more: it is allowed again, or has ended anew.
    pub on: Vec<EndedFlow>,
}

impl EndedFlows {
    /// How many flows ended since the daemon began.
    pub fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// How many flows changes had judged again since then. They are no hits.
    pub fn judged_again(&self) -> u64 {
        self.0.judged_again.load(Relaxed)
    }

    /// Looks at all tracked flows. Where changes follow one another faster than that is done, those in between are counted as one.
    pub fn look(&self, mut look: Look) {
        if !look.ruleset.recheck {
            return;
        }
        let mut work = self.work();
        // It was of what is enforced no more.
        work.found = None;
        if let Some(Look { before, .. }) = work.next.take()
            && !matches!(before, Before::Unknown)
        {
            look.before = before;
        }
        work.next = Some(look);
        if std::mem::replace(&mut work.running, true) {
            return;
        }
        let this = self.clone();
        let thread = std::thread::Builder::new().name("flows".into());
        if let Err(error) = thread.spawn(move || this.looks()) {
            warn!("the tracked flows cannot be looked at: {error}");
            *work = Work::default();
        }
    }

    fn looks(&self) {
        loop {
            let mut work = self.work();
            let Some(look) = work.next.take() else {
                work.running = false;
                self.0.idle.notify_all();
                return;
            };
            let begin = Instant::now();
            work.looked = Some(begin);
            let (known, forgotten) = (work.remembered.clone(), work.forgotten);
            drop(work);
            match self.reader(|reader| look.carry_out(reader, &known)) {
                Ok((ended, found, remembered)) => {
                    if !self.keep(forgotten, found, remembered) {
                        continue;
                    }
                    if !matches!(look.before, Before::Unknown) {
                        let flows = ended.looked_at as u64;
                        self.0.judged_again.fetch_add(flows, Relaxed);
                    }
                    self.tell(&ended, begin.elapsed());
                }
                Err(error) => warn!("it is not known which flows end: {error}"),
            }
        }
    }

    /// Keeps what a look has found, unless all was forgotten since. Gives whether it was kept.
    fn keep(&self, forgotten: u64, found: Found, remembered: Memory) -> bool {
        let mut work = self.work();
        if work.forgotten != forgotten {
            return false;
        }
        work.remembered = remembered;
        // What comes next finds it again.
        if work.next.is_none() && !(found.ended.is_empty() && found.on.is_empty()) {
            work.found = Some(found);
            self.0.found.notify_one();
        }
        true
    }

    fn tell(&self, ended: &Ended, took: Duration) {
        if ended.count() > 0 {
            self.0.total.fetch_add(ended.count() as u64, Relaxed);
            info!("{ended}");
        } else {
            debug!("{ended}, counted in {took:.1?}");
        }
    }

    /// Waits until there is something to tell the kernel. Nothing is lost when the future is dropped before it is ready.
    pub async fn found(&self) {
        self.0.found.notified().await;
    }

    /// What the kernel is to be told.
    pub fn take(&self) -> Option<Found> {
        self.work().found.take()
    }

    /// Whether the kernel was to remember anything after the last look.
    pub fn are_remembered(&self) -> bool {
        !self.work().remembered.is_empty()
    }

    /// Whether what is remembered is to be looked at again.
    pub fn is_due(&self) -> bool {
        let work = self.work();
        let since = work.looked.map_or(Duration::MAX, |looked| looked.elapsed());
        let is_due = |flow: &EndedFlow| since >= remembered_for(flow.transport) / 6;
        !work.running && work.remembered.keys().any(is_due)
    }

    /// Nothing is enforced any more, and nothing has ended.
    pub fn forget(&self) {
        let mut work = self.work();
        work.forgotten += 1;
        (work.next, work.found) = (None, None);
        work.remembered.clear();
    }

    /// Waits until all is looked at.
    pub fn finish(&self, at_most: Duration) {
        let work = self.work();
        let running = self
            .0
            .idle
            .wait_timeout_while(work, at_most, |work| work.running);
        drop(running);
    }

    /// Asks the kernel about flows, when nobody else does. Whoever fails begins anew with another socket.
    fn reader<T>(
        &self,
        ask: impl FnOnce(&Reader) -> Result<T, EndedError>,
    ) -> Result<T, EndedError> {
        let kept = self.0.reader.lock();
        let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
        let reader = match kept.take() {
            Some(reader) => reader,
            None => Reader::netfilter()?,
        };
        let asked = ask(&reader)?;
        *kept = Some(reader);
        Ok(asked)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ruleset::ir::Transport;

    fn flow(transport: Transport) -> EndedFlow {
        EndedFlow {
            transport,
            source: "10.0.0.5:22".parse().unwrap(),
            destination: "10.0.0.9:5000".parse().unwrap(),
        }
    }

    fn found(transport: Transport) -> (Found, Memory) {
        let found = Found {
            ended: vec![flow(transport)],
            on: Vec::new(),
        };
        let until = Instant::now() + remembered_for(transport);
        (found, Memory::from([(flow(transport), until)]))
    }

    #[test]
    fn a_look_that_is_under_way_does_not_undo_that_all_is_forgotten() {
        let flows = EndedFlows::default();
        let began = flows.work().forgotten;
        flows.forget();
        let (ended, remembered) = found(Transport::Tcp);
        assert!(!flows.keep(began, ended, remembered));
        assert!(flows.take().is_none() && !flows.are_remembered());
        // One that begins since then does.
        let began = flows.work().forgotten;
        let (ended, remembered) = found(Transport::Tcp);
        assert!(flows.keep(began, ended, remembered));
        assert!(flows.take().is_some() && flows.are_remembered());
    }

    #[test]
    fn what_is_remembered_is_looked_at_again() {
        for (transport, minutes, due) in [
            (Transport::Udp, 0, false),
            (Transport::Udp, 1, true),
            (Transport::Tcp, 1, false),
        ] {
            let flows = EndedFlows::default();
            let Some(looked) = Instant::now().checked_sub(Duration::from_secs(minutes * 60)) else {
                continue;
            };
            flows.work().looked = Some(looked);
            assert!(!flows.is_due(), "nothing is remembered");
            let (ended, remembered) = found(transport);
            flows.keep(0, ended, remembered);
            assert_eq!(flows.is_due(), due, "{transport:?} after {minutes} min");
        }
    }
}
