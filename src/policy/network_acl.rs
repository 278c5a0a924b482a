//! Network ACLs: the layer of the subnet, outside the groups. It is stateless: each packet that enters or leaves the
//! subnet is judged by itself, as it is on the wire, and an answer like any other.

use super::address::AddressSet;
use super::id::{AclId, SubnetId};
use super::packet::Packet;
use super::port::PortSet;
use super::rule::{Action, Direction, Service};
use crate::definition::Place;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What of a network ACL decides: `acl-app/in/1`, counted from 0; `acl-app/in/default` where no entry matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AclEntryId {
    /// Its ACL.
    pub acl: AclId,
    /// Its list.
    pub direction: Direction,
    /// Its index in the list. `None` is the refusal of what no entry matches.
    pub index: Option<u32>,
}

/// The last part of the name of the refusal of what no entry matches.
const DEFAULT: &str = "default";

impl AclEntryId {
    /// Reads a name as it is printed.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, index) = text.rsplit_once('/')?;
        let (acl, list) = rest.rsplit_once('/')?;
        let direction = match list {
            "in" => Direction::Inbound,
            "out" => Direction::Outbound,
            _ => return None,
        };
        let index = match index {
            DEFAULT => None,
            index => Some(index.parse().ok()?),
        };
        Some(AclEntryId {
            acl: AclId::parse(acl).ok()?,
            direction,
            index,
        })
    }
}

impl fmt::Display for AclEntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self.direction {
            Direction::Inbound => "in",
            Direction::Outbound => "out",
        };
        write!(f, "{}/{list}/", self.acl)?;
        match self.index {
            Some(index) => index.fmt(f),
            None => f.write_str(DEFAULT),
        }
    }
}

/// An entry of a network ACL.
#[derive(Debug, Clone)]
pub struct AclEntry {
    /// Its name.
    pub id: AclEntryId,
    /// What it does.
    pub action: Action,
    /// Protocol and destination port.
    pub service: Service,
    /// Source ports; all of them where the protocol has none.
    pub source_ports: PortSet,
    /// Source addresses.
    pub source: AddressSet,
    /// Destination addresses.
    pub destination: AddressSet,
    /// Where it stands.
    pub place: Place,
}

impl AclEntry {
    /// The addresses outside the subnet: of the source inbound, of the destination outbound.
    pub fn remote(&self) -> &AddressSet {
        match self.id.direction {
            Direction::Inbound => &self.source,
            Direction::Outbound => &self.destination,
        }
    }

    /// The addresses on the subnet's side.
    pub fn local(&self) -> &AddressSet {
        match self.id.direction {
            Direction::Inbound => &self.destination,
            Direction::Outbound => &self.source,
        }
    }
}

/// A network ACL.
#[derive(Debug, Clone)]
pub struct NetworkAcl {
    /// Its id.
    pub id: AclId,
    /// Its inbound entries, in order.
    pub inbound: Vec<AclEntry>,
    /// Its outbound entries, in order.
    pub outbound: Vec<AclEntry>,
    /// Where it stands.
    pub place: Place,
}

impl NetworkAcl {
    /// The ordered entries of a direction.
    pub fn entries(&self, direction: Direction) -> &[AclEntry] {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// The entry with this name.
    pub fn entry(&self, id: &AclEntryId) -> Option<&AclEntry> {
        let mut entries = self.entries(id.direction).iter();
        entries.find(|entry| entry.id == *id)
    }

    /// The name of the refusal of what no entry matches.
    pub fn default_entry(&self, direction: Direction) -> AclEntryId {
        AclEntryId {
            acl: self.id.clone(),
            direction,
            index: None,
        }
    }
}

/// A subnet.
#[derive(Debug, Clone)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// Its networks.
    pub networks: AddressSet,
    /// The network ACL in front of it.
    pub acl: Option<Arc<NetworkAcl>>,
    /// Where it stands.
    pub place: Place,
}

/// The network ACL of an interface: that of the subnet in which it is.
#[derive(Debug, Clone)]
pub struct SubnetAcl {
    /// The ACL.
    pub acl: Arc<NetworkAcl>,
    /// The subnet's networks.
    pub networks: AddressSet,
}

impl SubnetAcl {
    /// Which entry decides about a packet, and what it does. Returns `None` where the ACL is not asked: both addresses
    /// lie in the subnet.
    pub fn decide(&self, packet: &Packet) -> Option<(Action, AclEntryId)> {
        if self.is_inside(packet.remote, packet.local) {
            return None;
        }
        let mut entries = self.acl.entries(packet.direction).iter();
        let entry = entries.find(|entry| entry.matches(packet));
        Some(match entry {
            Some(entry) => (entry.action, entry.id.clone()),
            None => {
                let refusal = self.acl.default_entry(packet.direction);
                (Action::Refuse, refusal)
            }
        })
    }

    /// Whether both addresses lie in the subnet.
    pub fn is_inside(&self, a: IpAddr, b: IpAddr) -> bool {
        self.networks.contains(a) && self.networks.contains(b)
    }
}

impl AclEntry {
    /// Whether the entry is about a packet.
    pub fn matches(&self, packet: &Packet) -> bool {
        let (source, destination) = match packet.direction {
            Direction::Inbound => (packet.remote, packet.local),
            Direction::Outbound => (packet.local, packet.remote),
        };
        self.source.contains(source)
            && self.destination.contains(destination)
            && packet.is_served_by(&self.service)
            && (!packet.protocol.has_ports() || self.source_ports.contains(packet.source_port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_printed() {
        for name in ["acl-app/in/1", "acl-a-b/out/0", "acl-app/out/default"] {
            let id = AclEntryId::parse(name).map(|id| id.to_string());
            assert_eq!(id.as_deref(), Some(name));
        }
        for wrong in ["acl-app/in", "acl-app/up/1", "sg-a/in/1", "acl-app/in/x"] {
            assert_eq!(AclEntryId::parse(wrong), None, "{wrong}");
        }
    }
}
