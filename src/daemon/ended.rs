//! How many of the flows that are tracked now a change of the policy ends, and by which rule: for the log. The kernel ends them
//! by itself (see `ruleset::recheck`); this only counts.

use crate::netfilter::flows::{Flow, Tuple, flows_over};
use crate::netfilter::links::LinkError;
use crate::netfilter::netlink::{NetlinkError, Reader};
use crate::netfilter::ways::Ways;
use crate::policy::{Direction, Packet, Policy, Protocol, Reason, Verdict};
use crate::ruleset::{Ruleset, Walker};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;
use tracing::{debug, info, warn};

/// The rules that are named one by one; the rest is counted together.
const NAMED: usize = 5;

/// Counts in a thread of its own, so that nothing waits for it.
#[derive(Debug, Clone, Default)]
pub struct EndedFlows {
    counting: Arc<AtomicBool>,
    total: Arc<AtomicU64>,
}

impl EndedFlows {
    /// How many flows ended since the daemon began.
    pub fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Counts what the new policy ends, and logs it. Where changes follow one another faster than flows are counted,
    /// some are not counted.
    pub fn count(&self, old: Option<Policy>, new: Policy, ruleset: Ruleset) {
        if !new.platform.recheck || self.counting.swap(true, Relaxed) {
            return;
        }
        let this = self.clone();
        let count = move || {
            let begin = Instant::now();
            match ended(old.as_ref(), &new, &ruleset) {
                Ok(ended) if ended.count() > 0 => {
                    this.total.fetch_add(ended.count() as u64, Relaxed);
                    info!("{ended}");
                }
                Ok(ended) => debug!("{ended}, counted in {:.1?}", begin.elapsed()),
                Err(error) => warn!("it is not known how many flows end: {error}"),
            }
            this.counting.store(false, Relaxed);
        };
        let thread = std::thread::Builder::new()
            .name("flows".into())
            .spawn(count);
        if thread.is_err() {
            self.counting.store(false, Relaxed);
        }
    }
}

/// What a change of the policy ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// How many flows were looked at.
    pub looked_at: usize,
    /// How many of them end, by what refuses them.
    pub by_reason: BTreeMap<String, usize>,
}

/// Why they could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum EndedError {
    /// The flows.
    #[error("the tracked flows cannot be listed: {0}")]
    Flows(#[from] NetlinkError),
    /// The interfaces.
    #[error(transparent)]
    Links(#[from] LinkError),
}

/// Counts the flows that the old policy allowed (everything, if there was none) and the new one does not. A tracked flow does not
/// say by which interface it came: that one is taken by which its remote is reached.
///
/// # Errors
///
/// See [`EndedError`].
pub fn ended(old: Option<&Policy>, new: &Policy, ruleset: &Ruleset) -> Result<Ended, EndedError> {
    let flows = flows_over(&Reader::netfilter()?)?;
    let mut judge = Judge {
        walker: Walker::new(ruleset),
        old,
        new,
        ways: Ways::look()?,
        interfaces: sample_interfaces(new),
        known: HashMap::new(),
    };
    let mut ended = Ended {
        looked_at: flows.len(),
        ..Ended::default()
    };
    for flow in &flows {
        if let Some(reason) = judge.ends(flow) {
            *ended.by_reason.entry(reason.to_string()).or_default() += 1;
        }
    }
    Ok(ended)
}

/// A name for each binding, and one that is not bound.
fn sample_interfaces(policy: &Policy) -> Vec<String> {
    let bound = policy.bindings.iter().map(|binding| {
        let name = binding.interface.to_string();
        name.strip_suffix('*')
            .map_or(name.clone(), |start| format!("{start}~"))
    });
    bound.chain(["~".to_owned()]).collect()
}

struct Judge<'p> {
    walker: Walker<'p>,
    old: Option<&'p Policy>,
    new: &'p Policy,
    ways: Ways,
    /// One interface of each kind.
    interfaces: Vec<String>,
    /// What was decided about flows that look the same to a policy.
    known: HashMap<Asked, Option<Reason>>,
}

/// What a policy asks of a flow.
type Asked = (Direction, u8, IpAddr, u16);

impl Judge<'_> {
    /// What refuses a flow that was allowed: a flow that this host forwards is judged where it enters and where it leaves.
    fn ends(&mut self, flow: &Flow) -> Option<Reason> {
        let (original, reply) = (&flow.original, &flow.reply);
        self.refusal(Direction::Inbound, original, original.ports[1])
            .or_else(|| self.refusal(Direction::Outbound, reply, reply.ports[0]))
    }

    /// The same in one direction, of the side whose source is the remote.
    fn refusal(&mut self, direction: Direction, side: &Tuple, port: u16) -> Option<Reason> {
        let asked = (direction, side.protocol, side.source, port);
        if let Some(known) = self.known.get(&asked) {
            return known.clone();
        }
        let refusal = self.judged(asked);
        self.known.insert(asked, refusal.clone());
        refusal
    }

    fn judged(&mut self, (direction, protocol, remote, port): Asked) -> Option<Reason> {
        let mut packet = Packet::opening(direction, "", Protocol(protocol), remote, port);
        let walker = &self.walker;
        let refused = |packet: &Packet| walker.walk(packet).0 == Verdict::Refuse;
        // Where no interface refuses it, nobody need be asked by which one it goes.
        let any = self.interfaces.iter().any(|interface| {
            interface.clone_into(&mut packet.interface);
            refused(&packet)
        });
        if !any {
            return None;
        }
        // Nothing of this host's own is a remote.
        self.ways.to(remote)?.clone_into(&mut packet.interface);
        let (verdict, reason) = self.walker.walk(&packet);
        if verdict.passes() {
            return None;
        }
        let allowed = |old: &Policy| old.decide(&packet).verdict.passes();
        let reason = reason.cloned();
        self.old
            .is_none_or(allowed)
            .then(|| reason.unwrap_or_else(|| self.new.decide(&packet).reason))
    }
}

impl Ended {
    /// How many flows end.
    pub fn count(&self) -> usize {
        self.by_reason.values().sum()
    }
}

/// `3 of 120 tracked flows end: 2 by sg-web/in/3, 1 by default`
impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        let end = if count == 1 { "ends" } else { "end" };
        write!(f, "{count} of {} tracked flows {end}", self.looked_at)?;
        let mut reasons: Vec<_> = self.by_reason.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut separator = ": ";
        for (reason, count) in reasons.iter().take(NAMED) {
            write!(f, "{separator}{count} by {reason}")?;
            separator = ", ";
        }
        match reasons.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, ", and by {more} others"),
        }
    }
}
