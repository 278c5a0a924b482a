//! What holds for tracked packets holds for untracked ones: each rule over a flow's remote and port is followed by the same over the
//! packet's. Boxes follow the former ([`super::regions`]), and so this makes them count for both.

use super::Difference;
use crate::policy::Direction;
use crate::ruleset::ir::*;

/// Looks at every rule.
///
/// # Errors
///
/// The first rule that stands alone, or whose twin asks something else.
pub fn check(ruleset: &Ruleset) -> Result<(), Difference> {
    for chain in &ruleset.chains {
        let mut rules = chain.rules.iter();
        while let Some(rule) = rules.next() {
            let alone = match (is_of_flow(rule), is_untracked(rule)) {
                (true, false) => !rules.next().is_some_and(|next| are_twins(rule, next)),
                (false, false) => false,
                (_, true) => true,
            };
            if alone {
                return Err(Difference {
                    packet: "tracked and untracked packets".into(),
                    policy: "the same".into(),
                    ruleset: format!("differs in the chain `{}`", chain.name),
                });
            }
        }
    }
    Ok(())
}

fn is_of_flow(rule: &NftRule) -> bool {
    let asks = |each: &Match| matches!(each, Match::FlowPort(..) | Match::FlowAddress { .. });
    let looks_up = matches!(
        rule.verdict,
        NftVerdict::Map(MapKey::FlowPort(..) | MapKey::FlowAddress(..), _)
    );
    looks_up || rule.matches.iter().any(asks)
}

fn is_untracked(rule: &NftRule) -> bool {
    rule.matches.contains(&Match::State(CtState::Untracked))
}

/// Whether `packets` is `flows` over what stands in the packet, for untracked packets alone.
fn are_twins(flows: &NftRule, packets: &NftRule) -> bool {
    let Some((Match::State(CtState::Untracked), matches)) = packets.matches.split_first() else {
        return false;
    };
    flows.reason == packets.reason
        && flows.matches.len() == matches.len()
        && flows
            .matches
            .iter()
            .zip(matches)
            .all(|(flow, packet)| same(flow, packet))
        && match (&flows.verdict, &packets.verdict) {
            (NftVerdict::Map(flow, map), NftVerdict::Map(packet, same_map)) => {
                map == same_map && same_key(*flow, *packet)
            }
            (verdict, other) => verdict == other,
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
        // A rule that asks both would hold for no packet.
        (Match::FlowPort(..) | Match::FlowAddress { .. }, _) => false,
        (flow, packet) => flow == packet,
    }
}

fn same_key(flow: MapKey, packet: MapKey) -> bool {
    match (flow, packet) {
        (MapKey::FlowPort(_, transport), MapKey::Port(of)) => transport == of,
        (MapKey::FlowAddress(direction, family), MapKey::Address(side, of)) => {
            (remote_side(direction), family) == (side, of)
        }
        _ => false,
    }
}

fn remote_side(direction: Direction) -> Side {
    match direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}
