//! What is known of each rule of an account.

use crate::insight::listed::FlowKind;
use crate::policy::listed::ListEntry;
use crate::policy::{Interval, Rule, SecurityGroup};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Groups that are asked one after the other, and where.
#[derive(Debug)]
pub struct GroupList {
    /// The groups, highest priority first.
    pub groups: Vec<Arc<SecurityGroup>>,
    /// Whether TCP 25 to external addresses is blocked.
    pub smtp_blocked: bool,
    /// `ins-web1 (eth0)`, the first place; `None` for a group that is bound nowhere.
    pub place: Option<String>,
    /// In how many places they are bound like this.
    pub places: usize,
}

/// All that is known.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Every different list of groups.
    pub contexts: Vec<GroupList>,
    /// Every rule, by where it lies in memory.
    pub rules: HashMap<*const Rule, usize>,
    /// The same in order, with what is known of it.
    pub of: Vec<(&'a Rule, Fact)>,
    /// What groups of higher priority leave of rules, in the context that is looked at.
    pub(super) claimed: HashMap<usize, Claimed>,
}

/// Ports about which a rule would decide something if its group were asked alone, by kind of flow.
#[derive(Debug, Default)]
pub struct Claimed {
    /// All of it is decided the opposite before, in a family.
    pub lost: BTreeMap<FlowKind, Vec<Interval<u16>>>,
    /// Some of it is not.
    pub free: BTreeMap<FlowKind, Vec<Interval<u16>>>,
    /// Some of the rules that decide instead.
    pub by: BTreeSet<usize>,
}

/// What is known of one rule.
#[derive(Debug, Default)]
pub struct Fact {
    /// Whether it decides about any flow, anywhere.
    pub decides: bool,
    /// Whether it decides about TCP 22, and about TCP 3389.
    pub admin: [bool; 2],
    /// Whether any flow would fare otherwise without it, or without it and the rules that never decide.
    pub needed: bool,
    /// The first context in which a group of higher priority overrules it.
    pub overruled: Option<Overruled>,
}

/// Ports of which all that a rule says is decided the opposite by groups of higher priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// The context, as an index.
    pub context: usize,
    /// The ports by kind of flow; all of them where there are none.
    pub ports: BTreeMap<FlowKind, Vec<Interval<u16>>>,
    /// Some of the rules that decide instead.
    pub by: BTreeSet<usize>,
}

/// Ports that administrators use: SSH, and the desktop of Windows.
pub const ADMIN_PORTS: [u16; 2] = [22, 3389];

impl Facts<'_> {
    /// The number of a rule.
    pub fn number(&self, entry: &ListEntry) -> Option<usize> {
        let (_, rule) = entry.rule?;
        self.rules.get(&std::ptr::from_ref(rule)).copied()
    }
}
