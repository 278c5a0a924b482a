//! The platform's part of a definition.

use super::{each, observe, optional_text};
use crate::definition::diagnostic::Diagnostic;
use crate::definition::model::{ApprovedServiceEntry, BlockedProfile, PlatformEntry};
use crate::definition::reader::{Fields, Reader, Text};
use crate::definition::yaml::Node;

/// What stands under `platform`.
pub fn platform(reader: &mut Reader, node: &Node) -> Option<PlatformEntry> {
    let fields = reader.fields(node, "platform")?;
    let mut platform = PlatformEntry::default();
    if let Some(node) = fields.get("internal_networks") {
        platform.internal_networks = reader.texts(node, "`internal_networks`");
    }
    if let Some(fields) = fields
        .get("blocked_ports")
        .and_then(|node| reader.fields(node, "platform.blocked_ports"))
    {
        blocked_ports(reader, &fields, &mut platform);
    }
    if let Some(fields) = fields
        .get("smtp")
        .and_then(|node| reader.fields(node, "platform.smtp"))
    {
        let block = fields.get("block");
        platform.smtp_block = block
            .and_then(|node| reader.choice(node, "block", &[("true", true), ("false", false)]));
        platform.unblocks_per_account = optional_text(reader, &fields, "unblocks_per_account");
    }
    platform.approved_services = each(reader, &fields, "approved_services", approved_service);
    let unbound = fields.get("unbound_interfaces");
    platform.unbound_refuse = unbound.and_then(|node| {
        reader.choice(
            node,
            "unbound_interfaces",
            &[("ignore", false), ("refuse", true)],
        )
    });
    let established = fields.get("established");
    platform.recheck = established
        .and_then(|node| reader.choice(node, "established", &[("recheck", true), ("keep", false)]));
    let events = fields.get("events");
    platform.events = events
        .and_then(|node| reader.choice(node, "events", &[("none", false), ("refusals", true)]));
    platform.observe = observe(reader, &fields);
    Some(platform)
}

fn blocked_ports(reader: &mut Reader, fields: &Fields, platform: &mut PlatformEntry) {
    let profiles = [
        ("tencent", BlockedProfile::Tencent),
        ("none", BlockedProfile::None),
    ];
    platform.blocked_profile = fields
        .get("profile")
        .and_then(|node| reader.choice(node, "profile", &profiles));
    let directions = [
        ("inbound", (true, false)),
        ("outbound", (false, true)),
        ("both", (true, true)),
    ];
    platform.blocked_direction = fields
        .get("direction")
        .and_then(|node| reader.choice(node, "direction", &directions));
    platform.blocked_external_only = fields
        .get("peers")
        .and_then(|node| reader.choice(node, "peers", &[("any", false), ("external", true)]));
    for (name, path, into) in [
        (
            "add",
            "platform.blocked_ports.add",
            &mut platform.blocked_add,
        ),
        (
            "remove",
            "platform.blocked_ports.remove",
            &mut platform.blocked_remove,
        ),
    ] {
        let Some(fields) = fields.get(name).and_then(|node| reader.fields(node, path)) else {
            continue;
        };
        for (protocol, into) in ["tcp", "udp"].into_iter().zip(into) {
            *into = fields
                .get(protocol)
                .and_then(|node| reader.texts(node, format_args!("`{protocol}`")));
        }
    }
}

fn approved_service(reader: &mut Reader, name: Text, node: &Node) -> Option<ApprovedServiceEntry> {
    let fields = reader.fields(node, "platform.approved_services.<name>")?;
    let what = format!("the approved service `{}`", name.text);
    let direction = reader.required(&fields, "direction", &what, name.span);
    let inbound = direction.and_then(|node| {
        reader.choice(node, "direction", &[("inbound", true), ("outbound", false)])
    });
    let protocols = reader
        .required(&fields, "protocol", &what, name.span)
        .and_then(|node| reader.texts(node, "`protocol`"));
    let port = fields
        .get("port")
        .and_then(|node| reader.texts(node, "`port`"));
    let (wanted, other) = match inbound {
        Some(true) => ("source", "destination"),
        _ => ("destination", "source"),
    };
    let remote = match (inbound, fields.get(other)) {
        (None, _) => None,
        (_, Some(node)) => {
            let message = format!("this approved service has a `{wanted}`, not a `{other}`");
            let help = match fields.get(wanted) {
                Some(_) => format!("remove `{other}`"),
                None => format!("rename it to `{wanted}`, or change `direction`"),
            };
            reader.push(Diagnostic::error("wrong-remote", node.span, message).help(help));
            None
        }
        (Some(_), None) => reader.required(&fields, wanted, &what, name.span),
    };
    let remote = remote.and_then(|node| reader.texts(node, format_args!("`{wanted}`")));
    Some(ApprovedServiceEntry {
        name,
        inbound,
        protocols,
        port,
        remote,
    })
}
