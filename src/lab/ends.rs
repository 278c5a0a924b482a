//! The two ends of one thing that is tried.

use super::cell::Cell;
use super::node::Node;
use super::probe::Shot;
use super::service::LabService;
use super::visit::Visit;
use std::net::IpAddr;
use std::sync::Arc;

/// One end of what is tried.
#[derive(Debug)]
pub struct ProbeEnd {
    node: Arc<Node>,
    /// The address that was named.
    address: Option<IpAddr>,
    /// That is played, if it is nobody's.
    _visit: Option<Visit>,
}

impl ProbeEnd {
    /// A node, by one of its addresses or by all.
    pub fn new(node: Arc<Node>, address: Option<IpAddr>, visit: Option<Visit>) -> Self {
        ProbeEnd {
            node,
            address,
            _visit: visit,
        }
    }
}

/// A cell for each address of the receiver and each interface of the sender.
pub fn between(from: &ProbeEnd, to: &ProbeEnd, service: LabService) -> Result<Vec<Cell>, String> {
    let (from_plan, to_plan) = (from.node.plan(), to.node.plan());
    if from_plan.name == to_plan.name {
        return Err(format!(
            "both ends are {}: what a host sends to itself is never filtered",
            from_plan.name
        ));
    }
    let targets: Vec<IpAddr> = match to.address {
        Some(target) => vec![target],
        None => to_plan.addresses().map(|(_, address)| address).collect(),
    };
    let listens = to_plan.services.contains(&service);
    let mut cells = Vec::new();
    for target in targets {
        let sources: Vec<IpAddr> = match from.address {
            Some(source) => vec![source],
            None => from_plan.sources(target).collect(),
        };
        for source in sources {
            if source.is_ipv4() == target.is_ipv4() {
                let shot = Shot {
                    source,
                    target,
                    service,
                };
                cells.push(Cell::expect(&from.node, &to.node, &shot, listens)?);
            }
        }
    }
    match cells.is_empty() {
        false => Ok(cells),
        true => Err(format!(
            "{} and {} have no addresses of one family",
            from_plan.name, to_plan.name
        )),
    }
}
