//! What rules and layers have met, over reloads, restarts and deletions of the table: the arithmetic of
//! [`super::hits`], without a kernel or a disk.
//!
//! The kernel counts in the chains of a generation. What it counted in chains that are gone is the *past*; of each
//! counter that may still be there it is known what was *seen* last. A count is the sum of both, so a counter that a
//! restart finds again continues what was seen of it and is not added to it, and one that has vanished is lost from the
//! last look on.

use crate::netfilter::hits::RuleHits;
use crate::policy::{AclEntry, Action, Direction, Policy, Reason, Rule};
use crate::ruleset::Generation;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Of longer lists of addresses the two ends tell one from another.
const ENDS: usize = 16;

/// A sum of packets and bytes. What stays of the past alone may be negative: see [`Counts::follow`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Packets.
    pub packets: i64,
    /// Bytes.
    pub bytes: i64,
}

/// The counts of a host, by what decided: a rule's id or a layer, as the kernel's comments say, and see [`reason`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Of chains that are gone.
    past: BTreeMap<String, Sum>,
    /// What was seen last of counters that are not gone, by chain and comment; those that have met nothing are left
    /// out.
    seen: BTreeMap<(String, String), Sum>,
    /// When a count was last seen to grow, in seconds since 1970.
    last: BTreeMap<String, u64>,
    /// What each rule was when it was given its id, as a hash.
    rules: BTreeMap<String, u64>,
    /// Whether anything has changed since this was asked last.
    #[serde(skip)]
    changed: bool,
}

impl Counts {
    /// Takes note of the kernel's counters.
    pub fn look(&mut self, hits: &[RuleHits], now: u64) {
        for (key, sum) in summed(hits) {
            self.advance(key, sum, now);
        }
    }

    /// Takes note of counters for the last time: their chains were replaced and are gone.
    pub fn replaced(&mut self, hits: &[RuleHits], now: u64) {
        for (key, sum) in summed(hits) {
            self.advance(key.clone(), sum, now);
            if let Some(sum) = self.seen.remove(&key) {
                self.past.entry(key.1).or_default().add(sum);
                self.changed = true;
            }
        }
    }

    /// All counters are gone, without a last look at them: the machine was started again.
    pub fn gone(&mut self) {
        self.fold(|_| true);
    }

    /// Counters of chains that are not among these are gone, without a last look at them: another program has deleted
    /// them, or a process before this one that was killed. Chains have new names each time, so none is taken for
    /// another.
    pub fn settle(&mut self, hits: &[RuleHits]) {
        let chains: HashSet<&str> = hits.iter().map(|hit| hit.chain.as_str()).collect();
        self.fold(|chain| !chains.contains(chain));
    }

    fn fold(&mut self, is_gone: impl Fn(&str) -> bool) {
        let (gone, seen) = std::mem::take(&mut self.seen)
            .into_iter()
            .partition(|((chain, _), _)| is_gone(chain));
        self.seen = seen;
        let gone: BTreeMap<(String, String), Sum> = gone;
        self.changed |= !gone.is_empty();
        for ((_, name), sum) in gone {
            self.past.entry(name).or_default().add(sum);
        }
    }

    /// Whether anything has changed since this was asked last.
    pub fn has_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// What was taken note of is not written: it is still to be.
    pub fn is_unwritten(&mut self) {
        self.changed = true;
    }

    /// A counter's new value. One that has gone back began anew.
    fn advance(&mut self, key: (String, String), sum: Sum, now: u64) {
        let before = self.seen.get(&key).copied().unwrap_or_default();
        if before == sum {
            return;
        }
        self.changed = true;
        if sum.packets < before.packets || sum.bytes < before.bytes {
            self.past.entry(key.1.clone()).or_default().add(before);
        }
        if sum != Sum::default() {
            self.last.insert(key.1.clone(), now);
            self.seen.insert(key, sum);
        } else {
            self.seen.remove(&key);
        }
    }

    /// Packets and bytes by what decided, and when each was last seen to grow.
    pub fn totals(&self) -> BTreeMap<&str, (u64, u64, Option<u64>)> {
        let sums = self.sums(|_| true);
        let said = |number: i64| u64::try_from(number).unwrap_or(0);
        sums.into_iter()
            .map(|(name, sum)| {
                let last = self.last.get(name).copied();
                (name, (said(sum.packets), said(sum.bytes), last))
            })
            .collect()
    }

    fn sums(&self, of_chain: impl Fn(&str) -> bool) -> BTreeMap<&str, Sum> {
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for (name, sum) in &self.past {
            sums.entry(name).or_default().add(*sum);
        }
        for ((chain, name), sum) in &self.seen {
            if of_chain(chain) {
                sums.entry(name).or_default().add(*sum);
            }
        }
        sums
    }

    /// Whether rules have other ids now than before.
    pub fn would_move(&self, rules: &Rules) -> bool {
        self.rules != rules.0 && !moves(&self.rules, &rules.0).is_empty()
    }

    /// Has each count follow its rule to the id that it has now, from the generation on that enforces it. A rule is
    /// known again by what it says, within its list; one that says something else at the same place is the same rule,
    /// changed.
    ///
    /// A chain that the new generation has kept may count for another rule by now: what it had counted is given to the
    /// rule that it counted for, and taken off the past of the one that it counts for now.
    pub fn follow(&mut self, Rules(new): Rules, generation: Generation) {
        if self.rules == new {
            return;
        }
        self.changed = true;
        let moves = moves(&self.rules, &new);
        if !moves.is_empty() {
            let is_new =
                |chain: &str| Generation::of(chain).is_some_and(|(of, _)| of >= generation);
            let before = self.sums(|chain| !is_new(chain));
            let mut kept: HashMap<&str, Sum> = HashMap::new();
            for ((chain, name), sum) in &self.seen {
                if !is_new(chain) {
                    kept.entry(name).or_default().add(*sum);
                }
            }
            let moved: Vec<_> = moves
                .iter()
                .map(|(to, from)| {
                    let from = from.as_deref();
                    let mut sum = from.and_then(|from| before.get(from).copied());
                    let sum = sum.get_or_insert_default();
                    sum.subtract(kept.get(to.as_str()).copied().unwrap_or_default());
                    (*sum, from.and_then(|from| self.last.get(from).copied()))
                })
                .collect();
            for from in moves.iter().filter_map(|(_, from)| from.as_ref()) {
                if !new.contains_key(from) {
                    self.past.remove(from);
                    self.last.remove(from);
                }
            }
            for ((to, _), (sum, last)) in moves.into_iter().zip(moved) {
                match last {
                    Some(last) => self.last.insert(to.clone(), last),
                    None => self.last.remove(&to),
                };
                match sum == Sum::default() {
                    true => self.past.remove(&to),
                    false => self.past.insert(to, sum),
                };
            }
        }
        // Of a group that is not bound now the ids stay as they were.
        let lists: HashSet<&str> = new.keys().map(|id| list(id)).collect();
        self.rules.retain(|id, _| !lists.contains(list(id)));
        self.rules.extend(new);
    }
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    fn subtract(&mut self, other: Sum) {
        self.packets = self.packets.saturating_sub(other.packets);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

/// How the count of a layer begins that would have refused, and observes.
const OBSERVED: &str = "observe ";

/// What a layer's count is called: `default`, and `observe default` where it lets pass what it would refuse. A rule's
/// count is one, and called by its id, whether its group observes or not.
fn name(comment: &str, drops: bool) -> String {
    match Reason::is_refusing_layer(comment) && !drops {
        true => format!("{OBSERVED}{comment}"),
        false => comment.to_owned(),
    }
}

/// The layer or rule that a count is of, and whether it is of what was only observed.
pub fn reason(name: &str) -> (&str, bool) {
    match name.strip_prefix(OBSERVED) {
        Some(reason) => (reason, true),
        None => (name, false),
    }
}

/// By chain and name: a chain may count for a rule at two places.
fn summed(hits: &[RuleHits]) -> HashMap<(String, String), Sum> {
    let mut sums: HashMap<(String, String), Sum> = HashMap::new();
    for hit in hits {
        if let Some(comment) = &hit.comment {
            let said = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            let sum = Sum {
                packets: said(hit.packets),
                bytes: said(hit.bytes),
            };
            let key = (hit.chain.clone(), name(comment, hit.drops));
            sums.entry(key).or_default().add(sum);
        }
    }
    sums
}

/// What each rule of a policy says, as a hash, by its id.
#[derive(Debug, Clone)]
pub struct Rules(BTreeMap<String, u64>);

impl Rules {
    /// Of the bound groups, and of the network ACLs before them.
    pub fn of(policy: &Policy) -> Self {
        let mut rules = BTreeMap::new();
        for group in policy.groups() {
            for direction in [Direction::Inbound, Direction::Outbound] {
                let list = group.rules(direction).iter();
                rules.extend(list.map(|rule| (rule.id.to_string(), identity(rule))));
            }
        }
        for acl in policy.network_acls() {
            for direction in [Direction::Inbound, Direction::Outbound] {
                let list = acl.entries(direction).iter();
                rules.extend(list.map(|entry| (entry.id.to_string(), identity_of_entry(entry))));
            }
        }
        Rules(rules)
    }
}

/// A hash of what an entry of a network ACL says.
fn identity_of_entry(entry: &AclEntry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (entry.action == Action::Allow).hash(&mut hasher);
    entry.service.hash(&mut hasher);
    entry.source_ports.hash(&mut hasher);
    entry.source.hash(&mut hasher);
    entry.destination.hash(&mut hasher);
    hasher.finish()
}

/// A hash of what a rule says.
fn identity(rule: &Rule) -> u64 {
    fn ends<T: Hash>(list: &[T], hasher: &mut DefaultHasher) {
        list.len().hash(hasher);
        list.iter()
            .take(ENDS)
            .chain(list.iter().rev().take(ENDS))
            .for_each(|each| each.hash(hasher));
    }
    // Made anew by another version of the standard library it may differ: then every rule counts as changed at its
    // place.
    let mut hasher = DefaultHasher::new();
    (rule.action == Action::Allow).hash(&mut hasher);
    rule.services.hash(&mut hasher);
    // One that has ended keeps its counts.
    let remote = rule.written_remote();
    remote.is_some().hash(&mut hasher);
    if let Some(remote) = remote {
        ends(remote.v4(), &mut hasher);
        ends(remote.v6(), &mut hasher);
    }
    hasher.finish()
}

/// `sg-web/in` of `sg-web/in/3`.
fn list(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(list, _)| list)
}

/// The number of `sg-web/in/3`.
fn index(id: &str) -> u32 {
    let number = id.rsplit_once('/').map(|(_, number)| number.parse());
    number.and_then(Result::ok).unwrap_or(0)
}

/// Where the counts of rules go: each id whose rule had another id before, or was none.
fn moves(
    old: &BTreeMap<String, u64>,
    new: &BTreeMap<String, u64>,
) -> Vec<(String, Option<String>)> {
    let mut places: HashMap<(&str, u64), Vec<&str>> = HashMap::new();
    let mut ordered: Vec<&String> = old.keys().collect();
    // The first of several equal rules is the last of the list that is taken from.
    ordered.sort_by_key(|id| std::cmp::Reverse(index(id)));
    for id in &ordered {
        let known = places.entry((list(id), old[*id])).or_default();
        known.push(id);
    }
    let lists: HashSet<&str> = old.keys().map(|id| list(id)).collect();
    let mut ids: Vec<&String> = new.keys().collect();
    ids.sort_by_key(|id| index(id));
    let found: Vec<(&String, Option<&str>)> = ids
        .into_iter()
        // Of a list that was not known the counts are as they were left.
        .filter(|id| lists.contains(list(id)))
        .map(|id| {
            let place = places.get_mut(&(list(id), new[id])).and_then(Vec::pop);
            (id, place)
        })
        .collect();
    let taken: HashSet<&str> = found.iter().filter_map(|(_, from)| *from).collect();
    let changed_in_place = |id: &String| old.contains_key(id) && !taken.contains(id.as_str());
    found
        .into_iter()
        .filter(|(id, from)| *from != Some(id.as_str()))
        .filter(|(id, from)| from.is_some() || !changed_in_place(id))
        .map(|(id, from)| (id.clone(), from.map(str::to_owned)))
        .collect()
}

#[cfg(test)]
mod tests;
