//! What can be asked for.

use super::presets::Preset;
use crate::cloud::copy::GroupCopy;
use crate::cloud::text::{RuleText, ServiceText};
use crate::policy::id::{GroupId, InstanceId};
use crate::policy::{Direction, RuleId};

/// What people say about a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Its name.
    pub name: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Its project.
    pub project: Option<String>,
}

/// An interface, or the only one of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfacePlace {
    /// The instance.
    pub instance: InstanceId,
    /// The interface, as it is written.
    pub interface: Option<String>,
}

impl std::str::FromStr for InterfacePlace {
    type Err = String;

    /// Reads `ins-web1` or `ins-web1/eth0`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (instance, interface) = match text.split_once('/') {
            Some((instance, interface)) => (instance, Some(interface.to_owned())),
            None => (text, None),
        };
        let instance = InstanceId::parse(instance).map_err(|error| error.to_string())?;
        Ok(InterfacePlace {
            instance,
            interface,
        })
    }
}

/// A list of rules, and a place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The group.
    pub group: GroupId,
    /// The list.
    pub direction: Direction,
    /// Before the rule of this number; behind the last where it is not named.
    pub index: Option<u32>,
}

impl std::str::FromStr for Position {
    type Err = String;

    /// Reads `sg-web/in` or `sg-web/in/3`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rule) = RuleId::parse(text) {
            return Ok(Position {
                group: rule.group,
                direction: rule.direction,
                index: Some(rule.index),
            });
        }
        let of_list = RuleId::parse(&format!("{text}/0"));
        let rule = of_list.ok_or_else(|| {
            format!("`{text}` is no place of a rule: write sg-web/in, sg-web/out or sg-web/in/3")
        })?;
        Ok(Position {
            group: rule.group,
            direction: rule.direction,
            index: None,
        })
    }
}

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

/// A change of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A new group.
    CreateGroup {
        /// Its id, which nothing has.
        id: GroupId,
        /// What people say about it.
        details: Details,
        /// The rules that it begins with.
        preset: Preset,
    },
    /// A group out of another definition.
    AddGroup(GroupCopy),
    /// A copy of a group's rules, without its bindings.
    CloneGroup {
        /// The group.
        source: GroupId,
        /// The new one's id.
        id: GroupId,
        /// What people say about the new one; what is not named is as the source has it.
        details: Details,
    },
    /// Groups go, if nothing uses them.
    DeleteGroups(Vec<GroupId>),
    /// New rules, in their order.
    AddRules {
        /// Where.
        position: Position,
        /// The rules.
        rules: Vec<RuleText>,
    },
    /// A rule says something else.
    ReplaceRule {
        /// Which.
        rule: RuleId,
        /// What changes.
        change: RuleChange,
    },
    /// A rule takes another place in its list.
    MoveRule {
        /// Which.
        rule: RuleId,
        /// Its number afterwards.
        to: u32,
    },
    /// Rules go.
    DeleteRules(Vec<RuleId>),
    /// Groups are bound.
    Bind {
        /// Where.
        place: InterfacePlace,
        /// Which, highest priority first.
        groups: Vec<GroupId>,
        /// Before the group of this number, counted from 0; behind the last where it is not named.
        at: Option<usize>,
    },
    /// Groups are bound no longer.
    Unbind {
        /// Where.
        place: InterfacePlace,
        /// Which.
        groups: Vec<GroupId>,
    },
    /// The groups of an interface, in another order.
    Order {
        /// Where.
        place: InterfacePlace,
        /// All of them, highest priority first.
        groups: Vec<GroupId>,
    },
    /// Every interface of an instance is bound to an all-pass group only.
    Reset {
        /// The instance.
        instance: InstanceId,
        /// The id of a new all-pass group, where there is none.
        id: GroupId,
    },
    /// What a reset took away is bound again.
    UndoReset {
        /// The instance.
        instance: InstanceId,
    },
}
