//! How large a definition may become when its names are filled in: few lines can say very much.
//!
//! Without these a file of 16 MB could ask for terabytes: a list of addresses that a hundred thousand rules each put
//! together with another, or groups of templates of which each holds all of the one before.

use crate::definition::model::InstanceEntry;
use crate::definition::{Definition, Diagnostic, Diagnostics, Severity, Span};
use crate::policy::account::Instance;
use crate::policy::address::AddressSet;
use crate::policy::id::{GroupId, SubnetId};
use crate::policy::rule::{SecurityGroup, Service};
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Ranges of addresses and of ports that are copied where several lists are put together. A template that stands alone
/// in a rule is not copied, however many rules use it.
pub const MOST_COPIED: usize = 4_000_000;

/// Rules that one instance has to ask, those of each list of groups counted once for each different list.
pub const MOST_RULES: usize = 100_000;

/// Entries of a network ACL in one direction.
pub const MOST_ACL_ENTRIES: usize = 500;

/// Names of interfaces of one instance.
pub const MOST_INTERFACES: usize = 1000;

/// What is left of [`MOST_COPIED`].
#[derive(Debug)]
pub struct Room {
    left: Cell<usize>,
    told: Cell<bool>,
}

pub trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for AddressSet {
    fn weight(&self) -> usize {
        self.v4().len() + self.v6().len()
    }
}

impl Weight for Vec<Service> {
    fn weight(&self) -> usize {
        let ports = self.iter().map(|service| match service {
            Service::Tcp(ports) | Service::Udp(ports) => ports.intervals().len(),
            _ => 1,
        });
        ports.sum()
    }
}

impl Room {
    /// All of it.
    pub fn new() -> Self {
        Room {
            left: Cell::new(MOST_COPIED),
            told: Cell::new(false),
        }
    }

    /// Takes so much, or says once that it is too much.
    pub fn take(&self, weight: usize, at: Option<Span>, diagnostics: &mut Diagnostics) -> bool {
        if let Some(left) = self.left.get().checked_sub(weight) {
            self.left.set(left);
            return true;
        }
        if !self.told.replace(true) {
            let message = format!(
                "lists that are put together hold more than {MOST_COPIED} addresses and ports, each counted as often as it is used"
            );
            let help = "put what is used together into one template, and name that alone: it is stored once";
            diagnostics.push(Diagnostic::new(Severity::Error, "too-large", at, message).help(help));
        }
        false
    }
}

/// Every instance must be asked in a time that a person would wait.
pub fn instances(
    definition: &Definition,
    instances: &[Instance],
    groups: &BTreeMap<GroupId, Arc<SecurityGroup>>,
    entry_count: impl Fn(&SubnetId) -> usize,
    diagnostics: &mut Diagnostics,
) {
    for entry in &definition.instances {
        if entry.interfaces.len() > MOST_INTERFACES {
            let message = format!(
                "instance `{}` has more than {MOST_INTERFACES} interfaces",
                entry.id.text
            );
            let help = "let a glob stand for many: `veth*`";
            diagnostics.error("too-large", entry.id.span, message, help);
        }
    }
    let size = |id: &GroupId| {
        groups
            .get(id)
            .map_or(0, |group| group.inbound.len() + group.outbound.len())
    };
    for instance in instances {
        let interfaces = instance.interfaces.iter();
        // Interfaces behind different network ACLs are asked apart.
        let lists: HashSet<(&[GroupId], Option<&SubnetId>)> = interfaces
            .map(|interface| (interface.groups.as_slice(), interface.subnet.as_ref()))
            .collect();
        let rules = lists.iter().map(|(groups, subnet)| {
            let of_groups: usize = groups.iter().map(size).sum();
            of_groups + subnet.map_or(0, &entry_count)
        });
        let rules: usize = rules.sum();
        if rules > MOST_RULES {
            let message = format!(
                "the interfaces of `{}` have {rules} rules, more than {MOST_RULES}",
                instance.id
            );
            let named = |entry: &&InstanceEntry| entry.id.text == instance.id.as_str();
            let span = definition.instances.iter().find(named);
            let span = span.map(|entry| entry.id.span);
            diagnostics.push(
                Diagnostic::new(Severity::Error, "too-large", span, message).help(
                    "write rules over lists of addresses and ports; bind the same list of groups where it can be the same",
                ),
            );
        }
    }
}
