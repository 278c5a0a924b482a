//! Evaluates live flows: what refuses one.

use crate::netfilter::flows::Flow;
use crate::netfilter::links::LinkError;
use crate::netfilter::ways::Ways;
use crate::policy::packet::unspecified;
use crate::policy::{Direction, Packet, Policy, Protocol, Reason};
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
    /// Whether any interface is behind a network ACL.
    has_acls: bool,
    /// One interface of each kind.
    interfaces: Vec<String>,
    /// What was decided about flows that look the same to a policy, the last [`KNOWN`] at most.
    known: HashMap<Asked, Option<Refusal>>,
}

/// The source port of flows, where that does not matter.
const EPHEMERAL: u16 = 49152;

/// Outsiders choose how many flows differ.
const KNOWN: usize = 10_000;

/// What decides about a flow: a packet that opens it, as it is on the wire. Where no network ACL asks for them, its
/// source port and the host's end are the same for all.
type Asked = (Direction, u8, [IpAddr; 2], [u16; 2]);

/// What refuses a flow, and the packet that would have opened it.
pub type Refusal = Arc<(Reason, Packet)>;

impl<'p> Evaluator<'p> {
    /// The ruleset decides; the policy knows the reason of what no rule has decided.
    pub fn new(new: &'p Policy, ruleset: &'p Ruleset) -> Result<Self, LinkError> {
        Ok(Evaluator {
            walker: Walker::new(ruleset),
            new,
            ways: Ways::look()?,
            has_acls: new.has_acls(),
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
            [original.source, original.destination],
            original.ports,
        );
        let [asked, asks] = reply.ports;
        let leaves = (
            Direction::Outbound,
            protocol,
            [reply.source, reply.destination],
            [asks, asked],
        );
        let mut all = [enters, leaves];
        if !self.has_acls {
            all = all.map(|(direction, protocol, [remote, _], [_, port])| {
                (
                    direction,
                    protocol,
                    [remote, unspecified(remote)],
                    [EPHEMERAL, port],
                )
            });
        }
        all.into_iter().find_map(|asked| self.asked(asked))
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

    fn refusal(&mut self, (direction, protocol, [remote, local], ports): Asked) -> Option<Refusal> {
        let mut packet = Packet {
            source_port: ports[0],
            local,
            ..Packet::opening(direction, "", Protocol(protocol), remote, ports[1])
        };
        // Where no interface refuses it, nobody need be asked by which one it goes.
        let any = self.interfaces.iter().any(|interface| {
            interface.clone_into(&mut packet.interface);
            self.ends(&packet).is_some()
        });
        if !any {
            return None;
        }
        self.ways.to(remote)?.clone_into(&mut packet.interface);
        let reason = self.ends(&packet)?;
        Some(Arc::new((reason, packet)))
    }

    /// What ends the flow of this packet, where it crosses the packet's interface. Under `keep` the groups end none.
    fn ends(&self, packet: &Packet) -> Option<Reason> {
        if self.new.platform.recheck {
            let (verdict, reason) = self.walker.walk(packet);
            if !verdict.passes() {
                let reason = reason.cloned();
                return Some(reason.unwrap_or_else(|| self.new.decide(packet).reason));
            }
        }
        let by_acl = self.new.ended_by_acl(packet).filter(|_| self.has_acls);
        by_acl.map(|decision| decision.reason)
    }
}
