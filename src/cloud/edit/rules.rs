//! Single rules: added, replaced, moved, deleted.

use super::change::{Position, RuleChange};
use super::groups::{GROUPS, group};
use super::{Draft, Edit, Refusal, refused};
use crate::cloud::text::{RuleText, ServiceText, list_keys};
use crate::definition::Definition;
use crate::definition::keys::names_at;
use crate::definition::patch::{Patch, Path, Spot, Step, keys};
use crate::definition::tree::Tree;
use crate::policy::id::GroupId;
use crate::policy::{Direction, RuleId};

/// Adds rules.
pub(super) fn add(draft: &Draft, position: &Position, rules: &[RuleText]) -> Result<Edit, Refusal> {
    let direction = position.direction;
    let list = List::of(draft.definition, &position.group, direction)?;
    let at = match position.index {
        Some(index) if index as usize > list.rules => return Err(list.has_no(index)),
        Some(index) => index as usize,
        None => list.rules,
    };
    let items = rules.iter().map(|rule| rule.to_tree(direction)).collect();
    let (schema, _) = schema(direction);
    let mut edit = Edit::default();
    let files = &draft.files;
    let added = files.add_items(&list.map(), list.key, schema, at, items);
    if let Some((file, patches)) = added {
        edit.push(file, patches);
    }
    let names = (at..at + rules.len()).map(|n| list.name(n));
    edit.done = names.map(|name| format!("added the rule {name}")).collect();
    Ok(edit)
}

/// Replaces what a rule says.
pub(super) fn replace(draft: &Draft, rule: &RuleId, change: &RuleChange) -> Result<Edit, Refusal> {
    let list = List::with(draft.definition, rule)?;
    let map = list.rule(rule);
    let order = names_at(schema(rule.direction).1);
    let patches = patches(change, &map, order, rule.direction);
    Ok(list.edited(draft, patches, format!("replaced the rule {rule}")))
}

/// Moves a rule within its list.
pub(super) fn relocate(draft: &Draft, rule: &RuleId, to: u32) -> Result<Edit, Refusal> {
    let list = List::with(draft.definition, rule)?;
    if to as usize >= list.rules {
        return Err(list.has_no(to));
    }
    let patch = Patch::Move {
        list: list.path(),
        from: rule.index as usize,
        to: to as usize,
    };
    let done = format!("moved the rule {rule} to {}", list.name(to as usize));
    Ok(list.edited(draft, vec![patch], done))
}

/// Deletes rules.
pub(super) fn delete(draft: &Draft, rules: &[RuleId]) -> Result<Edit, Refusal> {
    let mut rules = rules.to_vec();
    rules.sort();
    rules.dedup();
    let mut edit = Edit::default();
    // From the end: the numbers of those before stay.
    for rule in rules.iter().rev() {
        let list = List::with(draft.definition, rule)?;
        let patch = Patch::Remove {
            list: list.path(),
            at: rule.index as usize,
        };
        for (file, patches) in list.edited(draft, vec![patch], String::new()).patches {
            edit.push(file, patches);
        }
    }
    let done = rules.iter().map(|rule| format!("deleted the rule {rule}"));
    edit.done = done.collect();
    Ok(edit)
}

/// The paths of the table of keys: a group's, and a rule's.
fn schema(direction: Direction) -> (&'static str, &'static str) {
    let rule = match direction {
        Direction::Inbound => "security_groups.<sg-id>.inbound[]",
        Direction::Outbound => "security_groups.<sg-id>.outbound[]",
    };
    ("security_groups.<sg-id>", rule)
}

/// A list of rules in a definition.
struct List<'c> {
    group: &'c GroupId,
    direction: Direction,
    key: &'static str,
    rules: usize,
}

impl<'c> List<'c> {
    fn of(definition: &Definition, id: &'c GroupId, direction: Direction) -> Result<Self, Refusal> {
        let entry = group(definition, id)?;
        let rules = match direction {
            Direction::Inbound => &entry.inbound,
            Direction::Outbound => &entry.outbound,
        };
        Ok(List {
            group: id,
            direction,
            key: list_keys(direction).0,
            rules: rules.len(),
        })
    }

    /// The list that has this rule.
    fn with(definition: &Definition, rule: &'c RuleId) -> Result<Self, Refusal> {
        let list = List::of(definition, &rule.group, rule.direction)?;
        match (rule.index as usize) < list.rules {
            true => Ok(list),
            false => Err(list.has_no(rule.index)),
        }
    }

    fn name(&self, index: usize) -> RuleId {
        RuleId {
            group: self.group.clone(),
            direction: self.direction,
            index: u32::try_from(index).unwrap_or(u32::MAX),
        }
    }

    fn has_no(&self, index: u32) -> Refusal {
        let (group, key) = (self.group, self.key);
        let reason = refused(
            "unknown-rule",
            format!("there is no {}", self.name(index as usize)),
        );
        let help = match self.rules {
            0 => format!("{group} has no {key} rule"),
            1 => format!("{group} has one {key} rule, {}", self.name(0)),
            several => format!(
                "{group} has {several} {key} rules, from {} to {}",
                self.name(0),
                self.name(several - 1)
            ),
        };
        reason.help(help).into()
    }

    fn map(&self) -> [&str; 2] {
        [GROUPS, self.group.as_str()]
    }

    fn path(&self) -> Path {
        keys([GROUPS, self.group.as_str(), self.key])
    }

    fn rule(&self, rule: &RuleId) -> Path {
        let mut path = self.path();
        path.push(Step::Item(rule.index as usize));
        path
    }

    /// These changes of the file that has it.
    fn edited(&self, draft: &Draft, patches: Vec<Patch>, done: String) -> Edit {
        let mut edit = Edit::default();
        let holder = [GROUPS, self.group.as_str(), self.key];
        if let Some((file, _)) = draft.files.holder(&holder) {
            edit.push(file, patches);
        }
        edit.done.push(done);
        edit
    }
}

/// A rule's keys that change.
fn patches(
    change: &RuleChange,
    map: &Path,
    order: &'static [&'static str],
    direction: Direction,
) -> Vec<Patch> {
    let set = |key: &str, value: Tree| Patch::Set {
        map: map.clone(),
        key: key.to_owned(),
        value,
        spot: Spot::Order(order),
    };
    let unset = |key: &str| Patch::Unset {
        map: map.clone(),
        key: key.to_owned(),
    };
    let mut patches = Vec::new();
    if let Some(allow) = change.allow {
        let action = if allow { "allow" } else { "refuse" };
        patches.push(set("action", Tree::text(action)));
    }
    match &change.service {
        None => {}
        Some(ServiceText::Template(id)) => {
            patches.extend([unset("protocol"), unset("port")]);
            patches.push(set("service", Tree::text(id)));
        }
        Some(ServiceText::Protocol { protocol, port }) => {
            patches.push(unset("service"));
            patches.push(set("protocol", Tree::text(protocol)));
            patches.push(match port {
                Some(port) => set("port", Tree::text(port)),
                None => unset("port"),
            });
        }
    }
    if let Some(remotes) = &change.remotes {
        let value = match remotes.as_slice() {
            [one] => Tree::text(one),
            several => Tree::texts(several),
        };
        patches.push(set(list_keys(direction).1, value));
    }
    let texts = [
        ("until", &change.until),
        ("description", &change.description),
    ];
    for (key, text) in texts {
        patches.extend(text.iter().map(|text| match text.as_str() {
            "" => unset(key),
            text => set(key, Tree::text(text)),
        }));
    }
    patches
}
