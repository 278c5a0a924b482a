//! The flows that a change of the policy ends: how many, and by which rule, for the log; and what their answers look like, so that they stay
//! ended where connection tracking loses them (see `ruleset::ended`). While it knows them the kernel refuses their packets by itself (see
//! `ruleset::recheck`).

mod ahead;
mod memory;

pub use self::ahead::about_to_end;
use self::memory::{Fate, Memory, Remembered};
use crate::netfilter::flows::{Flow, Tuple, flows_over};
use crate::netfilter::links::LinkError;
use crate::netfilter::netlink::{NetlinkError, Reader};
use crate::netfilter::remembered::remembered_over;
use crate::netfilter::ways::{Way, Ways};
use crate::policy::{Direction, Packet, Policy, Protocol, Reason, Verdict};
use crate::ruleset::ended::{EndedFlow, FAMILIES, MOST_ENDED, remembered_for};
use crate::ruleset::ir::Transport;
use crate::ruleset::{Ruleset, Walker};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

/// How often it is asked whether what is remembered is due to be looked at again: a quarter of the time of UDP.
pub const ASK_AGAIN: Duration = Duration::from_secs(45);

/// The rules that are named one by one; the rest is counted together.
const NAMED: usize = 5;

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
            match look.carry_out(&known) {
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

    fn work(&self) -> MutexGuard<'_, Work> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn carry_out(&self, known: &Memory) -> Result<(Ended, Found, Memory), EndedError> {
        let reader = Reader::netfilter()?;
        // First, since somebody may be about to flush them.
        let flows = flows_over(&reader)?;
        let by_kernel = remembered_over(&reader)?.into_iter();
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
fn room(ended: Vec<EndedFlow>, remembered: &Memory) -> Vec<EndedFlow> {
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
    fn of(flow: &Flow) -> Option<Self> {
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
    new: Option<&'p Policy>,
    ways: Ways,
    /// One interface of each kind, where that is known.
    interfaces: Vec<String>,
    /// What was decided about flows that look the same to a policy.
    known: HashMap<Asked, Judged>,
}

/// What a policy asks of a flow.
type Asked = (Direction, u8, IpAddr, u16);

/// What refuses a flow, and the packet that would have opened it.
type Refusal = Arc<(Reason, Packet)>;

/// What a policy says of a flow.
#[derive(Debug, Clone)]
enum Judged {
    Refused(Refusal),
    Passes,
    /// That depends on the interface, and no route leads to its remote now.
    Unknown,
}

impl Judged {
    /// Of a flow that is judged twice.
    fn and(self, other: impl FnOnce() -> Judged) -> Self {
        match self {
            Judged::Refused(_) => self,
            Judged::Passes => other(),
            Judged::Unknown => match other() {
                Judged::Passes => Judged::Unknown,
                other => other,
            },
        }
    }

    fn fate(&self) -> Fate {
        match self {
            Judged::Refused(_) => Fate::Ends,
            Judged::Passes => Fate::GoesOn,
            Judged::Unknown => Fate::Unknown,
        }
    }

    fn refusal(self) -> Option<Refusal> {
        match self {
            Judged::Refused(refusal) => Some(refusal),
            Judged::Passes | Judged::Unknown => None,
        }
    }
}

impl<'p> Judge<'p> {
    fn new(new: Option<&'p Policy>, ruleset: &'p Ruleset) -> Result<Self, LinkError> {
        Ok(Judge {
            walker: Walker::new(ruleset),
            new,
            ways: Ways::look()?,
            interfaces: new.map(sample_interfaces).unwrap_or_default(),
            known: HashMap::new(),
        })
    }

    /// Of a tracked flow; one that this host forwards is judged where it enters and where it leaves.
    fn flow(
        &mut self,
        Flow {
            original, reply, ..
        }: &Flow,
    ) -> Judged {
        let protocol = original.protocol;
        self.asked((
            Direction::Inbound,
            protocol,
            original.source,
            original.ports[1],
        ))
        .and(|| self.asked((Direction::Outbound, protocol, reply.source, reply.ports[0])))
    }

    /// Of one that only its answers are known of: where it was translated, what they say is not what it had asked for. But it cannot
    /// go on without its translation.
    fn lost(&mut self, flow: &EndedFlow) -> Judged {
        let protocol = flow.transport.protocol().0;
        let (answers, opened, port) = (flow.source.ip(), flow.destination.ip(), flow.source.port());
        self.asked((Direction::Inbound, protocol, opened, port))
            .and(|| self.asked((Direction::Outbound, protocol, answers, port)))
    }

    fn asked(&mut self, asked: Asked) -> Judged {
        if let Some(known) = self.known.get(&asked) {
            return known.clone();
        }
        let judged = self.judged(asked);
        self.known.insert(asked, judged.clone());
        judged
    }

    fn judged(&mut self, (direction, protocol, remote, port): Asked) -> Judged {
        let mut packet = Packet::opening(direction, "", Protocol(protocol), remote, port);
        let walker = &self.walker;
        let refused = |packet: &Packet| walker.walk(packet).0 == Verdict::Refuse;
        // Where no interface refuses it, nobody need be asked by which one it goes.
        let any = self.interfaces.iter().any(|interface| {
            interface.clone_into(&mut packet.interface);
            refused(&packet)
        });
        if !any && !self.interfaces.is_empty() {
            return Judged::Passes;
        }
        match self.ways.way(remote) {
            Way::By(name) => name.clone_into(&mut packet.interface),
            Way::NoRemote => return Judged::Passes,
            Way::None => return Judged::Unknown,
        }
        let (verdict, reason) = self.walker.walk(&packet);
        if verdict.passes() {
            return Judged::Passes;
        }
        let decided = || self.new.map(|new| new.decide(&packet).reason);
        let reason = reason.cloned().or_else(decided).unwrap_or(Reason::Default);
        Judged::Refused(Arc::new((reason, packet)))
    }
}

impl Ended {
    fn of(flows: &[Flow]) -> Self {
        Ended {
            looked_at: flows.len(),
            ..Ended::default()
        }
    }

    /// Counts a flow that is refused, if it was allowed before.
    fn add(&mut self, refusal: Option<Refusal>, allowed: impl Fn(&Packet) -> bool) {
        if let Some(refusal) = refusal
            && let (reason, packet) = &*refusal
            && allowed(packet)
        {
            *self.by_reason.entry(reason.to_string()).or_default() += 1;
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

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
