//! An inventory as one document of objects that the cloud's API knows.
//!
//! `SecurityGroupPolicies` are bodies of `ModifySecurityGroupPolicies`; the other lists are those of the answers, under
//! their names there. `import` reads the document back.

use super::instances::NAMED;
use super::network_acls;
use super::policy;
use crate::cloud::formats::apart::apart;
use crate::cloud::formats::cloud_templates::{address_groups, service_entries, service_groups};
use crate::cloud::formats::families::TemplateFamilies;
use crate::cloud::formats::inventory::{GroupRecord, InstanceRecord, Inventory, TemplateRecord};
use crate::cloud::formats::notes::Notes;
use crate::definition::model::InstanceKind;
use crate::policy::Direction;
use serde_json::{Map, Value, json};

/// The document.
pub fn write(inventory: &Inventory, notes: &mut Notes) -> Value {
    let families = TemplateFamilies::of(inventory);
    let groups = &inventory.groups;
    let mut document = Map::new();
    let mut put = |key: &str, items: Vec<Value>| {
        if !items.is_empty() {
            document.insert(key.to_owned(), Value::Array(items));
        }
    };
    put(
        "SecurityGroupSet",
        groups
            .iter()
            .map(|group| attributes(group, notes))
            .collect(),
    );
    put(
        "SecurityGroupPolicies",
        groups
            .iter()
            .map(|group| policies(group, &families, notes))
            .collect(),
    );
    let plain = |templates: &[TemplateRecord], prefix: &str| -> Vec<TemplateRecord> {
        let plain = templates.iter().filter(|each| each.id.starts_with(prefix));
        plain.cloned().collect()
    };
    put(
        "AddressTemplateSet",
        plain(&inventory.address_templates, "ipm-")
            .iter()
            .map(|each| template(each, "AddressTemplate", "AddressSet", &each.entries))
            .collect(),
    );
    put(
        "AddressTemplateGroupSet",
        address_groups(inventory)
            .iter()
            .map(|each| {
                template(
                    each,
                    "AddressTemplateGroup",
                    "AddressTemplateIdSet",
                    &each.entries,
                )
            })
            .collect(),
    );
    put(
        "ServiceTemplateSet",
        plain(&inventory.service_templates, "ppm-")
            .iter()
            .map(|each| {
                let entries = service_entries(each, notes);
                template(each, "ServiceTemplate", "ServiceSet", &entries)
            })
            .collect(),
    );
    put(
        "ServiceTemplateGroupSet",
        service_groups(inventory)
            .iter()
            .map(|each| {
                template(
                    each,
                    "ServiceTemplateGroup",
                    "ServiceTemplateIdSet",
                    &each.entries,
                )
            })
            .collect(),
    );
    let instances: Vec<&InstanceRecord> = inventory
        .instances
        .iter()
        .filter(|each| is_cvm(each, notes))
        .collect();
    put(
        "InstanceSet",
        instances.iter().map(|each| instance(each)).collect(),
    );
    put(
        "NetworkInterfaceSet",
        instances.iter().flat_map(|each| interfaces(each)).collect(),
    );
    for (key, items) in network_acls::write(inventory, notes) {
        if !items.is_empty() {
            document.insert(key.to_owned(), Value::Array(items));
        }
    }
    Value::Object(document)
}

fn attributes(group: &GroupRecord, notes: &mut Notes) -> Value {
    let mut map = Map::new();
    map.insert("SecurityGroupId".to_owned(), json!(group.id));
    if let Some(name) = &group.name {
        map.insert("SecurityGroupName".to_owned(), json!(name));
    }
    if let Some(id) = project_id(group, notes) {
        map.insert("ProjectId".to_owned(), json!(id));
    }
    if let Some(region) = &group.region {
        map.insert("Region".to_owned(), json!(region));
    }
    Value::Object(map)
}

/// The number of a group's project; 0 is the default one.
pub fn project_id(group: &GroupRecord, notes: &mut Notes) -> Option<String> {
    match group.project.as_deref()? {
        "default" => Some("0".to_owned()),
        id if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => Some(id.to_owned()),
        name => {
            let message = format!("the project `{name}` is left out: the cloud has numbers there");
            notes.not_kept(&group.id, message);
            None
        }
    }
}

fn policies(group: &GroupRecord, families: &TemplateFamilies, notes: &mut Notes) -> Value {
    let mut rules = |direction| -> Vec<Value> {
        let rules = group.rules(direction).iter();
        rules
            .flat_map(|rule| apart(rule, families, notes))
            .map(|rule| policy::write(&rule))
            .collect()
    };
    let (ingress, egress) = (rules(Direction::Inbound), rules(Direction::Outbound));
    json!({
        "SecurityGroupId": group.id,
        "SecurityGroupPolicySet": { "Ingress": ingress, "Egress": egress },
    })
}

/// A template, called by its id: a definition has no other name for it.
fn template(template: &TemplateRecord, kind: &str, list: &str, entries: &[String]) -> Value {
    json!({
        format!("{kind}Id"): template.id,
        format!("{kind}Name"): template.id,
        list: entries,
    })
}

fn is_cvm(instance: &InstanceRecord, notes: &mut Notes) -> bool {
    let is_cvm = instance.kind == InstanceKind::Cvm;
    if !is_cvm {
        let message = format!(
            "{} is left out: load balancers, databases and interfaces of their own are no instances there",
            instance.id
        );
        notes.not_kept(&instance.place, message);
    }
    is_cvm
}

fn instance(instance: &InstanceRecord) -> Value {
    let charge = match instance.prepaid {
        true => "PREPAID",
        false => "POSTPAID_BY_HOUR",
    };
    let first = instance.interfaces.first();
    let addresses = |v6: bool| -> Vec<&String> {
        let addresses = first.iter().flat_map(|each| &each.addresses);
        addresses.filter(|text| text.contains(':') == v6).collect()
    };
    let mut map = Map::new();
    map.insert("InstanceId".to_owned(), json!(instance.id));
    if let Some(hostname) = &instance.hostname {
        map.insert("HostName".to_owned(), json!(hostname));
    }
    map.insert("InstanceChargeType".to_owned(), json!(charge));
    map.insert("PrivateIpAddresses".to_owned(), json!(addresses(false)));
    map.insert("IPv6Addresses".to_owned(), json!(addresses(true)));
    let groups = first.map(|each| each.groups.clone()).unwrap_or_default();
    map.insert("SecurityGroupIds".to_owned(), json!(groups));
    Value::Object(map)
}

fn interfaces(instance: &InstanceRecord) -> Vec<Value> {
    let of_id = instance.id.trim_start_matches("ins-");
    let numbered = instance.interfaces.iter().enumerate();
    numbered
        .map(|(index, interface)| {
            let (v6, v4): (Vec<&String>, Vec<&String>) = interface
                .addresses
                .iter()
                .partition(|text| text.contains(':'));
            let v4: Vec<Value> = v4
                .iter()
                .map(|text| json!({ "PrivateIpAddress": text }))
                .collect();
            let v6: Vec<Value> = v6.iter().map(|text| json!({ "Address": text })).collect();
            json!({
                "NetworkInterfaceId": format!("eni-{of_id}-{index}"),
                "NetworkInterfaceDescription": format!("{NAMED}{}", interface.name),
                "Primary": index == 0,
                "PrivateIpAddressSet": v4,
                "Ipv6AddressSet": v6,
                "GroupSet": interface.groups,
                "Attachment": { "InstanceId": instance.id, "DeviceIndex": index },
            })
        })
        .collect()
}
