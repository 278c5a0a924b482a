//! What becomes of each rule, in every place where its group is bound: whether it ever decides, whether anything would
//! change without it, and at which ports a group of higher priority decides the opposite. All of it exactly.

pub use super::fact::{ADMIN_PORTS, Overruled};

use super::fact::{Fact, Facts, GroupList};
use super::walk::Walk;
use crate::definition::model::InstanceKind;
use crate::insight::listed::{FlowKind, ListTable, rows};
use crate::insight::space::{TooLarge, Work};
use crate::policy::address::AddressNumber;
use crate::policy::interval::{merged, without};
use crate::policy::listed::{ListEntry, entries};
use crate::policy::{Account, Direction, GroupId, Service};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Works out what becomes of each rule.
pub fn facts<'a>(account: &'a Account, work: &mut Work) -> Result<Facts<'a>, TooLarge> {
    let mut facts = Facts {
        contexts: contexts(account),
        rules: HashMap::new(),
        of: Vec::new(),
        claimed: HashMap::new(),
    };
    for group in account.groups.values() {
        for rule in group.inbound.iter().chain(&group.outbound) {
            facts.rules.insert(std::ptr::from_ref(rule), facts.of.len());
            facts.of.push((rule, Fact::default()));
        }
    }
    let contexts = std::mem::take(&mut facts.contexts);
    for pass in [Pass::Decides, Pass::Needed] {
        for (number, context) in contexts.iter().enumerate() {
            for direction in [Direction::Inbound, Direction::Outbound] {
                let list = entries(
                    &account.platform,
                    &context.groups,
                    context.smtp_blocked,
                    direction,
                );
                work.spend(100 * list.len())?;
                facts.family::<u32>(pass, &list, work)?;
                facts.family::<u128>(pass, &list, work)?;
            }
            facts.conclude(number);
        }
    }
    facts.contexts = contexts;
    Ok(facts)
}

/// Each different list of groups that is bound somewhere, and each group alone that is bound nowhere.
fn contexts(account: &Account) -> Vec<GroupList> {
    let mut known: HashMap<(&[GroupId], bool), usize> = HashMap::new();
    let mut contexts: Vec<GroupList> = Vec::new();
    let mut bound: BTreeSet<&GroupId> = BTreeSet::new();
    for instance in &account.instances {
        let smtp_blocked = account.platform.smtp_block
            && instance.kind == InstanceKind::Cvm
            && !instance.smtp_request;
        for interface in instance
            .interfaces
            .iter()
            .filter(|each| !each.groups.is_empty())
        {
            bound.extend(&interface.groups);
            if let Some(context) = known.get(&(&*interface.groups, smtp_blocked)) {
                contexts[*context].places += 1;
                continue;
            }
            known.insert((&*interface.groups, smtp_blocked), contexts.len());
            let groups = interface.groups.iter();
            contexts.push(GroupList {
                groups: groups
                    .filter_map(|id| account.groups.get(id).cloned())
                    .collect(),
                smtp_blocked,
                place: Some(format!("{} ({})", instance.id, interface.name)),
                places: 1,
            });
        }
    }
    let unbound = account.groups.values();
    contexts.extend(
        unbound
            .filter(|group| !bound.contains(&group.id))
            .map(|group| GroupList {
                groups: vec![group.clone()],
                smtp_blocked: account.platform.smtp_block,
                place: None,
                places: 0,
            }),
    );
    contexts
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Decides,
    Needed,
}

impl Facts<'_> {
    /// Of what groups of higher priority have left in a context: a port is lost where it is in both families.
    fn conclude(&mut self, context: usize) {
        for (number, claimed) in self.claimed.drain() {
            let fact = &mut self.of[number].1;
            let lost = claimed.lost.into_iter().filter_map(|(kind, lost)| {
                let free = claimed.free.get(&kind).cloned().unwrap_or_default();
                let lost = without(&merged(lost), &merged(free));
                (!lost.is_empty()).then_some((kind, lost))
            });
            let ports: BTreeMap<_, _> = lost.collect();
            if !ports.is_empty() && fact.overruled.is_none() {
                fact.overruled = Some(Overruled {
                    context,
                    ports,
                    by: claimed.by,
                });
            }
        }
    }

    fn family<T: AddressNumber>(
        &mut self,
        pass: Pass,
        list: &[ListEntry],
        work: &mut Work,
    ) -> Result<(), TooLarge> {
        // Only rules are reported: of flows that none is about nothing is worked out.
        let rules = || list.iter().filter(|entry| entry.rule.is_some());
        let says = |service: &Service, kind: FlowKind| !kind.ports(service, T::V4).is_empty();
        let kinds = FlowKind::ALL.into_iter().filter(|kind| {
            rules().any(|rule| rule.services.iter().any(|service| says(service, *kind)))
        });
        let kinds: Vec<FlowKind> = kinds.collect();
        if kinds.is_empty() {
            return Ok(());
        }
        let table = ListTable::<T>::new(list, work)?;
        let bits = table.bits();
        let numbers: Vec<_> = list.iter().map(|entry| self.number(entry)).collect();
        for kind in kinds {
            for row in rows(list, &table.space, kind, work)? {
                let mut walk = Walk {
                    facts: self,
                    list,
                    bits: &bits,
                    numbers: &numbers,
                    kind,
                    row: &row,
                    v4: T::V4,
                };
                match pass {
                    Pass::Decides => walk.decides(table.space.whole(), work)?,
                    Pass::Needed => walk.needed(table.space.whole(), work)?,
                }
            }
        }
        Ok(())
    }
}
