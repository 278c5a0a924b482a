//! What holds for packets that open a flow holds for those of tracked flows: each rule over a packet's remote and port is followed by
//! the same over what its flow was opened with. Boxes follow the former ([`super::regions`]), and so this makes them count for both.
//! And what is decided because a flow is tracked would have been decided so without that.

use super::Difference;
use crate::policy::Direction;
use crate::ruleset::ir::*;
use rustc_hash::FxHashMap;

/// Looks at every rule.
///
/// # Errors
///
/// The first rule that stands alone, or whose twin asks something else.
pub fn check(ruleset: &Ruleset) -> Result<(), Difference> {
    let knows = |rule: &NftRule| is_of_others(rule) || asks_for_flow(rule);
    let maps = ruleset.maps.iter();
    let maps: Maps = maps.map(|map| (&*map.name, &map.elements)).collect();
    for chain in &ruleset.chains {
        if !ruleset.recheck && !chain.rules.iter().any(knows) {
            continue;
        }
        let direction = of_list(&chain.name);
        let mut rules = chain.rules.iter().peekable();
        while let Some(rule) = rules.next() {
            let right = if asks_the_other_way(rule, direction)
                || rules
                    .peek()
                    .is_some_and(|next| is_of_others(rule) && asks_the_other_way(next, direction))
            {
                false
            } else if is_of_others(rule) {
                rules
                    .next()
                    .is_some_and(|next| are_twins(rule, next, &maps))
            } else if decides_again(rule) {
                rules
                    .peek()
                    .is_some_and(|next| is_without_state(rule, next))
            } else {
                !(asks_for_flow(rule) || asks_for_packet(rule) && is_pass(rule))
            };
            if !right {
                return Err(Difference {
                    packet: "packets of new and of tracked flows".into(),
                    policy: "the same".into(),
                    ruleset: format!("differs in the chain `{}`", chain.name),
                });
            }
        }
    }
    Ok(())
}

/// Which way the flows go that a list's chain is about.
fn of_list(chain: &str) -> Option<Direction> {
    match chain.split_once('_')?.0 {
        "in" => Some(Direction::Inbound),
        "out" => Some(Direction::Outbound),
        _ => None,
    }
}

/// Whether a rule asks what flows of the other direction were opened with, or lets pass as those.
fn asks_the_other_way(rule: &NftRule, direction: Option<Direction>) -> bool {
    let other = |of: &Direction| Some(*of) != direction;
    let asks = |each: &Match| match each {
        Match::FlowPort(of, ..) | Match::FlowAddress { direction: of, .. } => other(of),
        _ => false,
    };
    rule.matches.iter().any(asks)
        || match &rule.verdict {
            NftVerdict::Map(
                MapKey::FlowPort(of, _) | MapKey::FlowAddress(of, _) | MapKey::FlowPair(of, ..),
                _,
            ) => other(of),
            NftVerdict::Pass(of) => direction.is_some() && other(of),
            _ => false,
        }
}

fn is_of_others(rule: &NftRule) -> bool {
    rule.matches.contains(&Match::NotEstablished)
}

fn asks_for_flow(rule: &NftRule) -> bool {
    let asks = |each: &Match| matches!(each, Match::FlowPort(..) | Match::FlowAddress { .. });
    let looks_up = matches!(
        rule.verdict,
        NftVerdict::Map(
            MapKey::FlowPort(..) | MapKey::FlowAddress(..) | MapKey::FlowPair(..),
            _
        )
    );
    looks_up || rule.matches.iter().any(asks)
}

fn asks_for_packet(rule: &NftRule) -> bool {
    let asks = |each: &Match| matches!(each, Match::Port(..) | Match::Address { .. });
    rule.matches.iter().any(asks)
}

/// Whether it lets a flow pass; what just accepts is about messages, which open none.
fn is_pass(rule: &NftRule) -> bool {
    matches!(
        rule.verdict,
        NftVerdict::Pass(_) | NftVerdict::Observe(Some(_))
    )
}

/// Whether packets of tracked flows are decided about here, by their state and not by what their flow was opened with.
fn decides_again(rule: &NftRule) -> bool {
    rule.reason.is_some() && of_established(rule).is_some()
}

/// What a rule asks for beside that the packet's flow is established, if it asks for that.
fn of_established(rule: &NftRule) -> Option<&[Match]> {
    match rule.matches.split_first()? {
        (Match::State(CtState::Established), rest) => Some(rest),
        _ => None,
    }
}

/// Whether `next` is the rule for all packets, whatever their state.
fn is_without_state(again: &NftRule, next: &NftRule) -> bool {
    again.verdict == next.verdict
        && again.reason == next.reason
        && of_established(again) == Some(&next.matches)
}

/// Whether `flows` is `packets` over what a tracked flow was opened with.
fn are_twins(packets: &NftRule, flows: &NftRule, maps: &Maps) -> bool {
    let Some((Match::NotEstablished, matches)) = packets.matches.split_first() else {
        return false;
    };
    // Packets of new flows get the answer that they got, with or without the question for the state.
    let of_flows = of_established(flows).unwrap_or(&flows.matches);
    asks_for_flow(flows)
        && flows.reason == packets.reason
        && of_flows.len() == matches.len()
        && of_flows
            .iter()
            .zip(matches)
            .all(|(flow, packet)| same(flow, packet))
        && match (&flows.verdict, &packets.verdict) {
            (NftVerdict::Map(flow, map), NftVerdict::Map(packet, same_map)) => {
                same_key(*flow, *packet) && (map == same_map || are_alike(maps, map, same_map))
            }
            (verdict, other) => verdict == other,
        }
}

/// The maps of a ruleset, by name.
type Maps<'r> = FxHashMap<&'r str, &'r MapElements>;

/// Whether two maps have the same elements: those that count stand twice.
fn are_alike(maps: &Maps, map: &str, other: &str) -> bool {
    match (maps.get(map), maps.get(other)) {
        (Some(MapElements::PairsV4(a)), Some(MapElements::PairsV4(b))) => a == b,
        (Some(MapElements::PairsV6(a)), Some(MapElements::PairsV6(b))) => a == b,
        _ => false,
    }
}

fn same(flow: &Match, packet: &Match) -> bool {
    match (flow, packet) {
        (Match::FlowPort(_, transport, ports), Match::Port(of, side, others)) => {
            (transport, Side::Destination, ports) == (of, *side, others)
        }
        (
            Match::FlowAddress {
                direction,
                with,
                negated,
            },
            Match::Address {
                side,
                with: others,
                negated: not,
            },
        ) => (remote_side(*direction), with, negated) == (*side, others, not),
        // What stands in an answer is not what its flow was opened with.
        (
            Match::FlowPort(..)
            | Match::FlowAddress { .. }
            | Match::Port(..)
            | Match::Address { .. },
            _,
        ) => false,
        (flow, packet) => flow == packet,
    }
}

fn same_key(flow: MapKey, packet: MapKey) -> bool {
    match (flow, packet) {
        (MapKey::FlowPort(_, transport), MapKey::Port(of)) => transport == of,
        (MapKey::FlowAddress(direction, family), MapKey::Address(side, of)) => {
            (remote_side(direction), family) == (side, of)
        }
        (
            MapKey::FlowPair(direction, family, bits, transport),
            MapKey::Pair(side, of, length, other),
        ) => (remote_side(direction), family, bits, transport) == (side, of, length, other),
        _ => false,
    }
}

fn remote_side(direction: Direction) -> Side {
    match direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}
