//! What a change will end, before it does.

use super::EndedFlows;
use super::judge::Judge;
use super::look::EndedError;
use super::memory::Fate;
use crate::netfilter::flows::{Flow, flows_over};
use crate::netfilter::tracked::tracked_flows;
use crate::ruleset::Ruleset;
use crate::ruleset::ended::EndedFlow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use tracing::debug;

/// Where more flows are tracked nothing waits for them: a thousand take about 1 ms.
const MOST: u64 = 5_000;

/// A switch that comes later has them listed anew: what began meanwhile is not among them.
const FRESH: Duration = Duration::from_millis(50);

/// The tracked flows are being listed.
#[derive(Debug)]
pub(super) struct Listing {
    began: Instant,
    flows: JoinHandle<Result<Vec<Flow>, EndedError>>,
}

impl EndedFlows {
    /// Begins to list the tracked flows, since a change may be coming. The kernel goes through all of its table for that: 9 ms of 262,144
    /// places, though nothing is tracked. Beside reading and compiling nobody waits for it.
    pub fn list_ahead(&self) {
        if are_too_many() {
            return;
        }
        let this = self.clone();
        let thread = Builder::new().name("flows".into());
        let flows = thread.spawn(move || this.reader(|reader| Ok(flows_over(reader)?)));
        let began = Instant::now();
        // Where there is no thread to be had they are listed when they are asked for.
        *self.listing() = flows.ok().map(|flows| Listing { began, flows });
    }

    fn listed(&self) -> Result<Vec<Flow>, EndedError> {
        let listing = self.listing().take();
        match listing.filter(|listing| listing.began.elapsed() < FRESH) {
            Some(listing) => {
                let flows = listing.flows.join();
                flows.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            None => self.reader(|reader| Ok(flows_over(reader)?)),
        }
    }

    fn listing(&self) -> MutexGuard<'_, Option<Listing>> {
        let listing = self.0.listing.lock();
        listing.unwrap_or_else(PoisonError::into_inner)
    }

    /// The flows that connection tracking knows and this ruleset refuses, of protocols that need a memory, but for those that are
    /// remembered already. None where they are too many for a switch to wait for, or once it is too late.
    pub fn about_to_end(&self, ruleset: &Ruleset, is_late: &AtomicBool) -> Vec<EndedFlow> {
        if !ruleset.recheck || are_too_many() {
            return Vec::new();
        }
        self.look_ahead(ruleset, is_late).unwrap_or_else(|error| {
            debug!("what is about to end is not known: {error}");
            Vec::new()
        })
    }

    fn look_ahead(
        &self,
        ruleset: &Ruleset,
        is_late: &AtomicBool,
    ) -> Result<Vec<EndedFlow>, EndedError> {
        let flows = self.listed()?;
        let mut judge = Judge::new(None, ruleset)?;
        let mut ended = Vec::new();
        for flow in &flows {
            if is_late.load(Relaxed) {
                return Ok(Vec::new());
            }
            if judge.flow(flow).fate() == Fate::Ends {
                ended.extend(EndedFlow::of(flow));
            }
        }
        let work = self.work();
        ended.retain(|flow| !work.remembered.contains_key(flow));
        Ok(ended)
    }
}

/// Or where it is not known.
fn are_too_many() -> bool {
    tracked_flows().is_none_or(|tracked| tracked.count > MOST)
}
