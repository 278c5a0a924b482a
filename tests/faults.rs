//! The check finds every fault that is planted in a compiled ruleset, and none where there is none.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod generate;
#[path = "support/policy.rs"]
mod policy;

use generate::{behind_acls, definition, pairs};
use policy::policy;
use secgroupd::policy::{Direction, Interval, Policy, PortSet, Protocol};
use secgroupd::ruleset::ir::{
    AddressMatch, Addresses, Chain, FlowKey, MapElements, Match, NftRule, NftVerdict, Ruleset,
    Side, Transport,
};
use secgroupd::ruleset::{Walker, check, compile};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

const POLICIES: u64 = 400;

/// Kinds of faults that have thousands of places.
const COMMON: [&str; 3] = ["dropped rule", "lost node", "swapped verdict"];

/// The full form plants them at each place.
fn is_full() -> bool {
    std::env::var_os("SECGROUPD_FULL").is_some_and(|value| value == "1")
}

#[test]
fn right_rulesets_pass() {
    let (mut boxes, mut packets) = (0, 0);
    for seed in 0..POLICIES {
        let policy = any_policy(seed);
        let checked = check(&policy, &compile(&policy))
            .unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
        boxes += checked.boxes;
        packets += checked.packets;
    }
    println!("{POLICIES} policies: {boxes} boxes and {packets} packets compared");
    assert!(boxes > 100 * POLICIES as usize);
}

/// One fault of each kind at every place where it can be planted, in many policies. Policies behind network ACLs have
/// several times as many places: of the common kinds the short form takes every twelfth there. A fault that changes no
/// decision is no fault: it is told apart by brute force over the boxes' corners, which the walk judges.
#[test]
fn planted_faults_are_found() {
    let halves = thread::scope(|scope| {
        let half = |first: u64| scope.spawn(move || plant((first..15).step_by(2)));
        [half(0), half(1)].map(|half| half.join().unwrap())
    });
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let mut harmless: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, was_found) in halves.into_iter().flatten() {
        let counts = match was_found {
            true => &mut found,
            false => &mut harmless,
        };
        *counts.entry(kind).or_default() += 1;
    }
    println!("found: {found:?}; planted without effect: {harmless:?}");
    for kind in [
        "dropped element",
        "swapped verdict",
        "range off by one",
        "lost node",
        "dropped rule",
        "swapped flow direction",
        "a way around the ACL",
        "source ports off by one",
    ] {
        assert!(
            found.get(kind).is_some_and(|count| *count > 20),
            "{kind}: {found:?}"
        );
    }
}

/// A flow by IPv4 and TCP is opened by `in_0_new`, and judged by `in_0_list` in other states. A fault in the way of the latter alone is
/// found too.
#[test]
fn lists_that_openings_pass_by_are_compared() {
    let mut planted = 0;
    for seed in 0..40 {
        let policy = any_policy(seed);
        let right = compile(&policy);
        let families = right.chains.iter().filter_map(|chain| {
            let role = chain.name.strip_suffix("_list")?;
            Some(format!("{role}_v4"))
        });
        for name in families {
            let mut wrong = right.clone();
            let mut chains = wrong.chains.iter_mut();
            let family = chains.find(|chain| *chain.name == *name);
            let Some(family) = family else { continue };
            let of_tcp = [Match::Protocol(Protocol::TCP.0)];
            let goes = |rule: &NftRule| matches!(rule.verdict, NftVerdict::Goto(_));
            let leads = |rule: &&NftRule| rule.matches == of_tcp && goes(rule);
            if family.rules.first().filter(leads).is_some() {
                // A port that no sample has.
                let port = Match::Port(Transport::Tcp, Side::Destination, PortSet::single(61_234));
                let opens = NftRule::plain(vec![port], NftVerdict::Accept);
                family.rules.insert(0, opens);
                assert!(check(&policy, &wrong).is_err(), "seed {seed}: {name}");
                planted += 1;
            }
        }
    }
    assert!(planted > 10, "{planted}");
}

/// The kinds of the faults that were planted, and whether each was found.
fn plant(seeds: impl Iterator<Item = u64>) -> Vec<(&'static str, bool)> {
    let mut planted = Vec::new();
    for seed in seeds {
        let policy = any_policy(seed);
        let right = compile(&policy);
        let has_acls = policy.has_acls() && !is_full();
        for (at, (kind, wrong)) in faults(&right).into_iter().enumerate() {
            if has_acls && COMMON.contains(&kind) && at % 12 > 0 {
                continue;
            }
            let found = check(&policy, &wrong).is_err();
            assert!(
                found || same_decisions(&policy, &wrong, seed),
                "seed {seed}: a planted fault was not found: {kind} in {}",
                touched(&right, &wrong)
            );
            planted.push((kind, found));
        }
    }
    planted
}

/// The chain that a fault was planted in.
fn touched(right: &Ruleset, wrong: &Ruleset) -> String {
    let same = |chain: &&Chain| {
        let other = wrong.chain(&chain.name);
        other.is_none_or(|other| other.rules != chain.rules)
    };
    let found = right.chains.iter().find(same);
    found.map_or("a map".to_owned(), |chain| chain.name.to_string())
}

/// Every eighth is asked as pairs, every third stands behind network ACLs.
fn any_policy(seed: u64) -> Policy {
    let mut rng = fastrand::Rng::with_seed(seed + 77_000);
    let text = match seed % 8 {
        7 => pairs(&mut rng),
        _ => definition(&mut rng),
    };
    match seed % 3 {
        2 => policy(&behind_acls(&mut rng, &text)),
        _ => policy(&text),
    }
}

fn same_decisions(policy: &Policy, wrong: &Ruleset, seed: u64) -> bool {
    let mut rng = fastrand::Rng::with_seed(seed);
    let edges = generate::Edges::of(policy);
    let walker = Walker::new(wrong);
    (0..3000).all(|_| {
        let packet = edges.any(&mut rng);
        let decided = policy.decide(&packet);
        let (verdict, reason) = walker.walk(&packet);
        let reason = reason
            .cloned()
            .unwrap_or(secgroupd::policy::Reason::Unmanaged);
        decided.agrees(verdict, &reason)
    })
}

/// Rulesets with one fault each.
fn faults(right: &Ruleset) -> Vec<(&'static str, Ruleset)> {
    let mut faults = Vec::new();
    for (at, map) in right.maps.iter().enumerate() {
        for element in [0, map.elements.len() / 2] {
            let mut wrong = right.clone();
            remove(&mut wrong.maps[at].elements, element);
            faults.push(("dropped element", wrong));
            let mut wrong = right.clone();
            shift(&mut wrong.maps[at].elements, element);
            faults.push(("range off by one", wrong));
            let mut wrong = right.clone();
            if swap(&mut wrong.maps[at].elements, element) {
                faults.push(("swapped verdict", wrong));
            }
        }
    }
    for (chain, each) in right.chains.iter().enumerate() {
        for (rule, nft) in each.rules.iter().enumerate() {
            if nft.reason.is_some() {
                let mut wrong = right.clone();
                let verdict = &mut wrong.chains[chain].rules[rule].verdict;
                *verdict = match verdict {
                    NftVerdict::Accept | NftVerdict::Pass(_) => NftVerdict::Drop,
                    // An entry of a network ACL that allows.
                    NftVerdict::Goto(_) => NftVerdict::Drop,
                    _ => NftVerdict::Accept,
                };
                faults.push(("swapped verdict", wrong));
                let mut wrong = right.clone();
                wrong.chains[chain].rules.remove(rule);
                faults.push(("dropped rule", wrong));
            }
            let to_acl = |chain: &str| chain.starts_with("acl_");
            match &nft.verdict {
                NftVerdict::Pass(to) if to_acl(to) => {
                    let mut wrong = right.clone();
                    wrong.chains[chain].rules[rule].verdict = NftVerdict::Accept;
                    faults.push(("a way around the ACL", wrong));
                }
                NftVerdict::Goto(to) if to_acl(to) && !to_acl(&each.name) => {
                    let mut wrong = right.clone();
                    let groups: Arc<str> = to.trim_start_matches("acl_").into();
                    wrong.chains[chain].rules[rule].verdict = NftVerdict::Goto(groups);
                    faults.push(("a way around the ACL", wrong));
                }
                _ => {}
            }
            for (at, asked) in nft.matches.iter().enumerate() {
                let Match::Port(transport, Side::Source, ports) = asked else {
                    continue;
                };
                let first = ports.intervals()[0];
                if !to_acl(&each.name) || first.first == 0 {
                    continue;
                }
                let wider = Interval::new(first.first - 1, first.last).unwrap();
                let ports = [&[wider], &ports.intervals()[1..]].concat();
                let ports = PortSet::new(ports).unwrap();
                let mut wrong = right.clone();
                wrong.chains[chain].rules[rule].matches[at] =
                    Match::Port(*transport, Side::Source, ports);
                faults.push(("source ports off by one", wrong));
            }
            for at in 0..nft.matches.len() {
                let mut wrong = right.clone();
                if let Match::FlowPort(of, ..) = &mut wrong.chains[chain].rules[rule].matches[at] {
                    *of = match of {
                        FlowKey::Opened(direction) => FlowKey::Opened(direction.opposite()),
                        FlowKey::Lost => FlowKey::Opened(Direction::Inbound),
                    };
                    faults.push(("swapped flow direction", wrong));
                }
            }
            for (at, asked) in nft.matches.iter().enumerate() {
                let (Match::Address { with, .. } | Match::FlowAddress { with, .. }) = asked else {
                    continue;
                };
                let AddressMatch::Inline(Addresses::V4(list)) = with else {
                    continue;
                };
                if list[0].first == 0 {
                    continue;
                }
                let mut list = list.to_vec();
                list[0].first -= 1;
                let mut wrong = right.clone();
                if let Match::Address { with, .. } | Match::FlowAddress { with, .. } =
                    &mut wrong.chains[chain].rules[rule].matches[at]
                {
                    *with = AddressMatch::Inline(Addresses::V4(list.into()));
                }
                faults.push(("range off by one", wrong));
            }
        }
        let mut wrong = right.clone();
        wrong.chains[chain].rules.clear();
        faults.push(("lost node", wrong));
        let mut wrong = right.clone();
        wrong.chains.remove(chain);
        faults.push(("lost node", wrong));
    }
    faults
}

fn remove(elements: &mut MapElements, at: usize) {
    match elements {
        MapElements::Ports(list) => drop(list.remove(at)),
        MapElements::V4(list) => drop(list.remove(at)),
        MapElements::V6(list) => drop(list.remove(at)),
        MapElements::PairsV4(list) => drop(list.remove(at)),
        MapElements::PairsV6(list) => drop(list.remove(at)),
    }
}

/// Whether the element decides itself, which it does otherwise now.
fn swap(elements: &mut MapElements, at: usize) -> bool {
    let verdict = match elements {
        MapElements::PairsV4(list) => &mut list[at].verdict,
        MapElements::PairsV6(list) => &mut list[at].verdict,
        _ => return false,
    };
    *verdict = match verdict {
        NftVerdict::Accept | NftVerdict::Pass(_) => NftVerdict::Drop,
        _ => NftVerdict::Accept,
    };
    true
}

fn shift(elements: &mut MapElements, at: usize) {
    match elements {
        MapElements::Ports(list) => {
            list[at].0.last = list[at].0.last.wrapping_add(1).max(list[at].0.first)
        }
        MapElements::V4(list) => {
            list[at].0.last = list[at].0.last.wrapping_add(1).max(list[at].0.first)
        }
        MapElements::V6(list) => {
            list[at].0.last = list[at].0.last.wrapping_add(1).max(list[at].0.first)
        }
        MapElements::PairsV4(list) => list[at].port -= 1,
        MapElements::PairsV6(list) => list[at].port -= 1,
    }
}
