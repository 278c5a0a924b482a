//! From the ruleset that the kernel has to a new one, at a cost that follows the difference.
//!
//! - What is equal, with all it leads to, stays in the kernel under its old name and keeps its counters.
//! - Where the new ruleset differs in elements of maps and sets alone, they are changed in the living ones, all in one
//!   transaction, and nothing is switched.
//! - Else what differs is loaded, the base chains are switched, and what nothing leads to any more is deleted.
//!
//! ```text
//! load    what is new, which nothing leads to yet
//! edit    delete element inet secgroupd g5_in_0_v4_s1 { 203.0.113.7 }     or     switch    jump g7_inbound
//! delete  what is left over
//! ```

mod edit;
mod same;

use super::batch::{Command, ElementsOf, Name, Names};
use super::ir::*;
use super::marks::Bits;
use super::table::{BASE_CHAINS, Generation};
use edit::{ElementDifference, PairedObjects};
use rustc_hash::{FxHashMap, FxHashSet};
use same::Same;
pub(super) use same::{Object, objects, references, target};
use std::collections::BTreeMap;

/// A ruleset in the kernel, and what its objects are named there.
#[derive(Debug)]
pub struct Loaded {
    /// The ruleset.
    pub ruleset: Ruleset,
    /// Its names.
    pub names: Names,
}

impl Loaded {
    /// The kernel's names of all its objects.
    pub fn names_in_use(&self) -> impl Iterator<Item = String> {
        let objects = objects(&self.ruleset).into_keys();
        objects.map(|name| self.names.of(name).to_string())
    }
}

/// The way from a loaded ruleset to a new one.
#[derive(Debug)]
pub struct Change {
    /// The names of the new ruleset's objects: what was loaded before keeps its own.
    pub names: Names,
    /// Whether the base chains must be switched to the new generation. If not, the edits are all it takes.
    pub switch: bool,
    edits: Vec<Edit>,
    left_over: BTreeMap<Name, ObjectKind>,
    /// The maps among them whose elements count.
    counting: Vec<String>,
}

/// A living map or set whose elements change.
#[derive(Debug)]
struct Edit {
    /// Its name in the kernel.
    kernel: Name,
    difference: ElementDifference,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectKind {
    Chain,
    Map,
    Set,
}

impl Change {
    /// Everything new, as `generation`.
    pub fn all(generation: Generation) -> Self {
        Change {
            names: Names::new(generation),
            switch: true,
            edits: Vec::new(),
            left_over: BTreeMap::new(),
            counting: Vec::new(),
        }
    }

    /// From `old` to `new`; what is loaded anew is of `generation`, which must have no objects yet.
    pub fn between(old: &Loaded, new: &Ruleset, generation: Generation) -> Self {
        let mut same = Same::new(&old.ruleset, new);
        let mut names = Names::new(generation).marked(old.names.bits().clone());
        let new_names: Vec<&str> = same.new.keys().copied().collect();
        for name in &new_names {
            if let Some(found) = same.find(name) {
                names.reuse((*name).into(), old.names.of(found));
            }
        }
        let edited = edit::edits(&mut same, BASE_CHAINS.map(|base| base.name));
        let (mut switch, mut edits) = (true, Vec::new());
        if let Some(pairs) = edited
            && let Some(with_pairs) = named_alone(&names, &pairs, old, &same)
        {
            (names, switch) = (with_pairs, false);
            edits.extend(pairs.into_iter().filter_map(|pair| {
                let kernel = old.names.of(pair.old);
                pair.difference
                    .map(|difference| Edit { kernel, difference })
            }));
        }
        let kept: FxHashSet<Name> = new_names.iter().map(|name| names.of(name)).collect();
        // Two names may be of one object.
        let left_over = same.old.iter().filter_map(|(name, object)| {
            let kernel = old.names.of(name);
            (!kept.contains(&kernel)).then_some((kernel, object))
        });
        let counts = |object: &&Object| matches!(object, Object::Map(map) if map.key.counts());
        let counting = left_over.clone().filter(|(_, object)| counts(object));
        Change {
            counting: counting.map(|(name, _)| name.to_string()).collect(),
            left_over: left_over
                .map(|(name, object)| (name, object.kind()))
                .collect(),
            names,
            switch,
            edits,
        }
    }

    /// Returns the change with these bits for the marks of flows.
    pub fn marked(mut self, bits: Bits) -> Self {
        self.names = self.names.marked(bits);
        self
    }

    /// Whether anything of the living ruleset changes.
    pub fn is_empty(&self) -> bool {
        !self.switch && self.edits.is_empty()
    }

    /// The transaction that edits living maps and sets: all of it or nothing takes effect. Empty if there is a switch.
    pub fn edits(&self) -> Vec<Command<'_>> {
        let mut commands = Vec::new();
        for edit in &self.edits {
            let of = ElementsOf {
                name: edit.kernel.clone(),
                intervals: false,
            };
            let (removed, added) = edit.difference.elements();
            if !removed.is_empty() {
                commands.push(Command::DeleteElements {
                    of: of.clone(),
                    elements: removed,
                });
            }
            if !added.is_empty() {
                commands.push(Command::AddElements {
                    of,
                    first: false,
                    elements: added,
                });
            }
        }
        commands
    }

    /// The kernel's names of the chains, maps and sets that the new ruleset does not use any more.
    pub fn left_over(&self) -> [Vec<String>; 3] {
        [ObjectKind::Chain, ObjectKind::Map, ObjectKind::Set].map(|kind| {
            let names = self.left_over.iter().filter(|(_, of)| **of == kind);
            names.map(|(name, _)| name.to_string()).collect()
        })
    }

    /// The maps among them whose elements count.
    pub fn counting_maps(&self) -> &[String] {
        &self.counting
    }

    /// How many elements of living maps and sets change, and in how many of these.
    pub fn edited(&self) -> (usize, usize) {
        let elements = self.edits.iter();
        let elements = elements.map(|edit| edit.difference.len());
        (elements.sum(), self.edits.len())
    }
}

/// The names with those of the pairs; `None` if an object of the kernel that changes has another name in the old or the
/// new ruleset too: equal objects may have become one.
fn named_alone(names: &Names, pairs: &[PairedObjects], old: &Loaded, same: &Same) -> Option<Names> {
    let mut names = names.clone();
    for pair in pairs {
        names.reuse(pair.new.into(), old.names.of(pair.old));
    }
    let (uses, old_uses) = (uses(&names, &same.new), uses(&old.names, &same.old));
    let alone = pairs
        .iter()
        .map(|pair| names.of(pair.new))
        .all(|kernel| uses.get(&kernel) == Some(&1) && old_uses.get(&kernel) == Some(&1));
    alone.then_some(names)
}

/// How many objects of a ruleset each of the kernel's is.
fn uses(names: &Names, objects: &FxHashMap<&str, Object>) -> FxHashMap<Name, usize> {
    let mut uses = FxHashMap::default();
    for name in objects.keys() {
        *uses.entry(names.of(name)).or_default() += 1;
    }
    uses
}

impl Object<'_> {
    fn kind(&self) -> ObjectKind {
        match self {
            Object::Chain(_) => ObjectKind::Chain,
            Object::Map(_) => ObjectKind::Map,
            Object::Set(_) => ObjectKind::Set,
        }
    }
}
