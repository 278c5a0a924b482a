//! An inventory as resources of the tencentcloud provider.
//!
//! Written in Terraform's JSON syntax (`.tf.json`), which Terraform reads as it reads HCL: one writer and one reader of
//! JSON serve all formats, and no text of a definition can end a string or a template of HCL early.

use super::literal::literal;
use super::network_acls;
use crate::cloud::formats::apart::apart;
use crate::cloud::formats::cloud_templates::{address_groups, service_entries, service_groups};
use crate::cloud::formats::families::TemplateFamilies;
use crate::cloud::formats::inventory::{Inventory, RuleRecord, ServiceRecord, TemplateRecord};
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::tencent::policy::{cloud_ports, cloud_protocol};
use crate::cloud::formats::tencent::write::project_id;
use crate::policy::Direction;
use serde_json::{Map, Value, json};

/// Where the provider is published.
const PROVIDER: &str = "tencentcloudstack/tencentcloud";

/// The configuration.
pub fn write(inventory: &Inventory, notes: &mut Notes) -> Value {
    let families = TemplateFamilies::of(inventory);
    let mut resources = Map::new();
    let mut put = |kind: &str, name: &str, body: Value| {
        let of_kind = resources
            .entry(kind.to_owned())
            .or_insert_with(|| json!({}));
        if let Value::Object(of_kind) = of_kind {
            of_kind.insert(name.to_owned(), body);
        }
    };
    for group in &inventory.groups {
        let mut body = Map::new();
        let name = group.name.as_ref().unwrap_or(&group.id);
        body.insert("name".to_owned(), json!(literal(name)));
        if let Some(id) = project_id(group, notes).and_then(|id| id.parse::<u64>().ok()) {
            body.insert("project_id".to_owned(), json!(id));
        }
        put(
            "tencentcloud_security_group",
            &group.id,
            Value::Object(body),
        );
        if let Some(region) = &group.region {
            let message =
                format!("the region `{region}` is left out: the provider has one for all");
            notes.not_kept(&group.id, message);
        }
        let mut rules = Map::new();
        rules.insert(
            "security_group_id".to_owned(),
            json!(reference("tencentcloud_security_group", &group.id)),
        );
        for (key, direction) in [
            ("ingress", Direction::Inbound),
            ("egress", Direction::Outbound),
        ] {
            let blocks = group.rules(direction).iter();
            let blocks = blocks.flat_map(|rule| apart(rule, &families, notes));
            let blocks: Vec<Value> = blocks.map(|rule| block(&rule)).collect();
            if !blocks.is_empty() {
                rules.insert(key.to_owned(), Value::Array(blocks));
            }
        }
        if rules.len() > 1 {
            put(
                "tencentcloud_security_group_rule_set",
                &group.id,
                Value::Object(rules),
            );
        }
    }
    let of_prefix = |templates: &'_ [TemplateRecord], prefix: &str| -> Vec<TemplateRecord> {
        let of_prefix = templates.iter().filter(|each| each.id.starts_with(prefix));
        of_prefix.cloned().collect()
    };
    for each in of_prefix(&inventory.address_templates, "ipm-") {
        let body = json!({ "name": each.id, "addresses": each.entries });
        put("tencentcloud_address_template", &each.id, body);
    }
    for each in address_groups(inventory) {
        let ids = references("tencentcloud_address_template", &each.entries);
        let body = json!({ "name": each.id, "template_ids": ids });
        put("tencentcloud_address_template_group", &each.id, body);
    }
    for each in of_prefix(&inventory.service_templates, "ppm-") {
        let body = json!({ "name": each.id, "protocols": service_entries(&each, notes) });
        put("tencentcloud_protocol_template", &each.id, body);
    }
    for each in service_groups(inventory) {
        let ids = references("tencentcloud_protocol_template", &each.entries);
        let body = json!({ "name": each.id, "template_ids": ids });
        put("tencentcloud_protocol_template_group", &each.id, body);
    }
    for instance in &inventory.instances {
        let message = format!(
            "{} and its bindings are left out: name the groups in `orderly_security_groups` of its own resource",
            instance.id
        );
        notes.not_kept(&instance.place, message);
    }
    let variables = match inventory.acls.is_empty() && inventory.subnets.is_empty() {
        true => json!({}),
        false => json!({
            "vpc_id": { "type": "string" },
            "availability_zone": { "type": "string" },
        }),
    };
    for (kind, name, body) in network_acls::write(inventory, notes) {
        put(kind, &name, body);
    }
    json!({
        "variable": variables,
        "terraform": { "required_providers": { "tencentcloud": { "source": PROVIDER } } },
        "resource": resources,
    })
}

fn block(rule: &RuleRecord) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, text: String| map.insert(key.to_owned(), Value::String(text));
    put(
        "action",
        if rule.allow { "ACCEPT" } else { "DROP" }.to_owned(),
    );
    match &rule.service {
        ServiceRecord::Template(id) if id.starts_with("ppmg-") => {
            put(
                "service_template_group",
                reference("tencentcloud_protocol_template_group", id),
            );
        }
        ServiceRecord::Template(id) => {
            put(
                "service_template_id",
                reference("tencentcloud_protocol_template", id),
            );
        }
        ServiceRecord::Protocol(name, ports) => {
            put("protocol", cloud_protocol(name));
            put("port", cloud_ports(ports));
        }
    }
    for item in &rule.remote {
        let (key, text) = match item {
            id if id.starts_with("sg-") => (
                "source_security_id",
                reference("tencentcloud_security_group", id),
            ),
            id if id.starts_with("ipmg-") => (
                "address_template_group",
                reference("tencentcloud_address_template_group", id),
            ),
            id if id.starts_with("ipm-") => (
                "address_template_id",
                reference("tencentcloud_address_template", id),
            ),
            v6 if v6.contains(':') => ("ipv6_cidr_block", v6.clone()),
            v4 => ("cidr_block", v4.clone()),
        };
        put(key, text);
    }
    if let Some(description) = &rule.description {
        put("description", literal(description));
    }
    Value::Object(map)
}

/// The id of a resource that is called by the id that it has here.
fn reference(kind: &str, name: &str) -> String {
    format!("${{{kind}.{name}.id}}")
}

fn references(kind: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|name| reference(kind, name)).collect()
}
