//! Subnets, and the network ACLs in front of them.

use super::directed::directed;
use crate::definition::model::{NetworkAclEntry, SubnetEntry, WrittenAclEntry};
use crate::definition::reader::{Text, TreeReader};
use crate::definition::yaml::YamlNode;

/// A subnet. One of which nothing could be read is there all the same.
pub fn subnet(reader: &mut TreeReader, id: Text, node: &YamlNode) -> Option<SubnetEntry> {
    let Some(fields) = reader.fields(node, "subnets.<subnet-id>") else {
        let (cidr, network_acl) = (None, None);
        return Some(SubnetEntry {
            id,
            cidr,
            network_acl,
        });
    };
    let what = format!("the subnet `{}`", id.text);
    let cidr = reader
        .required(&fields, "cidr", &what, id.span)
        .and_then(|node| reader.texts(node, "`cidr`"));
    Some(SubnetEntry {
        id,
        cidr,
        network_acl: reader.optional_text(&fields, "network_acl"),
    })
}

/// A network ACL. One of which nothing could be read is defined: what names it is right.
pub fn network_acl(reader: &mut TreeReader, id: Text, node: &YamlNode) -> Option<NetworkAclEntry> {
    let fields = reader.fields(node, "network_acls.<acl-id>");
    let mut entries = |direction| match &fields {
        Some(fields) => directed(reader, fields, direction, entry),
        None => Vec::new(),
    };
    let (inbound, outbound) = (entries("inbound"), entries("outbound"));
    Some(NetworkAclEntry {
        id,
        inbound,
        outbound,
    })
}

fn entry(
    reader: &mut TreeReader,
    node: &YamlNode,
    direction: &'static str,
) -> Option<WrittenAclEntry> {
    let (path, remote) = match direction {
        "inbound" => ("network_acls.<acl-id>.inbound[]", "source"),
        _ => ("network_acls.<acl-id>.outbound[]", "destination"),
    };
    const WHAT: &str = "an entry of a network ACL";
    let fields = reader.fields(node, path)?;
    let allow = reader
        .required(&fields, "action", WHAT, node.span)
        .and_then(|node| reader.choice(node, "action", &[("allow", true), ("refuse", false)]));
    let protocol = reader
        .required(&fields, "protocol", WHAT, node.span)
        .and_then(|node| reader.text(node, "`protocol`"));
    let mut addresses = |name| match name == remote {
        true => reader
            .required(&fields, name, WHAT, node.span)
            .and_then(|node| reader.texts(node, format_args!("`{name}`"))),
        false => reader.optional_texts(&fields, name),
    };
    let (source, destination) = (addresses("source"), addresses("destination"));
    Some(WrittenAclEntry {
        span: node.span,
        allow,
        protocol,
        port: reader.optional_texts(&fields, "port"),
        source_port: reader.optional_texts(&fields, "source_port"),
        source,
        destination,
        description: reader.optional_text(&fields, "description"),
    })
}
