//! What all formats share: groups, templates, instances and network ACLs, in the words of a definition.
//!
//! Values are valid where they stand alone; [`super::complete`] makes what they refer to whole.

use crate::definition::model::InstanceKind;
use crate::policy::{Direction, Interval};
use std::collections::HashMap;

/// Everything that was read, in the order of the input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The groups.
    pub groups: Vec<GroupRecord>,
    /// Address templates and groups of them.
    pub address_templates: Vec<TemplateRecord>,
    /// Service templates and groups of them.
    pub service_templates: Vec<TemplateRecord>,
    /// The instances.
    pub instances: Vec<InstanceRecord>,
    /// The subnets.
    pub subnets: Vec<SubnetRecord>,
    /// The network ACLs.
    pub acls: Vec<AclRecord>,
    by_id: HashMap<String, usize>,
    acls_by_id: HashMap<String, usize>,
    subnets_by_id: HashMap<String, usize>,
}

/// A security group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Its project.
    pub project: Option<String>,
    /// Its inbound rules.
    pub inbound: Vec<RuleRecord>,
    /// Its outbound rules.
    pub outbound: Vec<RuleRecord>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRecord {
    /// `true` for allow.
    pub allow: bool,
    /// What it matches beside the remote.
    pub service: ServiceRecord,
    /// Addresses, CIDRs, ranges, `any`, ids of groups and templates; at least one.
    pub remote: Vec<String>,
    /// Free text.
    pub description: Option<String>,
    /// What the definition says behind it in a comment.
    pub comment: Option<String>,
    /// Where it stands in the input.
    pub place: String,
}

/// What a rule matches beside the remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceRecord {
    /// A protocol's name or `all`; ports as written, and none for every port.
    Protocol(String, Vec<Interval<u16>>),
    /// The id of a service template.
    Template(String),
}

/// A template of addresses or services, or a group of templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRecord {
    /// Its id.
    pub id: String,
    /// Its entries; of a group of templates their ids.
    pub entries: Vec<String>,
    /// Where it stands in the input.
    pub place: String,
}

/// An instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceRecord {
    /// Its id.
    pub id: String,
    /// Which host it is; the id where it is not known.
    pub hostname: Option<String>,
    /// What it is.
    pub kind: InstanceKind,
    /// How it is paid, where that is known.
    pub prepaid: bool,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceRecord>,
    /// Where it stands in the input.
    pub place: String,
}

/// An interface of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceRecord {
    /// Its name or glob.
    pub name: String,
    /// Its own addresses.
    pub addresses: Vec<String>,
    /// The bound groups, highest priority first.
    pub groups: Vec<String>,
}

/// A subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubnetRecord {
    /// Its id.
    pub id: String,
    /// Its networks.
    pub networks: Vec<String>,
    /// The id of the network ACL in front of it.
    pub acl: Option<String>,
    /// Where it stands in the input.
    pub place: String,
}

/// A network ACL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclRecord {
    /// Its id.
    pub id: String,
    /// Its inbound entries.
    pub inbound: Vec<AclEntryRecord>,
    /// Its outbound entries.
    pub outbound: Vec<AclEntryRecord>,
    /// Where it stands in the input.
    pub place: String,
}

/// An entry of a network ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclEntryRecord {
    /// `true` for allow.
    pub allow: bool,
    /// A protocol's name or `all`.
    pub protocol: String,
    /// Destination ports; none for every port.
    pub ports: Vec<Interval<u16>>,
    /// Source ports; none for every port.
    pub source_ports: Vec<Interval<u16>>,
    /// Source addresses; none for any.
    pub source: Vec<String>,
    /// Destination addresses; none for any.
    pub destination: Vec<String>,
    /// Free text.
    pub description: Option<String>,
    /// Where it stands in the input.
    pub place: String,
}

impl AclRecord {
    /// Its entries of one direction.
    pub fn entries(&self, direction: Direction) -> &[AclEntryRecord] {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// The same, to change.
    pub fn entries_mut(&mut self, direction: Direction) -> &mut Vec<AclEntryRecord> {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }
}

impl AclEntryRecord {
    /// Whether it names more than one end: a source port, or an address of the subnet.
    pub fn has_five_parts(&self, direction: Direction) -> bool {
        let near = match direction {
            Direction::Inbound => &self.destination,
            Direction::Outbound => &self.source,
        };
        !self.source_ports.is_empty() || !near.is_empty()
    }
}

impl Inventory {
    /// The network ACL of this id, made where it is new.
    pub fn acl(&mut self, id: &str, place: &str) -> &mut AclRecord {
        let index = *self.acls_by_id.entry(id.to_owned()).or_insert_with(|| {
            self.acls.push(AclRecord {
                id: id.to_owned(),
                place: place.to_owned(),
                ..AclRecord::default()
            });
            self.acls.len() - 1
        });
        &mut self.acls[index]
    }

    /// The subnet of this id, made where it is new.
    pub fn subnet(&mut self, id: &str, place: &str) -> &mut SubnetRecord {
        let index = *self.subnets_by_id.entry(id.to_owned()).or_insert_with(|| {
            self.subnets.push(SubnetRecord {
                id: id.to_owned(),
                place: place.to_owned(),
                ..SubnetRecord::default()
            });
            self.subnets.len() - 1
        });
        &mut self.subnets[index]
    }

    /// The subnet of this id, if it is known.
    pub fn known_subnet(&mut self, id: &str) -> Option<&mut SubnetRecord> {
        let index = *self.subnets_by_id.get(id)?;
        self.subnets.get_mut(index)
    }

    /// The group of this id, made where it is new.
    pub fn group(&mut self, id: &str) -> &mut GroupRecord {
        let index = *self.by_id.entry(id.to_owned()).or_insert_with(|| {
            self.groups.push(GroupRecord {
                id: id.to_owned(),
                ..GroupRecord::default()
            });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
            && self.address_templates.is_empty()
            && self.service_templates.is_empty()
            && self.instances.is_empty()
            && self.subnets.is_empty()
            && self.acls.is_empty()
    }
}

impl GroupRecord {
    /// Its rules of one direction.
    pub fn rules(&self, direction: Direction) -> &[RuleRecord] {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// The same, to change.
    pub fn rules_mut(&mut self, direction: Direction) -> &mut Vec<RuleRecord> {
        match direction {
            Direction::Inbound => &mut self.inbound,
            Direction::Outbound => &mut self.outbound,
        }
    }
}

impl ServiceRecord {
    /// Every protocol.
    pub fn all() -> Self {
        ServiceRecord::Protocol("all".to_owned(), Vec::new())
    }
}
