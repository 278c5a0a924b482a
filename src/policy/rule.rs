//! Security groups and their ordered rules.

use super::address::AddressSet;
use super::id::GroupId;
use super::port::PortSet;
use super::protocol::Protocol;
use super::until::Until;
use crate::definition::Place;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Which way a packet goes, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Into the host.
    Inbound,
    /// Out of the host.
    Outbound,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
        }
    }
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The packet passes.
    Allow,
    /// The packet is dropped without a word.
    Refuse,
}

/// The name of a rule: `sg-web/in/3`, counted from 0 as the cloud does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleId {
    /// Its group.
    pub group: GroupId,
    /// Its list.
    pub direction: Direction,
    /// Its index in the list.
    pub index: u32,
}

impl RuleId {
    /// Reads a name as it is printed.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, index) = text.rsplit_once('/')?;
        let (group, list) = rest.rsplit_once('/')?;
        let direction = match list {
            "in" => Direction::Inbound,
            "out" => Direction::Outbound,
            _ => return None,
        };
        Some(RuleId {
            group: GroupId::parse(group).ok()?,
            direction,
            index: index.parse().ok()?,
        })
    }
}

/// What a rule matches beside the remote.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Service {
    /// Every protocol.
    All,
    /// TCP to these destination ports.
    Tcp(PortSet),
    /// UDP to these destination ports.
    Udp(PortSet),
    /// ICMP, which is IPv4 only.
    Icmp,
    /// ICMPv6, which is IPv6 only.
    Icmpv6,
    /// One of [`Protocol::BARE`].
    Bare(Protocol),
}

/// One rule of a security group.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// What it does.
    pub action: Action,
    /// What it matches: any of these, never none.
    pub services: Vec<Service>,
    /// The source of an inbound, the destination of an outbound rule; `None` matches nothing (a group without members, or
    /// a rule that has ended).
    pub remote: Option<AddressSet>,
    /// When it ends, if it does.
    pub until: Option<Until>,
    /// What it was, once it has ended.
    pub ended: Option<EndedRule>,
    /// Where it stands.
    pub place: Place,
}

/// What a rule was that has ended.
#[derive(Debug, Clone)]
pub struct EndedRule {
    /// Its remote until then.
    pub remote: Option<AddressSet>,
}

/// A security group.
#[derive(Debug, Clone)]
pub struct SecurityGroup {
    /// Its id, which is its identity.
    pub id: GroupId,
    /// Its name, for people.
    pub name: Option<Arc<str>>,
    /// Its inbound rules, in order.
    pub inbound: Vec<Rule>,
    /// Its outbound rules, in order.
    pub outbound: Vec<Rule>,
    /// Whether its refusing rules only count, and let pass.
    pub observe: bool,
}

impl Rule {
    /// Its remote as it is written, also after it has ended.
    pub fn written_remote(&self) -> Option<&AddressSet> {
        match &self.ended {
            Some(was) => was.remote.as_ref(),
            None => self.remote.as_ref(),
        }
    }
}

impl SecurityGroup {
    /// The ordered rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

impl Service {
    /// The protocol number; `None` for all of them.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Service::All => None,
            Service::Tcp(_) => Some(Protocol::TCP),
            Service::Udp(_) => Some(Protocol::UDP),
            Service::Icmp => Some(Protocol::ICMP),
            Service::Icmpv6 => Some(Protocol::ICMPV6),
            Service::Bare(protocol) => Some(*protocol),
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        })
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self.direction {
            Direction::Inbound => "in",
            Direction::Outbound => "out",
        };
        write!(f, "{}/{list}/{}", self.group, self.index)
    }
}
