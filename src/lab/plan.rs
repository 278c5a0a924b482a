//! What a lab is made of, from a definition. Pure.

use super::addresses::{Outline, interface_name};
use super::service::{LabService, ServiceError};
use crate::definition::model::{LabHostEntry, LabServicesEntry};
use crate::definition::reader::Text;
use crate::definition::{Diagnostic, Severity, Span, closest};
use crate::policy::address::AddressRange;
use crate::policy::{Account, InstanceId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The host outside that is always there, and its addresses where the definition names none.
pub const INTERNET: (&str, [IpAddr; 2]) = (
    "internet",
    [
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x10)),
    ],
);

pub use crate::policy::validate::lab::ROUTER;

/// The router's addresses on each link: nobody else may have them.
pub const GATEWAYS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)),
];

/// The most instances and hosts of a lab.
const MOST_NODES: usize = 500;
/// The most services of one of them.
const MOST_SERVICES: usize = 1000;

/// An instance or a host outside, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePlan {
    /// The id of the instance, or the name of the host.
    pub name: String,
    /// Whether it is an instance, which enforces its groups.
    pub instance: Option<InstanceId>,
    /// Its interfaces.
    pub interfaces: Vec<InterfacePlan>,
    /// What listens on it.
    pub services: BTreeSet<LabService>,
}

/// An interface of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfacePlan {
    /// Its name.
    pub name: String,
    /// Its addresses, at least one.
    pub addresses: Vec<IpAddr>,
}

impl NodePlan {
    /// Whether the same namespace can go on, whatever listens in it.
    pub fn is_wired_like(&self, other: &Self) -> bool {
        self.interfaces == other.interfaces && self.instance.is_some() == other.instance.is_some()
    }

    /// Its addresses, each with its interface.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, IpAddr)> {
        self.interfaces.iter().flat_map(|interface| {
            let of = move |address: &IpAddr| (interface.name.as_str(), *address);
            interface.addresses.iter().map(of)
        })
    }

    /// Where packets of this family start from: the first such address of each interface, whose groups judge them.
    pub fn sources(&self, like: IpAddr) -> impl Iterator<Item = IpAddr> {
        self.interfaces.iter().filter_map(move |interface| {
            let mut addresses = interface.addresses.iter().copied();
            addresses.find(|address| address.is_ipv4() == like.is_ipv4())
        })
    }
}

/// All nodes of the lab of a definition that is right.
pub fn plan(outline: &Outline, account: &Account) -> Result<Vec<NodePlan>, Vec<Diagnostic>> {
    let size = account.instances.len() + outline.lab.hosts.len();
    if size > MOST_NODES {
        let message = format!("{size} instances and hosts: {MOST_NODES} is the most of a lab");
        let diagnostic = Diagnostic::new(Severity::Error, "lab-size", None, message);
        return Err(vec![diagnostic.help("try a part of the definition")]);
    }
    let mut planner = Planner::default();
    let mut nodes = planner.instances(outline, account);
    nodes.extend(planner.hosts(&outline.lab.hosts, account));
    planner.services(&outline.lab.services, &mut nodes);
    match planner.diagnostics.is_empty() {
        true => Ok(nodes),
        false => Err(planner.diagnostics),
    }
}

#[derive(Default)]
struct Planner {
    diagnostics: Vec<Diagnostic>,
    taken: HashMap<IpAddr, Span>,
}

impl Planner {
    fn wrong(&mut self, code: &'static str, at: Span, message: String, help: impl Into<String>) {
        let diagnostic = Diagnostic::error(code, at, message).help(help);
        self.diagnostics.push(diagnostic);
    }

    fn instances(&mut self, outline: &Outline, account: &Account) -> Vec<NodePlan> {
        let mut nodes = Vec::new();
        for instance in &account.instances {
            let written = outline
                .instances
                .iter()
                .find(|written| written.id.text == instance.id.as_str());
            let Some(written) = written else { continue };
            let mut interfaces = Vec::new();
            for interface in &written.interfaces {
                let name = &interface.name;
                if interface.addresses.is_empty() {
                    let message = format!(
                        "the interface {} of {} has no address, and a lab reaches nothing there",
                        name.text, instance.id
                    );
                    let help = "list one, or leave `addresses` out: then the lab gives one from 10.0.0.0/16";
                    let at = interface.addresses_span.unwrap_or(name.span);
                    self.wrong("lab-no-address", at, message, help);
                    continue;
                }
                interfaces.push(InterfacePlan {
                    name: interface_name(&name.text),
                    addresses: self.addresses(&interface.addresses),
                });
            }
            nodes.push(NodePlan {
                name: instance.id.to_string(),
                instance: Some(instance.id.clone()),
                interfaces,
                services: BTreeSet::new(),
            });
        }
        nodes
    }

    /// Addresses that a link can have and nobody has yet.
    fn addresses(&mut self, written: &[Text]) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for text in written {
            let Ok(address) = AddressRange::parse_address(&text.text) else {
                // Of an instance this was said when the definition was judged.
                continue;
            };
            if is_no_host(address) {
                let message = format!("{address} cannot be the address of an interface");
                let help = "give it one that a single host can have";
                self.wrong("lab-bad-address", text.span, message, help);
            } else if GATEWAYS.contains(&address) {
                let message = format!("{address} is the address of the lab's router");
                let help = "give this interface another address";
                self.wrong("lab-address-twice", text.span, message, help);
            } else if let Some(first) = self.taken.insert(address, text.span) {
                let message = format!("the address {address} is used twice");
                self.diagnostics.push(
                    Diagnostic::error("lab-address-twice", text.span, message)
                        .related(first, "first here")
                        .help("give one of the two another address"),
                );
            } else {
                addresses.push(address);
            }
        }
        addresses
    }

    fn hosts(&mut self, written: &[LabHostEntry], account: &Account) -> Vec<NodePlan> {
        let mut nodes = Vec::new();
        for host in written {
            for text in &host.addresses.items {
                self.check_outside(&host.name.text, text, account);
            }
            nodes.push(outside(
                &host.name.text,
                self.addresses(&host.addresses.items),
            ));
        }
        let (internet, addresses) = INTERNET;
        if !written.iter().any(|host| host.name.text == internet) {
            let free = addresses.into_iter().filter(|address| {
                let Some(span) = self.taken.get(address).copied() else {
                    return true;
                };
                let message = format!("{address} is the address of the lab's host `{internet}`");
                let help = format!(
                    "use another, or give that host one: `lab: {{ hosts: {{ {internet}: [192.0.2.10] }} }}`"
                );
                self.wrong("lab-address-twice", span, message, help);
                false
            });
            let free = free.collect();
            nodes.push(outside(internet, free));
        }
        nodes
    }

    fn check_outside(&mut self, host: &str, text: &Text, account: &Account) {
        match AddressRange::parse_address(&text.text) {
            Err(_) => {
                let message = format!("`{}` is not an address", text.text);
                let help = "a host has single addresses: write 198.51.100.7 or \"2001:db8::7\"";
                self.wrong("lab-bad-address", text.span, message, help);
            }
            // What is listed under an interface is internal too, and used twice.
            Ok(address)
                if account.platform.is_internal(address) && !self.taken.contains_key(&address) =>
            {
                let message = format!(
                    "the host `{host}` is outside, and {address} lies inside the VPC's networks"
                );
                let help =
                    "give it an address that is not in `internal_networks`, or make it an instance";
                self.wrong("lab-host-inside", text.span, message, help);
            }
            Ok(_) => {}
        }
    }

    fn services(&mut self, written: &[LabServicesEntry], nodes: &mut [NodePlan]) {
        for entry in written {
            let mut found = BTreeSet::new();
            for text in &entry.services.items {
                match LabService::parse_listening(&text.text) {
                    Ok(services) => found.extend(services),
                    Err(ServiceError { message, help }) => {
                        self.wrong("lab-bad-service", text.span, message, help);
                    }
                }
            }
            if found.len() > MOST_SERVICES {
                let message = format!(
                    "{} services of one: {MOST_SERVICES} is the most",
                    found.len()
                );
                let help = "name those that are tried";
                self.wrong("lab-bad-service", entry.services.span, message, help);
                continue;
            }
            let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
            match nodes.iter_mut().find(|node| node.name == entry.name.text) {
                Some(node) => node.services = found,
                None => {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let help = match closest(&entry.name.text, &names) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => "name an instance of this definition or a host of the lab".into(),
                    };
                    let message = format!("there is no instance or host `{}`", entry.name.text);
                    self.wrong("lab-unknown", entry.name.span, message, help);
                }
            }
        }
    }
}

fn outside(name: &str, addresses: Vec<IpAddr>) -> NodePlan {
    NodePlan {
        name: name.to_owned(),
        instance: None,
        interfaces: vec![InterfacePlan {
            name: "eth0".to_owned(),
            addresses,
        }],
        services: BTreeSet::new(),
    }
}

pub(super) fn is_no_host(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || broadcast
        || link_local
}
