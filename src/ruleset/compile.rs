//! A policy into chains: for each list of groups that interfaces are bound to, a role in each direction.
//!
//! ```text
//! inbound -> in_0 -> tracked flows, exempt traffic, invalid packets, then the role's diagram; what it does not decide is refused
//! ```

use super::diagram::clause::clauses;
use super::diagram::emit::emit;
use super::ir::*;
use super::remote::Remotes;
use crate::policy::{
    Binding, Direction, GroupId, InterfaceName, Interval, Policy, PortSet, Reason,
};
use std::collections::HashMap;

/// ICMP errors about a tracked flow: unreachable, time exceeded, parameter problem. IPv4's "too big" is a
/// code of unreachable; a redirect (5) is none of them.
const ICMP_ERRORS: &[(u8, u8)] = &[(3, 3), (11, 12)];
/// Unreachable, too big, time exceeded, parameter problem.
const ICMPV6_ERRORS: &[(u8, u8)] = &[(1, 4)];

/// Compiles a policy. The result is a function of the policy alone.
pub fn compile(policy: &Policy) -> Ruleset {
    let mut ruleset = Ruleset::default();
    let mut remotes = Remotes::default();
    for direction in [Direction::Inbound, Direction::Outbound] {
        ruleset.chains.push(exempt_chain(direction));
        let roles = Roles::new(&policy.bindings, direction);
        for (index, binding) in roles.lists.iter().enumerate() {
            let clauses = clauses(policy, &binding.groups, direction);
            let name = roles.name(index);
            let diagram = emit(
                &name,
                &clauses,
                remote_side(direction),
                &mut remotes,
                &mut ruleset,
            );
            ruleset
                .chains
                .push(role_chain(name, diagram, direction, Reason::Default));
        }
        let unbound = policy.platform.unbound_refuse && direction == Direction::Inbound;
        if unbound {
            ruleset.chains.push(role_chain(
                "unbound_in".into(),
                Vec::new(),
                direction,
                Reason::Unmanaged,
            ));
        }
        ruleset.chains.push(entry_chain(&roles, direction, unbound));
    }
    ruleset.sets = remotes.into_sets();
    ruleset
}

/// Interfaces bound to the same list of groups share one chain.
struct Roles<'p> {
    lists: Vec<&'p Binding>,
    /// Each interface and the index of its list.
    interfaces: Vec<(&'p InterfaceName, usize)>,
    suffix: &'static str,
}

impl<'p> Roles<'p> {
    fn new(bindings: &'p [Binding], direction: Direction) -> Self {
        let ids = |binding: &Binding| -> Vec<GroupId> {
            binding
                .groups
                .iter()
                .map(|group| group.id.clone())
                .collect()
        };
        let mut lists: Vec<&Binding> = Vec::new();
        let mut known: HashMap<Vec<GroupId>, usize> = HashMap::new();
        let mut interfaces = Vec::new();
        for binding in bindings {
            let index = *known.entry(ids(binding)).or_insert_with(|| {
                lists.push(binding);
                lists.len() - 1
            });
            interfaces.push((&binding.interface, index));
        }
        Roles {
            lists,
            interfaces,
            suffix: suffix(direction),
        }
    }

    fn name(&self, list: usize) -> String {
        format!("{}_{list}", self.suffix)
    }
}

/// A role: what passes anyway, what is invalid, the diagram, and the refusal of the rest.
fn role_chain(name: String, diagram: Vec<NftRule>, direction: Direction, rest: Reason) -> Chain {
    let mut rules = tracked_rules();
    rules.push(jump(format!("exempt_{}", suffix(direction))));
    rules.push(rule(
        vec![Match::State(CtState::Invalid)],
        NftVerdict::Drop,
        Reason::Invalid,
    ));
    rules.extend(diagram);
    rules.push(rule(vec![], NftVerdict::Drop, rest));
    Chain {
        name: name.into(),
        rules,
    }
}

/// Where packets of a direction enter: `iifname "eth0" goto in_0`. What falls off the end is not managed.
fn entry_chain(roles: &Roles, direction: Direction, unbound: bool) -> Chain {
    let (name, side) = match direction {
        Direction::Inbound => (INBOUND, Side::Source),
        Direction::Outbound => (OUTBOUND, Side::Destination),
    };
    let mut rules = Vec::new();
    if unbound || roles.interfaces.iter().any(|(name, _)| name.matches("lo")) {
        rules.push(plain(vec![Match::Loopback(side)], NftVerdict::Return));
    }
    for (interface, list) in &roles.interfaces {
        rules.push(plain(
            vec![Match::Interface(side, (*interface).clone())],
            NftVerdict::Goto(roles.name(*list).into()),
        ));
    }
    if unbound {
        rules.push(plain(vec![], NftVerdict::Goto("unbound_in".into())));
    }
    Chain {
        name: name.into(),
        rules,
    }
}

/// What belongs to a tracked flow passes: `ct state established counter accept`.
fn tracked_rules() -> Vec<NftRule> {
    let related = |errors| {
        rule(
            vec![Match::State(CtState::Related), errors],
            NftVerdict::Accept,
            Reason::Established,
        )
    };
    vec![
        rule(
            vec![Match::State(CtState::Established)],
            NftVerdict::Accept,
            Reason::Established,
        ),
        related(Match::IcmpType(ICMP_ERRORS)),
        related(Match::Icmpv6Type(ICMPV6_ERRORS)),
    ]
}

/// What is never filtered, and the essential traffic, to and from the host itself only.
fn exempt_chain(direction: Direction) -> Chain {
    let icmpv6 = |types, hops, host: &[Match]| {
        [&[Match::Icmpv6Type(types), Match::HopLimit(hops)], host].concat()
    };
    let udp = |from: u16, to: u16, peer: Vec<Match>, host: Match| {
        [
            peer,
            vec![port(Side::Source, from), port(Side::Destination, to), host],
        ]
        .concat()
    };
    let link_local: u128 = 0xfe80 << 112;
    let link_local = Interval {
        first: link_local,
        last: link_local | ((1 << 118) - 1),
    };
    let agents = 0xff02_0000_0000_0000_0000_0000_0001_0002;
    let agents = Interval {
        first: agents,
        last: agents,
    };
    let v6 = |side, intervals: &[Interval<u128>]| Match::Address {
        side,
        with: AddressMatch::Inline(Addresses::V6(intervals.into())),
        negated: false,
    };
    let ipv4 = vec![Match::Family(Family::V4)];
    let (never, essential) = match direction {
        Direction::Inbound => (
            vec![Match::Decrypted, Match::LoopedBack],
            vec![
                icmpv6(&[(134, 136)], 255, &[Match::ToThisHost]),
                icmpv6(&[(130, 132), (143, 143)], 1, &[Match::ToThisHost]),
                udp(67, 68, ipv4, Match::ToThisHost),
                udp(
                    547,
                    546,
                    vec![v6(Side::Source, &[link_local])],
                    Match::ToThisHost,
                ),
            ],
        ),
        Direction::Outbound => (
            vec![Match::WillEncrypt],
            vec![
                // Forwarding takes one from the hop limit: what leaves with 255 was made here.
                icmpv6(&[(133, 133), (135, 136)], 255, &[]),
                icmpv6(&[(131, 132), (143, 143)], 1, &[Match::FromProcess]),
                icmpv6(&[(131, 132), (143, 143)], 1, &[Match::FromLinkToMany]),
                udp(68, 67, ipv4, Match::FromProcess),
                udp(
                    546,
                    547,
                    vec![v6(Side::Destination, &[link_local, agents])],
                    Match::FromProcess,
                ),
            ],
        ),
    };
    let never = never
        .into_iter()
        .map(|condition| plain(vec![condition], NftVerdict::Accept));
    let essential = essential
        .into_iter()
        .map(|matches| rule(matches, NftVerdict::Accept, Reason::Essential));
    Chain {
        name: format!("exempt_{}", suffix(direction)).into(),
        rules: never.chain(essential).collect(),
    }
}

/// The remote is the source of an inbound and the destination of an outbound packet.
fn remote_side(direction: Direction) -> Side {
    match direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}

fn suffix(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    }
}

fn port(side: Side, port: u16) -> Match {
    Match::Port(Transport::Udp, side, PortSet::single(port))
}

fn rule(matches: Vec<Match>, verdict: NftVerdict, reason: Reason) -> NftRule {
    NftRule {
        matches,
        verdict,
        reason: Some(reason),
    }
}

fn plain(matches: Vec<Match>, verdict: NftVerdict) -> NftRule {
    NftRule {
        matches,
        verdict,
        reason: None,
    }
}

fn jump(chain: String) -> NftRule {
    plain(vec![], NftVerdict::Jump(chain.into()))
}
