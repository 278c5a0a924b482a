//! Evaluates live flows: what refuses one.

use crate::netfilter::flows::Flow;
use crate::netfilter::links::LinkError;
use crate::netfilter::ways::Ways;
use crate::policy::{Direction, Packet, Policy, Protocol, Reason, Verdict};
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
pub struct Evaluator<'p> {
    walker: Walker<'p>,
    new: &'p Policy,
    ways: Ways,
    /// One interface of each kind.
    interfaces: Vec<String>,
    /// What was decided about flows that look the same to a policy, the last [`KNOWN`] at most.
    known: HashMap<Asked, Option<Refusal>>,
}

/// Outsiders choose how many flows differ.
const KNOWN: usize = 10_000;

/// What decides about a flow.
type Asked = (Direction, u8, IpAddr, u16);

/// What refuses a flow, and the packet that would have opened it.
pub type Refusal = Arc<(Reason, Packet)>;

impl<'p> Evaluator<'p> {
    /// The ruleset decides; the policy knows the reason of what no rule has decided.
    pub fn new(new: &'p Policy, ruleset: &'p Ruleset) -> Result<Self, LinkError> {
        Ok(Evaluator {
            walker: Walker::new(ruleset),
            new,
            ways: Ways::look()?,
            interfaces: sample_interfaces(new),
            known: HashMap::new(),
        })
    }

    /// Returns what refuses a tracked flow, if anything does. A forwarded one is evaluated where it enters and where it
    /// leaves.
    pub fn refusal_of(&mut self, flow: &Flow) -> Option<Refusal> {
        let (original, reply) = (&flow.original, &flow.reply);
        let protocol = original.protocol;
        let enters = (
            Direction::Inbound,
            protocol,
            original.source,
            original.ports[1],
        );
        let leaves = (Direction::Outbound, protocol, reply.source, reply.ports[0]);
        self.asked(enters).or_else(|| self.asked(leaves))
    }

    fn asked(&mut self, asked: Asked) -> Option<Refusal> {
        if let Some(known) = self.known.get(&asked) {
            return known.clone();
        }
        let refusal = self.refusal(asked);
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(asked, refusal.clone());
        refusal
    }

    fn refusal(&mut self, (direction, protocol, remote, port): Asked) -> Option<Refusal> {
        let mut packet = Packet::opening(direction, "", Protocol(protocol), remote, port);
        let walker = &self.walker;
        // Where no interface refuses it, nobody need be asked by which one it goes.
        let any = self.interfaces.iter().any(|interface| {
            interface.clone_into(&mut packet.interface);
            walker.walk(&packet).0 == Verdict::Refuse
        });
        if !any {
            return None;
        }
        self.ways.to(remote)?.clone_into(&mut packet.interface);
        let (verdict, reason) = walker.walk(&packet);
        if verdict.passes() {
            return None;
        }
        let reason = reason.cloned();
        let reason = reason.unwrap_or_else(|| self.new.decide(&packet).reason);
        Some(Arc::new((reason, packet)))
    }
}
