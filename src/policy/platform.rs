//! What the cloud does by itself, before and beside the groups.

use super::address::AddressSet;
use super::port::PortSet;
use super::rule::{Direction, Service};
use crate::definition::Place;
use std::net::IpAddr;
use std::sync::Arc;

/// What is internal when the definition does not say.
pub const INTERNAL_NETWORKS: &[&str] = &[
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// The approved services of every definition: name, protocols, port, destinations. Both are outbound;
/// nothing inbound is approved unless written. Source: the VPC DNS page and the metadata address of the provider.
pub const APPROVED_SERVICES: &[(&str, &[&str], u16, &[&str])] = &[
    (
        "vpc-dns",
        &["tcp", "udp"],
        53,
        &["183.60.83.19", "183.60.82.98"],
    ),
    ("metadata", &["tcp"], 80, &["169.254.0.23"]),
];

/// How often an account can unblock TCP 25 when the definition does not say.
pub const UNBLOCKS_PER_ACCOUNT: u32 = 5;

/// The platform's part of a policy.
#[derive(Debug, Clone)]
pub struct Platform {
    /// What is internal: the networks named so, and every address listed under an interface. `None`: nothing.
    pub internal: Option<AddressSet>,
    /// The ports no rule can open.
    pub blocked_ports: BlockedPorts,
    /// Whether TCP 25 from CVMs to external addresses is blocked.
    pub smtp_block: bool,
    /// How many changes to unblocked the account has.
    pub unblocks_per_account: u32,
    /// Services that pass before any group is asked.
    pub approved_services: Vec<ApprovedService>,
    /// Whether an interface that the instance does not name refuses new inbound flows.
    pub unbound_refuse: bool,
    /// Whether a changed rule holds for live flows too.
    pub recheck: bool,
    /// Whether each refused packet is sent to the daemon.
    pub events: bool,
    /// Whether nothing is refused on the whole host: what would be is counted, and passes.
    pub observe: bool,
}

/// The ports no rule can open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockedPorts {
    /// TCP destination ports.
    pub tcp: Option<PortSet>,
    /// UDP destination ports.
    pub udp: Option<PortSet>,
    /// Whether they are blocked inbound.
    pub inbound: bool,
    /// Whether they are blocked outbound.
    pub outbound: bool,
    /// Whether only flows with external addresses are meant.
    pub external_only: bool,
}

impl BlockedPorts {
    /// Whether they are blocked in this direction.
    pub fn blocks(&self, direction: Direction) -> bool {
        match direction {
            Direction::Inbound => self.inbound,
            Direction::Outbound => self.outbound,
        }
    }
}

/// A service that passes before any group is asked.
#[derive(Debug, Clone)]
pub struct ApprovedService {
    /// Its name.
    pub name: Arc<str>,
    /// Who opens the flow.
    pub direction: Direction,
    /// What passes: any of these.
    pub services: Vec<Service>,
    /// From where, or to where.
    pub remote: AddressSet,
    /// Where it stands; `None` for the defaults.
    pub place: Option<Place>,
}

impl Platform {
    /// Whether an address is internal.
    pub fn is_internal(&self, address: IpAddr) -> bool {
        self.internal
            .as_ref()
            .is_some_and(|internal| internal.contains(address))
    }

    /// The approved service of this name.
    pub fn approved_service(&self, name: &str) -> Option<&ApprovedService> {
        let mut services = self.approved_services.iter();
        services.find(|service| *service.name == *name)
    }
}
