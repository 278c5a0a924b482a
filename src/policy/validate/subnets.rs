//! Subnets, and in which of them an interface is.

use super::addresses::range;
use crate::definition::model::{InterfaceEntry, SubnetEntry};
use crate::definition::reader::Text;
use crate::definition::{Definition, Diagnostic, Diagnostics, Span};
use crate::policy::address::{AddressRange, AddressSet};
use crate::policy::id::{AclId, SubnetId};
use crate::policy::interval::{Interval, Point};
use crate::policy::network_acl::{NetworkAcl, Subnet};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The subnets, and where each of their networks lies.
pub struct Subnets {
    subnets: BTreeMap<SubnetId, Subnet>,
    v4: Vec<Network<u32>>,
    v6: Vec<Network<u128>>,
}

/// A network of a subnet. Those of all subnets are sorted, and apart.
struct Network<T> {
    interval: Interval<T>,
    subnet: SubnetId,
    span: Span,
}

impl Subnets {
    /// Judges all subnets.
    pub fn new(
        definition: &Definition,
        acls: &BTreeMap<AclId, Arc<NetworkAcl>>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut known = Subnets {
            subnets: BTreeMap::new(),
            v4: Vec::new(),
            v6: Vec::new(),
        };
        for entry in &definition.subnets {
            let acl = entry
                .network_acl
                .as_ref()
                .and_then(|text| acl(text, definition, acls, diagnostics));
            let networks = known.networks(entry, diagnostics);
            let id = match SubnetId::parse(&entry.id.text) {
                Ok(id) => id,
                Err(error) => {
                    let help = "ids look like `subnet-app`";
                    diagnostics.error("bad-id", entry.id.span, error.to_string(), help);
                    continue;
                }
            };
            let ranges = networks.iter().map(|(range, _)| *range);
            if let Some(set) = AddressSet::new(ranges) {
                for (range, span) in networks {
                    match range {
                        AddressRange::V4(interval) => known.v4.push(Network {
                            interval,
                            subnet: id.clone(),
                            span,
                        }),
                        AddressRange::V6(interval) => known.v6.push(Network {
                            interval,
                            subnet: id.clone(),
                            span,
                        }),
                    }
                }
                let subnet = Subnet {
                    id: id.clone(),
                    networks: set,
                    acl,
                    place: definition.sources.place(entry.id.span),
                };
                known.subnets.insert(id, subnet);
            }
        }
        apart(&mut known.v4, diagnostics);
        apart(&mut known.v6, diagnostics);
        known
    }

    /// The networks of a subnet, each with its place.
    fn networks(
        &self,
        entry: &SubnetEntry,
        diagnostics: &mut Diagnostics,
    ) -> Vec<(AddressRange, Span)> {
        let items = entry.cidr.iter().flat_map(|cidr| &cidr.items);
        let mut networks = Vec::new();
        for item in items {
            if item.text.contains('-') || item.text == "any" {
                let message = format!("`{}` is not a CIDR", item.text);
                let help =
                    "a subnet is networks: write 10.0.0.0/24, or a list with one for each family";
                diagnostics.error("bad-cidr", item.span, message, help);
                continue;
            }
            networks.extend(range(item, diagnostics).map(|range| (range, item.span)));
        }
        networks
    }

    /// The subnet in which the addresses of an interface lie.
    pub fn of_interface(
        &self,
        entry: &InterfaceEntry,
        instance: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<SubnetId> {
        let has_acl = |id: &SubnetId| self.subnets.get(id).is_some_and(|each| each.acl.is_some());
        let name = &entry.name.text;
        if entry.addresses.is_empty() {
            // A glob cannot have addresses.
            if !name.ends_with('*') && self.subnets.values().any(|each| each.acl.is_some()) {
                let message = format!(
                    "`{name}` of `{instance}` lists no addresses: it is in no subnet, and no network ACL is asked"
                );
                let help = "write its `addresses`, which say in which subnet it is";
                diagnostics.warning("no-subnet", entry.name.span, message, help);
            }
            return None;
        }
        let mut found: Option<(&Text, &SubnetId)> = None;
        for text in &entry.addresses {
            let address = AddressRange::parse_address(&text.text).ok();
            let Some(id) = address.and_then(|address| self.holding(address)) else {
                continue;
            };
            match found {
                None => found = Some((text, id)),
                Some((first, known)) if known != id && (has_acl(known) || has_acl(id)) => {
                    let message = format!(
                        "`{name}` of `{instance}` is in the subnet `{known}` by one address and in `{id}` by another"
                    );
                    let wrong = Diagnostic::error("two-subnets", text.span, message)
                        .related(first.span, format!("this one lies in `{known}`"));
                    diagnostics.push(wrong.help(
                        "an interface is in one subnet: correct the address, or put both networks into one subnet",
                    ));
                    return None;
                }
                Some(_) => {}
            }
        }
        found.map(|(_, id)| id.clone())
    }

    /// The subnet that holds an address.
    fn holding(&self, address: IpAddr) -> Option<&SubnetId> {
        match address {
            IpAddr::V4(address) => holding(&self.v4, address.into()),
            IpAddr::V6(address) => holding(&self.v6, address.into()),
        }
    }

    /// How many entries the network ACL of a subnet has.
    pub fn entry_count(&self, id: &SubnetId) -> usize {
        let acl = self.subnets.get(id).and_then(|subnet| subnet.acl.as_ref());
        acl.map_or(0, |acl| acl.inbound.len() + acl.outbound.len())
    }

    /// The subnets, by id.
    pub fn into_subnets(self) -> BTreeMap<SubnetId, Subnet> {
        self.subnets
    }
}

fn holding<T: Point>(networks: &[Network<T>], address: T) -> Option<&SubnetId> {
    let at = networks.partition_point(|each| each.interval.last < address);
    let found = networks.get(at);
    let found = found.filter(|each| each.interval.first <= address);
    found.map(|each| &each.subnet)
}

/// Sorts networks. Two that share an address are an error: in which subnet would it be?
fn apart<T: Point>(networks: &mut [Network<T>], diagnostics: &mut Diagnostics) {
    networks.sort_by_key(|each| (each.interval.first, each.interval.last));
    // CIDRs nest or lie apart: a later one that meets any before it meets the widest.
    let mut widest = 0;
    for at in 1..networks.len() {
        let (before, each) = (&networks[widest], &networks[at]);
        if each.interval.first > before.interval.last {
            widest = at;
            continue;
        }
        if each.interval.last > before.interval.last {
            widest = at;
        }
        let (message, help) = match before.subnet == each.subnet {
            true => (
                format!("the subnet `{}` has this network already", each.subnet),
                "remove one of the two",
            ),
            false => (
                format!(
                    "the subnets `{}` and `{}` share addresses",
                    before.subnet, each.subnet
                ),
                "an address is in one subnet: correct one of the two networks",
            ),
        };
        let wrong = Diagnostic::error("subnets-overlap", each.span, message);
        diagnostics.push(wrong.related(before.span, "the other network").help(help));
    }
}

/// The network ACL that a subnet names.
fn acl(
    text: &Text,
    definition: &Definition,
    acls: &BTreeMap<AclId, Arc<NetworkAcl>>,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<NetworkAcl>> {
    let id = match AclId::parse(&text.text) {
        Ok(id) => id,
        Err(error) => {
            let help = "ids look like `acl-app`";
            diagnostics.error("bad-id", text.span, error.to_string(), help);
            return None;
        }
    };
    if let Some(acl) = acls.get(&id) {
        return Some(acl.clone());
    }
    // A file could not be read: it may define what is missing.
    if !definition.incomplete {
        let message = format!("the network ACL `{id}` is not defined");
        let known: Vec<&str> = acls.keys().map(AclId::as_str).collect();
        let help = match diagnostics.closest(id.as_str(), &known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "define it under `network_acls`, or remove `network_acl`".to_owned(),
        };
        diagnostics.error("undefined-network-acl", text.span, message, help);
    }
    None
}
