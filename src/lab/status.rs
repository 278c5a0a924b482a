//! What there is in a lab, for whoever asks.

use super::addresses::GivenAddress;
use super::node::Node;
use super::service::LabService;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// A lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabStatus {
    /// The lab's name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The definition.
    pub definition: PathBuf,
    /// Since when it is up, in s since 1970.
    pub since: u64,
    /// How many saves have changed something.
    pub changes: u64,
    /// What was wrong with the last save, and what it has not changed.
    pub last_error: Option<String>,
    /// Addresses that the lab gave.
    pub given: Vec<GivenAddress>,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
}

/// One node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Whether it is an instance.
    pub is_instance: bool,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceStatus>,
    /// What listens there.
    pub services: Vec<LabService>,
    /// What an instance enforces.
    pub enforced: Option<EnforcedStatus>,
}

/// One interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The groups bound to it, highest priority first.
    pub groups: Vec<String>,
}

/// What an instance enforces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EnforcedStatus {
    /// The generation.
    pub generation: u64,
    /// Since when, in ms since 1970.
    pub since_ms: u64,
    /// How long load and switch took, in ms.
    pub switched_after_ms: f64,
}

/// Of one node.
pub fn node_status(node: &Node) -> NodeStatus {
    let plan = node.plan();
    let enforced = node.enforced();
    let groups = |interface: &str| -> Vec<String> {
        let binding = enforced
            .as_ref()
            .and_then(|enforced| enforced.policy.binding(interface));
        let groups = binding.into_iter().flat_map(|binding| &binding.groups);
        groups.map(|group| group.id.to_string()).collect()
    };
    NodeStatus {
        name: plan.name.clone(),
        is_instance: plan.instance.is_some(),
        interfaces: plan
            .interfaces
            .iter()
            .map(|interface| InterfaceStatus {
                name: interface.name.clone(),
                addresses: interface.addresses.clone(),
                groups: groups(&interface.name),
            })
            .collect(),
        services: plan.services.iter().copied().collect(),
        enforced: enforced.map(|enforced| EnforcedStatus {
            generation: enforced.generation,
            since_ms: enforced
                .since
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_millis() as u64),
            switched_after_ms: enforced.switched_after_ms,
        }),
    }
}
