//! A plan as chains and verdict maps.
//!
//! ```text
//! chain in_0_v4 { meta l4proto 6 goto in_0_v4_1; meta l4proto 17 goto in_0_v4_2; }
//! chain in_0_v4_1 { tcp dport vmap @in_0_v4_m1 }              many ports: a map
//! chain in_0_v4_3 { ip saddr 10.0.0.0/8 counter goto passed_in_0 comment "sg-web/in/0" }    few addresses: rules
//! chain in_0_r7 { counter goto passed_in_0 comment "sg-web/in/7" }      where maps lead: one for each clause
//! ```

mod pieces;
mod worded;

use self::worded::Named;
use super::clause::Clause;
use super::family::DiagramFamily;
use super::paint::Function;
use super::pairs::PairTable;
use super::plan::{AddressFirst, Bare, Parts, Plan, PlanPart, ServiceFirst, ServiceNode};
use crate::policy::{Direction, Point, Protocol, Reason, Service, Verdict};
use crate::ruleset::ir::*;
use crate::ruleset::remote::Remotes;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::Arc;

/// What is written of a list.
#[derive(Debug)]
pub struct Emission<'e> {
    /// The chains are `{prefix}_v4`, `{prefix}_v6` and what they lead to.
    pub prefix: &'e str,
    /// Whose remotes and ports are asked.
    pub direction: Direction,
    /// What is asked for them: what stands in the packet, or what connection tracking keeps of its flow.
    pub key: Option<FlowKey>,
    /// What the entries do.
    pub decide: Decide,
}

/// What the entries of a list do with a packet.
#[derive(Debug)]
pub enum Decide {
    /// Each names and counts what it decides. What is allowed goes on to this chain.
    Named(Arc<str>),
    /// They only say whether the list allows it. What no entry matches falls off the end.
    Whether {
        /// What becomes of what is allowed.
        yes: NftVerdict,
        /// Of what is refused.
        no: NftVerdict,
    },
}

impl Decide {
    /// Returns for each entry a number of its own: each has a name.
    pub fn named(clauses: &[Clause]) -> Vec<u32> {
        (0..clauses.len() as u32).collect()
    }

    /// Returns for each entry the first that has the same verdict: where entries have no names, those count as one.
    pub fn same_verdicts(clauses: &[Clause]) -> Vec<u32> {
        let passes = |clause: &Clause| clause.verdict.passes();
        let first = |wanted| clauses.iter().position(|clause| passes(clause) == wanted);
        let (yes, no) = (first(true), first(false));
        let same = |clause| if passes(clause) { yes } else { no };
        let each = clauses.iter().enumerate();
        each.map(|(at, clause)| same(clause).unwrap_or(at) as u32)
            .collect()
    }
}

/// Writes a list. What it does not decide falls off the end of the rules that are returned.
///
/// Where entries have names the list jumps to a family's chain, which comes back. Else a `return` anywhere below ends
/// the list.
pub fn emit(
    emission: &Emission,
    clauses: &[Clause],
    plan: Plan,
    remotes: &mut Remotes,
    ruleset: &mut Ruleset,
) -> Vec<NftRule> {
    let prefix = emission.prefix;
    let mut emitter = Emitter::new(emission, clauses, remotes, ruleset);
    let v4 = emitter.family::<u32>(&format!("{prefix}_v4"), plan.v4);
    let v6 = emitter.family::<u128>(&format!("{prefix}_v6"), plan.v6);
    let enter = match emission.decide {
        Decide::Named(_) => NftVerdict::Jump,
        Decide::Whether { .. } => NftVerdict::Goto,
    };
    let rule = |(chain, family): (Option<Arc<str>>, Family)| {
        chain.map(|chain| NftRule::plain(vec![Match::Family(family)], enter(chain)))
    };
    [(v4, Family::V4), (v6, Family::V6)]
        .into_iter()
        .filter_map(rule)
        .collect()
}

struct Emitter<'e> {
    emission: &'e Emission<'e>,
    clauses: &'e [Clause],
    side: Side,
    remotes: &'e mut Remotes,
    ruleset: &'e mut Ruleset,
    /// The chains of clauses that a map leads to.
    leaves: FxHashMap<u32, Arc<str>>,
    /// Numbers names.
    number: usize,
}

/// A piece's number that stands for [`Target::Nothing`], where the others are those of clauses.
const NOTHING: u32 = u32::MAX;

/// Where a piece leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Target {
    /// A clause decides.
    Clause(u32),
    /// It is asked further.
    Chain(Arc<str>),
    /// Nothing of this part decides.
    Nothing,
}

impl<'e> Emitter<'e> {
    fn new(
        emission: &'e Emission<'e>,
        clauses: &'e [Clause],
        remotes: &'e mut Remotes,
        ruleset: &'e mut Ruleset,
    ) -> Self {
        Emitter {
            emission,
            clauses,
            side: Side::of_remote(emission.direction),
            remotes,
            ruleset,
            leaves: FxHashMap::default(),
            number: 0,
        }
    }

    /// The chain of a family, if it has anything to say.
    fn family<T: Named>(&mut self, name: &str, parts: Parts<T>) -> Option<Arc<str>> {
        let mut rules = Vec::new();
        let single = parts.len() == 1;
        let is_pairs = |part: &PlanPart<T>| matches!(part, PlanPart::Pairs(_));
        // What stands before and after pairs is no list that was cut.
        let cut = |two: &[(PlanPart<T>, _)]| !two.iter().any(|(part, _)| is_pairs(part));
        if self.emission.key.is_none() && parts.windows(2).any(cut) {
            self.ruleset.cuts.push(Cut {
                chain: name.to_owned(),
                entries: self.clauses.len(),
                parts: parts.len(),
            });
        }
        for (part, range) in parts {
            // A `return` from a chain that was jumped to would go on with the next part.
            let part = match part {
                part if !single && self.returns(range.clone()) && !is_pairs(&part) => {
                    PlanPart::Linear(range)
                }
                part => part,
            };
            let inline = single || matches!(part, PlanPart::Linear(_));
            let part = match part {
                PlanPart::Pairs(tables) => {
                    rules.extend(tables.into_iter().map(|table| self.pairs(name, table)));
                    continue;
                }
                PlanPart::Linear(range) => range.flat_map(|at| self.plain_rules::<T>(at)).collect(),
                PlanPart::ServiceFirst(part) => self.service_first::<T>(name, part),
                PlanPart::AddressFirst(part) => self.address_first::<T>(name, part),
            };
            match inline {
                true => rules.extend(part),
                // A part that is left by `goto` must come back here.
                false => {
                    let chain = self.chain(name, part);
                    rules.push(NftRule::plain(vec![], NftVerdict::Jump(chain)));
                }
            }
        }
        self.named_chain(name, rules)
    }

    /// A chain of this name, unless it were empty.
    fn named_chain(&mut self, name: &str, rules: Vec<NftRule>) -> Option<Arc<str>> {
        let name: Arc<str> = name.into();
        (!rules.is_empty()).then(|| self.push(name, rules))
    }

    /// Whether packets of a protocol come here: of flows that were lost only TCP does.
    fn is_asked(&self, protocol: Protocol) -> bool {
        self.emission.key != Some(FlowKey::Lost) || protocol == Protocol::TCP
    }

    /// Whether entries of this range end the list by `return`.
    fn returns(&self, range: Range<usize>) -> bool {
        let Decide::Whether { yes, no } = &self.emission.decide else {
            return false;
        };
        // The chain of allowed flows comes back with those that were lost.
        let lost = self.emission.key == Some(FlowKey::Lost);
        self.clauses[range]
            .iter()
            .any(|clause| match clause.verdict.passes() {
                true => lost || *yes == NftVerdict::Return,
                false => *no == NftVerdict::Return,
            })
    }

    fn push(&mut self, name: Arc<str>, mut rules: Vec<NftRule>) -> Arc<str> {
        if let Some(key) = self.emission.key {
            rules.iter_mut().for_each(|rule| ask_flow(rule, key));
        }
        // What no entry matches must not come back like what is allowed.
        if let Decide::Whether { no, .. } = &self.emission.decide
            && *no != NftVerdict::Return
        {
            rules.push(NftRule::plain(vec![], no.clone()));
        }
        self.ruleset.chains.push(Chain {
            name: name.clone(),
            rules,
        });
        name
    }

    fn service_first<T: Named>(&mut self, name: &str, part: ServiceFirst<T>) -> Vec<NftRule> {
        let nodes = self.written(name, part.addresses, self.side);
        let mut protocols: Vec<(u8, NftVerdict)> = Vec::new();
        for (transport, protocol, function) in [
            (Transport::Tcp, Protocol::TCP, part.tcp),
            (Transport::Udp, Protocol::UDP, part.udp),
        ] {
            if is_whole(&function, part.other) || function.is_empty() || !self.is_asked(protocol) {
                continue;
            }
            let rules = self.pieces(
                name,
                function,
                &|node| nodes[node as usize].clone(),
                transport,
            );
            protocols.push((protocol.0, NftVerdict::Goto(self.chain(name, rules))));
        }
        for (protocol, node) in without_ports::<T>(part.icmp, part.bare) {
            let node = node.filter(|_| node != part.other && self.is_asked(Protocol(protocol)));
            if let Some(node) = node {
                protocols.push((protocol, self.verdict_of(&nodes[node as usize])));
            }
        }
        let other = part.other.map(|node| nodes[node as usize].clone());
        self.by_protocol(protocols, other)
    }

    fn address_first<T: Named>(&mut self, name: &str, part: AddressFirst<T>) -> Vec<NftRule> {
        let tcp = self.written(name, part.tcp, Transport::Tcp);
        let udp = match self.is_asked(Protocol::UDP) {
            true => self.written(name, part.udp, Transport::Udp),
            false => Vec::new(),
        };
        let nodes: Vec<Target> = part
            .services
            .iter()
            .map(|node| self.service_node::<T>(name, node, &tcp, &udp))
            .collect();
        let target = |node: u32| nodes[node as usize].clone();
        self.pieces(name, part.addresses, &target, self.side)
    }

    /// What is asked at an address: protocol, then port.
    fn service_node<T: Named>(
        &mut self,
        name: &str,
        node: &ServiceNode,
        tcp: &[Target],
        udp: &[Target],
    ) -> Target {
        let other = node.other.map_or(Target::Nothing, Target::Clause);
        let mut protocols = Vec::new();
        for (protocol, target) in [
            (Protocol::TCP, tcp.get(node.tcp as usize)),
            (Protocol::UDP, udp.get(node.udp as usize)),
        ] {
            if let Some(target) = target.filter(|target| **target != other) {
                protocols.push((protocol.0, target.clone()));
            }
        }
        for (protocol, clause) in without_ports::<T>(node.icmp, node.bare) {
            let asked = self.is_asked(Protocol(protocol));
            let clause = clause.filter(|clause| asked && Target::Clause(*clause) != other);
            if let Some(clause) = clause {
                protocols.push((protocol, Target::Clause(clause)));
            }
        }
        if protocols.is_empty() {
            return other;
        }
        // Where one protocol alone is asked by its ports, its rules ask for the protocol themselves.
        if let ([(protocol, Target::Chain(chain))], Target::Nothing) =
            (protocols.as_slice(), &other)
            && matches!(Protocol(*protocol), Protocol::TCP | Protocol::UDP)
        {
            return Target::Chain(chain.clone());
        }
        let protocols = protocols
            .into_iter()
            .map(|(protocol, target)| (protocol, self.verdict_of(&target)))
            .collect();
        let rules = self.by_protocol(protocols, Some(other));
        Target::Chain(self.chain(name, rules))
    }

    fn by_protocol(
        &mut self,
        protocols: Vec<(u8, NftVerdict)>,
        other: Option<Target>,
    ) -> Vec<NftRule> {
        let rule = |(protocol, verdict)| {
            let reason = is_allowed(&verdict).then_some(Reason::Established);
            NftRule {
                matches: vec![Match::Protocol(protocol)],
                verdict,
                reason,
            }
        };
        let mut rules: Vec<NftRule> = protocols.into_iter().map(rule).collect();
        rules.extend(other.and_then(|target| self.target_rule(vec![], &target)));
        rules
    }

    /// `ip saddr & 255.255.255.0 . tcp dport vmap @in_0_v4_m1`, and its map.
    fn pairs<T: Named>(&mut self, name: &str, table: PairTable<T>) -> NftRule {
        let PairTable {
            transport,
            bits,
            pairs,
        } = table;
        let pairs: Vec<Pair<T>> = pairs
            .into_iter()
            .map(|(port, network, clause)| {
                let decides = self.deciding(vec![], clause);
                Pair {
                    port,
                    network,
                    verdict: decides.verdict,
                    reason: decides.reason,
                }
            })
            .collect();
        let key = match self.emission.key {
            None => MapKey::Pair(self.side, T::FAMILY, bits, transport),
            Some(key) => MapKey::FlowPair(key, T::FAMILY, bits, transport),
        };
        let elements = T::paired(pairs);
        // What names nothing is one map, whatever of a flow it is asked with.
        let maps = self.ruleset.maps.iter();
        let mut nameless = maps.filter(|map| matches!(map.key, MapKey::FlowPair(..)));
        let known = match self.emission.key {
            None => None,
            Some(_) => nameless.find(|map| map.elements == elements),
        };
        if let Some(map) = known {
            return NftRule::plain(vec![], NftVerdict::Map(key, map.name.clone()));
        }
        let map: Arc<str> = self.name(name, "m");
        self.ruleset.maps.push(Map {
            name: map.clone(),
            key,
            elements,
        });
        NftRule::plain(vec![], NftVerdict::Map(key, map))
    }

    /// A target as the verdict of a rule. Nothing matches nothing further: back to the role.
    fn target_rule(&mut self, matches: Vec<Match>, target: &Target) -> Option<NftRule> {
        match target {
            Target::Clause(clause) => Some(self.deciding(matches, *clause)),
            Target::Chain(chain) => Some(NftRule::plain(matches, NftVerdict::Goto(chain.clone()))),
            Target::Nothing if matches.is_empty() => None,
            Target::Nothing => Some(NftRule::plain(matches, self.verdict_of(target))),
        }
    }

    /// A target as the verdict of a map's element, or of a rule over a protocol.
    fn verdict_of(&mut self, target: &Target) -> NftVerdict {
        match (target, &self.emission.decide) {
            (Target::Clause(clause), Decide::Named(_)) => NftVerdict::Goto(self.leaf(*clause)),
            (Target::Clause(clause), Decide::Whether { .. }) => {
                self.deciding(vec![], *clause).verdict
            }
            (Target::Chain(chain), _) => NftVerdict::Goto(chain.clone()),
            (Target::Nothing, Decide::Named(_)) => NftVerdict::Return,
            (Target::Nothing, Decide::Whether { no, .. }) => no.clone(),
        }
    }

    /// The chain that only decides for a clause.
    fn leaf(&mut self, clause: u32) -> Arc<str> {
        if let Some(chain) = self.leaves.get(&clause) {
            return chain.clone();
        }
        let chain: Arc<str> = format!("{}_r{clause}", self.emission.prefix).into();
        let decides = self.deciding(vec![], clause);
        self.push(chain.clone(), vec![decides]);
        self.leaves.insert(clause, chain.clone());
        chain
    }

    fn deciding(&self, matches: Vec<Match>, clause: u32) -> NftRule {
        let decides = &self.clauses[clause as usize];
        let (verdict, reason) = match (&self.emission.decide, decides.verdict) {
            (Decide::Named(_), Verdict::Refuse) => (NftVerdict::Drop, Some(&decides.reason)),
            (Decide::Named(passed), Verdict::Observe) => (
                NftVerdict::Observe(Some(passed.clone())),
                Some(&decides.reason),
            ),
            (Decide::Named(passed), Verdict::Allow) => {
                (NftVerdict::Pass(passed.clone()), Some(&decides.reason))
            }
            (Decide::Whether { no, .. }, Verdict::Refuse) => (no.clone(), None),
            (Decide::Whether { yes, .. }, Verdict::Allow | Verdict::Observe) => (yes.clone(), None),
        };
        let reason = match is_allowed(&verdict) && reason.is_none() {
            true => Some(Reason::Established),
            false => reason.cloned(),
        };
        NftRule {
            matches,
            verdict,
            reason,
        }
    }

    /// An entry as rules of its own: one for each service.
    fn plain_rules<T: Named>(&mut self, at: usize) -> Vec<NftRule> {
        let clause = &self.clauses[at];
        let addresses = <T as DiagramFamily>::addresses(clause).clone();
        let remote = match &*addresses {
            [] => return Vec::new(),
            [one] if *one == T::WHOLE => None,
            _ => Some(self.remotes.address(T::list(addresses), self.side)),
        };
        let asked = |service: &&Service| service.protocol().is_none_or(|each| self.is_asked(each));
        let services = clause.services.iter().filter(asked);
        let services = services.filter_map(|service| match service {
            Service::All => Some(None),
            Service::Tcp(ports) if !ports.is_all() => Some(Some(Match::Port(
                Transport::Tcp,
                Side::Destination,
                ports.clone(),
            ))),
            Service::Udp(ports) if !ports.is_all() => Some(Some(Match::Port(
                Transport::Udp,
                Side::Destination,
                ports.clone(),
            ))),
            Service::Icmp if T::FAMILY == Family::V6 => None,
            Service::Icmpv6 if T::FAMILY == Family::V4 => None,
            other => Some(other.protocol().map(|protocol| Match::Protocol(protocol.0))),
        });
        let conditions: Vec<Vec<Match>> = services
            .map(|service| service.into_iter().chain(remote.clone()).collect())
            .collect();
        conditions
            .into_iter()
            .map(|conditions| self.deciding(conditions, at as u32))
            .collect()
    }

    fn chain(&mut self, name: &str, rules: Vec<NftRule>) -> Arc<str> {
        let chain = self.name(name, "");
        self.push(chain, rules)
    }

    fn name(&mut self, name: &str, kind: &str) -> Arc<str> {
        self.number += 1;
        format!("{name}_{kind}{}", self.number).into()
    }
}

/// Whether a flow is allowed, by a list whose entries have no names.
fn is_allowed(verdict: &NftVerdict) -> bool {
    matches!(verdict, NftVerdict::Pass(_))
}

/// Makes a rule ask what connection tracking keeps of the packet's flow, in place of what stands in the packet.
fn ask_flow(rule: &mut NftRule, key: FlowKey) {
    for each in &mut rule.matches {
        match each {
            Match::Port(transport, Side::Destination, ports) => {
                *each = Match::FlowPort(key, *transport, ports.clone());
            }
            Match::Address { with, negated, .. } => {
                *each = Match::FlowAddress {
                    key,
                    with: with.clone(),
                    negated: *negated,
                };
            }
            _ => {}
        }
    }
    if let NftVerdict::Map(of, _) = &mut rule.verdict {
        *of = match *of {
            MapKey::Port(transport) => MapKey::FlowPort(key, transport),
            MapKey::Address(_, family) => MapKey::FlowAddress(key, family),
            of => of,
        };
    }
}

/// The protocols without ports, each with its number in a part.
fn without_ports<T: Named>(
    icmp: Option<u32>,
    bare: Bare,
) -> impl Iterator<Item = (u8, Option<u32>)> {
    let numbers = Protocol::BARE.map(|protocol| protocol.0);
    [(T::ICMP_NUMBER, icmp)]
        .into_iter()
        .chain(numbers.into_iter().zip(bare))
}

/// Whether a function over ports is the same for all of them, and the same as that of other protocols.
fn is_whole(function: &Function<u16, u32>, other: Option<u32>) -> bool {
    matches!(function.as_slice(), [(interval, node)] if *interval == u16::WHOLE && Some(*node) == other)
}
