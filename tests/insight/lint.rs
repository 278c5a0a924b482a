//! Lint against brute force, its speed, and its patience.

use crate::boundary::{Edges, about, account, verdict};
use crate::generate::definition;
use crate::{policies, workloads};
use secgroupd::definition::codes;
use secgroupd::definition::model::InstanceKind;
use secgroupd::insight::lint::facts::{ADMIN_PORTS, Overruled, facts};
use secgroupd::insight::lint::{lint, lint_within};
use secgroupd::insight::listed::FlowKind;
use secgroupd::insight::space::Work;
use secgroupd::policy::interval::contains;
use secgroupd::policy::places::WrittenRules;
use secgroupd::policy::{Account, GroupId, Policy, Rule, RuleId, SecurityGroup, Service, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Groups as they are bound somewhere, and the policy whose platform they are asked with.
struct Bound {
    groups: Vec<Arc<SecurityGroup>>,
    policy: Policy,
}

fn bound(account: &Account) -> Vec<Bound> {
    let mut all: Vec<(Vec<GroupId>, bool)> = Vec::new();
    for instance in &account.instances {
        let smtp = account.platform.smtp_block
            && instance.kind == InstanceKind::Cvm
            && !instance.smtp_request;
        for interface in &instance.interfaces {
            let list = (interface.groups.clone(), smtp);
            if !interface.groups.is_empty() && !all.contains(&list) {
                all.push(list);
            }
        }
    }
    for id in account.groups.keys() {
        if !all.iter().any(|(groups, _)| groups.contains(id)) {
            all.push((vec![id.clone()], account.platform.smtp_block));
        }
    }
    let instance = &account.instances[0].id;
    all.into_iter()
        .map(|(groups, smtp)| {
            let mut policy = account.policy(instance, &BTreeSet::new()).unwrap();
            policy.smtp_blocked = smtp;
            let groups = groups.iter().map(|id| account.groups[id].clone());
            Bound {
                groups: groups.collect(),
                policy,
            }
        })
        .collect()
}

/// What brute force knows of a rule.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    decides: bool,
    admin: [bool; 2],
    needed: bool,
    /// Ports at which all that it says is decided the opposite before, in the first place where there are any.
    overruled: BTreeMap<FlowKind, BTreeSet<u16>>,
}

/// A rule about all protocols, or all ports, is about none in particular.
fn names(rule: &Rule, kind: FlowKind, v4: bool) -> bool {
    rule.services.iter().any(|service| match (service, kind) {
        (Service::Tcp(ports), FlowKind::Tcp) | (Service::Udp(ports), FlowKind::Udp) => {
            !ports.is_all()
        }
        (Service::Icmp, FlowKind::Icmp) => v4,
        (Service::Icmpv6, FlowKind::Icmp) => !v4,
        (Service::Bare(protocol), FlowKind::Bare(kind)) => *protocol == kind,
        _ => false,
    })
}

fn brute_force(account: &Account) -> (BTreeMap<RuleId, Known>, usize) {
    let mut known: BTreeMap<RuleId, Known> = BTreeMap::new();
    let bound = bound(account);
    let mut packets = 0;
    let edges: Vec<Edges> = bound
        .iter()
        .map(|each| {
            let mut edges = Edges::default();
            edges.add(&each.policy, &each.groups);
            edges
        })
        .collect();
    for (each, edges) in bound.iter().zip(&edges) {
        edges.packets("eth0", |kind, packet| {
            packets += 1;
            let rules = about(&each.policy, &each.groups, packet).unwrap_or_default();
            if let Some((_, first)) = rules.first() {
                let known = known.entry(first.id.clone()).or_default();
                known.decides = true;
                for (at, port) in ADMIN_PORTS.iter().enumerate() {
                    known.admin[at] |= kind == FlowKind::Tcp && packet.destination_port == *port;
                }
            }
        });
    }
    let live: BTreeSet<RuleId> = known.keys().cloned().collect();
    for (each, edges) in bound.iter().zip(&edges) {
        // Whether any of a rule's claims about a port is not decided the opposite before.
        let mut claims: BTreeMap<(RuleId, FlowKind, u16), bool> = BTreeMap::new();
        edges.packets("eth0", |kind, packet| {
            let Some(rules) = about(&each.policy, &each.groups, packet) else {
                // The platform decides: what a rule claims here, no group takes from it.
                let rules = each.groups.iter().enumerate().flat_map(|(place, group)| {
                    let own = group.rules(packet.direction).iter();
                    let mut own = own.filter(|rule| live.contains(&rule.id));
                    own.find(|rule| crate::boundary::is_about(rule, packet))
                        .map(|rule| (place, rule))
                });
                for (place, rule) in rules {
                    if place > 0 && names(rule, kind, packet.remote.is_ipv4()) {
                        claims.insert((rule.id.clone(), kind, packet.destination_port), true);
                    }
                }
                return;
            };
            let next_of_all = rules
                .get(1)
                .map_or(Verdict::Refuse, |(_, rule)| verdict(rule));
            let rules: Vec<_> = rules
                .into_iter()
                .filter(|(_, rule)| live.contains(&rule.id))
                .collect();
            if let Some((_, first)) = rules.first() {
                let next = rules
                    .get(1)
                    .map_or(Verdict::Refuse, |(_, rule)| verdict(rule));
                if verdict(first) != next || verdict(first) != next_of_all {
                    known.get_mut(&first.id).unwrap().needed = true;
                }
            }
            for (at, (place, rule)) in rules.iter().enumerate() {
                let first_of_group = rules[..at].iter().all(|(other, _)| other != place);
                if *place == 0 || !first_of_group || !names(rule, kind, packet.remote.is_ipv4()) {
                    continue;
                }
                let (decider, by) = rules[0];
                let free = decider == *place || verdict(by) == verdict(rule);
                *claims
                    .entry((rule.id.clone(), kind, packet.destination_port))
                    .or_default() |= free;
            }
        });
        let mut here: BTreeMap<RuleId, BTreeMap<FlowKind, BTreeSet<u16>>> = BTreeMap::new();
        for ((id, kind, port), free) in claims {
            if !free {
                here.entry(id)
                    .or_default()
                    .entry(kind)
                    .or_default()
                    .insert(port);
            }
        }
        for (id, ports) in here {
            let known = known.get_mut(&id).unwrap();
            if known.overruled.is_empty() {
                known.overruled = ports;
            }
        }
    }
    (known, packets)
}

#[test]
fn lint_agrees_with_brute_force() {
    let (mut packets, mut seen) = (0, [0; 4]);
    for seed in 0..policies() {
        let text = definition(&mut fastrand::Rng::with_seed(seed + 100_000));
        let (definition, account) = account(&text);
        let (mut wanted, looked_at) = brute_force(&account);
        packets += looked_at;
        let facts = facts(&account, &mut Work::default()).unwrap();
        for (rule, fact) in &facts.of {
            let known = wanted.remove(&rule.id).unwrap_or_default();
            let what = format!(
                "{} of seed {seed}: {fact:?}, not {known:?}\n{text}",
                rule.id
            );
            assert_eq!(fact.decides, known.decides, "{what}");
            assert_eq!(fact.admin, known.admin, "{what}");
            assert_eq!(fact.needed, known.needed, "{what}");
            same_ports(fact.overruled.as_ref(), &known.overruled, &what);
            let kinds = [
                rule.remote.is_some() && !fact.decides,
                fact.decides && !fact.needed,
                fact.overruled.is_some(),
                fact.decides,
            ];
            (0..4).for_each(|at| seen[at] += usize::from(kinds[at]));
        }
        // It is told of each, with who covers it.
        let told = lint(&definition, &account, Vec::new());
        let written = WrittenRules::new(&definition);
        let missing = facts
            .of
            .iter()
            .filter(|(rule, fact)| rule.remote.is_some() && !fact.decides);
        let missing: Vec<_> = missing
            .map(|(rule, _)| written.rule(&rule.id).map(|rule| rule.span))
            .collect();
        let covered = told.iter().filter(|each| {
            each.message.contains("can never match") || each.message.contains("never has its way")
        });
        let covered: Vec<_> = covered.collect();
        // Of what the platform blocks that is said, and not twice.
        let blocked = told.iter().filter(|each| each.code == codes::BLOCKED_PORT);
        let blocked: Vec<_> = blocked.map(|each| each.span).collect();
        let spans: Vec<_> = covered.iter().map(|each| each.span).collect();
        assert!(
            spans.iter().all(|span| missing.contains(span)),
            "seed {seed}\n{text}"
        );
        let silent = missing.iter().filter(|span| !spans.contains(span));
        let unsaid = silent.filter(|span| !blocked.contains(span)).count();
        assert_eq!(unsaid, 0, "seed {seed}\n{text}");
        for each in covered {
            assert!(
                each.message.contains("all of it before"),
                "{}",
                each.message
            );
        }
    }
    println!(
        "{} policies, {packets} packets: of the rules {} never match, {} change nothing, {} are overruled, {} decide",
        policies(),
        seen[0],
        seen[1],
        seen[2],
        seen[3]
    );
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

/// The same at every edge that brute force looked at, and nothing where it found nothing.
#[track_caller]
fn same_ports(found: Option<&Overruled>, wanted: &BTreeMap<FlowKind, BTreeSet<u16>>, what: &str) {
    let none = BTreeMap::new();
    let found = found.map_or(&none, |overruled| &overruled.ports);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        wanted.keys().collect::<Vec<_>>(),
        "{what}"
    );
    for (kind, ports) in wanted {
        if kind.has_ports() {
            assert!(
                ports.iter().all(|port| contains(&found[kind], *port)),
                "{what}"
            );
            let edges = found[kind].iter().flat_map(|each| [each.first, each.last]);
            for edge in edges {
                assert!(ports.contains(&edge), "{edge}: {what}");
            }
        }
    }
}

/// A large definition is given up with a word, and the rest is told all the same.
#[test]
fn what_is_too_large_is_given_up() {
    let workload = workloads::staircase(300);
    let (definition, account) = account(&workload.definition);
    let told = lint_within(&definition, &account, Vec::new(), Work::of(100_000));
    assert!(
        told.iter().any(|each| each.code == "lint-given-up"),
        "{told:?}"
    );
    let whole = lint(&definition, &account, Vec::new());
    assert!(
        whole.iter().all(|each| each.code != "lint-given-up"),
        "{whole:?}"
    );
}

/// The time is printed; the promise of one second is of a release build, and the full form allows ten times of it.
#[test]
fn a_thousand_rules_are_linted_in_time() {
    for workload in [
        workloads::mixed(1000),
        workloads::distinct(1000),
        workloads::staircase(1000),
    ] {
        let (definition, account) = account(&workload.definition);
        let begin = Instant::now();
        let told = lint(&definition, &account, Vec::new());
        let took = begin.elapsed();
        println!(
            "{} of 1,000 rules: {} warnings in {took:.0?}",
            workload.name,
            told.len()
        );
        assert!(
            told.iter().all(|each| each.code != "lint-given-up"),
            "{}",
            workload.name
        );
        assert!(
            !crate::is_full() || took < Duration::from_secs(10),
            "{}: {took:?}",
            workload.name
        );
    }
}
