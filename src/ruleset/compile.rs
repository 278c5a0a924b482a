//! A policy into chains: for each list of groups that interfaces are bound to, a role in each direction.
//!
//! ```text
//! inbound -> in_0 -> tracked flows, exempt traffic, invalid packets, then the role's diagram; what it does not decide is refused
//! ```
//!
//! With `established: recheck` the roles are those of [`super::recheck`].

use super::diagram::clause::clauses;
use super::diagram::emit::{emit, emit_messages};
use super::exempt::exempt_chain;
use super::ir::*;
use super::recheck::{self, ICMP_ERRORS, ICMPV6_ERRORS, exempt, role};
use super::remote::Remotes;
use super::table::DIRECTIONS;
use crate::policy::{Binding, Direction, GroupId, InterfaceName, Policy, Reason};
use std::collections::HashMap;

/// Compiles a policy. The result is a function of the policy alone.
pub fn compile(policy: &Policy) -> Ruleset {
    let mut ruleset = Ruleset {
        recheck: policy.platform.recheck,
        ..Ruleset::default()
    };
    let mut remotes = Remotes::default();
    for direction in DIRECTIONS {
        ruleset.chains.push(exempt_chain(direction));
        if ruleset.recheck {
            let refuse = policy.platform.unbound_refuse;
            let observe = policy.platform.observe;
            let shared = recheck::shared_chains(direction, refuse, observe);
            ruleset.chains.extend(shared);
        }
        let roles = Roles::new(&policy.bindings);
        for (index, binding) in roles.lists.iter().enumerate() {
            let clauses = clauses(policy, &binding.groups, direction);
            let name = role(direction, index);
            let diagram = emit(&name, &clauses, direction, &mut remotes, &mut ruleset);
            let refusals = Refusals {
                invalid: policy.platform.observe,
                rest: policy.platform.observe || binding.observes_the_rest(),
            };
            if !ruleset.recheck {
                let chain = role_chain(name, diagram, direction, Reason::Default, refusals);
                ruleset.chains.push(chain);
                continue;
            }
            let messages = format!("{name}_icmp");
            let messages =
                emit_messages(&messages, &clauses, direction, &mut remotes, &mut ruleset);
            let list = recheck::list_chain(index, direction, diagram, refusals.rest);
            ruleset.chains.push(list);
            let role = recheck::role_chains(index, direction, messages, refusals.rest);
            ruleset.chains.extend(role);
        }
        let refuse = policy.platform.unbound_refuse;
        let inbound = direction == Direction::Inbound;
        if refuse && ruleset.recheck {
            ruleset.chains.push(recheck::unbound_chain(direction));
        } else if refuse && inbound {
            let name = "unbound_in".into();
            let refusals = Refusals {
                invalid: policy.platform.observe,
                rest: policy.platform.observe,
            };
            let chain = role_chain(name, Vec::new(), direction, Reason::Unmanaged, refusals);
            ruleset.chains.push(chain);
        }
        let unbound = match (ruleset.recheck, refuse && inbound) {
            (true, _) => recheck::unbound_rules(direction, refuse),
            (false, true) => vec![NftRule::plain(
                vec![],
                NftVerdict::Goto("unbound_in".into()),
            )],
            (false, false) => Vec::new(),
        };
        let spared = refuse && (inbound || ruleset.recheck);
        ruleset
            .chains
            .push(entry_chain(&roles, direction, spared, unbound));
    }
    ruleset.sets.extend(remotes.into_sets());
    if policy.platform.events {
        tell_refusals(&mut ruleset);
    }
    ruleset
}

/// Has every rule that refuses, or would, tell of the packet before: `log prefix "default" group 25443 counter drop`. What passes is not
/// slowed by it, and nobody need listen.
fn tell_refusals(ruleset: &mut Ruleset) {
    let chains = telling_chains(&mut ruleset.maps);
    ruleset.chains.extend(chains);
    let rules = ruleset.chains.iter_mut().flat_map(|chain| &mut chain.rules);
    for rule in rules {
        let observed = match rule.verdict {
            NftVerdict::Drop => false,
            NftVerdict::Observe(_) => true,
            _ => continue,
        };
        let told = rule.reason.clone().map(|reason| Told { reason, observed });
        rule.matches.extend(told.map(Match::Told));
    }
}

/// An element of a map can count, and cannot tell: those that refuse lead to chains that do, one for each reason.
fn telling_chains(maps: &mut [Map]) -> Vec<Chain> {
    let mut chains: HashMap<(String, Reason), Chain> = HashMap::new();
    for map in maps {
        let list = map.name.trim_end_matches('f').to_owned();
        match &mut map.elements {
            MapElements::PairsV4(pairs) => lead_to_chains(&list, pairs, &mut chains),
            MapElements::PairsV6(pairs) => lead_to_chains(&list, pairs, &mut chains),
            _ => {}
        }
    }
    let mut chains: Vec<Chain> = chains.into_values().collect();
    chains.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    chains
}

fn lead_to_chains<T>(
    list: &str,
    pairs: &mut [Pair<T>],
    chains: &mut HashMap<(String, Reason), Chain>,
) {
    for pair in pairs {
        if !matches!(pair.verdict, NftVerdict::Drop | NftVerdict::Observe(_)) {
            continue;
        }
        let Some(reason) = pair.reason.take() else {
            continue;
        };
        let number = chains.len();
        let chain = chains.entry((list.to_owned(), reason.clone()));
        let chain = chain.or_insert_with(|| Chain {
            name: format!("{list}_r{number}").into(),
            rules: vec![rule(vec![], pair.verdict.clone(), reason)],
        });
        pair.verdict = NftVerdict::Goto(chain.name.clone());
    }
}

/// Interfaces bound to the same list of groups share one chain.
struct Roles<'p> {
    lists: Vec<&'p Binding>,
    /// Each interface and the index of its list.
    interfaces: Vec<(&'p InterfaceName, usize)>,
}

impl<'p> Roles<'p> {
    fn new(bindings: &'p [Binding]) -> Self {
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
        Roles { lists, interfaces }
    }
}

/// Which of a role's own refusals only observe.
#[derive(Clone, Copy)]
struct Refusals {
    /// Of what connection tracking can make nothing of.
    invalid: bool,
    /// Of what nothing matches.
    rest: bool,
}

/// A refusal that does not stamp: `counter drop`; one that observes: `counter accept`.
pub(super) fn refuse(observes: bool) -> NftVerdict {
    match observes {
        true => NftVerdict::Observe(None),
        false => NftVerdict::Drop,
    }
}

/// A role: what passes anyway, what is invalid, the diagram, and the refusal of the rest.
fn role_chain(
    name: String,
    diagram: Vec<NftRule>,
    direction: Direction,
    rest: Reason,
    observes: Refusals,
) -> Chain {
    let mut rules = tracked_rules();
    rules.push(jump(exempt(direction)));
    rules.push(rule(
        vec![Match::State(CtState::Invalid)],
        refuse(observes.invalid),
        Reason::Invalid,
    ));
    rules.extend(diagram);
    rules.push(rule(vec![], refuse(observes.rest), rest));
    Chain {
        name: name.into(),
        rules,
    }
}

/// Where packets of a direction enter: `iifname "eth0" goto in_0`. What falls off the end is not managed.
/// `spared`: loopback must be told from what is not bound; `unbound`: how that goes on.
fn entry_chain(roles: &Roles, direction: Direction, spared: bool, unbound: Vec<NftRule>) -> Chain {
    let (name, side) = match direction {
        Direction::Inbound => (INBOUND, Side::Source),
        Direction::Outbound => (OUTBOUND, Side::Destination),
    };
    let mut rules = Vec::new();
    if spared || roles.interfaces.iter().any(|(name, _)| name.matches("lo")) {
        rules.push(NftRule::plain(
            vec![Match::Loopback(side)],
            NftVerdict::Return,
        ));
    }
    for (interface, list) in &roles.interfaces {
        rules.push(NftRule::plain(
            vec![Match::Interface(side, (*interface).clone())],
            NftVerdict::Goto(role(direction, *list).into()),
        ));
    }
    rules.extend(unbound);
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
        related(Match::IcmpType(ICMP_ERRORS.into())),
        related(Match::Icmpv6Type(ICMPV6_ERRORS.into())),
    ]
}

fn rule(matches: Vec<Match>, verdict: NftVerdict, reason: Reason) -> NftRule {
    NftRule {
        matches,
        verdict,
        reason: Some(reason),
    }
}

fn jump(chain: String) -> NftRule {
    NftRule::plain(vec![], NftVerdict::Jump(chain.into()))
}
