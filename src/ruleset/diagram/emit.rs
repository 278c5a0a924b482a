//! A plan as chains and verdict maps.
//!
//! ```text
//! chain in_0_v4 { meta l4proto 6 goto in_0_v4_1; meta l4proto 17 goto in_0_v4_2; }
//! chain in_0_v4_1 { tcp dport vmap @in_0_v4_m1 }              many ports: a map
//! chain in_0_v4_3 { ip saddr 10.0.0.0/8 counter accept comment "sg-web/in/0" }    few addresses: rules
//! chain in_0_r7 { counter accept comment "sg-web/in/7" }      where maps lead: one for each clause
//! ```

mod pieces;
mod worded;

use self::worded::Named;
use super::clause::Clause;
use super::paint::Function;
use super::pairs::Table;
use super::plan::{AddressFirst, Family as PlanFamily, Part, ServiceFirst, ServiceNode, parts};
use super::pool::Dimension;
use crate::policy::{Direction, Protocol, Service, Verdict};
use crate::ruleset::ir::*;
use crate::ruleset::recheck;
use crate::ruleset::remote::Remotes;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Writes the list of a role. Its chains are `{prefix}_v4` and `{prefix}_v6`, to be jumped to; what they do not
/// decide comes back.
pub fn emit(
    prefix: &str,
    clauses: &[Clause],
    direction: Direction,
    remotes: &mut Remotes,
    ruleset: &mut Ruleset,
) -> Vec<NftRule> {
    let mut emitter = Emitter::new(prefix, clauses, direction, remotes, ruleset);
    let v4 = emitter.family::<u32>(&format!("{prefix}_v4"));
    let v6 = emitter.family::<u128>(&format!("{prefix}_v6"));
    jumps(v4, v6)
}

/// Writes what a list says about ICMP, rule after rule, for messages that are about a flow and no part of it: they are few,
/// and what is known of the flow must not count for them.
pub fn emit_messages(
    prefix: &str,
    clauses: &[Clause],
    direction: Direction,
    remotes: &mut Remotes,
    ruleset: &mut Ruleset,
) -> Vec<NftRule> {
    let of_icmp =
        |service: &Service| matches!(service, Service::All | Service::Icmp | Service::Icmpv6);
    let clauses: Vec<Clause> = clauses
        .iter()
        .map(|clause| Clause {
            services: clause
                .services
                .iter()
                .filter(|each| of_icmp(each))
                .cloned()
                .collect(),
            ..clause.clone()
        })
        .filter(|clause| !clause.services.is_empty())
        .collect();
    let mut emitter = Emitter::new(prefix, &clauses, direction, remotes, ruleset);
    emitter.recheck = false;
    let all = 0..clauses.len();
    let v4 = all
        .clone()
        .flat_map(|at| emitter.plain_rules::<u32>(at))
        .collect();
    let v4 = emitter.named_chain(&format!("{prefix}_v4"), v4);
    let v6 = all.flat_map(|at| emitter.plain_rules::<u128>(at)).collect();
    let v6 = emitter.named_chain(&format!("{prefix}_v6"), v6);
    jumps(v4, v6)
}

/// `meta nfproto ipv4 jump in_0_v4`
fn jumps(v4: Option<Arc<str>>, v6: Option<Arc<str>>) -> Vec<NftRule> {
    let jump = |(chain, family): (Option<Arc<str>>, Family)| {
        chain.map(|chain| NftRule::plain(vec![Match::Family(family)], NftVerdict::Jump(chain)))
    };
    [(v4, Family::V4), (v6, Family::V6)]
        .into_iter()
        .filter_map(jump)
        .collect()
}

struct Emitter<'e> {
    prefix: &'e str,
    clauses: &'e [Clause],
    direction: Direction,
    side: Side,
    /// Whether tracked packets are judged by what their flow was opened with: see [`super::super::recheck`].
    recheck: bool,
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
        prefix: &'e str,
        clauses: &'e [Clause],
        direction: Direction,
        remotes: &'e mut Remotes,
        ruleset: &'e mut Ruleset,
    ) -> Self {
        Emitter {
            prefix,
            clauses,
            direction,
            side: remote_side(direction),
            recheck: ruleset.recheck,
            remotes,
            ruleset,
            leaves: FxHashMap::default(),
            number: 0,
        }
    }

    /// The chain of a family, if it has anything to say.
    fn family<T: Named>(&mut self, name: &str) -> Option<Arc<str>> {
        let parts = parts::<T>(self.clauses);
        let mut rules = Vec::new();
        let single = parts.len() == 1;
        let is_pairs = |part: &Part<T>| matches!(part, Part::Pairs(_));
        // What stands before and after pairs is no list that was cut.
        if parts.windows(2).any(|two| !two.iter().any(is_pairs)) {
            self.ruleset.cuts.push(Cut {
                chain: name.to_owned(),
                entries: self.clauses.len(),
                parts: parts.len(),
            });
        }
        for part in parts {
            let part = match part {
                Part::Pairs(tables) => {
                    rules.extend(tables.into_iter().map(|table| self.pairs(name, table)));
                    continue;
                }
                Part::Linear(range) => range.flat_map(|at| self.plain_rules::<T>(at)).collect(),
                Part::ServiceFirst(part) => self.service_first::<T>(name, part),
                Part::AddressFirst(part) => self.address_first::<T>(name, part),
            };
            match single {
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

    fn push(&mut self, name: Arc<str>, rules: Vec<NftRule>) -> Arc<str> {
        let rules = match self.recheck {
            true => recheck::of_flows(rules, self.direction),
            false => rules,
        };
        self.ruleset.chains.push(Chain {
            name: name.clone(),
            rules,
        });
        name
    }

    fn service_first<T: Named>(&mut self, name: &str, part: ServiceFirst<T>) -> Vec<NftRule> {
        let nodes = self.written(name, part.addresses, self.side);
        let mut protocols = Vec::new();
        for (transport, protocol, function) in [
            (Transport::Tcp, Protocol::TCP, part.tcp),
            (Transport::Udp, Protocol::UDP, part.udp),
        ] {
            if is_whole(&function, part.other) || function.is_empty() {
                continue;
            }
            let rules = self.pieces(
                name,
                function,
                &|node| nodes[node as usize].clone(),
                transport,
            );
            protocols.push((protocol.0, self.chain(name, rules)));
        }
        for (protocol, node) in [(T::ICMP_NUMBER, part.icmp), (Protocol::GRE.0, part.gre)] {
            if let Some(node) = node.filter(|_| node != part.other) {
                protocols.push((protocol, self.chain_of(name, &nodes[node as usize])));
            }
        }
        let other = part.other.map(|node| nodes[node as usize].clone());
        self.by_protocol(protocols, other)
    }

    fn address_first<T: Named>(&mut self, name: &str, part: AddressFirst<T>) -> Vec<NftRule> {
        let tcp = self.written(name, part.tcp, Transport::Tcp);
        let udp = self.written(name, part.udp, Transport::Udp);
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
            (Protocol::TCP, &tcp[node.tcp as usize]),
            (Protocol::UDP, &udp[node.udp as usize]),
        ] {
            if *target != other {
                protocols.push((protocol.0, target.clone()));
            }
        }
        for (protocol, clause) in [(T::ICMP_NUMBER, node.icmp), (Protocol::GRE.0, node.gre)] {
            if let Some(clause) = clause.filter(|clause| Target::Clause(*clause) != other) {
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
            .map(|(protocol, target)| (protocol, self.chain_of(name, &target)))
            .collect();
        let rules = self.by_protocol(protocols, Some(other));
        Target::Chain(self.chain(name, rules))
    }

    fn by_protocol(
        &mut self,
        protocols: Vec<(u8, Arc<str>)>,
        other: Option<Target>,
    ) -> Vec<NftRule> {
        let goto = |(protocol, chain)| {
            NftRule::plain(vec![Match::Protocol(protocol)], NftVerdict::Goto(chain))
        };
        let mut rules: Vec<NftRule> = protocols.into_iter().map(goto).collect();
        rules.extend(other.and_then(|target| self.target_rule(vec![], &target)));
        rules
    }

    /// `ip saddr & 255.255.255.0 . tcp dport vmap @in_0_v4_m1`, and its map, for tracked flows a second one.
    fn pairs<T: Named>(&mut self, name: &str, table: Table<T>) -> NftRule {
        let Table {
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
        let map: Arc<str> = self.name(name, "m");
        let key = MapKey::Pair(self.side, T::FAMILY, bits, transport);
        let map_of = |name: Arc<str>, key: MapKey, pairs: Vec<Pair<T>>| Map {
            name,
            key,
            elements: T::paired(pairs),
        };
        if self.recheck {
            let key = MapKey::FlowPair(self.direction, T::FAMILY, bits, transport);
            let twin = map_of(twin_map(&map), key, pairs.clone());
            self.ruleset.maps.push(twin);
        }
        self.ruleset.maps.push(map_of(map.clone(), key, pairs));
        NftRule::plain(vec![], NftVerdict::Map(key, map))
    }

    /// A target as the verdict of a rule. Nothing matches nothing further: back to the role.
    fn target_rule(&mut self, matches: Vec<Match>, target: &Target) -> Option<NftRule> {
        match target {
            Target::Clause(clause) => Some(self.deciding(matches, *clause)),
            Target::Chain(chain) => Some(NftRule::plain(matches, NftVerdict::Goto(chain.clone()))),
            Target::Nothing if matches.is_empty() => None,
            Target::Nothing => Some(NftRule::plain(matches, NftVerdict::Return)),
        }
    }

    /// A target as the verdict of a map's element.
    fn element(&mut self, target: &Target) -> NftVerdict {
        match target {
            Target::Clause(clause) => NftVerdict::Goto(self.leaf(*clause)),
            Target::Chain(chain) => NftVerdict::Goto(chain.clone()),
            Target::Nothing => NftVerdict::Return,
        }
    }

    /// A target as a chain.
    fn chain_of(&mut self, name: &str, target: &Target) -> Arc<str> {
        match target {
            Target::Clause(clause) => self.leaf(*clause),
            Target::Chain(chain) => chain.clone(),
            Target::Nothing => self.chain(name, vec![NftRule::plain(vec![], NftVerdict::Return)]),
        }
    }

    /// The chain that only decides for a clause.
    fn leaf(&mut self, clause: u32) -> Arc<str> {
        if let Some(chain) = self.leaves.get(&clause) {
            return chain.clone();
        }
        let chain: Arc<str> = format!("{}_r{clause}", self.prefix).into();
        let decides = self.deciding(vec![], clause);
        self.push(chain.clone(), vec![decides]);
        self.leaves.insert(clause, chain.clone());
        chain
    }

    fn deciding(&self, matches: Vec<Match>, clause: u32) -> NftRule {
        let decides = &self.clauses[clause as usize];
        let verdict = match decides.verdict {
            Verdict::Refuse => NftVerdict::Drop,
            Verdict::Observe => NftVerdict::Observe(self.recheck.then_some(self.direction)),
            Verdict::Allow if self.recheck => NftVerdict::Pass(self.direction),
            Verdict::Allow => NftVerdict::Accept,
        };
        NftRule {
            matches,
            verdict,
            reason: Some(decides.reason.clone()),
        }
    }

    /// An entry as rules of its own: one for each service.
    fn plain_rules<T: Named>(&mut self, at: usize) -> Vec<NftRule> {
        let clause = &self.clauses[at];
        let addresses = <T as PlanFamily>::addresses(clause).clone();
        let remote = match &*addresses {
            [] => return Vec::new(),
            [one] if *one == T::WHOLE => None,
            _ => Some(self.remotes.address(T::list(addresses), self.side)),
        };
        let services = clause.services.iter().filter_map(|service| match service {
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

/// Whether a function over ports is the same for all of them, and the same as that of other protocols.
fn is_whole(function: &Function<u16, u32>, other: Option<u32>) -> bool {
    matches!(function.as_slice(), [(interval, node)] if *interval == u16::WHOLE && Some(*node) == other)
}

/// The remote is the source of an inbound and the destination of an outbound packet.
fn remote_side(direction: Direction) -> Side {
    match direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}
