//! All nodes of a lab, joined by the router: made, changed and taken away as the definition says.

use super::enforced::{Enforced, enforce};
use super::node::{Node, NodeError};
use super::plan::{NodePlan, ROUTER};
use super::wire::{Cable, lay, take};
use crate::cloud::Ledger;
use crate::policy::Account;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The nodes, in the order of the definition.
#[derive(Debug)]
pub struct Network {
    router: Arc<Node>,
    nodes: Vec<Arc<Node>>,
    cables: HashMap<String, Vec<Cable>>,
    /// The number of the next cable.
    next: u16,
}

/// What an arrangement did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arranged {
    /// Nodes that are new.
    pub added: Vec<String>,
    /// Nodes that were made anew, since their interfaces or addresses changed.
    pub rewired: Vec<String>,
    /// Nodes that have gone.
    pub removed: Vec<String>,
}

impl Network {
    /// A router without a cable.
    ///
    /// # Errors
    ///
    /// What the system has against it.
    pub fn new() -> Result<Self, NodeError> {
        let plan = NodePlan {
            name: ROUTER.to_owned(),
            instance: None,
            interfaces: Vec::new(),
            services: BTreeSet::new(),
        };
        let router = Node::begin(plan).finish()?;
        router.call(|_| {
            super::node::set("ipv4/ip_forward", "1");
            super::node::set("ipv6/conf/all/forwarding", "1");
        })?;
        Ok(Network {
            router: Arc::new(router),
            nodes: Vec::new(),
            cables: HashMap::new(),
            next: 1,
        })
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The node of this name; the router has one, too.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        let mut all = self.nodes.iter().chain([&self.router]);
        all.find(|node| node.name() == name)
    }

    /// Makes the nodes what the plan says. A node whose wires stay goes on, with all that runs in it; where something fails, the rest
    /// is done all the same.
    pub fn arrange(&mut self, plans: &[NodePlan]) -> (Arranged, Vec<NodeError>) {
        let mut arranged = Arranged::default();
        let mut errors = Vec::new();
        let mut old: HashMap<String, Arc<Node>> = std::mem::take(&mut self.nodes)
            .into_iter()
            .map(|node| (node.name().to_owned(), node))
            .collect();
        let mut staying = HashMap::new();
        for plan in plans {
            match old.remove(&plan.name) {
                Some(node) if node.plan().is_wired_like(plan) => {
                    staying.insert(plan.name.clone(), node);
                }
                Some(node) => {
                    self.unwire(&node, &mut errors);
                    arranged.rewired.push(plan.name.clone());
                }
                None => arranged.added.push(plan.name.clone()),
            }
        }
        for (name, node) in old {
            self.unwire(&node, &mut errors);
            arranged.removed.push(name);
        }
        let mut begun: HashMap<&str, _> = plans
            .iter()
            .filter(|plan| !staying.contains_key(&plan.name))
            .map(|plan| (plan.name.as_str(), Node::begin(plan.clone())))
            .collect();
        for plan in plans {
            let node = match (staying.remove(&plan.name), begun.remove(plan.name.as_str())) {
                (Some(node), _) => node,
                (None, Some(begun)) => match begun.finish() {
                    Ok(node) => {
                        let node = Arc::new(node);
                        self.wire(&node, plan, &mut errors);
                        node
                    }
                    Err(error) => {
                        errors.push(error);
                        continue;
                    }
                },
                (None, None) => continue,
            };
            errors.extend(node.serve(plan.clone()).err());
            self.nodes.push(node);
        }
        (arranged, errors)
    }

    fn wire(&mut self, node: &Arc<Node>, plan: &NodePlan, errors: &mut Vec<NodeError>) {
        for (place, interface) in plan.interfaces.iter().enumerate() {
            let number = self.next;
            // A lab that was edited 65,000 times has used all names; then the old ones have gone long since.
            self.next = self.next.checked_add(1).unwrap_or(1);
            match lay(&self.router, node, interface, place, number) {
                Ok(cable) => {
                    let cables = self.cables.entry(plan.name.clone()).or_default();
                    cables.push(cable);
                }
                Err(error) => errors.push(error),
            }
        }
    }

    fn unwire(&mut self, node: &Arc<Node>, errors: &mut Vec<NodeError>) {
        for cable in self.cables.remove(node.name()).unwrap_or_default() {
            errors.extend(take(&self.router, cable).err());
        }
    }

    /// Has every instance enforce its groups. Gives the names of those whose policy is another than before; the others keep their
    /// generation. What one cannot do keeps no other from it.
    pub fn enforce(&self, account: &Account) -> (Vec<String>, Vec<NodeError>) {
        // Nothing is spent: each request is met as far as the account's number of unblocks goes.
        let unblocked = Ledger::default().plan(account).ledger.unblocked;
        let mut begun = Vec::new();
        for node in &self.nodes {
            let plan = node.plan();
            let policy = plan
                .instance
                .and_then(|id| account.policy(&id, &unblocked))
                .map(Arc::new);
            if let Some(policy) = policy {
                let given = policy.clone();
                begun.push((
                    node,
                    policy,
                    node.ask(move |inside| enforce(inside, &given)),
                ));
            }
        }
        let (mut changed, mut errors) = (Vec::new(), Vec::new());
        for (node, policy, answer) in begun {
            match node.wait(&answer, super::node::PATIENCE) {
                Ok(Ok(Some(enforced))) => {
                    node.set_enforced(enforced);
                    changed.push(node.name().to_owned());
                }
                // The same rules, which may stand in other lines.
                Ok(Ok(None)) => {
                    if let Some(before) = node.enforced() {
                        node.set_enforced(Enforced { policy, ..before });
                    }
                }
                Ok(Err(what)) => errors.push(node.error(what)),
                Err(error) => errors.push(error),
            }
        }
        (changed, errors)
    }

    /// Gives a host outside one more address, so that anybody outside can be played.
    ///
    /// # Errors
    ///
    /// What the kernel has against it.
    pub fn visit(&mut self, host: &Arc<Node>, address: std::net::IpAddr) -> Result<(), NodeError> {
        let plan = host.plan();
        let Some(interface) = plan.interfaces.first() else {
            return Err(host.error("it has no interface"));
        };
        let cable = self
            .cables
            .get(host.name())
            .and_then(|cables| cables.first());
        let Some(cable) = cable.copied() else {
            return Err(host.error("no cable leads to it"));
        };
        super::wire::add(&self.router, host, cable, interface, address)
    }
}
