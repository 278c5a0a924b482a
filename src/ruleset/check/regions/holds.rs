//! Conditions that hold for all packets of a run, or for none.

use super::Way;
use crate::policy::{Direction, Protocol};
use crate::ruleset::check::sets::Line;
use crate::ruleset::ir::{CtState, Family, FlowSide, Match, Side};

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

impl<'r, T: Line + 'r> Way<'_, 'r, T> {
    /// Whether a condition is the same for all packets of the run, and does not hold.
    pub(super) fn never(&self, each: &Match) -> bool {
        let varies = matches!(
            each,
            Match::Port(_, Side::Destination, _) | Match::Address { .. }
        );
        !varies && !self.holds(each)
    }

    /// Conditions that hold for all packets of a run or for none.
    pub(super) fn holds(&self, each: &Match) -> bool {
        let (run, family) = (self.run, T::FAMILY);
        let of_type = |protocol, types: &[(u8, u8)], wanted| {
            run.protocol == protocol && types.iter().any(|(a, b)| (*a..=*b).contains(&wanted))
        };
        match each {
            Match::Interface(..) | Match::Loopback(_) => {
                at_interface(each, run.direction, run.interface)
            }
            Match::Family(wanted) => *wanted == family,
            Match::Protocol(protocol) => run.protocol.0 == *protocol,
            // A flow is opened from an ephemeral port.
            Match::Port(transport, _, ports) => {
                transport.protocol() == run.protocol && ports.contains(49152)
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
            Match::ToThisHost => run.direction == Direction::Inbound,
            Match::FromProcess => run.direction == Direction::Outbound,
            Match::State(CtState::New) => !run.about_a_flow,
            Match::State(state) => run.about_a_flow && *state == CtState::Related,
            Match::NotEstablished | Match::Told(_) => true,
            // Of the flow that a message is about nothing is known.
            Match::FlowSide(side) => !run.about_a_flow && *side == FlowSide::Original,
            // New flows have none of these.
            Match::Stamp(_)
            | Match::Decrypted
            | Match::WillEncrypt
            | Match::LoopedBack
            | Match::FromLinkToMany => false,
            // Nothing compiled asks for the own address.
            Match::Address { .. } => false,
            // They have been asked what stands in them, which is what their flow is opened with.
            Match::FlowPort(..) | Match::FlowAddress { .. } => false,
        }
    }
}
