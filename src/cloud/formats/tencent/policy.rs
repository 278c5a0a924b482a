//! One rule as the cloud's API has it, both ways.

use crate::cloud::formats::inventory::{RuleRecord, ServiceRecord};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::values::{
    address_in_cloud_rule, allows, has_ports, port_text, ports, protocol,
};
use serde_json::{Map, Value, json};

/// The keys that are read, and those that say nothing about packets.
const KNOWN: [&str; 12] = [
    "PolicyIndex",
    "Protocol",
    "Port",
    "ServiceTemplate",
    "CidrBlock",
    "Ipv6CidrBlock",
    "SecurityGroupId",
    "AddressTemplate",
    "Action",
    "PolicyDescription",
    "ModifyTime",
    "Priority",
];

/// The word that stands for the address of whoever sends a request.
const MY_PUBLIC_IP: &str = "MY_PUBLIC_IP";

/// Reads a rule; one that a definition cannot have is named.
pub fn read(object: &Object, notes: &mut Notes) -> Option<RuleRecord> {
    object.name_the_rest(&KNOWN, notes);
    let rule = service(object).and_then(|service| {
        let remote = remote(object, notes)?;
        let action = object.text("Action").ok_or("it has no Action")?;
        let allow = allows(&action).ok_or(format!("`{action}` is no action"))?;
        Ok(RuleRecord {
            allow,
            service,
            remote: vec![remote],
            description: object.text("PolicyDescription"),
            comment: None,
            place: object.place.clone(),
        })
    });
    rule.map_err(|why: String| {
        notes.not_kept(&object.place, format!("the rule is left out: {why}"));
    })
    .ok()
}

/// Protocol and ports, or a template. What is absent means everything.
fn service(object: &Object) -> Result<ServiceRecord, String> {
    if let Some(template) = object.object("ServiceTemplate")
        && let Some(id) = template.text_of(&["ServiceId", "ServiceGroupId"])
    {
        return Ok(ServiceRecord::Template(id));
    }
    protocol_and_ports(object.text("Protocol"), object.text("Port"))
}

/// A service of the texts of a protocol and of ports.
pub fn protocol_and_ports(
    written: Option<String>,
    port: Option<String>,
) -> Result<ServiceRecord, String> {
    let written = written.unwrap_or_else(|| "ALL".to_owned());
    let name = protocol(&written).ok_or(format!("a definition has no protocol `{written}`"))?;
    let ports = ports(&port.unwrap_or_default())?;
    if !has_ports(name) && !ports.is_empty() {
        return Err(format!("{name} has no ports, and it names some"));
    }
    Ok(ServiceRecord::Protocol(name.to_owned(), ports))
}

fn remote(object: &Object, notes: &mut Notes) -> Result<String, String> {
    let template = object.object("AddressTemplate");
    let template = template.and_then(|each| each.text_of(&["AddressId", "AddressGroupId"]));
    let blocks = ["CidrBlock", "Ipv6CidrBlock"];
    let mut found: Vec<String> = template.into_iter().collect();
    found.extend(object.text("SecurityGroupId"));
    for written in blocks.iter().filter_map(|key| object.text(key)) {
        if written == MY_PUBLIC_IP {
            return Err(format!(
                "the cloud replaces {MY_PUBLIC_IP} by the address that a request comes from: write that address"
            ));
        }
        let (text, assumed) = address_in_cloud_rule(&written)?;
        if let Some(assumed) = assumed {
            notes.assumed(&object.place, assumed);
        }
        found.push(text);
    }
    match found.as_slice() {
        [] => {
            notes.assumed(&object.place, "no remote is written: any is meant");
            Ok("any".to_owned())
        }
        [one] => Ok(one.clone()),
        several => Err(format!("it has several remotes: {}", several.join(", "))),
    }
}

/// Writes a rule that has one remote, and ports that are a list or one range.
pub fn write(rule: &RuleRecord) -> Value {
    let mut map = Map::new();
    match &rule.service {
        ServiceRecord::Template(id) => {
            let key = match id.starts_with("ppmg-") {
                true => "ServiceGroupId",
                false => "ServiceId",
            };
            map.insert("ServiceTemplate".to_owned(), json!({ key: id }));
        }
        ServiceRecord::Protocol(name, ports) => {
            map.insert("Protocol".to_owned(), json!(cloud_protocol(name)));
            map.insert("Port".to_owned(), json!(cloud_ports(ports)));
        }
    }
    for item in &rule.remote {
        let (key, value) = match item {
            group if group.starts_with("sg-") => ("SecurityGroupId", json!(group)),
            id if id.starts_with("ipmg-") => ("AddressTemplate", json!({ "AddressGroupId": id })),
            id if id.starts_with("ipm-") => ("AddressTemplate", json!({ "AddressId": id })),
            v6 if v6.contains(':') => ("Ipv6CidrBlock", json!(v6)),
            v4 => ("CidrBlock", json!(v4)),
        };
        map.insert(key.to_owned(), value);
    }
    let action = if rule.allow { "ACCEPT" } else { "DROP" };
    map.insert("Action".to_owned(), json!(action));
    if let Some(description) = &rule.description {
        map.insert("PolicyDescription".to_owned(), json!(description));
    }
    Value::Object(map)
}

/// A protocol as the cloud writes it.
pub fn cloud_protocol(name: &str) -> String {
    match name {
        "icmpv6" => "ICMPv6".to_owned(),
        name => name.to_uppercase(),
    }
}

/// Ports as the cloud writes them: a list, a range or ALL.
pub fn cloud_ports(ports: &[crate::policy::Interval<u16>]) -> String {
    match ports {
        [] => "ALL".to_owned(),
        ports => ports.iter().map(port_text).collect::<Vec<_>>().join(","),
    }
}
