//! From the name of a rule or group back to what the operator wrote.

use super::id::GroupId;
use super::rule::{Direction, RuleId};
use crate::definition::Definition;
use crate::definition::model::{GroupEntry, RuleEntry};
use std::collections::HashMap;

/// All groups of a definition, by id.
#[derive(Debug)]
pub struct WrittenRules<'d> {
    groups: HashMap<&'d str, &'d GroupEntry>,
}

impl<'d> WrittenRules<'d> {
    /// Knows the groups.
    pub fn new(definition: &'d Definition) -> Self {
        let groups = definition.security_groups.iter();
        WrittenRules {
            groups: groups
                .map(|group| (group.id.text.as_str(), group))
                .collect(),
        }
    }

    /// A group as it was written.
    pub fn group(&self, id: &GroupId) -> Option<&'d GroupEntry> {
        self.groups.get(id.as_str()).copied()
    }

    /// A rule as it was written.
    pub fn rule(&self, id: &RuleId) -> Option<&'d RuleEntry> {
        let group = self.group(&id.group)?;
        let list = match id.direction {
            Direction::Inbound => &group.inbound,
            Direction::Outbound => &group.outbound,
        };
        list.get(id.index as usize)?.as_ref()
    }
}
