//! One look at all tracked flows: what is counted, and what the kernel is to be told.

use super::count::Ended;
use super::judge::Judge;
use super::memory::{Fate, Memory, Remembered};
use super::{Before, Found, Look};
use crate::netfilter::flows::{Flow, Tuple, flows_over};
use crate::netfilter::links::LinkError;
use crate::netfilter::netlink::{NetlinkError, Reader};
use crate::netfilter::remembered::remembered_over;
use crate::policy::{Packet, Policy, Protocol};
use crate::ruleset::Ruleset;
use crate::ruleset::ended::{EndedFlow, FAMILIES, MOST_ENDED};
use crate::ruleset::ir::Transport;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;
use tracing::warn;

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

/// Counts the flows that the old policy allowed and the new one does not. A tracked flow does not
/// say by which interface it came: that one is taken by which its remote is reached.
///
/// # Errors
///
/// See [`EndedError`].
pub fn ended(old: &Policy, new: &Policy, ruleset: &Ruleset) -> Result<Ended, EndedError> {
    let flows = flows_over(&Reader::netfilter()?)?;
    let mut judge = Judge::new(Some(new), ruleset)?;
    let mut ended = Ended::of(&flows);
    for flow in &flows {
        let refusal = judge.flow(flow).refusal();
        ended.add(refusal, |packet| allowed(old, packet));
    }
    Ok(ended)
}

fn allowed(old: &Policy, packet: &Packet) -> bool {
    old.decide(packet).verdict.passes()
}

impl Look {
    /// Looks at all tracked flows. Gives what is counted, what the kernel is to be told, and what it remembers then. `known` is what
    /// it was to remember so far.
    pub(super) fn carry_out(
        &self,
        reader: &Reader,
        known: &Memory,
    ) -> Result<(Ended, Found, Memory), EndedError> {
        // First, since somebody may be about to flush them.
        let flows = flows_over(reader)?;
        let by_kernel = remembered_over(reader)?.into_iter();
        let now = Instant::now();
        let remembered = Remembered {
            now,
            by_kernel: by_kernel.map(|(flow, left)| (flow, now + left)).collect(),
            known,
        };
        let mut judge = Judge::new(self.policy.as_ref(), &self.ruleset)?;
        let mut counted = Ended::of(&flows);
        let mut tracked = BTreeMap::new();
        for flow in &flows {
            let judged = judge.flow(flow);
            if let Some(of) = EndedFlow::of(flow)
                && let fate = judged.fate()
                && (fate == Fate::Ends || remembered.names(&of))
            {
                tracked.insert(of, fate);
            }
            let refusal = judged.refusal();
            match &self.before {
                Before::Nothing => counted.add(refusal, |_| true),
                Before::Policy(old) => counted.add(refusal, |packet| allowed(old, packet)),
                Before::Unknown => {}
            }
        }
        let (found, after) = remembered.sort(&tracked, |flow| judge.lost(flow).fate());
        Ok((counted, found, after))
    }
}

/// As many of them as the kernel has room for.
pub(super) fn room(ended: Vec<EndedFlow>, remembered: &Memory) -> Vec<EndedFlow> {
    let mut out = Vec::with_capacity(ended.len());
    for family in FAMILIES {
        let of_family = |flow: &&EndedFlow| flow.family() == family;
        let room = MOST_ENDED.saturating_sub(remembered.keys().filter(of_family).count());
        let before = out.len();
        out.extend(ended.iter().filter(of_family).take(room));
        let left_out = ended.iter().filter(of_family).count() - (out.len() - before);
        if left_out > 0 {
            warn!(
                "{left_out} ended flows are more than the kernel remembers: should connection tracking lose them, they may come to life again"
            );
        }
    }
    out
}

impl EndedFlow {
    /// What answers of a flow look like; nothing of protocols that need no memory.
    pub(super) fn of(flow: &Flow) -> Option<Self> {
        let Tuple {
            source,
            destination,
            protocol,
            ports,
        } = flow.reply;
        let transport = [Transport::Tcp, Transport::Udp]
            .into_iter()
            .find(|transport| transport.protocol() == Protocol(protocol))?;
        Some(EndedFlow {
            transport,
            source: SocketAddr::new(source, ports[0]),
            destination: SocketAddr::new(destination, ports[1]),
        })
    }
}
