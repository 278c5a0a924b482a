//! Addresses that a definition leaves out: a lab gives them from 10.0.0.0/16, before the definition is judged, so that a group as
//! a remote holds them as it will hold those of the VMs.

use crate::definition::model::{InstanceEntry, InterfaceEntry, LabEntry};
use crate::definition::reader::Text;
use crate::definition::{Definition, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// The first and the last address that are given.
const POOL: (u32, u32) = (0x0a00_0002, 0x0a00_fffe);

/// The addresses that were given, by instance and interface: who has one keeps it when the definition is edited.
#[derive(Debug, Clone, Default)]
pub struct Given {
    by_interface: BTreeMap<(String, String), Ipv4Addr>,
}

/// An address that the lab gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAddress {
    /// To which instance.
    pub instance: String,
    /// To which of its interfaces.
    pub interface: String,
    /// Which.
    pub address: Ipv4Addr,
}

/// What a lab needs of a definition beside its account: the places of what it may have to complain about.
#[derive(Debug, Clone, Default)]
pub struct Outline {
    /// The instances, with those of their interfaces that exist in a lab.
    pub instances: Vec<OutlinedInstance>,
    /// Hosts and services.
    pub lab: LabEntry,
    /// What was given.
    pub given: Vec<GivenAddress>,
}

/// An instance of an outline.
#[derive(Debug, Clone)]
pub struct OutlinedInstance {
    /// Its id.
    pub id: Text,
    /// Its interfaces.
    pub interfaces: Vec<OutlinedInterface>,
}

/// An interface of an outline.
#[derive(Debug, Clone)]
pub struct OutlinedInterface {
    /// Its name or glob.
    pub name: Text,
    /// Its addresses, written or given.
    pub addresses: Vec<Text>,
    /// Where to complain about them.
    pub span: Span,
}

/// What an interface is called in a lab: of a glob, its first.
pub fn interface_name(written: &str) -> String {
    match written.strip_suffix('*') {
        Some(start) => format!("{start}0"),
        None => written.to_owned(),
    }
}

/// Whether a lab has this interface. A glob stands for interfaces that come by themselves, such as those of containers; only an
/// instance that has nothing else gets one from it.
fn exists(interface: &InterfaceEntry, of: &InstanceEntry) -> bool {
    let is_glob = |interface: &InterfaceEntry| interface.name.text.ends_with('*');
    !is_glob(interface) || of.interfaces.iter().all(is_glob)
}

impl Given {
    /// Gives addresses to the interfaces that have none, and says what there is.
    pub fn complete(&mut self, definition: &mut Definition) -> Outline {
        let written = written(definition);
        let mut taken = written.clone();
        taken.extend(
            self.by_interface
                .values()
                .map(|address| IpAddr::from(*address)),
        );
        let mut next = POOL.0;
        let mut outline = Outline {
            lab: definition.lab.clone(),
            ..Outline::default()
        };
        let mut still = BTreeMap::new();
        for instance in &mut definition.instances {
            let in_lab: Vec<bool> = instance
                .interfaces
                .iter()
                .map(|interface| exists(interface, instance))
                .collect();
            let mut interfaces = Vec::new();
            for (interface, in_lab) in instance.interfaces.iter_mut().zip(in_lab) {
                if !in_lab {
                    continue;
                }
                if interface.addresses.is_empty() && interface.addresses_span.is_none() {
                    let key = (instance.id.text.clone(), interface.name.text.clone());
                    let known = self.by_interface.get(&key).copied();
                    // Whoever writes an address down has it.
                    let known = known.filter(|known| !written.contains(&IpAddr::V4(*known)));
                    if let Some(address) = known.or_else(|| free(&mut next, &taken)) {
                        interface.addresses.push(Text {
                            span: interface.name.span,
                            text: address.to_string(),
                        });
                        outline.given.push(GivenAddress {
                            instance: key.0.clone(),
                            interface: interface_name(&key.1),
                            address,
                        });
                        taken.insert(address.into());
                        still.insert(key, address);
                    }
                }
                interfaces.push(OutlinedInterface {
                    name: interface.name.clone(),
                    addresses: interface.addresses.clone(),
                    span: interface.addresses_span.unwrap_or(interface.name.span),
                });
            }
            outline.instances.push(OutlinedInstance {
                id: instance.id.clone(),
                interfaces,
            });
        }
        self.by_interface = still;
        outline
    }
}

/// Every address that the definition names anywhere.
fn written(definition: &Definition) -> BTreeSet<IpAddr> {
    let of_instances = definition
        .instances
        .iter()
        .flat_map(|instance| &instance.interfaces)
        .flat_map(|interface| &interface.addresses);
    let of_hosts = definition
        .lab
        .hosts
        .iter()
        .flat_map(|host| &host.addresses.items);
    of_instances
        .chain(of_hosts)
        .filter_map(|text| text.text.parse().ok())
        .collect()
}

/// The next address that nobody has.
fn free(next: &mut u32, taken: &BTreeSet<IpAddr>) -> Option<Ipv4Addr> {
    while *next <= POOL.1 {
        let address = Ipv4Addr::from(*next);
        *next += 1;
        // Neither 10.0.3.0 nor 10.0.3.255, which look like a network's own.
        let own = matches!(address.octets()[3], 0 | 255);
        if !own && !taken.contains(&IpAddr::from(address)) {
            return Some(address);
        }
    }
    None
}
