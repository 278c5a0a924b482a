//! Where a new ruleset differs from the old in elements of living maps alone.
//!
//! Both are walked side by side from their entries. A packet in flight may meet the old of one object and the new of
//! another, so no packet's way may lead through two that change: what is changed together lies on ways that exclude
//! each other. Only maps of points are changed: their hash tells old from new by the transaction that is in force, whereas the
//! tree of an interval map can lose sight of a living element beside one that is being added or removed
//! (`nft_rbtree_lookup` in the kernel's `net/netfilter/nft_set_rbtree.c` does not visit what is sorted below an inactive one).
//! And elements only come or go: one that is removed and added again, leading elsewhere, can be missed by a lookup that
//! began just before the transaction, on kernels before Linux 6.17.
//! Chains are not changed in place either: the counters of their rules would be lost, and their lists in braces be
//! empty for a moment.

use super::same::{Object, Same, alike, references, target};
use crate::policy::Interval;
use crate::ruleset::ir::*;
use std::collections::{HashMap, HashSet};

/// More changes than this are loaded as a new map and switched: a transaction of these fits every socket buffer.
const AT_MOST: usize = 256;

/// A new object that stays in the kernel as the old one.
#[derive(Debug)]
pub struct Pair<'o, 'n> {
    /// Its name in the new ruleset.
    pub new: &'n str,
    /// Its name in the old one.
    pub old: &'o str,
    /// The elements that are removed and added, if it is a map of which some are.
    pub difference: Option<(MapElements, MapElements)>,
}

/// How a new object can stand in for an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing below it changes.
    Same,
    /// It stays, and something below it changes in place.
    Within,
    /// It must be loaded anew.
    Replaced,
}

/// What must be edited below these entries; `None` if that is not enough.
pub fn edits<'o, 'n>(
    same: &mut Same<'o, 'n>,
    entries: [&'static str; 2],
) -> Option<Vec<Pair<'o, 'n>>> {
    let mut editing = Editing {
        same,
        pairs: Vec::new(),
        by_old: HashMap::new(),
        by_new: HashMap::new(),
        changes: 0,
    };
    for entry in entries {
        let (old, _) = editing.same.old.get_key_value(entry)?;
        let (new, _) = editing.same.new.get_key_value(entry)?;
        let (old, new) = (*old, *new);
        if editing.pair(new, old) == Outcome::Replaced {
            return None;
        }
    }
    let apart = editing.are_apart();
    apart.then_some(editing.pairs)
}

struct Editing<'s, 'o, 'n> {
    same: &'s mut Same<'o, 'n>,
    pairs: Vec<Pair<'o, 'n>>,
    by_old: HashMap<&'o str, &'n str>,
    by_new: HashMap<&'n str, &'o str>,
    changes: usize,
}

impl<'o, 'n> Editing<'_, 'o, 'n> {
    /// Whether no changed element leads, or led, to another map that changes.
    fn are_apart(&self) -> bool {
        let changed = || self.pairs.iter().filter(|pair| pair.difference.is_some());
        let old: HashSet<&str> = changed().map(|pair| pair.old).collect();
        let new: HashSet<&str> = changed().map(|pair| pair.new).collect();
        changed().all(|pair| {
            pair.difference.as_ref().is_none_or(|(removed, added)| {
                !reaches(&self.same.old, targets(removed), &old)
                    && !reaches(&self.same.new, targets(added), &new)
            })
        })
    }

    fn pair(&mut self, new: &'n str, old: &'o str) -> Outcome {
        if self.same.leads_to_equal(new, old) {
            return Outcome::Same;
        }
        // It is another living object already: were it this one too, it would be two in the kernel and one in the names.
        if self.same.find(new).is_some() {
            return Outcome::Replaced;
        }
        match (self.by_new.get(new), self.by_old.get(old)) {
            (None, None) => {}
            // Met before, on another way.
            (Some(known), _) if *known == old => return Outcome::Within,
            // One object cannot become two.
            _ => return Outcome::Replaced,
        }
        let mark = self.pairs.len();
        let (objects, old_objects) = (&self.same.new, &self.same.old);
        let outcome = match (objects.get(new).copied(), old_objects.get(old).copied()) {
            (Some(Object::Chain(new)), Some(Object::Chain(old))) => self.chains(new, old),
            (Some(Object::Map(chosen)), Some(Object::Map(former))) => {
                return self.maps((new, chosen), (old, former));
            }
            _ => Outcome::Replaced,
        };
        match outcome {
            Outcome::Replaced => self.forget(mark),
            _ => self.remember(new, old, None),
        }
        outcome
    }

    fn remember(
        &mut self,
        new: &'n str,
        old: &'o str,
        difference: Option<(MapElements, MapElements)>,
    ) {
        self.by_new.insert(new, old);
        self.by_old.insert(old, new);
        self.pairs.push(Pair {
            new,
            old,
            difference,
        });
    }

    /// Takes back what was paired since there were `mark` pairs.
    fn forget(&mut self, mark: usize) {
        for pair in self.pairs.drain(mark..) {
            self.by_new.remove(pair.new);
            self.by_old.remove(pair.old);
            if let Some((removed, added)) = pair.difference {
                self.changes -= removed.len() + added.len();
            }
        }
    }

    /// A chain stays if its rules do, and if no packet passes two of them below which something changes.
    fn chains(&mut self, new: &'n Chain, old: &'o Chain) -> Outcome {
        if new.rules.len() != old.rules.len() {
            return Outcome::Replaced;
        }
        let mut outcome = Outcome::Same;
        let mut changed: Vec<&NftRule> = Vec::new();
        for (rule, old_rule) in new.rules.iter().zip(&old.rules) {
            if !alike(rule, old_rule) {
                return Outcome::Replaced;
            }
            let pairs = references(rule).into_iter().zip(references(old_rule));
            let mut within = false;
            for (new, old) in pairs {
                match self.pair(new, old) {
                    Outcome::Same => {}
                    Outcome::Within => within = true,
                    Outcome::Replaced => return Outcome::Replaced,
                }
            }
            if within {
                if changed.iter().any(|before| !exclude(before, rule)) {
                    return Outcome::Replaced;
                }
                changed.push(rule);
                outcome = Outcome::Within;
            }
        }
        outcome
    }

    /// A map stays if the targets of its elements do, or if those elements can be changed that differ.
    fn maps(&mut self, new: (&'n str, &'n Map), old: (&'o str, &'o Map)) -> Outcome {
        if new.1.key != old.1.key {
            return Outcome::Replaced;
        }
        match (&new.1.elements, &old.1.elements) {
            (MapElements::Ports(a), MapElements::Ports(b)) => {
                self.elements(new, old, a, b, MapElements::Ports)
            }
            (MapElements::V4(a), MapElements::V4(b)) => {
                self.elements(new, old, a, b, MapElements::V4)
            }
            (MapElements::V6(a), MapElements::V6(b)) => {
                self.elements(new, old, a, b, MapElements::V6)
            }
            _ => Outcome::Replaced,
        }
    }

    fn elements<T: Copy + Ord>(
        &mut self,
        (name, map): (&'n str, &'n Map),
        (old_name, old_map): (&'o str, &'o Map),
        new: &'n [(Interval<T>, NftVerdict)],
        old: &'o [(Interval<T>, NftVerdict)],
        wrap: fn(Vec<(Interval<T>, NftVerdict)>) -> MapElements,
    ) -> Outcome {
        let mark = self.pairs.len();
        if self.targets_stay(new, old) {
            self.remember(name, old_name, None);
            return Outcome::Within;
        }
        self.forget(mark);
        if !map.elements.are_points() || !old_map.elements.are_points() {
            return Outcome::Replaced;
        }
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (new.iter().peekable(), old.iter().peekable());
        while self.changes + removed.len() + added.len() <= AT_MOST {
            match (a.peek(), b.peek()) {
                (None, None) => {
                    self.changes += removed.len() + added.len();
                    self.remember(name, old_name, Some((wrap(removed), wrap(added))));
                    return Outcome::Within;
                }
                (Some((at, verdict)), Some((old_at, old_verdict))) if at == old_at => {
                    if !self.same.equal_verdicts(verdict, old_verdict) {
                        return Outcome::Replaced;
                    }
                    a.next();
                    b.next();
                }
                (Some((at, _)), Some((old_at, _))) if at > old_at => {
                    removed.extend(b.next().cloned())
                }
                (None, _) => removed.extend(b.next().cloned()),
                _ => added.extend(a.next().cloned()),
            }
        }
        Outcome::Replaced
    }

    /// Whether both have the same elements, and what they lead to stays.
    fn targets_stay<T: PartialEq>(
        &mut self,
        new: &'n [(Interval<T>, NftVerdict)],
        old: &'o [(Interval<T>, NftVerdict)],
    ) -> bool {
        new.len() == old.len()
            && new.iter().zip(old).all(|((at, new), (old_at, old))| {
                at == old_at
                    && match (target(new), target(old)) {
                        (Some(chain), Some(old_chain)) => {
                            std::mem::discriminant(new) == std::mem::discriminant(old)
                                && self.pair(chain, old_chain) != Outcome::Replaced
                        }
                        _ => new == old,
                    }
            })
    }
}

/// Whether no packet that has met the first rule's target comes to the second rule.
fn exclude(first: &NftRule, second: &NftRule) -> bool {
    let family = |rule: &NftRule| {
        rule.matches.iter().find_map(|each| match each {
            Match::Family(family) => Some(*family),
            _ => None,
        })
    };
    let other_family =
        family(first).is_some() && family(second).is_some() && family(first) != family(second);
    let untracked = |rule: &NftRule| {
        let asks = |each: &Match| matches!(each, Match::State(CtState::Untracked));
        rule.matches.iter().any(asks)
    };
    // A rule over what is known of the flow, and the same for untracked packets.
    let twins = of_flow(first) && untracked(second);
    matches!(first.verdict, NftVerdict::Goto(_)) || other_family || twins
}

/// Whether a rule holds for packets of tracked flows alone.
fn of_flow(rule: &NftRule) -> bool {
    let key = match &rule.verdict {
        NftVerdict::Map(key, _) => matches!(key, MapKey::FlowPort(..) | MapKey::FlowAddress(..)),
        _ => false,
    };
    let asks = |each: &Match| matches!(each, Match::FlowPort(..) | Match::FlowAddress { .. });
    key || rule.matches.iter().any(asks)
}

/// Whether any of `wanted` can be reached from these names.
fn reaches(objects: &HashMap<&str, Object>, from: Vec<&str>, wanted: &HashSet<&str>) -> bool {
    let mut seen: HashSet<&str> = HashSet::new();
    let mut waiting = from;
    while let Some(name) = waiting.pop() {
        if wanted.contains(name) {
            return true;
        }
        if !seen.insert(name) {
            continue;
        }
        match objects.get(name) {
            Some(Object::Chain(chain)) => waiting.extend(chain.rules.iter().flat_map(references)),
            Some(Object::Map(map)) => waiting.extend(targets(&map.elements)),
            Some(Object::Set(_)) | None => {}
        }
    }
    false
}

/// The chains that elements lead to.
fn targets(elements: &MapElements) -> Vec<&str> {
    match elements {
        MapElements::Ports(list) => list.iter().filter_map(|(_, to)| target(to)).collect(),
        MapElements::V4(list) => list.iter().filter_map(|(_, to)| target(to)).collect(),
        MapElements::V6(list) => list.iter().filter_map(|(_, to)| target(to)).collect(),
    }
}
