//! Who uses a group: the instances that it is bound to, the rules that name it, the services of the platform.

use crate::definition::model::{Definition, InstanceKind, RuleEntry};
use crate::definition::reader::Texts;
use crate::definition::{Diagnostic, Span};
use crate::policy::id::GroupId;
use std::fmt;

/// A use of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupUser {
    /// It is bound.
    Bound {
        /// What the instance is.
        kind: InstanceKind,
        /// Its id.
        instance: String,
        /// The interface.
        interface: String,
    },
    /// A rule names it.
    Rule {
        /// The rule's group.
        group: String,
        /// The rule: `sg-web/in/3`.
        rule: String,
    },
    /// An approved service of the platform names it.
    Approved(String),
}

impl fmt::Display for GroupUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupUser::Bound {
                kind,
                instance,
                interface,
            } => write!(f, "bound to the {} {instance}, {interface}", kind.word()),
            GroupUser::Rule { rule, .. } => write!(f, "named by the rule {rule}"),
            GroupUser::Approved(name) => write!(f, "named by the approved service {name}"),
        }
    }
}

impl GroupUser {
    /// Its name alone: `ins-web1/eth0`, `sg-web/in/3`.
    pub fn name(&self) -> String {
        match self {
            GroupUser::Bound {
                instance,
                interface,
                ..
            } => format!("{instance}/{interface}"),
            GroupUser::Rule { rule, .. } => rule.clone(),
            GroupUser::Approved(name) => name.clone(),
        }
    }
}

/// Every use of a group, with its place. A group's own rules that name it are none.
pub fn users(definition: &Definition, id: &GroupId) -> Vec<(Span, GroupUser)> {
    let mut users = Vec::new();
    for instance in &definition.instances {
        for interface in &instance.interfaces {
            let bound = interface.security_groups.iter();
            users.extend(
                bound
                    .filter(|group| group.text == id.as_str())
                    .map(|group| {
                        let user = GroupUser::Bound {
                            kind: instance.kind,
                            instance: instance.id.text.clone(),
                            interface: interface.name.text.clone(),
                        };
                        (group.span, user)
                    }),
            );
        }
    }
    for group in &definition.security_groups {
        if group.id.text == id.as_str() {
            continue;
        }
        for (list, rules) in [("in", &group.inbound), ("out", &group.outbound)] {
            for (n, rule) in rules.iter().enumerate() {
                users.extend(names(rule.as_ref(), id).map(|span| {
                    let user = GroupUser::Rule {
                        group: group.id.text.clone(),
                        rule: format!("{}/{list}/{n}", group.id.text),
                    };
                    (span, user)
                }));
            }
        }
    }
    for service in &definition.platform.approved_services {
        let spans = in_remote(service.remote.as_ref(), id);
        users.extend(spans.map(|span| (span, GroupUser::Approved(service.name.text.clone()))));
    }
    users
}

/// Whether rules of a group name groups, itself included.
pub fn rules_that_name_groups(definition: &Definition, id: &GroupId) -> Vec<(Span, String)> {
    let groups = definition.security_groups.iter();
    let rules = groups
        .filter(|group| group.id.text == id.as_str())
        .flat_map(|group| group.inbound.iter().chain(&group.outbound).flatten());
    rules
        .filter_map(|rule| rule.remote.as_ref())
        .flat_map(|remote| &remote.items)
        .filter(|item| GroupId::is_meant_by(&item.text))
        .map(|item| (item.span, item.text.clone()))
        .collect()
}

/// One refusal with every user of a group and its place, if there is one.
pub fn refusal(definition: &Definition, id: &GroupId, leaving: &[GroupId]) -> Option<Diagnostic> {
    let leaves = |user: &GroupUser| match user {
        GroupUser::Rule { group, .. } => leaving.iter().any(|id| id.as_str() == group),
        _ => false,
    };
    let users: Vec<_> = users(definition, id)
        .into_iter()
        .filter(|(_, user)| !leaves(user))
        .collect();
    let (first, _) = users.first()?;
    let list: Vec<String> = users.iter().map(|(_, user)| user.to_string()).collect();
    let message = format!("{id} cannot be deleted: it is {}", list.join("; "));
    let refusal = Diagnostic::error("group-in-use", *first, message).help(
        "unbind it with `secgroupd group unbind`, and delete or replace the rules that name it",
    );
    let others = users.iter().skip(1);
    Some(others.fold(refusal, |refusal, (span, user)| {
        refusal.related(*span, user.to_string())
    }))
}

fn names<'d>(rule: Option<&'d RuleEntry>, id: &'d GroupId) -> impl Iterator<Item = Span> + 'd {
    in_remote(rule.and_then(|rule| rule.remote.as_ref()), id)
}

fn in_remote<'d>(remote: Option<&'d Texts>, id: &'d GroupId) -> impl Iterator<Item = Span> + 'd {
    let items = remote.map(|remote| remote.items.as_slice());
    let items = items.unwrap_or_default().iter();
    items
        .filter(|item| item.text == id.as_str())
        .map(|item| item.span)
}
