//! Which objects of two rulesets are equal, with all they lead to.

use crate::policy::Interval;
use crate::ruleset::ir::*;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

/// An object of a ruleset.
#[derive(Debug, Clone, Copy)]
pub enum Object<'r> {
    Chain(&'r Chain),
    Map(&'r Map),
    Set(&'r Set),
}

/// All objects of a ruleset, by name: chains, maps and sets never share one.
pub fn objects(ruleset: &Ruleset) -> FxHashMap<&str, Object<'_>> {
    let chains = ruleset.chains.iter();
    let chains = chains.map(|chain| (&*chain.name, Object::Chain(chain)));
    let maps = ruleset
        .maps
        .iter()
        .map(|map| (&*map.name, Object::Map(map)));
    let sets = ruleset.sets.iter();
    let sets = sets.map(|set| (set.name.as_str(), Object::Set(set)));
    chains.chain(maps).chain(sets).collect()
}

/// The objects of two rulesets, and which are known to be equal.
pub struct Same<'o, 'n> {
    pub old: FxHashMap<&'o str, Object<'o>>,
    pub new: FxHashMap<&'n str, Object<'n>>,
    /// Old objects, sorted by what does not depend on names: of several equal ones always the same is found.
    by_shape: Rc<[(u64, &'o str)]>,
    found: FxHashMap<&'n str, Option<&'o str>>,
    /// Names that were compared of late, and whether they are of equal objects: a long map leads to few chains.
    recent: [Option<(&'n str, &'o str, bool)>; 2],
}

impl<'o, 'n> Same<'o, 'n> {
    pub fn new(old: &'o Ruleset, new: &'n Ruleset) -> Self {
        let (old, new) = (objects(old), objects(new));
        let shapes = old.iter().map(|(name, object)| (shape(object), *name));
        let mut by_shape: Vec<(u64, &str)> = shapes.collect();
        by_shape.sort_unstable();
        Same {
            old,
            new,
            by_shape: by_shape.into(),
            found: FxHashMap::default(),
            recent: [None; 2],
        }
    }

    /// The old object that is equal to this new one; of several the one of the same name.
    pub fn find(&mut self, name: &'n str) -> Option<&'o str> {
        if let Some(found) = self.found.get(name) {
            return *found;
        }
        let object = *self.new.get(name)?;
        let (shape, all) = (shape(&object), self.by_shape.clone());
        let alike = &all[all.partition_point(|(other, _)| *other < shape)..];
        let alike = alike.iter().take_while(|(other, _)| *other == shape);
        let candidates = alike.map(|(_, candidate)| *candidate);
        let of_this_name = candidates.clone().filter(|candidate| *candidate == name);
        let others = candidates.filter(|candidate| *candidate != name);
        let found = of_this_name
            .chain(others)
            .find(|candidate| self.equal(object, candidate));
        self.found.insert(name, found);
        found
    }

    /// Whether both names are of equal objects.
    pub fn leads_to_equal(&mut self, new: &'n str, old: &'o str) -> bool {
        self.find(new) == Some(old)
    }

    fn equal(&mut self, new: Object<'n>, old: &'o str) -> bool {
        match (new, self.old.get(old).copied()) {
            (Object::Set(new), Some(Object::Set(old))) => new.elements == old.elements,
            (Object::Chain(new), Some(Object::Chain(old))) => {
                new.rules.len() == old.rules.len()
                    && new
                        .rules
                        .iter()
                        .zip(&old.rules)
                        .all(|(new, old)| self.equal_rules(new, old))
            }
            (Object::Map(new), Some(Object::Map(old))) => {
                new.key == old.key && self.equal_elements(&new.elements, &old.elements)
            }
            _ => false,
        }
    }

    fn equal_rules(&mut self, new: &'n NftRule, old: &'o NftRule) -> bool {
        alike(new, old)
            && references(new)
                .into_iter()
                .zip(references(old))
                .all(|(new, old)| self.leads_to_equal(new, old))
    }

    fn equal_elements(&mut self, new: &'n MapElements, old: &'o MapElements) -> bool {
        match (new, old) {
            (MapElements::Ports(new), MapElements::Ports(old)) => self.equal_lists(new, old),
            (MapElements::V4(new), MapElements::V4(old)) => self.equal_lists(new, old),
            (MapElements::V6(new), MapElements::V6(old)) => self.equal_lists(new, old),
            (MapElements::PairsV4(new), MapElements::PairsV4(old)) => self.equal_lists(new, old),
            (MapElements::PairsV6(new), MapElements::PairsV6(old)) => self.equal_lists(new, old),
            _ => false,
        }
    }

    fn equal_lists<E: Element>(&mut self, new: &'n [E], old: &'o [E]) -> bool {
        new.len() == old.len()
            && new.iter().zip(old).all(|(new, old)| {
                (new.place(), new.reason()) == (old.place(), old.reason())
                    && self.equal_verdicts(new.verdict(), old.verdict())
            })
    }

    /// Whether two verdicts of elements lead to equal chains.
    pub fn equal_verdicts(&mut self, new: &'n NftVerdict, old: &'o NftVerdict) -> bool {
        match (target(new), target(old)) {
            (Some(new_chain), Some(old_chain)) => {
                std::mem::discriminant(new) == std::mem::discriminant(old)
                    && self.lead_likewise(new_chain, old_chain)
            }
            _ => new == old,
        }
    }

    /// The same as [`Self::leads_to_equal`], for names that are asked a hundred thousand times: where they lie in
    /// memory tells that they were asked before.
    pub fn lead_likewise(&mut self, new: &'n str, old: &'o str) -> bool {
        let known = self.recent.iter().flatten();
        let known = known
            .copied()
            .find(|(a, b, _)| std::ptr::eq(*a, new) && std::ptr::eq(*b, old));
        if let Some((_, _, equal)) = known {
            return equal;
        }
        let equal = self.leads_to_equal(new, old);
        self.recent = [Some((new, old, equal)), self.recent[0]];
        equal
    }
}

/// The chain that an element leads to.
pub fn target(verdict: &NftVerdict) -> Option<&str> {
    match verdict {
        NftVerdict::Goto(chain)
        | NftVerdict::Jump(chain)
        | NftVerdict::Pass(chain)
        | NftVerdict::Observe(Some(chain)) => Some(chain),
        NftVerdict::Accept
        | NftVerdict::Drop
        | NftVerdict::Return
        | NftVerdict::Map(..)
        | NftVerdict::Observe(None) => None,
    }
}

/// Whether two rules are equal but for the names of what they lead to.
pub fn alike(new: &NftRule, old: &NftRule) -> bool {
    new.reason == old.reason
        && new.matches.len() == old.matches.len()
        && new
            .matches
            .iter()
            .zip(&old.matches)
            .all(|(new, old)| likewise(new, old))
        && match (&new.verdict, &old.verdict) {
            (NftVerdict::Map(new, _), NftVerdict::Map(old, _)) => new == old,
            (new, old) => match (target(new), target(old)) {
                (Some(_), Some(_)) => std::mem::discriminant(new) == std::mem::discriminant(old),
                _ => new == old,
            },
        }
}

fn likewise(new: &Match, old: &Match) -> bool {
    match (new.set(), old.set()) {
        (Some((_, key, negated)), Some((_, old, not))) => (key, negated) == (old, not),
        _ => new == old,
    }
}

/// What a rule leads to: sets, then what its verdict names.
pub fn references(rule: &NftRule) -> Vec<&str> {
    let sets = rule.matches.iter().filter_map(Match::set);
    let mut names: Vec<&str> = sets.map(|(name, ..)| name).collect();
    match &rule.verdict {
        NftVerdict::Map(_, name) => names.push(name),
        verdict => names.extend(target(verdict)),
    }
    names
}

/// Elements of long lists that count for a shape; all are compared in the end.
const SAMPLE: usize = 64;

/// A number that equal objects share, whatever their names. The hash's keys are constant.
fn shape(object: &Object) -> u64 {
    let mut hash = FxHasher::default();
    match object {
        Object::Chain(chain) => {
            chain.rules.len().hash(&mut hash);
            for rule in &chain.rules {
                rule.reason.hash(&mut hash);
                rule.matches.len().hash(&mut hash);
                std::mem::discriminant(&rule.verdict).hash(&mut hash);
            }
            // The conditions of the first rules tell the small nodes apart.
            for each in chain
                .rules
                .iter()
                .flat_map(|rule| &rule.matches)
                .take(SAMPLE)
            {
                match each {
                    Match::Port(transport, side, ports) => (transport, side, ports).hash(&mut hash),
                    Match::FlowPort(key, transport, ports) => {
                        (key, transport, ports).hash(&mut hash);
                    }
                    Match::Address {
                        with: AddressMatch::Inline(addresses),
                        ..
                    }
                    | Match::FlowAddress {
                        with: AddressMatch::Inline(addresses),
                        ..
                    } => addresses.hash(&mut hash),
                    other => std::mem::discriminant(other).hash(&mut hash),
                }
            }
        }
        Object::Map(map) => {
            map.key.hash(&mut hash);
            match &map.elements {
                MapElements::Ports(list) => sample(list, &mut hash),
                MapElements::V4(list) => sample(list, &mut hash),
                MapElements::V6(list) => sample(list, &mut hash),
                MapElements::PairsV4(list) => sample(list, &mut hash),
                MapElements::PairsV6(list) => sample(list, &mut hash),
            }
        }
        Object::Set(set) => match &set.elements {
            Addresses::V4(list) => some(list, &mut hash),
            Addresses::V6(list) => some(list, &mut hash),
        },
    }
    hash.finish()
}

fn sample<E: Element>(list: &[E], hash: &mut FxHasher) {
    list.len().hash(hash);
    let step = list.len().div_ceil(SAMPLE).max(1);
    for each in list.iter().step_by(step) {
        each.place().hash(hash);
        std::mem::discriminant(each.verdict()).hash(hash);
    }
}

fn some<T: Hash>(list: &Arc<[Interval<T>]>, hash: &mut FxHasher) {
    list.len().hash(hash);
    let step = list.len().div_ceil(SAMPLE).max(1);
    list.iter().step_by(step).for_each(|each| each.hash(hash));
}
