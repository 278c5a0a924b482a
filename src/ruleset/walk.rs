//! A packet's way through a compiled ruleset, in plain steps: the second opinion beside
//! [`Policy::decide`](crate::policy::Policy::decide) and the kernel. It shares nothing with the compiler.

use super::ir::*;
use crate::policy::{Direction, Packet, Protocol, Reason, State, Verdict};
use std::net::IpAddr;

/// The deepest nesting of chains that nftables follows.
const DEEPEST: usize = 16;

/// What became of a packet: the verdict, and the reason of the rule that gave it; no reason if it fell off
/// the end, where the base chain accepts.
pub fn walk<'r>(ruleset: &'r Ruleset, packet: &Packet) -> (Verdict, Option<&'r Reason>) {
    let entry = match packet.direction {
        Direction::Inbound => INBOUND,
        Direction::Outbound => OUTBOUND,
    };
    match in_chain(ruleset, entry, packet, 0) {
        Some((verdict, reason)) => (verdict, reason),
        None => (Verdict::Allow, None),
    }
}

fn in_chain<'r>(
    ruleset: &'r Ruleset,
    name: &str,
    packet: &Packet,
    depth: usize,
) -> Option<(Verdict, Option<&'r Reason>)> {
    if depth > DEEPEST {
        return Some((Verdict::Refuse, None));
    }
    for rule in &ruleset.chain(name)?.rules {
        if !rule.matches.iter().all(|each| holds(ruleset, each, packet)) {
            continue;
        }
        match &rule.verdict {
            NftVerdict::Accept => return Some((Verdict::Allow, rule.reason.as_ref())),
            NftVerdict::Drop => return Some((Verdict::Refuse, rule.reason.as_ref())),
            NftVerdict::Return => return None,
            NftVerdict::Goto(chain) => return in_chain(ruleset, chain, packet, depth + 1),
            NftVerdict::Jump(chain) => {
                if let Some(end) = in_chain(ruleset, chain, packet, depth + 1) {
                    return Some(end);
                }
            }
        }
    }
    None
}

fn holds(ruleset: &Ruleset, each: &Match, packet: &Packet) -> bool {
    let v6 = packet.remote.is_ipv6();
    let is_type = |types: &[(u8, u8)]| {
        types
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&packet.icmp_type))
    };
    // The walk knows the remote only; nothing compiled asks for the own address.
    let remote = match packet.direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    };
    match each {
        Match::Interface(side, name) => *side == remote && name.matches(&packet.interface),
        Match::Loopback(side) => *side == remote && packet.interface == "lo",
        Match::State(state) => match packet.state {
            State::Established => *state == CtState::Established,
            State::IcmpError | State::Related => *state == CtState::Related,
            State::Invalid => *state == CtState::Invalid,
            State::New | State::Untracked => false,
        },
        Match::Family(family) => (*family == Family::V6) == v6,
        Match::Protocol(protocol) => packet.protocol.0 == *protocol,
        Match::Port(transport, side, ports) => {
            let protocol = match transport {
                Transport::Tcp => Protocol::TCP,
                Transport::Udp => Protocol::UDP,
            };
            let port = match side {
                Side::Source => packet.source_port,
                Side::Destination => packet.destination_port,
            };
            packet.protocol == protocol
                && ports
                    .intervals()
                    .iter()
                    .any(|interval| interval.contains(port))
        }
        Match::Address {
            side,
            with,
            negated,
        } => {
            let addresses = match with {
                AddressMatch::Inline(addresses) => Some(addresses),
                AddressMatch::Set(name, _) => ruleset
                    .sets
                    .iter()
                    .find(|set| set.name == *name)
                    .map(|set| &set.elements),
            };
            let inside = match (addresses, packet.remote) {
                (Some(Addresses::V4(list)), IpAddr::V4(address)) => list
                    .iter()
                    .any(|interval| interval.contains(address.into())),
                (Some(Addresses::V6(list)), IpAddr::V6(address)) => list
                    .iter()
                    .any(|interval| interval.contains(address.into())),
                // The other family does not match, negated or not: nft asks for the family first.
                _ => return false,
            };
            *side == remote && inside != *negated
        }
        Match::IcmpType(types) => !v6 && packet.protocol == Protocol::ICMP && is_type(types),
        Match::Icmpv6Type(types) => v6 && packet.protocol == Protocol::ICMPV6 && is_type(types),
        Match::HopLimit(hops) => v6 && packet.hop_limit == *hops,
        Match::ToThisHost => packet.direction == Direction::Inbound && !packet.forwarded,
        Match::FromProcess => packet.direction == Direction::Outbound && !packet.forwarded,
        Match::FromLinkToMany => !packet.forwarded && v6 && packet.remote.is_multicast(),
        // Such packets are never filtered and have no place in the model.
        Match::Decrypted | Match::WillEncrypt | Match::LoopedBack => false,
    }
}
