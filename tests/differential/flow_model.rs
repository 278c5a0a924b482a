//! What the test knows of a flow: which interfaces let its opening pass, and whether it was answered. Nothing of it is read from the
//! kernel.

use secgroupd::policy::{Decision, Direction, Flow, Own, Packet, Policy, Protocol, State, Way};
use secgroupd::ruleset::marks::{ListKey, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Which end of a flow is the host's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The end that is asked.
    Inbound,
    /// The end that asks.
    Outbound,
    /// Neither.
    Forwarded,
}

/// Two ends that talk: `a` opens.
#[derive(Debug, Clone)]
pub struct Talk {
    pub kind: Kind,
    pub protocol: Protocol,
    pub ends: [(IpAddr, u16); 2],
    /// Whether `a` has said anything yet.
    pub begun: bool,
    pub tracked: Option<Tracked>,
}

/// What connection tracking knows, as the test believes.
#[derive(Debug, Clone)]
pub struct Tracked {
    /// The end whose packet was the first that it saw.
    pub opener: usize,
    /// That packet was TCP with SYN.
    pub with_syn: bool,
    pub answered: bool,
    /// The slots that let the opening pass, inbound and outbound; `false` where a packet may have passed without being judged, and then
    /// does not note where.
    opened: [BTreeMap<Slot, bool>; 2],
    /// The lists by which it may pass unjudged.
    passed: [BTreeSet<ListKey>; 2],
    /// The lists whose interfaces have let answers leave, though it was opened elsewhere.
    elsewhere: BTreeSet<ListKey>,
}

/// One packet of a talk at one hook, as the model knows it: with all that is sure, and with what may be so besides.
pub struct Judged {
    pub packet: Packet,
    pub decision: Decision,
    /// Whether it may pass uncounted.
    pub may_be_known: bool,
}

impl std::fmt::Debug for Judged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?}", self.decision, self.packet)
    }
}

impl Tracked {
    pub fn new(opener: usize, with_syn: bool) -> Self {
        Tracked {
            opener,
            with_syn,
            answered: false,
            opened: Default::default(),
            passed: Default::default(),
            elsewhere: BTreeSet::new(),
        }
    }

    /// Another policy is in force: what only says who passes is void, unless what passes goes on.
    pub fn policy_changed(&mut self, policy: &Policy) {
        self.passed = Default::default();
        if policy.platform.recheck {
            self.elsewhere.clear();
        }
    }

    /// As a packet says it, in the direction of the opening; without or with what may be so.
    fn flow(&self, policy: &Policy, way: Way, direction: Direction, unsure: bool) -> Flow {
        let known = |slots: &BTreeMap<Slot, bool>| -> Vec<Slot> {
            let slots = slots.iter().filter(|(_, sure)| **sure || unsure);
            slots.map(|(slot, _)| slot.clone()).collect()
        };
        let somewhere = self.opened.iter().any(|slots| !known(slots).is_empty());
        let here = known(&self.opened[side(direction)]);
        let names = here.iter().flat_map(|slot| stand_ins(slot, policy));
        Flow {
            way,
            opened: somewhere.then(|| names.collect()),
            own_of_another: false,
            passes: None,
        }
    }

    /// A packet of it passed.
    fn note(&mut self, policy: &Policy, packet: &Packet, way: Way) {
        let key = policy.list_key(&packet.interface);
        if way == Way::Answer {
            // An answer that passes may mark the flow for its whole list.
            self.passed[side(packet.direction.opposite())].extend(key.clone());
            self.elsewhere
                .extend(key.filter(|_| packet.direction == Direction::Outbound));
            return;
        }
        let unmanaged = key.is_none();
        // Elsewhere than at lists only what opens a flow is noted.
        if unmanaged && packet.state != State::New {
            return;
        }
        let at = side(packet.direction);
        let known = self.may_be_known(policy, packet, Way::Opening);
        let sure = self.opened[at]
            .entry(slot(policy, &packet.interface))
            .or_default();
        *sure |= !known;
        self.passed[at].extend(key);
    }

    /// Whether a mark may let this packet pass before its interface's rules are asked.
    fn may_be_known(&self, policy: &Policy, packet: &Packet, way: Way) -> bool {
        let opening = match way {
            Way::Opening => packet.direction,
            Way::Answer => packet.direction.opposite(),
        };
        let key = policy.list_key(&packet.interface);
        let opened = &self.opened[side(opening)];
        let passed = &self.passed[side(opening)];
        // Where one list alone is in force it is asked before the interface.
        let is_of = |other: &ListKey| key.as_ref().is_none_or(|key| key == other);
        let leaves = packet.direction == Direction::Outbound && way == Way::Answer;
        passed.iter().any(is_of)
            || (!policy.platform.recheck && !opened.is_empty())
            || (leaves && self.elsewhere.iter().any(is_of))
    }
}

impl Talk {
    /// What becomes of a packet from one end, at a hook of an interface; `None` where that hangs on what the model does not know.
    pub fn judge(
        &self,
        policy: &Policy,
        from: usize,
        direction: Direction,
        interface: &str,
        own_addresses: &[IpAddr],
    ) -> Option<Judged> {
        let way = match &self.tracked {
            Some(tracked) if tracked.opener != from => Way::Answer,
            _ => Way::Opening,
        };
        let ((source, source_port), (destination, destination_port)) =
            (self.ends[from], self.ends[1 - from]);
        let (near, remote) = match direction {
            Direction::Inbound => (destination, source),
            Direction::Outbound => (source, destination),
        };
        let state = |unsure| match &self.tracked {
            Some(tracked) if tracked.answered || way == Way::Answer => State::Tracked(Flow {
                own_of_another: self.kind != Kind::Forwarded && !own_addresses.contains(&near),
                ..tracked.flow(policy, way, direction_of(way, direction), unsure)
            }),
            _ => State::New,
        };
        let packet = |unsure| Packet {
            state: state(unsure),
            source_port,
            local: near,
            own: match self.kind {
                Kind::Forwarded => Own::Forwarded,
                _ => Own::Host,
            },
            without_syn: self.protocol == Protocol::TCP && !self.opens(from),
            ..Packet::opening(
                direction,
                interface,
                self.protocol,
                remote,
                destination_port,
            )
        };
        let packet = [packet(false), packet(true)];
        let [decision, other] = [policy.decide(&packet[0]), policy.decide(&packet[1])];
        let may_be_known = self
            .tracked
            .as_ref()
            .is_some_and(|tracked| tracked.may_be_known(policy, &packet[1], way));
        // Under `keep` answers go on that once left as if they opened the flow.
        let keeps = !policy.platform.recheck && may_be_known && !decision.verdict.passes();
        let [packet, _] = packet;
        (decision == other && !keeps).then_some(Judged {
            packet,
            decision,
            may_be_known,
        })
    }

    /// Whether what this end sends enters the host.
    pub fn comes_in(&self, from: usize) -> bool {
        match self.kind {
            Kind::Inbound => from == 0,
            Kind::Outbound => from == 1,
            Kind::Forwarded => true,
        }
    }

    /// A packet from this end went through a host without a policy.
    pub fn passed_unjudged(&mut self, from: usize) {
        let with_syn = self.opens(from);
        self.begun = true;
        let tracked = self
            .tracked
            .get_or_insert_with(|| Tracked::new(from, with_syn));
        tracked.answered |= tracked.opener != from;
    }

    /// Whether the next packet from this end is SYN alone.
    pub fn opens(&self, from: usize) -> bool {
        match &self.tracked {
            Some(tracked) => tracked.with_syn && !tracked.answered && tracked.opener == from,
            None => !self.begun,
        }
    }

    /// A packet from this end was judged at these hooks, the last of which refused it unless it came through.
    pub fn went(&mut self, policy: &Policy, from: usize, at: &[Judged]) {
        let confirmed = self.tracked.is_some();
        let with_syn = self.opens(from);
        let came_through = at.iter().all(|judged| judged.decision.verdict.passes());
        self.begun |= came_through;
        let tracked = self
            .tracked
            .get_or_insert_with(|| Tracked::new(from, with_syn));
        let way = match tracked.opener == from {
            true => Way::Opening,
            false => Way::Answer,
        };
        tracked.answered |= way == Way::Answer;
        for judged in at.iter().filter(|judged| judged.decision.verdict.passes()) {
            tracked.note(policy, &judged.packet, way);
        }
        // What is dropped before it is confirmed was never there.
        if !confirmed && !came_through {
            self.tracked = None;
        }
    }
}

fn direction_of(way: Way, direction: Direction) -> Direction {
    match way {
        Way::Opening => direction,
        Way::Answer => direction.opposite(),
    }
}

fn side(direction: Direction) -> usize {
    match direction {
        Direction::Inbound => 0,
        Direction::Outbound => 1,
    }
}

/// What a flow that is opened across this interface is known by.
fn slot(policy: &Policy, interface: &str) -> Slot {
    let mut unbound = policy.host.unbound.iter();
    match policy.binding(interface) {
        Some(binding) => Slot::Interface(binding.interface.clone()),
        None => unbound
            .find(|name| name.matches(interface))
            .map_or(Slot::Others, |name| Slot::Interface(name.clone())),
    }
}

/// Interfaces that stand for a slot in a packet: for a glob one that has no other name, or all that are bound now in its place.
fn stand_ins(slot: &Slot, policy: &Policy) -> Vec<String> {
    let Slot::Interface(name) = slot else {
        return vec![
            if *slot == Slot::Others {
                "other0"
            } else {
                "lo"
            }
            .into(),
        ];
    };
    let any = |name: &secgroupd::policy::InterfaceName| name.to_string().replace('*', "99");
    let bindings = policy.bindings.iter().map(|binding| &binding.interface);
    if !name.is_glob() || bindings.clone().any(|bound| bound == name) {
        return vec![any(name)];
    }
    let instead: Vec<String> = bindings
        .filter(|bound| bound.meets(name))
        .map(any)
        .collect();
    match instead.is_empty() {
        true => vec![any(name)],
        false => instead,
    }
}
