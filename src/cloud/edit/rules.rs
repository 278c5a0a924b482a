//! Single rules: added, replaced, moved, deleted.

use super::files::Files;
use super::groups::{GROUPS, group};
use super::{Change, Edit, Refusal, refused};
use crate::cloud::text::{ServiceText, list_keys};
use crate::definition::Definition;
use crate::definition::keys::names_at;
use crate::definition::patch::{Patch, Path, Spot, Step, keys};
use crate::definition::tree::Tree;
use crate::policy::id::GroupId;
use crate::policy::{Direction, RuleId};

/// What changes of a rule; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleChange {
    /// Whether it allows.
    pub allow: Option<bool>,
    /// What it matches beside the remote.
    pub service: Option<ServiceText>,
    /// Its source or destination.
    pub remotes: Option<Vec<String>>,
    /// Free text; an empty one goes.
    pub description: Option<String>,
    /// When it ends; an empty text is never.
    pub until: Option<String>,
}

pub(super) fn edit(
    definition: &Definition,
    files: &Files,
    change: &Change,
) -> Result<Edit, Refusal> {
    match change {
        Change::AddRules { position, rules } => {
            let direction = position.direction;
            let list = List::of(definition, &position.group, direction)?;
            let at = match position.index {
                Some(index) if index as usize > list.rules => {
                    return Err(list.has_no(index));
                }
                Some(index) => index as usize,
                None => list.rules,
            };
            let items = rules.iter().map(|rule| rule.to_tree(direction)).collect();
            let added = files.add_items(&list.map(), list.key, schema(direction).0, at, items);
            let done = (at..at + rules.len()).map(|n| format!("added the rule {}", list.name(n)));
            Ok(Edit {
                patches: added.into_iter().collect(),
                done: done.collect(),
            })
        }
        Change::ReplaceRule { rule, change } => {
            let list = List::with(definition, rule)?;
            let map = list.rule(rule);
            let order = names_at(schema(rule.direction).1);
            let patches = change.patches(&map, order, rule.direction);
            Ok(Edit {
                patches: list
                    .file(files)
                    .map(|file| (file, patches))
                    .into_iter()
                    .collect(),
                done: vec![format!("replaced the rule {rule}")],
            })
        }
        Change::MoveRule { rule, to } => {
            let list = List::with(definition, rule)?;
            if *to as usize >= list.rules {
                return Err(list.has_no(*to));
            }
            let patch = Patch::Move {
                list: list.path(),
                from: rule.index as usize,
                to: *to as usize,
            };
            Ok(Edit {
                patches: list
                    .file(files)
                    .map(|file| (file, vec![patch]))
                    .into_iter()
                    .collect(),
                done: vec![format!(
                    "moved the rule {rule} to {}",
                    list.name(*to as usize)
                )],
            })
        }
        Change::DeleteRules(rules) => {
            let mut rules = rules.clone();
            rules.sort();
            rules.dedup();
            let mut edit = Edit::default();
            // From the end: the numbers of those before stay.
            for rule in rules.iter().rev() {
                let list = List::with(definition, rule)?;
                let patch = Patch::Remove {
                    list: list.path(),
                    at: rule.index as usize,
                };
                if let Some(file) = list.file(files) {
                    match edit.patches.iter_mut().find(|(number, _)| *number == file) {
                        Some((_, patches)) => patches.push(patch),
                        None => edit.patches.push((file, vec![patch])),
                    }
                }
            }
            let done = rules.iter().map(|rule| format!("deleted the rule {rule}"));
            edit.done = done.collect();
            Ok(edit)
        }
        // Another file's.
        _ => Ok(Edit::default()),
    }
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

    /// The file that has it.
    fn file(&self, files: &Files) -> Option<u32> {
        let holder = files.holder(&[GROUPS, self.group.as_str(), self.key]);
        holder.map(|(file, _)| file)
    }
}

impl RuleChange {
    fn patches(
        &self,
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
        if let Some(allow) = self.allow {
            let action = if allow { "allow" } else { "refuse" };
            patches.push(set("action", Tree::text(action)));
        }
        match &self.service {
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
        if let Some(remotes) = &self.remotes {
            let value = match remotes.as_slice() {
                [one] => Tree::text(one),
                several => Tree::texts(several),
            };
            patches.push(set(list_keys(direction).1, value));
        }
        let texts = [("until", &self.until), ("description", &self.description)];
        for (key, text) in texts {
            patches.extend(text.iter().map(|text| match text.as_str() {
                "" => unset(key),
                text => set(key, Tree::text(text)),
            }));
        }
        patches
    }
}
