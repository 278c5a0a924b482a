//! What the instances' own rules do to packets while something is tried: seen packet by packet, and not guessed from
//! what rules there are.

use super::cell::{Cell, Expected};
use super::node::{Node, PATIENCE};
use super::probe::Found;
use super::service::LabService;
use crate::netfilter::firewall::{Blame, refused_by_legacy};
use crate::netfilter::others::owner_of;
use crate::netfilter::refusals::Flow;
use crate::netfilter::trace::{Done, TableChain, Trace, Traced};
use crate::policy::Protocol;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was seen in each node.
#[derive(Debug, Default)]
pub struct Evidence(HashMap<String, NodeSeen>);

/// What was seen in one node.
#[derive(Debug, Default)]
struct NodeSeen {
    told: Traced,
    /// What iptables-legacy has refused meanwhile.
    legacy: BTreeMap<Blame, u64>,
    /// Why not all could be seen.
    unseen: Option<String>,
}

/// A node in which packets are traced.
struct Watched<'n> {
    node: &'n Arc<Node>,
    trace: Option<Trace>,
    seen: NodeSeen,
}

/// Says when it is dropped, by a panic too, that nobody need listen any more.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Has the packets in these nodes traced while `tries` runs.
pub fn watch<T>(nodes: &[&Arc<Node>], tries: impl FnOnce() -> T) -> (T, Evidence) {
    let begun: Vec<_> = nodes
        .iter()
        .map(|node| (node, node.ask(|_| (Trace::begin(), refused_by_legacy()))))
        .collect();
    let begun = begun.into_iter().map(|(node, answer)| {
        let mut watched = Watched {
            node,
            trace: None,
            seen: NodeSeen::default(),
        };
        match node.wait(&answer, PATIENCE) {
            Ok((trace, legacy)) => {
                watched.trace = watched.seen.known(trace);
                watched.seen.legacy = watched.seen.known(legacy).unwrap_or_default();
            }
            Err(error) => watched.seen.unseen = Some(error.what),
        }
        watched
    });
    let mut watched: Vec<Watched> = begun.collect();
    let over = AtomicBool::new(false);
    let tried = std::thread::scope(|scope| {
        scope.spawn(|| listen(&mut watched, &over));
        let _over = Over(&over);
        tries()
    });
    let ended: Vec<_> = watched
        .into_iter()
        .map(|Watched { node, trace, seen }| {
            let answer = node.ask(move |_| {
                drop(trace);
                refused_by_legacy()
            });
            (node, seen, answer)
        })
        .collect();
    let seen = ended.into_iter().map(|(node, mut seen, answer)| {
        let before = std::mem::take(&mut seen.legacy);
        match node.wait(&answer, PATIENCE) {
            Ok(after) => {
                let after = seen.known(after).unwrap_or_default();
                seen.legacy = more(&before, after);
            }
            Err(error) => seen.unseen = Some(error.what),
        }
        (node.name().to_owned(), seen)
    });
    let evidence = Evidence(seen.collect());
    (tried, evidence)
}

impl NodeSeen {
    /// What there is, or a note why not.
    fn known<T, E: std::fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.unseen = Some(error.to_string()))
            .ok()
    }
}

/// By how much each has grown.
fn more(before: &BTreeMap<Blame, u64>, after: BTreeMap<Blame, u64>) -> BTreeMap<Blame, u64> {
    let grown = after.into_iter().filter_map(|(blame, packets)| {
        let more = packets.saturating_sub(before.get(&blame).copied().unwrap_or(0));
        (more > 0).then_some((blame, more))
    });
    grown.collect()
}

/// Reads what the kernel sends until it is over: there is little room for what nobody has read.
fn listen(watched: &mut [Watched], over: &AtomicBool) {
    loop {
        let last = over.load(Ordering::Acquire);
        let traces = watched
            .iter()
            .filter_map(|watched| Some(watched.trace.as_ref()?.descriptor()));
        let mut ready: Vec<PollFd> = traces
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        if !last {
            let _ = poll(&mut ready, PollTimeout::from(20u8));
        }
        drop(ready);
        for Watched { trace, seen, .. } in &mut *watched {
            if let Some(trace) = trace {
                trace.read(&mut seen.told);
            }
        }
        if last {
            return;
        }
    }
}

impl Evidence {
    /// Which rule of an end's own has made this cell what it is.
    pub fn of(&self, cell: &Cell) -> Option<String> {
        let ends = [(&cell.from, true), (&cell.to, false)];
        let done = ends.into_iter().flat_map(|(name, is_sender)| {
            let seen = self.0.get(name);
            let done = seen.into_iter().flat_map(|seen| &seen.told.done);
            done.filter(|(flow, _)| is_of(flow, cell))
                .map(move |(_, done)| (name, is_sender, done))
        });
        let mut elsewhere = None;
        for (name, is_sender, done) in done {
            match done {
                // The receiver's groups judge a packet before anybody of it can stop it or send it elsewhere: what they
                // had to refuse, and somebody met behind them, has leaked.
                Done::Stopped(chain)
                    if cell.found != Found::Reached
                        && (is_sender || cell.expected != Expected::Silent) =>
                {
                    return Some(format!("{} has stopped it", named(chain, name)));
                }
                Done::Translated(by) if is_sender || cell.expected != Expected::Silent => {
                    let by = match by {
                        Some(chain) => named(chain, name),
                        None => format!("address translation of {name}"),
                    };
                    elsewhere = Some(format!("{by} has sent it elsewhere"));
                }
                _ => {}
            }
        }
        elsewhere
    }

    /// Which chain of iptables-legacy of this node has refused as many packets as these cells are, if one has: it has
    /// numbers alone.
    pub fn of_legacy(&self, node: &str, cells: usize) -> Option<String> {
        let refused = &self.0.get(node)?.legacy;
        let packets: u64 = refused.values().sum();
        let (blame, _) = refused.iter().max_by_key(|(_, packets)| **packets)?;
        (packets >= cells as u64).then(|| {
            format!(
                "{} of {node} ({} of {}) has stopped it",
                blame.program, blame.chain, blame.table
            )
        })
    }

    /// Whether not all was heard of this node, so that it is worth to look again at less.
    pub fn has_lost(&self, node: &str) -> bool {
        self.0.get(node).is_some_and(|seen| seen.told.lost)
    }

    /// Why not all could be seen in one of these nodes.
    pub fn unseen(&self, nodes: [&str; 2]) -> Option<&str> {
        let mut seen = nodes.into_iter().filter_map(|node| self.0.get(node));
        seen.find_map(|seen| seen.unseen.as_deref())
    }
}

/// `iptables of ins-db (INPUT of filter)`.
fn named(by: &TableChain, node: &str) -> String {
    let owner = owner_of(i32::from(by.family), &by.table);
    match owner.contains("table") && !owner.ends_with("tables") {
        true => format!("{owner} of {node} ({})", by.chain),
        false => format!("{owner} of {node} ({} of {})", by.chain, by.table),
    }
}

/// Whether a packet is the question of a cell, or an answer to it.
fn is_of(flow: &Flow, cell: &Cell) -> bool {
    let [source, destination] = flow.ports.map_or([None, None], |ports| ports.map(Some));
    let is_ping = |types: [u8; 2]| flow.icmp_type.is_some_and(|kind| types.contains(&kind));
    let asks = (flow.source, flow.destination) == (cell.source, cell.target);
    let answers = (flow.source, flow.destination) == (cell.target, cell.source);
    let port = match (asks, answers) {
        (true, _) => destination,
        (_, true) => source,
        _ => return false,
    };
    match cell.service {
        LabService::Tcp(own) => flow.protocol == Protocol::TCP && port == Some(own),
        LabService::Udp(own) if flow.protocol == Protocol::UDP => port == Some(own),
        // That nothing listens is said by ICMP, without a port in its own header.
        LabService::Udp(_) => answers && is_ping([3, 1]),
        LabService::Ping if asks => is_ping([8, 128]),
        LabService::Ping => is_ping([0, 129]),
    }
}
