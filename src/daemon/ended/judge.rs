//! What a policy says of a flow.

use super::memory::Fate;
use crate::netfilter::flows::Flow;
use crate::netfilter::links::LinkError;
use crate::netfilter::ways::{Way, Ways};
use crate::policy::{Direction, Packet, Policy, Protocol, Reason, Verdict};
use crate::ruleset::ended::EndedFlow;
use crate::ruleset::{Ruleset, Walker};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A name for each binding, and one that is not bound.
fn sample_interfaces(policy: &Policy) -> Vec<String> {
    let bound = policy.bindings.iter().map(|binding| {
        let name = binding.interface.to_string();
        name.strip_suffix('*')
            .map_or(name.clone(), |start| format!("{start}~"))
    });
    bound.chain(["~".to_owned()]).collect()
}

/// A policy, asked about flows.
pub struct Judge<'p> {
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
pub type Refusal = Arc<(Reason, Packet)>;

/// What a policy says of a flow.
#[derive(Debug, Clone)]
pub enum Judged {
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

    /// What becomes of it.
    pub fn fate(&self) -> Fate {
        match self {
            Judged::Refused(_) => Fate::Ends,
            Judged::Passes => Fate::GoesOn,
            Judged::Unknown => Fate::Unknown,
        }
    }

    /// What refuses it, if anything does.
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Judged::Refused(refusal) => Some(refusal),
            Judged::Passes | Judged::Unknown => None,
        }
    }
}

impl<'p> Judge<'p> {
    /// Where the policy is not known, its ruleset is asked alone.
    pub fn new(new: Option<&'p Policy>, ruleset: &'p Ruleset) -> Result<Self, LinkError> {
        Ok(Judge {
            walker: Walker::new(ruleset),
            new,
            ways: Ways::look()?,
            interfaces: new.map(sample_interfaces).unwrap_or_default(),
            known: HashMap::new(),
        })
    }

    /// Of a tracked flow; one that this host forwards is judged where it enters and where it leaves.
    pub fn flow(
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
    pub fn lost(&mut self, flow: &EndedFlow) -> Judged {
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
