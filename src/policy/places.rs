//! From the name of a rule or group back to what the operator wrote.

use super::id::GroupId;
use super::network_acl::AclEntryId;
use super::rule::{Direction, RuleId};
use crate::definition::Definition;
use crate::definition::model::{GroupEntry, NetworkAclEntry, RuleEntry, WrittenAclEntry};
use std::collections::HashMap;

/// All groups of a definition, by id.
#[derive(Debug)]
pub struct WrittenRules<'d> {
    groups: HashMap<&'d str, &'d GroupEntry>,
    network_acls: HashMap<&'d str, &'d NetworkAclEntry>,
}

impl<'d> WrittenRules<'d> {
    /// Knows the groups.
    pub fn new(definition: &'d Definition) -> Self {
        let groups = definition.security_groups.iter();
        WrittenRules {
            groups: groups
                .map(|group| (group.id.text.as_str(), group))
                .collect(),
            network_acls: definition
                .network_acls
                .iter()
                .map(|acl| (acl.id.text.as_str(), acl))
                .collect(),
        }
    }

    /// An entry of a network ACL as it was written.
    pub fn acl_entry(&self, id: &AclEntryId) -> Option<&'d WrittenAclEntry> {
        let acl = self.network_acls.get(id.acl.as_str())?;
        let list = match id.direction {
            Direction::Inbound => &acl.inbound,
            Direction::Outbound => &acl.outbound,
        };
        list.get(id.index? as usize)?.as_ref()
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
