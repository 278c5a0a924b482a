//! All nodes of a lab, joined by the router: made, changed and taken away as the definition says.

use super::enforce::enforce_all;
use super::node::{Node, NodeError};
use super::plan::{NodePlan, ROUTER};
use super::visit::Visit;
use super::wire::{Cable, lay, take};
use crate::cloud::Ledger;
use crate::policy::Account;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The nodes, in the order of the definition.
#[derive(Debug)]
pub struct Network {
    router: Arc<Node>,
    nodes: Vec<Arc<Node>>,
    cables: HashMap<String, Vec<Cable>>,
    /// The number of the next cable.
    next: u16,
    changes: u64,
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
    pub fn new() -> Result<Self, NodeError> {
        let plan = NodePlan {
            name: ROUTER.to_owned(),
            instance: None,
            interfaces: Vec::new(),
            services: BTreeSet::new(),
        };
        let router = Node::begin(plan).finish()?;
        router
            .call(|_| forward())?
            .map_err(|what| router.error(what))?;
        Ok(Network {
            router: Arc::new(router),
            nodes: Vec::new(),
            cables: HashMap::new(),
            next: 1,
            changes: 0,
        })
    }

    /// Rises with each change of a node, of what listens in it or of what it enforces: who has tried something sees
    /// whether it was all of one time.
    pub fn changes(&self) -> u64 {
        self.changes
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

    /// Makes the nodes what the plan says. A node whose wires stay goes on, with all that runs in it; where something
    /// fails, the rest is done all the same. A node whose cables cannot be laid is left out, and tried again next time.
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
        let mut another_listens = false;
        for plan in plans {
            let node = match (staying.remove(&plan.name), begun.remove(plan.name.as_str())) {
                (Some(node), _) => node,
                (None, Some(begun)) => {
                    let made = begun.finish().and_then(|node| {
                        self.wire(&node, plan)?;
                        Ok(Arc::new(node))
                    });
                    match made {
                        Ok(node) => node,
                        Err(error) => {
                            errors.push(error);
                            continue;
                        }
                    }
                }
                (None, None) => continue,
            };
            match node.serve(plan.clone()) {
                Ok(other) => another_listens |= other,
                Err(error) => {
                    // What listened so far does not any more.
                    another_listens = true;
                    errors.push(error);
                }
            }
            self.nodes.push(node);
        }
        let made = |name: &String| self.nodes.iter().any(|node| node.name() == name);
        arranged.added.retain(made);
        arranged.rewired.retain(made);
        self.changes += u64::from(another_listens || arranged != Arranged::default());
        (arranged, errors)
    }

    /// Lays all cables of a node, or none.
    fn wire(&mut self, node: &Node, plan: &NodePlan) -> Result<(), NodeError> {
        for (place, interface) in plan.interfaces.iter().enumerate() {
            let number = self.next;
            // A lab that was edited 65,000 times has used all names; then the old ones have gone long since.
            self.next = self.next.checked_add(1).unwrap_or(1);
            let cable = match lay(&self.router, node, interface, place, number) {
                Ok(cable) => cable,
                Err(error) => {
                    self.unwire(node, &mut Vec::new());
                    return Err(error);
                }
            };
            let cables = self.cables.entry(plan.name.clone()).or_default();
            cables.push(cable);
        }
        Ok(())
    }

    fn unwire(&mut self, node: &Node, errors: &mut Vec<NodeError>) {
        for cable in self.cables.remove(node.name()).unwrap_or_default() {
            errors.extend(take(&self.router, cable).err());
        }
    }

    /// Has every instance enforce its groups. Returns the names of those whose policy is another than before.
    pub fn enforce(&mut self, account: &Account) -> (Vec<String>, Vec<NodeError>) {
        // Nothing is spent: each request is met as far as the account's number of unblocks goes.
        let unblocked = Ledger::default().plan(account).ledger.unblocked;
        let wanted = self.nodes.iter().filter_map(|node| {
            let policy = account.policy(&node.plan().instance?, &unblocked)?;
            Some((&**node, Arc::new(policy)))
        });
        let (changed, errors) = enforce_all(wanted.collect());
        self.changes += u64::from(!changed.is_empty());
        // In the order of the definition.
        let names = self.nodes.iter().map(|node| node.name().to_owned());
        (
            names.filter(|name| changed.contains(name)).collect(),
            errors,
        )
    }

    /// Adds an address to a host outside for as long as the answer is held, so that anybody outside can be played.
    pub fn visit(&self, host: &Arc<Node>, address: IpAddr) -> Result<Visit, NodeError> {
        let cables = self.cables.get(host.name());
        let cable = cables.and_then(|cables| cables.first()).copied();
        let cable = cable.ok_or_else(|| host.error("no cable leads to it"))?;
        Visit::begin(&self.router, host, cable, address)
    }
}

/// Switches forwarding on, in the router's namespace.
fn forward() -> Result<(), String> {
    const SWITCH: &str = "ipv4/ip_forward";
    super::node::set(SWITCH, "1");
    super::node::set("ipv6/conf/all/forwarding", "1");
    if super::node::get(SWITCH).as_deref() != Some("1") {
        return Err(format!(
            "cannot forward, since /proc/sys/net/{SWITCH} cannot be written here: make it writable (`mount -o remount,rw /proc/sys`), or run \
             it in a container with --privileged"
        ));
    }
    match super::node::get("ipv6/conf/all/forwarding") {
        Some(_) => Ok(()),
        None => Err(
            "this kernel has no IPv6, which the lab's hosts outside have: boot it without `ipv6.disable=1`, or load it (`modprobe ipv6`)"
                .into(),
        ),
    }
}
