//! What a change of the policy changes, as flows and not as lines: exactly which turn from refused to allowed and back.

mod rows;
mod shown;

use super::listed::{FlowKind, ListTable, rows};
use super::space::{PartSet, TooLarge, Work};
use crate::policy::address::AddressNumber;
use crate::policy::interval::merged;
use crate::policy::listed::{self, entries};
use crate::policy::{AddressRange, Binding, Direction, InterfaceName, Interval, Policy, Reason};
use rows::{Piece, in_rows};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Flows that fare otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowChange {
    /// Whether they are allowed now; they were refused then.
    pub opens: bool,
    /// Where: names and globs of interfaces, and `*` for those that neither policy binds.
    pub interfaces: Vec<String>,
    /// Who opens them.
    pub direction: Direction,
    /// What flows.
    pub kinds: BTreeSet<FlowKind>,
    /// Destination ports; all where there are none.
    pub ports: Vec<Interval<u16>>,
    /// Sources of inbound, destinations of outbound flows: sorted and apart, IPv4 first.
    pub remotes: Vec<AddressRange>,
}

/// What is the same but for the interfaces.
type Rest = (
    Direction,
    bool,
    BTreeSet<FlowKind>,
    Vec<Interval<u16>>,
    Vec<String>,
);

/// All that differs, in as few rows as can be read. It is about flows that are opened; what belongs to one, and what is
/// essential to the network, passes under every policy.
pub fn diff(old: &Policy, new: &Policy, work: &mut Work) -> Result<Vec<FlowChange>, TooLarge> {
    let mut by_rest: BTreeMap<Rest, FlowChange> = BTreeMap::new();
    let mut known: BTreeMap<[Option<usize>; 2], Vec<FlowChange>> = BTreeMap::new();
    for class in classes(old, new) {
        let at = [place(old, class), place(new, class)];
        let changes = match known.entry(at) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(changes(old, new, at, work)?),
        };
        let name = class.map_or("*".to_owned(), ToString::to_string);
        for change in changes.iter() {
            let remotes = change.remotes.iter().map(ToString::to_string).collect();
            let (kinds, ports) = (change.kinds.clone(), change.ports.clone());
            let rest = (change.direction, !change.opens, kinds, ports, remotes);
            let same = by_rest.entry(rest).or_insert_with(|| change.clone());
            same.interfaces.push(name.clone());
        }
    }
    let mut all: Vec<FlowChange> = by_rest.into_values().collect();
    all.sort_by_key(|change| (change.interfaces.clone(), change.direction, !change.opens));
    Ok(all)
}

/// Every name that either policy has, and what neither has.
fn classes<'p>(old: &'p Policy, new: &'p Policy) -> Vec<Option<&'p InterfaceName>> {
    let names = old.bindings.iter().chain(&new.bindings);
    let names: BTreeSet<&InterfaceName> = names.map(|binding| &binding.interface).collect();
    names.into_iter().map(Some).chain([None]).collect()
}

/// The binding of an interface of this name; of a glob, that of interfaces which no more specific name fits.
fn place(policy: &Policy, class: Option<&InterfaceName>) -> Option<usize> {
    let class = class?.to_string();
    policy.bindings.iter().position(|binding| {
        match (class.strip_suffix('*'), binding.interface.is_glob()) {
            (Some(start), true) => binding.interface.matches(start),
            (Some(_), false) => false,
            (None, _) => binding.interface.matches(&class),
        }
    })
}

fn changes(
    old: &Policy,
    new: &Policy,
    [old_at, new_at]: [Option<usize>; 2],
    work: &mut Work,
) -> Result<Vec<FlowChange>, TooLarge> {
    let mut all = Vec::new();
    for direction in [Direction::Inbound, Direction::Outbound] {
        let before = lists(old, old_at.map(|at| &old.bindings[at]), direction);
        let after = lists(new, new_at.map(|at| &new.bindings[at]), direction);
        let all_lists = Lists::new([before, after]);
        work.spend(100 * all_lists.entries.len())?;
        let [v4_opens, v4_closes] = family::<u32>(&all_lists, work)?;
        let [v6_opens, v6_closes] = family::<u128>(&all_lists, work)?;
        let rows = [
            (true, in_rows(v4_opens, v6_opens)),
            (false, in_rows(v4_closes, v6_closes)),
        ];
        for (opens, rows) in rows {
            all.extend(rows.into_iter().map(|row| FlowChange {
                opens,
                interfaces: Vec::new(),
                direction,
                kinds: row.kinds,
                ports: row.ports,
                remotes: row.remotes,
            }));
        }
    }
    Ok(all)
}

/// The lists of the old and the new policy, one behind the other. A flow is allowed by a policy where each of its lists
/// allows it: the groups', and those of a network ACL about its packets and about the answers.
struct Lists<'p> {
    entries: Vec<listed::ListEntry<'p>>,
    /// Of each entry the number of its list.
    of: Vec<usize>,
    /// Of each list, whose it is: 0 the old policy's, 1 the new one's.
    whose: Vec<usize>,
}

impl<'p> Lists<'p> {
    fn new(both: [Vec<Vec<listed::ListEntry<'p>>>; 2]) -> Self {
        let (mut entries, mut of, mut whose) = (Vec::new(), Vec::new(), Vec::new());
        for (side, lists) in both.into_iter().enumerate() {
            for list in lists {
                of.extend(std::iter::repeat_n(whose.len(), list.len()));
                whose.push(side);
                entries.extend(list);
            }
        }
        Lists { entries, of, whose }
    }
}

/// All lists that are asked about a flow at a binding.
fn lists<'p>(
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    direction: Direction,
) -> Vec<Vec<listed::ListEntry<'p>>> {
    let mut all = vec![list(policy, binding, direction)];
    if let Some(binding) = binding.filter(|_| !policy.platform.observe) {
        all.extend(listed::of_acl(binding, direction).into_iter().flatten());
    }
    all
}

/// The list that is asked at a binding, by what passes: what only observes lets pass. What is not bound allows or
/// refuses everything.
fn list<'p>(
    policy: &'p Policy,
    binding: Option<&'p Binding>,
    direction: Direction,
) -> Vec<listed::ListEntry<'p>> {
    let observe = policy.platform.observe;
    if let Some(binding) = binding {
        let mut list = entries(
            &policy.platform,
            &binding.groups,
            policy.smtp_blocked,
            direction,
        );
        for entry in &mut list {
            let group = entry.rule.and_then(|(place, _)| binding.groups.get(place));
            entry.allows |= observe || group.is_some_and(|group| group.observe);
        }
        if observe || binding.observes_the_rest() {
            list.push(listed::ListEntry::everything(Reason::Default, true));
        }
        return list;
    }
    let closed = policy.platform.unbound_refuse && direction == Direction::Inbound && !observe;
    if closed {
        Vec::new()
    } else {
        vec![listed::ListEntry::everything(Reason::Unmanaged, true)]
    }
}

/// What opens and what closes in one family.
fn family<T: AddressNumber>(
    lists: &Lists,
    work: &mut Work,
) -> Result<[Vec<rows::FamilyRow<T>>; 2], TooLarge> {
    let both = lists.entries.as_slice();
    let table = ListTable::<T>::new(both, work)?;
    let (space, bits) = (&table.space, table.bits());
    let mut found: [Vec<Piece>; 2] = [Vec::new(), Vec::new()];
    for kind in FlowKind::ALL {
        for row in rows(both, space, kind, work)? {
            work.spend(4 * space.width())?;
            let (mut left, mut allowed): (Vec<Vec<u64>>, Vec<Vec<u64>>) = (
                lists.whose.iter().map(|_| space.whole()).collect(),
                lists.whose.iter().map(|_| vec![0; space.width()]).collect(),
            );
            for index in row.entries.iter().map(|entry| *entry as usize) {
                let Some(bits) = bits[index] else { continue };
                let of = lists.of[index];
                work.spend(bits.len())?;
                for (at, word) in bits.words() {
                    if both[index].allows {
                        allowed[of][at] |= word & left[of][at];
                    }
                    left[of][at] &= !word;
                }
            }
            // Each of a policy's lists must allow.
            let [before, after] = [0, 1].map(|side| {
                let mut all = space.whole();
                let own = lists.whose.iter().zip(&allowed);
                for (_, allowed) in own.filter(|(whose, _)| **whose == side) {
                    all.iter_mut()
                        .zip(allowed)
                        .for_each(|(all, word)| *all &= word);
                }
                all
            });
            let (before, after) = (&before, &after);
            for (which, (yes, no)) in [(after, before), (before, after)].into_iter().enumerate() {
                let differs = yes.iter().zip(no).map(|(yes, no)| yes & !no);
                let parts = PartSet::trimmed(&differs.collect::<Vec<_>>());
                if !parts.is_empty() {
                    // What is kept takes its place.
                    work.spend(60 * (parts.len() + row.ports.len()))?;
                    let ports = merged(row.ports.clone());
                    found[which].push(Piece { kind, ports, parts });
                }
            }
        }
    }
    let [opens, closes] = found;
    Ok([
        rows::of_family(opens, space, work)?,
        rows::of_family(closes, space, work)?,
    ])
}
