//! Functions over one dimension, as rules where they have few pieces, else as sets and maps.

use super::worded::Worded;
use super::{Decide, Emitter, NOTHING, Target};
use crate::policy::Interval;
use crate::ruleset::diagram::paint::{Function, merge_equal};
use crate::ruleset::diagram::plan::{MANY_POINTS, counts, is_gapless};
use crate::ruleset::diagram::pool::{PoolEntry, WrittenPool};
use crate::ruleset::ir::*;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Up to so many targets and so many pieces are written as rules: the kernel gives a map, however small, 16 KB.
const FEW_TARGETS: usize = 3;
const FEW_PIECES: usize = 8;
/// Up to so many pieces of one target are a rule each, not one over a set of them: the kernel looks through all sets
/// of a table to name one more, and again for each that a rule asks.
const FEW_RULES: usize = 4;
/// So many points of one target are a set: each set is one lookup more.
const LONG_SET: usize = 64;

impl Emitter<'_> {
    /// Where each function of a pool is asked.
    pub(super) fn written<T: Worded>(
        &mut self,
        name: &str,
        written: WrittenPool<T>,
        word: T::Word,
    ) -> Vec<Target> {
        let mut entries: Vec<Option<PoolEntry<T>>> =
            written.entries.into_iter().map(Some).collect();
        let mut targets = vec![Target::Nothing; entries.len()];
        // The base first: the differences lead to it.
        let order = written
            .base
            .into_iter()
            .map(|base| base as usize)
            .chain(0..entries.len());
        for at in order {
            targets[at] = match entries[at].take() {
                // The base has been written already.
                None => continue,
                Some(PoolEntry::Whole(function)) => self.whole(name, function, word),
                Some(PoolEntry::Difference(pieces)) => {
                    let base = written
                        .base
                        .map_or(Target::Nothing, |base| targets[base as usize].clone());
                    let pieces = pieces
                        .into_iter()
                        .map(|(interval, value)| (interval, value.unwrap_or(NOTHING)));
                    let target = |value| match value {
                        NOTHING => Target::Nothing,
                        clause => Target::Clause(clause),
                    };
                    let mut rules = self.pieces(name, pieces.collect(), &target, word);
                    rules.extend(self.target_rule(T::present(word), &base));
                    Target::Chain(self.chain(name, rules))
                }
            };
        }
        targets
    }

    fn whole<T: Worded>(
        &mut self,
        name: &str,
        function: Function<T, u32>,
        word: T::Word,
    ) -> Target {
        match function.as_slice() {
            [] => Target::Nothing,
            [(interval, clause)] if *interval == T::WHOLE => Target::Clause(*clause),
            _ => {
                let rules = self.pieces(name, function, &Target::Clause, word);
                Target::Chain(self.chain(name, rules))
            }
        }
    }

    /// Pieces of a dimension as rules if they are few, as a map if they are many. Where they leave no gap, the
    /// target with the most of them is no element but what comes after: half the elements, and often only
    /// single points are left, for which a hash serves.
    pub(super) fn pieces<T: Worded>(
        &mut self,
        name: &str,
        mut pieces: Function<T, u32>,
        target: &dyn Fn(u32) -> Target,
        word: T::Word,
    ) -> Vec<NftRule> {
        if self.emission.key == Some(FlowKey::Lost) {
            // Neighbours may have differed for other protocols alone.
            let mut first: BTreeMap<Target, u32> = BTreeMap::new();
            let mut same: FxHashMap<u32, u32> = FxHashMap::default();
            for (_, value) in &mut pieces {
                let of_target = || *first.entry(target(*value)).or_insert(*value);
                *value = *same.entry(*value).or_insert_with(of_target);
            }
            pieces = merge_equal(pieces);
        }
        let rest = match is_gapless(&pieces) {
            true => most(&pieces, target),
            false => None,
        };
        pieces.retain(|(_, value)| Some(*value) != rest);
        let rest = rest.map(target);
        let mut by_target: BTreeMap<Target, Vec<Interval<T>>> = BTreeMap::new();
        for (interval, value) in pieces.iter().take(FEW_PIECES + 1) {
            by_target.entry(target(*value)).or_default().push(*interval);
        }
        let mut rules: Vec<NftRule> =
            match pieces.len() <= FEW_PIECES && by_target.len() <= FEW_TARGETS {
                true => by_target
                    .into_iter()
                    .flat_map(|(target, list)| self.few_rules(list, &target, word))
                    .collect(),
                false => self.maps(name, pieces, target, word),
            };
        rules.extend(rest.and_then(|target| self.target_rule(T::present(word), &target)));
        rules
    }

    /// Pieces of one target: a rule each while they are very few, else one over all of them.
    fn few_rules<T: Worded>(
        &mut self,
        list: Vec<Interval<T>>,
        target: &Target,
        word: T::Word,
    ) -> Vec<NftRule> {
        let lists = match list.len() <= FEW_RULES {
            true => list.into_iter().map(|each| vec![each]).collect(),
            false => vec![list],
        };
        lists
            .into_iter()
            .filter_map(|list| self.target_rule(vec![T::condition(word, list)?], target))
            .collect()
    }

    /// One map; of many pieces two, if many are points and some are not: the points as [`Self::points`] asks them, then
    /// `ip saddr vmap @in_0_v4_m2`. A hash is faster than a tree, and its elements can be changed while it is in use.
    fn maps<T: Worded>(
        &mut self,
        name: &str,
        mut pieces: Function<T, u32>,
        target: &dyn Fn(u32) -> Target,
        word: T::Word,
    ) -> Vec<NftRule> {
        let mut nameless = self.nameless(&mut pieces, target, word);
        if pieces.is_empty() {
            return nameless;
        }
        let points = pieces.iter().filter(|(i, _)| i.first == i.last).count();
        if !nameless.is_empty() {
            nameless.push(self.map(name, pieces, target, word));
            return nameless;
        }
        if points < MANY_POINTS {
            // A hash is faster than a tree, and few intervals are rules of their own.
            let is_interval = |(i, _): &&(Interval<T>, u32)| i.first != i.last;
            let intervals: Function<T, u32> = pieces.iter().filter(is_interval).copied().collect();
            if points > 0 && (1..=FEW_RULES).contains(&intervals.len()) {
                pieces.retain(|(i, _)| i.first == i.last);
                let mut rules = vec![self.map(name, pieces, target, word)];
                for (interval, value) in intervals {
                    rules.extend(self.few_rules(vec![interval], &target(value), word));
                }
                return rules;
            }
            return vec![self.map(name, pieces, target, word)];
        }
        // The points are asked first: an interval may go on across them, and does not change when they do.
        let mut intervals: Function<T, u32> = Vec::new();
        let (mut end, mut bridged) = (None, false);
        pieces.retain(|(interval, value)| {
            let is_point = interval.first == interval.last;
            let goes_on = end.is_some_and(|end: T| end.successor() == Some(interval.first));
            end = Some(interval.last);
            match intervals.last_mut() {
                // A point too, where what is between two others is as all around them.
                Some((last, known)) if bridged && goes_on && known == value => {
                    last.last = interval.last;
                    return false;
                }
                _ if is_point => {
                    // Where nothing before it touches it, what comes next begins anew.
                    bridged &= goes_on;
                    return true;
                }
                _ => intervals.push((*interval, *value)),
            }
            bridged = true;
            false
        });
        let mut rules = self.points(name, pieces, target, word);
        if !intervals.is_empty() {
            rules.push(self.map(name, intervals, target, word));
        }
        rules
    }

    /// Takes out of `pieces` those that one set for each target can hold, and returns the rules that ask the sets.
    /// These are all pieces where there are few targets, else those that lead to no chain. Lists that ask the same
    /// share a set.
    fn nameless<T: Worded>(
        &mut self,
        pieces: &mut Function<T, u32>,
        target: &dyn Fn(u32) -> Target,
        word: T::Word,
    ) -> Vec<NftRule> {
        if let Decide::Named(_) = self.emission.decide {
            return Vec::new();
        }
        let values = counts(pieces).into_iter().map(|(value, _)| value);
        let targets: Vec<(u32, Target)> = values.map(|value| (value, target(value))).collect();
        let different: BTreeSet<&Target> = targets.iter().map(|(_, target)| target).collect();
        let few = different.len() <= FEW_TARGETS;
        let mut ends: BTreeMap<&Target, usize> = BTreeMap::new();
        let mut lists: Vec<Vec<Interval<T>>> = Vec::new();
        // Where the pieces of a value go: long lists have few values.
        let mut list_of: FxHashMap<u32, usize> = FxHashMap::default();
        for (value, end) in &targets {
            if few || !matches!(end, Target::Chain(_)) {
                let new = ends.len();
                list_of.insert(*value, *ends.entry(end).or_insert(new));
            }
        }
        lists.resize_with(ends.len(), Vec::new);
        pieces.retain(|(interval, value)| match list_of.get(value) {
            None => true,
            Some(at) => {
                lists[*at].push(*interval);
                false
            }
        });
        let rule = |(end, at): (&Target, usize)| {
            let list = std::mem::take(&mut lists[at]);
            let asked = match T::set_of(&list) {
                Some(addresses) => self.remotes.address(addresses, self.side),
                None => T::condition(word, list)?,
            };
            self.target_rule(vec![asked], end)
        };
        ends.into_iter().filter_map(rule).collect()
    }

    /// A set for each target of many points, `ip saddr @in_0_v4_s1 goto in_0_v4_2`, and a map for the others. A change
    /// of a set costs the kernel nothing more, while after one of a map it looks at every element of the table's maps:
    /// they may lead in circles.
    fn points<T: Worded>(
        &mut self,
        name: &str,
        mut pieces: Function<T, u32>,
        target: &dyn Fn(u32) -> Target,
        word: T::Word,
    ) -> Vec<NftRule> {
        let mut long = counts(&pieces);
        long.retain(|(_, count)| *count >= LONG_SET);
        // The longest first, so that one address more or less seldom changes their order.
        long.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        long.truncate(FEW_TARGETS);
        let mut rules = Vec::new();
        for (value, count) in long {
            let mut points = Vec::with_capacity(count);
            let of_value = pieces.iter().filter(|(_, of)| *of == value);
            points.extend(of_value.map(|(point, _)| *point));
            let Some(elements) = T::set_of(&points) else {
                break;
            };
            pieces.retain(|(_, of)| *of != value);
            // One set for all lists that ask it.
            let family = elements.family();
            let asked = Match::Address {
                side: self.side,
                with: AddressMatch::Set(self.remotes.set(elements), family),
                negated: false,
            };
            rules.extend(self.target_rule(vec![asked], &target(value)));
        }
        if !pieces.is_empty() {
            rules.push(self.map(name, pieces, target, word));
        }
        rules
    }

    /// `tcp dport vmap @in_0_v4_m1`
    fn map<T: Worded>(
        &mut self,
        name: &str,
        pieces: Function<T, u32>,
        target: &dyn Fn(u32) -> Target,
        word: T::Word,
    ) -> NftRule {
        // The verdicts of late: neighbours often lead to one of two targets.
        let mut recent: [Option<(u32, NftVerdict)>; 2] = [None, None];
        let mut element = |value: u32| {
            let known = recent.iter().flatten().find(|(known, _)| *known == value);
            if let Some((_, verdict)) = known {
                return verdict.clone();
            }
            let verdict = self.verdict_of(&target(value));
            recent.swap(0, 1);
            recent[0] = Some((value, verdict.clone()));
            verdict
        };
        let elements = pieces
            .into_iter()
            .map(|(interval, value)| (interval, element(value)))
            .collect();
        let map: Arc<str> = self.name(name, "m");
        self.ruleset.maps.push(Map {
            name: map.clone(),
            key: T::key(word),
            elements: T::elements(elements),
        });
        NftRule::plain(vec![], NftVerdict::Map(T::key(word), map))
    }
}

/// What the most pieces have.
fn most<T>(pieces: &[(Interval<T>, u32)], target: &dyn Fn(u32) -> Target) -> Option<u32> {
    // Of equals the one whose target sorts first, so that compiling twice has one result.
    counts(pieces)
        .into_iter()
        .max_by(|a, b| a.1.cmp(&b.1).then_with(|| target(b.0).cmp(&target(a.0))))
        .map(|(value, _)| value)
}
