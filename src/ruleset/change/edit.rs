//! Where a new ruleset differs from the old in elements of living maps and sets alone.
//!
//! Both are walked side by side from their entries. A packet in flight may meet the old of one object and the new of
//! another, so no packet's way may lead through two that change: what is changed together lies on ways that exclude
//! each other. A change of both directions of one list is a switch therefore: an answer of a flow that nobody knows
//! asks both. Only maps and sets of points are changed: their hash tells old from new by the transaction that is in
//! force, whereas the tree of an interval map can lose sight of a living element beside one that is being added or
//! removed (`nft_rbtree_lookup` in the kernel's `net/netfilter/nft_set_rbtree.c` does not visit what is sorted below an
//! inactive one). And elements only come or go: one that is removed and added again, leading elsewhere, can be missed
//! by a lookup that began just before the transaction, on kernels before Linux 6.17. Chains are not changed in place
//! either: the counters of their rules would be lost, and their lists in braces be empty for a moment.

use super::same::{Object, Same, alike, references, target};
use crate::ruleset::batch::Elements;
use crate::ruleset::ir::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// More changes than this are loaded as a new map and switched: a transaction of these fits every socket buffer.
const AT_MOST: usize = 256;

/// A new object that stays in the kernel as the old one.
#[derive(Debug)]
pub struct PairedObjects<'o, 'n> {
    /// Its name in the new ruleset.
    pub new: &'n str,
    /// Its name in the old one.
    pub old: &'o str,
    /// The elements that change, if it is a map or a set of which some do.
    pub difference: Option<ElementDifference>,
}

/// The elements that are removed, and those that are added.
#[derive(Debug)]
pub enum ElementDifference {
    Map(MapKey, MapElements, MapElements),
    Set(Addresses, Addresses),
}

impl ElementDifference {
    /// What is removed and what is added.
    pub fn elements(&self) -> (Elements<'_>, Elements<'_>) {
        match self {
            ElementDifference::Map(key, removed, added) => {
                (Elements::keyed(*key, removed), Elements::keyed(*key, added))
            }
            ElementDifference::Set(removed, added) => (removed.into(), added.into()),
        }
    }

    pub fn len(&self) -> usize {
        let (removed, added) = self.elements();
        removed.len() + added.len()
    }
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
) -> Option<Vec<PairedObjects<'o, 'n>>> {
    let mut editing = Editing {
        same,
        pairs: Vec::new(),
        by_old: FxHashMap::default(),
        by_new: FxHashMap::default(),
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
    pairs: Vec<PairedObjects<'o, 'n>>,
    by_old: FxHashMap<&'o str, &'n str>,
    by_new: FxHashMap<&'n str, &'o str>,
    changes: usize,
}

impl<'o, 'n> Editing<'_, 'o, 'n> {
    /// Whether no changed element leads, or led, to another map that changes.
    fn are_apart(&self) -> bool {
        let changed = || self.pairs.iter().filter(|pair| pair.difference.is_some());
        let old: FxHashSet<&str> = changed().map(|pair| pair.old).collect();
        let new: FxHashSet<&str> = changed().map(|pair| pair.new).collect();
        changed().all(|pair| {
            let Some(ElementDifference::Map(_, removed, added)) = &pair.difference else {
                // What a set's rule leads to stays: `chains` sees to that.
                return true;
            };
            !reaches(&self.same.old, targets(removed), &old)
                && !reaches(&self.same.new, targets(added), &new)
        })
    }

    fn pair(&mut self, new: &'n str, old: &'o str) -> Outcome {
        if self.same.leads_to_equal(new, old) {
            return Outcome::Same;
        }
        // It is another living object already: were it this one too, it would be two in the kernel and one in the
        // names.
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
            (Some(Object::Set(chosen)), Some(Object::Set(former))) => {
                return self.sets((new, chosen), (old, former));
            }
            _ => Outcome::Replaced,
        };
        match outcome {
            Outcome::Replaced => self.forget(mark),
            _ => self.remember(new, old, None),
        }
        outcome
    }

    fn remember(&mut self, new: &'n str, old: &'o str, difference: Option<ElementDifference>) {
        self.by_new.insert(new, old);
        self.by_old.insert(old, new);
        self.pairs.push(PairedObjects {
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
            if let Some(difference) = pair.difference {
                self.changes -= difference.len();
            }
        }
    }

    /// A chain stays if its rules do, and if no packet passes two of them below which something changes.
    fn chains(&mut self, new: &'n Chain, old: &'o Chain) -> Outcome {
        if new.rules.len() != old.rules.len() {
            return Outcome::Replaced;
        }
        let mut outcome = Outcome::Same;
        let mut changed: Vec<ChangedRule> = Vec::new();
        for (rule, old_rule) in new.rules.iter().zip(&old.rules) {
            if !alike(rule, old_rule) {
                return Outcome::Replaced;
            }
            let pairs = references(rule).into_iter().zip(references(old_rule));
            let (mut asks, mut within) = (None, false);
            for (new, old) in pairs {
                match self.pair(new, old) {
                    Outcome::Same => continue,
                    Outcome::Replaced => return Outcome::Replaced,
                    // What asks a set that changes may not lead to what changes, nor ask another.
                    Outcome::Within if asks.is_some() => return Outcome::Replaced,
                    Outcome::Within => within = true,
                }
                if let Some(Object::Set(_)) = self.same.new.get(new) {
                    asks = Some(new);
                }
            }
            if within {
                let now = ChangedRule { rule, asks };
                if changed.iter().any(|before| !self.exclude(before, &now)) {
                    return Outcome::Replaced;
                }
                changed.push(now);
                outcome = Outcome::Within;
            }
        }
        outcome
    }

    /// Whether no packet meets what changes of both: those that have met the first do not come to the second, or the
    /// second changes for other addresses alone.
    fn exclude(&self, first: &ChangedRule, second: &ChangedRule) -> bool {
        let family = |rule: &NftRule| {
            rule.matches.iter().find_map(|each| match each {
                Match::Family(family) => Some(*family),
                _ => None,
            })
        };
        let families = (family(first.rule), family(second.rule));
        let other_family = matches!(families, (Some(a), Some(b)) if a != b);
        other_family
            || self.asks_before(first.rule, second.rule)
            || match (first.asks, second.asks) {
                (None, _) => matches!(first.rule.verdict, NftVerdict::Goto(_)),
                // What a set does not hold goes on to the next rule.
                (Some(_), None) => false,
                (Some(a), Some(b)) => {
                    side(first.rule, a) == side(second.rule, b) && self.differ_apart(a, b)
                }
            }
    }

    /// Whether the first rule asks if a list allows a tracked flow, below which nothing else changes, and the second leads
    /// to the same list, which names what refuses it. While they change, a packet that neither lets pass has the verdict
    /// of the old list or of the new one.
    fn asks_before(&self, first: &NftRule, second: &NftRule) -> bool {
        let (NftVerdict::Jump(tracked), NftVerdict::Goto(list)) = (&first.verdict, &second.verdict)
        else {
            return false;
        };
        let role = tracked.strip_suffix("_tracked");
        let Some(role) = role.filter(|role| list.strip_suffix("_list") == Some(role)) else {
            return false;
        };
        let flow = format!("{role}_flow");
        let changes = |name: &&str| self.by_new.contains_key(*name);
        match self.same.new.get(&**tracked) {
            Some(Object::Chain(chain)) => {
                let below = chain.rules.iter().flat_map(references);
                below.filter(changes).all(|name| name == flow)
            }
            _ => false,
        }
    }

    /// Whether no address changes in two sets.
    fn differ_apart(&self, a: &str, b: &str) -> bool {
        let difference = |name| {
            let mut pairs = self.pairs.iter();
            pairs.find(|pair| pair.new == name)?.difference.as_ref()
        };
        match (difference(a), difference(b)) {
            (Some(ElementDifference::Set(a, b)), Some(ElementDifference::Set(c, d))) => [c, d]
                .iter()
                .all(|other| !share(a, other) && !share(b, other)),
            _ => false,
        }
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
            (MapElements::PairsV4(a), MapElements::PairsV4(b)) => {
                self.elements(new, old, a, b, MapElements::PairsV4)
            }
            (MapElements::PairsV6(a), MapElements::PairsV6(b)) => {
                self.elements(new, old, a, b, MapElements::PairsV6)
            }
            _ => Outcome::Replaced,
        }
    }

    /// A set of points stays if the elements can be changed that differ.
    fn sets(&mut self, new: (&'n str, &'n Set), old: (&'o str, &'o Set)) -> Outcome {
        let difference = match (&new.1.elements, &old.1.elements) {
            _ if !(new.1.elements.are_points() && old.1.elements.are_points()) => None,
            (Addresses::V4(a), Addresses::V4(b)) => self.differ(a, b).map(|(a, b)| {
                ElementDifference::Set(Addresses::V4(a.into()), Addresses::V4(b.into()))
            }),
            (Addresses::V6(a), Addresses::V6(b)) => self.differ(a, b).map(|(a, b)| {
                ElementDifference::Set(Addresses::V6(a.into()), Addresses::V6(b.into()))
            }),
            _ => None,
        };
        self.changed(new.0, old.0, difference)
    }

    fn changed(
        &mut self,
        new: &'n str,
        old: &'o str,
        change: Option<ElementDifference>,
    ) -> Outcome {
        let Some(difference) = change else {
            return Outcome::Replaced;
        };
        self.changes += difference.len();
        self.remember(new, old, Some(difference));
        Outcome::Within
    }

    /// The elements that only the old one has, and those that only the new one has. `None` if they are too many, or one
    /// leads elsewhere.
    fn differ<E: Element>(&mut self, new: &'n [E], old: &'o [E]) -> Option<(Vec<E>, Vec<E>)> {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        let (mut a, mut b) = (new.iter().peekable(), old.iter().peekable());
        while self.changes + removed.len() + added.len() <= AT_MOST {
            match (a.peek(), b.peek()) {
                (None, None) => return Some((removed, added)),
                (Some(element), Some(former)) if element.place() == former.place() => {
                    let verdicts = (element.verdict(), former.verdict());
                    if element.reason() != former.reason()
                        || !self.same.equal_verdicts(verdicts.0, verdicts.1)
                    {
                        return None;
                    }
                    a.next();
                    b.next();
                }
                (Some(element), Some(former)) if element.place() > former.place() => {
                    removed.extend(b.next().cloned())
                }
                (None, _) => removed.extend(b.next().cloned()),
                _ => added.extend(a.next().cloned()),
            }
        }
        None
    }

    fn elements<E: Element>(
        &mut self,
        (name, map): (&'n str, &'n Map),
        (old_name, old_map): (&'o str, &'o Map),
        new: &'n [E],
        old: &'o [E],
        wrap: fn(Vec<E>) -> MapElements,
    ) -> Outcome {
        let mark = self.pairs.len();
        if self.targets_stay(new, old) {
            self.remember(name, old_name, None);
            return Outcome::Within;
        }
        self.forget(mark);
        // An element that goes would take its count with it, unread.
        if map.key.counts() || !map.elements.are_points() || !old_map.elements.are_points() {
            return Outcome::Replaced;
        }
        let difference = self.differ(new, old);
        let difference = difference.map(|(a, b)| ElementDifference::Map(map.key, wrap(a), wrap(b)));
        self.changed(name, old_name, difference)
    }

    /// Whether both have the same elements, and what they lead to stays.
    fn targets_stay<E: Element>(&mut self, new: &'n [E], old: &'o [E]) -> bool {
        let elements = || new.iter().zip(old);
        // The targets of late, by where their names lie: a long map leads to few.
        let mut stayed: [Option<(&str, &str)>; 2] = [None; 2];
        new.len() == old.len()
            && elements()
                .all(|(new, old)| (new.place(), new.reason()) == (old.place(), old.reason()))
            && elements()
                .map(|(new, old)| (new.verdict(), old.verdict()))
                .all(|(new, old)| match (target(new), target(old)) {
                    (Some(chain), Some(old_chain)) => {
                        let mut known = stayed.iter().flatten();
                        let known = known
                            .any(|(a, b)| std::ptr::eq(*a, chain) && std::ptr::eq(*b, old_chain));
                        std::mem::discriminant(new) == std::mem::discriminant(old)
                            && (known || {
                                stayed = [Some((chain, old_chain)), stayed[0]];
                                self.pair(chain, old_chain) != Outcome::Replaced
                            })
                    }
                    _ => new == old,
                })
    }
}

/// A rule below which something changes.
struct ChangedRule<'n> {
    rule: &'n NftRule,
    /// The set that it asks, if that changes, and not what the rule leads to.
    asks: Option<&'n str>,
}

/// Which address of a packet the rule asks this set for.
fn side(rule: &NftRule, set: &str) -> Option<Side> {
    let mut sets = rule.matches.iter().filter_map(Match::set);
    match sets.find(|(name, ..)| *name == set)?.1 {
        MapKey::Address(side, _) => Some(side),
        // Of flows of this direction the source of a packet that opens one, and so on: sides that differ are never
        // compared.
        MapKey::FlowAddress(key, _) => Some(match key.address() {
            FlowSide::Original => Side::Source,
            FlowSide::Reply => Side::Destination,
        }),
        _ => None,
    }
}

/// Whether an address is in both of two lists of single addresses.
fn share(a: &Addresses, b: &Addresses) -> bool {
    match (a, b) {
        (Addresses::V4(a), Addresses::V4(b)) => a.iter().any(|point| b.contains(point)),
        (Addresses::V6(a), Addresses::V6(b)) => a.iter().any(|point| b.contains(point)),
        _ => false,
    }
}

/// Whether any of `wanted` can be reached from these names.
fn reaches(objects: &FxHashMap<&str, Object>, from: Vec<&str>, wanted: &FxHashSet<&str>) -> bool {
    let mut seen: FxHashSet<&str> = FxHashSet::default();
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
    elements.verdicts().filter_map(target).collect()
}
