//! What a change will end, before it does.

use super::EndedError;
use super::judge::Judge;
use super::memory::Fate;
use crate::netfilter::flows::flows_over;
use crate::netfilter::netlink::Reader;
use crate::netfilter::tracked::tracked_flows;
use crate::policy::Policy;
use crate::ruleset::Ruleset;
use crate::ruleset::ended::EndedFlow;
use tracing::debug;

/// Where more flows are tracked nothing waits for them: a thousand take about 1 ms.
const MOST: u64 = 5_000;

/// The flows that connection tracking knows and this ruleset refuses, of protocols that need a memory. None where they are too many
/// for a switch to wait for.
pub fn about_to_end(policy: Option<&Policy>, ruleset: &Ruleset) -> Vec<EndedFlow> {
    if !ruleset.recheck || tracked_flows().is_none_or(|tracked| tracked.count > MOST) {
        return Vec::new();
    }
    look(policy, ruleset).unwrap_or_else(|error| {
        debug!("what is about to end is not known: {error}");
        Vec::new()
    })
}

fn look(policy: Option<&Policy>, ruleset: &Ruleset) -> Result<Vec<EndedFlow>, EndedError> {
    let mut judge = Judge::new(policy, ruleset)?;
    let mut ended = Vec::new();
    for flow in &flows_over(&Reader::netfilter()?)? {
        if judge.flow(flow).fate() == Fate::Ends {
            ended.extend(EndedFlow::of(flow));
        }
    }
    Ok(ended)
}
