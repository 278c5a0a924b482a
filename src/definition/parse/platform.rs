//! The platform's part of a definition.

use crate::definition::diagnostic::Diagnostic;
use crate::definition::model::{ApprovedServiceEntry, BlockedProfile, PlatformEntry};
use crate::definition::reader::{Fields, Text, TreeReader};
use crate::definition::yaml::YamlNode;

/// What stands under `platform`.
pub fn platform(reader: &mut TreeReader, node: &YamlNode) -> Option<PlatformEntry> {
    let fields = reader.fields(node, "platform")?;
    let mut platform = PlatformEntry {
        internal_networks: reader.optional_texts(&fields, "internal_networks"),
        ..PlatformEntry::default()
    };
    if let Some(fields) = reader.inner_fields(&fields, "blocked_ports", "platform.blocked_ports") {
        blocked_ports(reader, &fields, &mut platform);
    }
    if let Some(fields) = reader.inner_fields(&fields, "smtp", "platform.smtp") {
        let words = [("true", true), ("false", false)];
        platform.smtp_block = reader.optional_choice(&fields, "block", &words);
        platform.unblocks_per_account = reader.optional_text(&fields, "unblocks_per_account");
    }
    platform.approved_services = reader.each(&fields, "approved_services", approved_service);
    let words = [("ignore", false), ("refuse", true)];
    platform.unbound_refuse = reader.optional_choice(&fields, "unbound_interfaces", &words);
    let words = [("recheck", true), ("keep", false)];
    platform.recheck = reader.optional_choice(&fields, "established", &words);
    let words = [("none", false), ("refusals", true)];
    platform.events = reader.optional_choice(&fields, "events", &words);
    platform.observe = observe(reader, &fields);
    let words = [("none", false), ("tencent", true)];
    platform.quotas = reader.optional_choice(&fields, "quotas", &words);
    Some(platform)
}

/// `mode`, of the platform or of a group.
pub fn observe(reader: &mut TreeReader, fields: &Fields) -> Option<bool> {
    reader.optional_choice(fields, "mode", &[("enforce", false), ("observe", true)])
}

fn blocked_ports(reader: &mut TreeReader, fields: &Fields, platform: &mut PlatformEntry) {
    let profiles = [
        ("tencent", BlockedProfile::Tencent),
        ("none", BlockedProfile::None),
    ];
    platform.blocked_profile = reader.optional_choice(fields, "profile", &profiles);
    let directions = [
        ("inbound", (true, false)),
        ("outbound", (false, true)),
        ("both", (true, true)),
    ];
    platform.blocked_direction = reader.optional_choice(fields, "direction", &directions);
    let peers = [("any", false), ("external", true)];
    platform.blocked_external_only = reader.optional_choice(fields, "peers", &peers);
    if let Some(fields) = reader.inner_fields(fields, "add", "platform.blocked_ports.add") {
        platform.blocked_add = ["tcp", "udp"].map(|name| reader.optional_texts(&fields, name));
    }
    if let Some(fields) = reader.inner_fields(fields, "remove", "platform.blocked_ports.remove") {
        platform.blocked_remove = ["tcp", "udp"].map(|name| reader.optional_texts(&fields, name));
    }
}

fn approved_service(
    reader: &mut TreeReader,
    name: Text,
    node: &YamlNode,
) -> Option<ApprovedServiceEntry> {
    let fields = reader.fields(node, "platform.approved_services.<name>")?;
    let what = format!("the approved service `{}`", name.text);
    let direction = reader.required(&fields, "direction", &what, name.span);
    let inbound = direction.and_then(|node| {
        reader.choice(node, "direction", &[("inbound", true), ("outbound", false)])
    });
    let protocols = reader
        .required(&fields, "protocol", &what, name.span)
        .and_then(|node| reader.texts(node, "`protocol`"));
    let port = reader.optional_texts(&fields, "port");
    let (wanted, other) = match inbound {
        Some(true) => ("source", "destination"),
        _ => ("destination", "source"),
    };
    let remote = match (inbound, fields.get(other)) {
        // Which of the two it is to have is not known, and its content is looked at all the same.
        (None, found) => fields.get(wanted).or(found),
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
