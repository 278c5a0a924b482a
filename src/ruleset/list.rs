//! The lists of groups that interfaces are bound to, each with its interfaces and their slots.

use super::ir::*;
use crate::policy::{InterfaceName, Policy, Reason, SecurityGroup, SubnetAcl};
use std::sync::Arc;

/// How many interfaces have a slot of their own, the most specific names first. Each slot takes two of 64 bits.
const MOST_SLOTS: usize = 20;
/// So many slots from earlier bindings keep their bits for interfaces that are not bound; the others give them up when bits are short.
const MOST_BEFORE: usize = 6;

/// Interfaces that are bound to the same groups in the same order, behind the same network ACL: they share chains, and a
/// flow may move between them.
pub(super) struct List {
    /// `in_0` are the chains of list 0.
    pub index: usize,
    /// Names its marks, which those have too that are bound to the same groups behind another network ACL.
    pub key: ListKey,
    /// The network ACL of the subnet in which its interfaces are.
    pub acl: Option<SubnetAcl>,
    /// `None` for the list of unbound interfaces, which has no rules.
    pub groups: Option<Vec<Arc<SecurityGroup>>>,
    /// Its interfaces with their slots, the most specific name first. No name stands for all interfaces that no list names.
    pub interfaces: Vec<(Option<InterfaceName>, Slot)>,
    /// The slots by which its interfaces were bound before: by a glob, or by their own names; of interfaces that are not bound, while they
    /// were.
    pub before: Vec<Slot>,
    /// All slots of lists with the same key: those interfaces count as one.
    pub alike: Vec<Slot>,
    /// Whether what no rule matches is counted, and passes.
    pub observes: bool,
}

/// The lists of a policy, in the order of its bindings. Where unbound interfaces refuse what comes in, theirs is the last.
pub(super) fn lists(policy: &Policy) -> Vec<List> {
    let mut lists: Vec<List> = Vec::new();
    for (at, binding) in policy.bindings.iter().enumerate() {
        let slot = slot(at, &binding.interface);
        let interface = (Some(binding.interface.clone()), slot);
        let key = binding.key();
        let mut known = lists.iter();
        let known = known.position(|list| list.key == key && same_acl(&list.acl, &binding.acl));
        let index = known.unwrap_or_else(|| {
            lists.push(List {
                index: lists.len(),
                key,
                acl: binding.acl.clone(),
                groups: Some(binding.groups.clone()),
                interfaces: Vec::new(),
                before: Vec::new(),
                alike: Vec::new(),
                observes: policy.platform.observe || binding.observes_the_rest(),
            });
            lists.len() - 1
        });
        lists[index].interfaces.push(interface);
        let before = policy
            .host
            .known
            .iter()
            .filter(|name| was(policy, name, &binding.interface));
        lists[index]
            .before
            .extend(before.map(|name| Slot::Interface(name.clone())));
    }
    if policy.platform.unbound_refuse {
        let slots = unbound_slots(policy);
        let named = slots.map(|(name, slot)| (Some(name.clone()), slot));
        lists.push(List {
            index: lists.len(),
            key: "*".into(),
            acl: None,
            groups: None,
            interfaces: named.chain([(None, Slot::Others)]).collect(),
            before: bound_before(policy),
            alike: Vec::new(),
            observes: policy.platform.observe,
        });
    }
    for at in 0..lists.len() {
        let key = &lists[at].key;
        let same = lists.iter().filter(|list| list.key == *key);
        let slots = same.flat_map(|list| {
            let slots = list.interfaces.iter().map(|(_, slot)| slot);
            slots.chain(&list.before)
        });
        let mut slots: Vec<Slot> = slots.cloned().collect();
        slots.sort_unstable();
        slots.dedup();
        lists[at].alike = slots;
    }
    lists
}

/// Whether packets of two interfaces are asked alike outside their groups.
fn same_acl(a: &Option<SubnetAcl>, b: &Option<SubnetAcl>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.acl.id == b.acl.id && a.networks == b.networks,
        (None, None) => true,
        _ => false,
    }
}

/// Slots of names that nothing is bound by any more: what was opened across those interfaces is known where they are unbound now.
fn bound_before(policy: &Policy) -> Vec<Slot> {
    let is_of_a_list = |known: &InterfaceName| {
        let mut bindings = policy.bindings.iter();
        bindings.any(|binding| was(policy, known, &binding.interface))
    };
    let known = policy
        .host
        .known
        .iter()
        .filter(|known| !is_of_a_list(known));
    let mut known: Vec<&InterfaceName> = known.collect();
    // A glob stands for many.
    known.sort_by_key(|name| !name.is_glob());
    let few = known.into_iter().take(MOST_BEFORE).cloned();
    few.map(Slot::Interface).collect()
}

/// Whether an interface that is bound by `name` may have been bound as `known` before, which is not bound now.
fn was(policy: &Policy, known: &InterfaceName, name: &InterfaceName) -> bool {
    let mut bindings = policy.bindings.iter();
    if bindings.any(|binding| binding.interface == *known) {
        return false;
    }
    match known.is_glob() {
        true => known.meets(name),
        false => policy
            .binding(&known.to_string())
            .is_some_and(|binding| binding.interface == *name),
    }
}

fn slot(at: usize, name: &InterfaceName) -> Slot {
    match at < MOST_SLOTS {
        true => Slot::Interface(name.clone()),
        false => Slot::Rest,
    }
}

/// The unbound interfaces that have a slot. When one is bound later, the flows that were opened across it are known.
pub(super) fn unbound_slots(policy: &Policy) -> impl Iterator<Item = (&InterfaceName, Slot)> {
    let room = MOST_SLOTS.saturating_sub(policy.bindings.len());
    let names = policy.host.unbound.iter().take(room);
    names.map(|name| (name, Slot::Interface(name.clone())))
}

impl List {
    /// What refuses where no rule matches.
    pub(super) fn rest(&self) -> Reason {
        match self.groups {
            Some(_) => Reason::Default,
            None => Reason::Unmanaged,
        }
    }

    /// `drop`, or `goto passed_in_0` where it is only counted.
    pub(super) fn refusal(&self, passed: &str) -> NftVerdict {
        match self.observes {
            true => NftVerdict::Observe(Some(passed.into())),
            false => NftVerdict::Drop,
        }
    }
}
