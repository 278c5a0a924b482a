//! One run of boxes: what its packets have in common, and so the conditions that hold for all of them, or for none.

use crate::policy::{Direction, Protocol};
use crate::ruleset::check::sets::RulesetNumber;
use crate::ruleset::ir::{CtState, Family, FlowKey, FlowSide, Match, Side};
use std::net::IpAddr;

/// Packets of one protocol at one interface that open a flow from one port with hop limit 64, not forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Run<'i> {
    pub direction: Direction,
    pub interface: &'i str,
    pub protocol: Protocol,
    /// From which port: an ephemeral one, where no network ACL is asked.
    pub source_port: u16,
    /// Their other address, where a network ACL is asked.
    pub local: Option<IpAddr>,
    /// Where packets go on that a network ACL lets pass. The run ends there.
    pub end: Option<&'i str>,
    /// Whether they are ICMP messages about a tracked flow, other than errors, and open no flow themselves.
    pub about_a_flow: bool,
    /// Of packets of tracked flows. The chains ask what connection tracking keeps of the flow's opening, so ports and
    /// addresses of boxes are the flow's.
    pub key: Option<FlowKey>,
}

/// An ICMP type that is no error, of a message about a flow.
const REDIRECT: u8 = 5;
/// The same of ICMPv6: a number of errors, and none of the four.
const UNASSIGNED: u8 = 100;

/// Whether a condition on the interface holds; no other condition does.
pub fn at_interface(each: &Match, direction: Direction, interface: &str) -> bool {
    let side = |side: &Side| (*side == Side::Source) == (direction == Direction::Inbound);
    match each {
        Match::Interface(of, name) => side(of) && name.matches(interface),
        Match::Loopback(of) => side(of) && interface == "lo",
        _ => false,
    }
}

impl Run<'_> {
    /// Which address of a packet is the remote's. The compiler has a table of its own: the check shares none of its
    /// reasoning.
    pub fn remote_side(&self) -> Side {
        match self.direction {
            Direction::Inbound => Side::Source,
            Direction::Outbound => Side::Destination,
        }
    }

    /// Whether a condition over ports or remotes is over what the boxes of this run are.
    pub fn is_asked(&self, each: &Match) -> bool {
        match each {
            Match::Port(_, Side::Destination, _) => self.key.is_none(),
            Match::Address { side, .. } => self.key.is_none() && *side == self.remote_side(),
            Match::FlowPort(key, ..) | Match::FlowAddress { key, .. } => self.key == Some(*key),
            _ => false,
        }
    }

    /// Whether a condition is the same for all packets of the run, and does not hold.
    pub fn never<T: RulesetNumber>(&self, each: &Match) -> bool {
        !self.is_asked(each) && !self.holds::<T>(each)
    }

    /// Conditions that hold for all packets of a run or for none.
    pub fn holds<T: RulesetNumber>(&self, each: &Match) -> bool {
        let (run, family) = (self, T::FAMILY);
        let of_type = |protocol, types: &[(u8, u8)], wanted| {
            run.protocol == protocol && types.iter().any(|(a, b)| (*a..=*b).contains(&wanted))
        };
        match each {
            Match::Interface(..) | Match::Loopback(_) => {
                at_interface(each, run.direction, run.interface)
            }
            Match::Family(wanted) => *wanted == family,
            Match::Protocol(protocol) => run.protocol.0 == *protocol,
            // Of a tracked flow the chains ask nothing that stands in the packet.
            Match::Port(transport, Side::Source, ports) => {
                let is_of = transport.protocol() == run.protocol && run.key.is_none();
                is_of && ports.contains(run.source_port)
            }
            Match::HopLimit(hops) => family == Family::V6 && *hops == 64,
            Match::IcmpType(types) => {
                let question = if run.about_a_flow { REDIRECT } else { 8 };
                family == Family::V4 && of_type(Protocol::ICMP, types, question)
            }
            Match::Icmpv6Type(types) => {
                let question = if run.about_a_flow { UNASSIGNED } else { 128 };
                family == Family::V6 && of_type(Protocol::ICMPV6, types, question)
            }
            Match::ToThisHost | Match::ToOwnOrBroadcast | Match::HasLinkHeader => {
                run.direction == Direction::Inbound
            }
            Match::FromProcess | Match::FromOwnAddress => run.direction == Direction::Outbound,
            Match::State(CtState::New) => !run.about_a_flow,
            Match::State(state) => run.about_a_flow && *state == CtState::Related,
            Match::NotEstablished | Match::Told(_) | Match::SetMarks(_) => true,
            // Of the flow that a message is about nothing is known.
            Match::FlowSide(side) => !run.about_a_flow && *side == FlowSide::Original,
            // New flows have none of these.
            Match::Marked(_)
            | Match::MarkedOr(..)
            | Match::OpenedSomewhere
            | Match::OwnOfAnother(_)
            | Match::WithoutSyn
            | Match::PortOutside(_)
            | Match::Decrypted
            | Match::WillEncrypt
            | Match::LoopedBack
            | Match::FromLinkToMany => false,
            // They are to and from a known address of the host that is not link-local, and have 64 hops to go.
            Match::FromUnspecified | Match::ToOwnLinkLocal | Match::LinkIgmp => false,
            // They came by a wire.
            Match::EnteredByEthernet | Match::EnteredByKind(_) => false,
            // Over something else than the boxes of this run: nothing compiled asks so.
            Match::Port(..)
            | Match::Address { .. }
            | Match::FlowPort(..)
            | Match::FlowAddress { .. } => false,
        }
    }
}
