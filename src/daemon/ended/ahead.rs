//! What a change will end, before it does.

use super::EndedFlows;
use super::judge::Judge;
use super::look::EndedError;
use super::memory::Fate;
use crate::netfilter::flows::flows_over;
use crate::netfilter::tracked::tracked_flows;
use crate::ruleset::Ruleset;
use crate::ruleset::ended::EndedFlow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tracing::debug;

/// Where more flows are tracked nothing waits for them: a thousand take about 1 ms.
const MOST: u64 = 5_000;

impl EndedFlows {
    /// The flows that connection tracking knows and this ruleset refuses, of protocols that need a memory, but for those that are
    /// remembered already. None where they are too many for a switch to wait for, or once it is too late.
    pub fn about_to_end(&self, ruleset: &Ruleset, is_late: &AtomicBool) -> Vec<EndedFlow> {
        if !ruleset.recheck || tracked_flows().is_none_or(|tracked| tracked.count > MOST) {
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
        let flows = self.reader(|reader| Ok(flows_over(reader)?))?;
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
