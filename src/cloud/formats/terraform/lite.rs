//! The rules of a lite rule and of a network ACL: `ACTION#SOURCE#PORT#PROTOCOL`.

use crate::cloud::formats::inventory::{RuleRecord, ServiceRecord};
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::tencent::policy::protocol_and_ports;
use crate::cloud::formats::values::{address_in_cloud_rule, allows};

/// Reads one; a fifth field is the description that the entries of a network ACL may have.
pub fn read(text: &str, place: &str, notes: &mut Notes) -> Option<RuleRecord> {
    let fields: Vec<&str> = text.splitn(5, '#').map(str::trim).collect();
    let rule = match fields.as_slice() {
        [action, remote, port, protocol] => rule(action, remote, port, protocol, "", place, notes),
        [action, remote, port, protocol, description] => {
            rule(action, remote, port, protocol, description, place, notes)
        }
        _ => Err("it is not ACTION#SOURCE#PORT#PROTOCOL".to_owned()),
    };
    rule.map_err(|why| {
        notes.not_kept(place, format!("the rule `{text}` is left out: {why}"));
    })
    .ok()
}

fn rule(
    action: &str,
    remote: &str,
    port: &str,
    protocol: &str,
    description: &str,
    place: &str,
    notes: &mut Notes,
) -> Result<RuleRecord, String> {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let service = match protocol.starts_with("ppm") {
        true => ServiceRecord::Template(protocol.to_owned()),
        false => protocol_and_ports(text(protocol), text(port))?,
    };
    let remote = match remote {
        "" => "any".to_owned(),
        id if id.starts_with("sg-") || id.starts_with("ipm") => id.to_owned(),
        written => {
            let (written, assumed) = address_in_cloud_rule(written)?;
            if let Some(assumed) = assumed {
                notes.assumed(place, assumed);
            }
            written
        }
    };
    Ok(RuleRecord {
        allow: allows(action).ok_or(format!("`{action}` is no action"))?,
        service,
        remote: vec![remote],
        description: text(description),
        comment: None,
        place: place.to_owned(),
    })
}
