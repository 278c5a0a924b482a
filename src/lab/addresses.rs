//! Addresses that a definition leaves out: a lab gives them from 10.0.0.0/16, so that such an interface can be reached.
//! A group as a remote means listed addresses, in a lab as on a host, so that it does not hold these.

use crate::definition::Definition;
use crate::definition::model::{InstanceEntry, InterfaceEntry, LabEntry};
use crate::definition::reader::Text;
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
    pub instances: Vec<InstanceEntry>,
    /// Hosts and services.
    pub lab: LabEntry,
    /// What was given.
    pub given: Vec<GivenAddress>,
}

/// What an interface is called in a lab: of a glob, its first.
pub fn interface_name(written: &str) -> String {
    match written.strip_suffix('*') {
        Some(start) => format!("{start}0"),
        None => written.to_owned(),
    }
}

/// Drops the interfaces that a lab does not have. A glob stands for interfaces that come by themselves, such as those
/// of containers; only an instance that has nothing else gets one from it.
fn drop_globs(instance: &mut InstanceEntry) {
    let is_glob = |interface: &InterfaceEntry| interface.name.text.ends_with('*');
    if !instance.interfaces.iter().all(is_glob) {
        instance.interfaces.retain(|interface| !is_glob(interface));
    }
}

impl Given {
    /// The interfaces as they are in a lab, each with an address.
    pub fn complete(&mut self, definition: &Definition) -> Outline {
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
        for instance in &definition.instances {
            let mut in_lab = instance.clone();
            drop_globs(&mut in_lab);
            for interface in &mut in_lab.interfaces {
                if !interface.addresses.is_empty() || interface.addresses_span.is_some() {
                    continue;
                }
                let key = (instance.id.text.clone(), interface.name.text.clone());
                let known = self.by_interface.get(&key).copied();
                // Whoever writes an address down has it.
                let known = known.filter(|known| !written.contains(&IpAddr::V4(*known)));
                let Some(address) = known.or_else(|| free(&mut next, &taken)) else {
                    continue;
                };
                let text = Text {
                    span: interface.name.span,
                    text: address.to_string(),
                };
                interface.addresses.push(text);
                outline.given.push(GivenAddress {
                    instance: key.0.clone(),
                    interface: interface_name(&key.1),
                    address,
                });
                taken.insert(address.into());
                still.insert(key, address);
            }
            outline.instances.push(in_lab);
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
