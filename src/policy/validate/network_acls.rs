//! Network ACLs and their entries.

use super::addresses::{ProtocolFamily, plain};
use super::limits::MOST_ACL_ENTRIES;
use super::rules::only_family;
use super::services::{service, source_ports};
use crate::definition::model::{NetworkAclEntry, WrittenAclEntry};
use crate::definition::reader::Texts;
use crate::definition::{Definition, Diagnostics, Sources};
use crate::policy::address::AddressSet;
use crate::policy::id::AclId;
use crate::policy::network_acl::{AclEntry, AclEntryId, NetworkAcl};
use crate::policy::rule::{Action, Direction};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All network ACLs, by id.
pub fn network_acls(
    definition: &Definition,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<AclId, Arc<NetworkAcl>> {
    let mut acls = BTreeMap::new();
    for entry in &definition.network_acls {
        match AclId::parse(&entry.id.text) {
            Ok(id) => {
                let acl = network_acl(id.clone(), entry, &definition.sources, diagnostics);
                acls.insert(id, Arc::new(acl));
            }
            Err(error) => {
                let help = "ids look like `acl-app`";
                diagnostics.error("bad-id", entry.id.span, error.to_string(), help);
            }
        }
    }
    acls
}

fn network_acl(
    id: AclId,
    entry: &NetworkAclEntry,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> NetworkAcl {
    let mut entries = |direction, written: &[Option<WrittenAclEntry>]| -> Vec<AclEntry> {
        if written.len() > MOST_ACL_ENTRIES {
            let message = format!(
                "the network ACL `{id}` has {} {direction} entries, more than {MOST_ACL_ENTRIES}",
                written.len()
            );
            let help = "write entries over lists of networks and ports; long lists of addresses belong into a security group";
            diagnostics.error("too-large", entry.id.span, message, help);
        }
        let numbered = written.iter().enumerate().take(MOST_ACL_ENTRIES);
        let entries = numbered.filter_map(|(index, written)| {
            let id = AclEntryId {
                acl: id.clone(),
                direction,
                index: Some(index as u32),
            };
            acl_entry(id, written.as_ref()?, sources, diagnostics)
        });
        entries.collect()
    };
    let inbound = entries(Direction::Inbound, &entry.inbound);
    let outbound = entries(Direction::Outbound, &entry.outbound);
    NetworkAcl {
        inbound,
        outbound,
        place: sources.place(entry.id.span),
        id,
    }
}

fn acl_entry(
    id: AclEntryId,
    entry: &WrittenAclEntry,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Option<AclEntry> {
    let service = service(entry.protocol.as_ref(), entry.port.as_ref(), diagnostics);
    let source_port = entry.source_port.as_ref();
    let source_ports =
        (service.as_ref()).and_then(|service| source_ports(service, source_port, diagnostics));
    let family = service
        .as_ref()
        .and_then(|service| only_family(std::slice::from_ref(service)));
    let (is_inbound, any) = (id.direction == Direction::Inbound, AddressSet::any());
    let source = addresses(entry.source.as_ref(), !is_inbound, family, diagnostics);
    let destination = addresses(entry.destination.as_ref(), is_inbound, family, diagnostics);
    let (source, destination) = (source?, destination?);
    let in_v4 = !(source.v4().is_empty() || destination.v4().is_empty());
    let in_v6 = !(source.v6().is_empty() || destination.v6().is_empty());
    if !in_v4 && !in_v6 {
        let written = if source == any {
            &entry.destination
        } else {
            &entry.source
        };
        let span = written.as_ref().map_or(entry.span, |texts| texts.span);
        let message = "source and destination are of different families, so that no packet matches";
        let help = "write an entry for each family, with both addresses of it";
        diagnostics.error("wrong-family", span, message, help);
        return None;
    }
    Some(AclEntry {
        action: match entry.allow? {
            true => Action::Allow,
            false => Action::Refuse,
        },
        service: service?,
        source_ports: source_ports?,
        source,
        destination,
        place: sources.place(entry.span),
        id,
    })
}

/// One side's addresses: any, where none are written and none need be.
fn addresses(
    written: Option<&Texts>,
    may_be_left_out: bool,
    family: Option<ProtocolFamily>,
    diagnostics: &mut Diagnostics,
) -> Option<AddressSet> {
    match written {
        Some(written) => plain(written, family, diagnostics),
        None => may_be_left_out.then(AddressSet::any),
    }
}
