//! Compiles a policy into chains. Each list of groups that interfaces are bound to has its own, in each direction.
//!
//! ```text
//! inbound -> in_0 -> what is known to pass, exempt traffic, invalid packets, flows ([`super::flows`])
//!                 -> in_0_list, the diagram of the list; what it does not decide is refused
//! ```

use super::acl::ListAcl;
use super::change::{Object, objects, references, target};
use super::diagram::clause::{Clause, clauses, everything};
use super::diagram::emit::{Decide, Emission, emit};
use super::diagram::plan::{Plan, Runs, plan};
use super::exempt::exempt_chain;
use super::flows::{self, goto, plain};
use super::ir::*;
use super::list::{List, lists, unbound_slots};
use super::remote::Remotes;
use super::table::DIRECTIONS;
use crate::policy::{Direction, InterfaceName, Policy, Protocol, Reason, Verdict};
use std::collections::{HashMap, HashSet};

/// Compiles a policy. The result is a function of the policy alone, its facts about the host included.
pub fn compile(policy: &Policy) -> Ruleset {
    let lists = lists(policy);
    let mut ruleset = Ruleset {
        recheck: policy.platform.recheck,
        marks: marks(policy, &lists),
        ..Ruleset::default()
    };
    let mut remotes = Remotes::default();
    let mut runs = Vec::new();
    for direction in DIRECTIONS {
        ruleset.chains.push(exempt(direction));
        ruleset
            .chains
            .extend(flows::shared_chains(policy, direction));
        for list in &lists {
            let clauses = list.clauses(policy, direction);
            let of_list = Runs::new(&clauses);
            let plan = plan(&clauses, &Decide::named(&clauses), &of_list);
            runs.push(of_list);
            let rules = list.rules(&clauses, plan, direction, &mut remotes, &mut ruleset);
            let opening = list.opening(direction, &rules, &ruleset);
            ruleset.chains.extend([rules, opening]);
            ruleset
                .chains
                .extend(list.chains(&lists, policy, direction));
            if let Some(acl) = &list.acl {
                let acl = ListAcl {
                    acl,
                    direction,
                    index: list.index,
                    observes: policy.platform.observe,
                };
                acl.emit(&mut remotes, &mut ruleset);
            }
        }
        let entry = entry_chains(&lists, policy, direction);
        ruleset.chains.extend(entry);
    }
    whether_chains(&lists, &runs, policy, &mut remotes, &mut ruleset);
    ruleset.sets.extend(remotes.into_sets());
    if policy.platform.events {
        log_refusals(&mut ruleset);
    }
    drop_unreached(&mut ruleset);
    ruleset
}

/// Drops what no packet can reach: a list without rules allows nothing, and a single list asks about no other.
fn drop_unreached(ruleset: &mut Ruleset) {
    let reached = {
        let objects = objects(ruleset);
        let mut reached: HashSet<String> = HashSet::new();
        let mut waiting = vec![INBOUND, OUTBOUND];
        while let Some(name) = waiting.pop() {
            if !reached.insert(name.to_owned()) {
                continue;
            }
            match objects.get(name) {
                Some(Object::Chain(chain)) => {
                    waiting.extend(chain.rules.iter().flat_map(references));
                }
                Some(Object::Map(map)) => {
                    // Long maps lead to few chains, one after the other.
                    let mut last = "";
                    for name in map.elements.verdicts().filter_map(target) {
                        if !std::ptr::eq(last, name) {
                            waiting.push(name);
                            last = name;
                        }
                    }
                }
                Some(Object::Set(_)) | None => {}
            }
        }
        reached
    };
    ruleset
        .chains
        .retain(|chain| reached.contains(&*chain.name));
    ruleset.maps.retain(|map| reached.contains(&*map.name));
    ruleset.sets.retain(|set| reached.contains(&set.name));
}

/// The exempt chain. What it lets pass is marked as opened elsewhere: without a mark nobody would know it later.
fn exempt(direction: Direction) -> Chain {
    let mut chain = exempt_chain(direction);
    for rule in &mut chain.rules {
        if rule.verdict == NftVerdict::Accept {
            rule.verdict = NftVerdict::Pass(flows::elsewhere(direction).into());
        }
    }
    chain
}

/// The marks of a policy. Those that must have a bit come first.
fn marks(policy: &Policy, lists: &[List]) -> Vec<Mark> {
    let interfaces = lists.iter().flat_map(|list| &list.interfaces);
    let bound = interfaces.map(|(_, slot)| slot.clone());
    let unbound = unbound_slots(policy).map(|(_, slot)| slot);
    let before = lists.iter().flat_map(|list| list.before.clone());
    let mut slots: Vec<Slot> = bound.chain(unbound).chain(before).collect();
    slots.extend([Slot::Elsewhere, Slot::Others]);
    slots.sort_unstable();
    slots.dedup();
    let opened = slots
        .into_iter()
        .flat_map(|slot| DIRECTIONS.map(|direction| Mark::Opened(direction, slot.clone())));
    let mut marks: Vec<Mark> = opened.collect();
    let keys = lists.iter().enumerate();
    let is_first = |at: usize, list: &List| !lists[..at].iter().any(|each| each.key == list.key);
    let keys = keys.filter(|(at, list)| is_first(*at, list));
    let lists: Vec<&List> = keys.map(|(_, list)| list).collect();
    if policy.platform.recheck {
        let passes = lists
            .iter()
            .flat_map(|list| DIRECTIONS.map(|direction| Mark::Passes(direction, list.key.clone())));
        marks.extend(passes);
    }
    marks.extend(lists.iter().map(|list| Mark::Answers(list.key.clone())));
    marks
}

impl List {
    /// `in_0_list`: the rules, which name and count what they decide.
    fn rules(
        &self,
        clauses: &[Clause],
        plan: Plan,
        direction: Direction,
        remotes: &mut Remotes,
        ruleset: &mut Ruleset,
    ) -> Chain {
        let passed = flows::passed(direction, self.index);
        let emission = Emission {
            prefix: &flows::role(direction, self.index),
            direction,
            key: None,
            decide: Decide::Named(passed.as_str().into()),
        };
        let mut rules = emit(&emission, clauses, plan, remotes, ruleset);
        rules.push(NftRule {
            matches: vec![],
            verdict: self.refusal(&passed),
            reason: Some(self.rest()),
        });
        Chain::new(flows::list(direction, self.index), rules)
    }

    /// `in_0_new`: what opens a TCP flow by IPv4 skips the questions for its family and its protocol. No other kind of flow is opened as
    /// often.
    ///
    /// ```text
    /// chain in_0_new { jump in_0_v4_7; counter drop comment "default" }
    /// ```
    fn opening(&self, direction: Direction, list: &Chain, ruleset: &Ruleset) -> Chain {
        let of_family = |rule: &&NftRule| rule.matches == [Match::Family(Family::V4)];
        let mut asks = list.rules.iter().find(of_family).cloned();
        if let Some(rule) = &mut asks {
            rule.matches.clear();
            let mut chains = ruleset.chains.iter();
            let family = chains.find(|chain| target(&rule.verdict) == Some(&*chain.name));
            let first = family.and_then(|chain| chain.rules.first());
            if let Some(NftRule {
                matches,
                verdict: NftVerdict::Goto(of_tcp),
                ..
            }) = first
                && *matches == [Match::Protocol(Protocol::TCP.0)]
            {
                rule.verdict = NftVerdict::Jump(of_tcp.clone());
            }
        }
        let rest = list.rules.last().cloned();
        let rules = asks.into_iter().chain(rest).collect();
        Chain::new(flows::opening(direction, self.index), rules)
    }

    fn clauses(&self, policy: &Policy, direction: Direction) -> Vec<Clause> {
        match (&self.groups, direction) {
            (Some(groups), _) => clauses(policy, groups, direction),
            (None, Direction::Inbound) => Vec::new(),
            (None, Direction::Outbound) => vec![everything(Verdict::Allow, Reason::Unmanaged)],
        }
    }

    /// The same with what becomes of the rest, where that passes.
    fn all_clauses(&self, policy: &Policy, direction: Direction) -> Vec<Clause> {
        let mut clauses = self.clauses(policy, direction);
        clauses.extend(
            self.observes
                .then(|| everything(Verdict::Observe, self.rest())),
        );
        clauses
    }
}

/// The chains that only say whether a list allows a flow: see [`super::flows`].
fn whether_chains(
    lists: &[List],
    runs: &[Runs],
    policy: &Policy,
    remotes: &mut Remotes,
    ruleset: &mut Ruleset,
) {
    for (at, list) in lists.iter().enumerate() {
        for (of, direction) in DIRECTIONS.into_iter().enumerate() {
            let clauses = list.all_clauses(policy, direction);
            let values = Decide::same_verdicts(&clauses);
            let plan = plan(&clauses, &values, &runs[of * lists.len() + at]);
            let mut add = |name: String, key, yes: NftVerdict, no: NftVerdict| {
                let emission = Emission {
                    prefix: &name,
                    direction,
                    key: Some(key),
                    decide: Decide::Whether {
                        yes,
                        no: no.clone(),
                    },
                };
                let mut rules = emit(&emission, &clauses, plan.clone(), remotes, ruleset);
                if no != NftVerdict::Return {
                    rules.push(plain(vec![], no));
                }
                ruleset.chains.push(Chain::new(name, rules));
            };
            let allowed = NftVerdict::Pass(flows::allowed(direction, list.index).into());
            let key = FlowKey::Opened(direction);
            let flow = flows::flow(direction, list.index);
            add(flow, key, allowed.clone(), NftVerdict::Return);
            if direction == Direction::Outbound {
                continue;
            }
            let invalid = goto(flows::invalid(Direction::Outbound));
            add(flows::lost(list.index), FlowKey::Lost, allowed, invalid);
            if lists.len() > 1 && list.groups.is_some() {
                let refused = goto(flows::ended());
                add(flows::still(list.index), key, NftVerdict::Return, refused);
            }
        }
    }
}

/// Has every rule that refuses, or would, log the packet before: `log prefix "default" group 25443 counter drop`. What passes is not
/// slowed by it, and nobody need listen.
fn log_refusals(ruleset: &mut Ruleset) {
    let chains = logging_chains(&mut ruleset.maps);
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

/// An element of a map can count, and cannot log: those that refuse lead to chains that do, one for each reason.
fn logging_chains(maps: &mut [Map]) -> Vec<Chain> {
    let mut chains: HashMap<(String, Reason), Chain> = HashMap::new();
    for map in maps.iter_mut().filter(|map| map.key.counts()) {
        let list = map.name.to_string();
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
            rules: vec![NftRule {
                matches: vec![],
                verdict: pair.verdict.clone(),
                reason: Some(reason),
            }],
        });
        pair.verdict = NftVerdict::Goto(chain.name.clone());
    }
}

/// The chains where packets of a direction enter, which lead to the list of their interface; inbound to the network ACL
/// before it, where there is one.
///
/// To ask for the interface's name costs more than all the rest. Where one list alone is bound, packets that are known to pass do so
/// before that question: other interfaces let everything pass anyway.
///
/// ```text
/// chain inbound {
///     ct state != established goto inbound_interfaces
///     ct direction original ct label 70 accept
///     ct direction reply ct label 71 accept
///     goto inbound_interfaces
/// }
/// chain inbound_interfaces {
///     iifname "eth0" goto in_0
///     iifname "lo" goto elsewhere_in
///     iifname "eth1" goto opened_in_eth1
///     goto others_in
/// }
/// ```
fn entry_chains(lists: &[List], policy: &Policy, direction: Direction) -> Vec<Chain> {
    let (entry, side) = match direction {
        Direction::Inbound => (INBOUND, Side::Source),
        Direction::Outbound => (OUTBOUND, Side::Destination),
    };
    let loopback = plain(
        vec![Match::Loopback(side)],
        goto(flows::elsewhere(direction)),
    );
    let mut loopback = Some(loopback);
    let mut by_name: Vec<(&InterfaceName, String)> = Vec::new();
    for list in lists.iter().filter(|list| list.groups.is_some()) {
        let names = list.interfaces.iter().filter_map(|(name, _)| name.as_ref());
        let chain = match (&list.acl, direction) {
            (Some(_), Direction::Inbound) => flows::acl_chain(direction, list.index),
            _ => flows::role(direction, list.index),
        };
        by_name.extend(names.map(|name| (name, chain.clone())));
    }
    by_name.sort_unstable_by_key(|(name, _)| *name);
    let mut rules = Vec::new();
    for (name, chain) in by_name {
        // A glob may hold `lo`.
        if name.matches("lo") {
            rules.extend(loopback.take());
        }
        let at = Match::Interface(side, name.clone());
        rules.push(plain(vec![at], goto(chain)));
    }
    rules.extend(loopback);
    match lists.last().filter(|list| list.groups.is_none()) {
        Some(unbound) => {
            let chain = flows::role(direction, unbound.index);
            rules.push(plain(vec![], goto(chain)));
        }
        None => {
            for (name, slot) in unbound_slots(policy) {
                let at = Match::Interface(side, name.clone());
                rules.push(plain(vec![at], goto(flows::opened(direction, &slot))));
            }
            rules.push(plain(vec![], goto(flows::others(direction))));
        }
    }
    let only = match lists {
        [only] if flows::is_asked_first(lists) => only,
        _ => {
            return vec![Chain {
                name: entry.into(),
                rules,
            }];
        }
    };
    let interfaces = format!("{entry}_interfaces");
    let mut first = flows::known(only, policy, direction, &interfaces);
    first.push(plain(vec![], goto(interfaces.clone())));
    vec![
        Chain {
            name: interfaces.into(),
            rules,
        },
        Chain {
            name: entry.into(),
            rules: first,
        },
    ]
}
