//! What `tccli` prints, or takes as a request: groups, rules, templates, instances and interfaces.

use super::instances::Interfaces;
use super::network_acls;
use super::policy;
use crate::cloud::formats::inventory::{Inventory, TemplateRecord};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::values::{address, made_id, service_entry};
use crate::policy::{Direction, GroupId};
use serde_json::Value;

/// Keys of answers and requests that say nothing about packets.
const ENVELOPE: [&str; 7] = [
    "RequestId",
    "TotalCount",
    "Action",
    "Version",
    "Region",
    "VpcId",
    "SortPolicys",
];

/// Reads documents of the cloud's API into an inventory.
#[derive(Debug)]
pub struct Reader<'r> {
    /// What was read.
    pub inventory: &'r mut Inventory,
    /// What is to be said.
    pub notes: &'r mut Notes,
    /// The group that rules without an id are of: as asked for, or by the name of the file.
    pub group: Option<String>,
    interfaces: Interfaces,
}

/// Whether a document is one of these, by a key of it.
pub fn is_one(object: &Object) -> bool {
    let keys = [
        "Response",
        "SecurityGroup",
        "SecurityGroupSet",
        "SecurityGroupPolicySet",
        "SecurityGroupPolicies",
        "AddressTemplateSet",
        "AddressTemplateGroupSet",
        "ServiceTemplateSet",
        "ServiceTemplateGroupSet",
        "AddressTemplateName",
        "AddressTemplateGroupName",
        "ServiceTemplateName",
        "ServiceTemplateGroupName",
        "InstanceSet",
        "NetworkInterfaceSet",
        "SubnetSet",
        "NetworkAclSet",
        "NetworkAclEntrySet",
        "NetworkAclQuintupleSet",
        "NetworkAclEntries",
    ];
    keys.iter().any(|key| object.has(key))
}

impl<'r> Reader<'r> {
    /// A reader into this inventory.
    pub fn new(inventory: &'r mut Inventory, notes: &'r mut Notes) -> Self {
        Reader {
            inventory,
            notes,
            group: None,
            interfaces: Interfaces::default(),
        }
    }

    /// Reads one document.
    pub fn document(&mut self, object: &Object) {
        self.request(object);
        for (key, value) in object.entries() {
            match key {
                "Response" => {
                    if let Some(inner) = object.object("Response") {
                        self.document(&inner);
                    }
                }
                "Error" => self.error(object, key),
                "SecurityGroupSet" | "SecurityGroup" => {
                    self.each(object, key, |reader, group| reader.group_of(group));
                }
                "SecurityGroupPolicies" => {
                    self.each(object, key, |reader, body| reader.policies(body));
                }
                "AddressTemplateSet" | "AddressTemplate" => {
                    self.each(object, key, |reader, each| reader.address_template(each));
                }
                "ServiceTemplateSet" | "ServiceTemplate" => {
                    self.each(object, key, |reader, each| reader.service_template(each));
                }
                "AddressTemplateGroupSet" | "AddressTemplateGroup" => {
                    self.each(object, key, |reader, each| reader.address_group(each));
                }
                "ServiceTemplateGroupSet" | "ServiceTemplateGroup" => {
                    self.each(object, key, |reader, each| reader.service_group(each));
                }
                "InstanceSet" => self.each(object, key, |reader, each| {
                    reader.interfaces.instance(each, reader.notes);
                }),
                "NetworkInterfaceSet" => self.each(object, key, |reader, each| {
                    reader.interfaces.interface(each, reader.notes);
                }),
                "SubnetSet" | "Subnet" => self.each(object, key, |reader, each| {
                    network_acls::read_subnet(each, reader.inventory, reader.notes);
                }),
                "NetworkAclSet" | "NetworkAcl" => self.each(object, key, |reader, each| {
                    network_acls::read_acl(each, reader.inventory, reader.notes);
                }),
                "NetworkAclEntries" | "NetworkAclQuintupleEntries" => {
                    self.each(object, key, |reader, each| {
                        network_acls::read_entries(each, reader.inventory, reader.notes);
                    });
                }
                _ => self.unread(object, key, value),
            }
        }
    }

    /// Puts instances and interfaces together, after the last document.
    pub fn finish(self) {
        self.interfaces.finish(self.inventory, self.notes);
    }

    fn each(&mut self, object: &Object, key: &str, read: impl Fn(&mut Self, &Object)) {
        for each in object.objects(key, self.notes) {
            read(self, &each);
        }
    }

    /// A body of a request: what it makes stands in its own keys.
    fn request(&mut self, object: &Object) {
        if object.has("SecurityGroupPolicySet") {
            self.policies(object);
        }
        if object.has("NetworkAclEntrySet") || object.has("NetworkAclQuintupleSet") {
            network_acls::read_entries(object, self.inventory, self.notes);
        }
        if object.has("AddressTemplateName") {
            self.address_template(object);
        }
        if object.has("AddressTemplateGroupName") {
            self.address_group(object);
        }
        if object.has("ServiceTemplateName") {
            self.service_template(object);
        }
        if object.has("ServiceTemplateGroupName") {
            self.service_group(object);
        }
    }

    fn error(&mut self, object: &Object, key: &str) {
        let error = object.object(key);
        let text = |key| error.as_ref().and_then(|error| error.text(key));
        let code = text("Code").unwrap_or_default();
        let message = text("Message").unwrap_or_default();
        let message = format!("the cloud answered with an error: {code}: {message}");
        self.notes.not_kept(&object.place, message);
    }

    fn unread(&mut self, object: &Object, key: &str, value: &Value) {
        // Those of a request were read with it.
        let of_request = [
            "SecurityGroupPolicySet",
            "NetworkAclEntrySet",
            "NetworkAclQuintupleSet",
            "NetworkAclId",
            "SecurityGroupId",
            "GroupName",
            "GroupDescription",
            "ProjectId",
            "Tags",
            "Addresses",
            "AddressesExtra",
            "Services",
            "ServicesExtra",
            "AddressTemplateIds",
            "ServiceTemplateIds",
        ];
        let read = ENVELOPE.contains(&key) || of_request.contains(&key);
        let name = key.ends_with("TemplateName") || key.ends_with("TemplateId");
        let group = key.ends_with("TemplateGroupName") || key.ends_with("TemplateGroupId");
        let empty = match value {
            Value::Array(items) => items.is_empty(),
            value => value.is_null(),
        };
        if !read && !name && !group && !empty {
            self.notes
                .not_kept(object.at(key), "import does not read this");
        }
    }

    fn group_of(&mut self, object: &Object) {
        let known = [
            "SecurityGroupId",
            "SecurityGroupName",
            "ProjectId",
            "Region",
            "IsDefault",
            "CreatedTime",
            "UpdateTime",
        ];
        object.name_the_rest(&known, self.notes);
        let Some(id) = self.valid_group(object, object.text("SecurityGroupId")) else {
            return;
        };
        let name = object.text("SecurityGroupName");
        self.describe(&id, name, object);
    }

    fn describe(&mut self, id: &str, name: Option<String>, object: &Object) {
        let group = self.inventory.group(id);
        group.name = name.or(group.name.take());
        group.region = object.text("Region").or(group.region.take());
        let project = object.text("ProjectId").map(|id| match id.as_str() {
            "0" => "default".to_owned(),
            _ => id,
        });
        group.project = project.or(group.project.take());
    }

    fn valid_group(&mut self, object: &Object, id: Option<String>) -> Option<String> {
        let Some(id) = id else {
            let message = "it has no group id: name the file sg-….json, or say --group";
            self.notes.not_kept(&object.place, message);
            return None;
        };
        match GroupId::parse(&id) {
            Ok(_) => Some(id),
            Err(error) => {
                self.notes.not_kept(&object.place, error.to_string());
                None
            }
        }
    }

    /// Rules, with the id of their group beside them, as asked for, or made of the group's name.
    fn policies(&mut self, object: &Object) {
        let name = object.text("GroupName");
        let made = name.as_ref().map(|name| made_id("sg-", name));
        let id = object.text("SecurityGroupId");
        let id = id.or_else(|| self.group.clone()).or_else(|| {
            let id = made?;
            let message = format!("a request has no id yet: it is called {id}");
            self.notes.assumed(&object.place, message);
            Some(id)
        });
        let Some(id) = self.valid_group(object, id) else {
            return;
        };
        for key in ["GroupDescription", "Tags"] {
            if object.says(key) {
                self.notes
                    .not_kept(object.at(key), "a definition has no key for it");
            }
        }
        self.describe(&id, name, object);
        let Some(set) = object.object("SecurityGroupPolicySet") else {
            return;
        };
        let known = ["Version", "Ingress", "Egress", "PolicyStatistics"];
        set.name_the_rest(&known, self.notes);
        for (key, direction) in [
            ("Ingress", Direction::Inbound),
            ("Egress", Direction::Outbound),
        ] {
            let mut objects = set.objects(key, self.notes);
            // A stable sort: rules of a request have no index, or one for all.
            objects.sort_by_key(|each| each.number("PolicyIndex").unwrap_or(i64::MAX));
            if objects.is_empty() {
                continue;
            }
            if !self.inventory.group(&id).rules(direction).is_empty() {
                let message = format!("the {direction} rules of {id} were read already");
                self.notes.not_kept(set.at(key), message);
                continue;
            }
            let rules = objects
                .iter()
                .filter_map(|each| policy::read(each, self.notes));
            let rules: Vec<_> = rules.collect();
            *self.inventory.group(&id).rules_mut(direction) = rules;
        }
    }

    fn address_template(&mut self, object: &Object) {
        let keys = Keys {
            prefix: "ipm-",
            id: "AddressTemplateId",
            name: "AddressTemplateName",
            entries: &["AddressSet", "Addresses"],
            extra: &["AddressExtraSet", "AddressesExtra"],
            entry: "Address",
        };
        let template = self.template(object, &keys, |text| {
            // The cloud takes an address without its mask.
            address(text)
        });
        self.inventory.address_templates.extend(template);
    }

    fn service_template(&mut self, object: &Object) {
        let keys = Keys {
            prefix: "ppm-",
            id: "ServiceTemplateId",
            name: "ServiceTemplateName",
            entries: &["ServiceSet", "Services"],
            extra: &["ServiceExtraSet", "ServicesExtra"],
            entry: "Service",
        };
        let template = self.template(object, &keys, |text| {
            service_entry(text).map(|entry| (entry, None))
        });
        self.inventory.service_templates.extend(template);
    }

    fn address_group(&mut self, object: &Object) {
        let keys = Keys {
            prefix: "ipmg-",
            id: "AddressTemplateGroupId",
            name: "AddressTemplateGroupName",
            entries: &["AddressTemplateIdSet", "AddressTemplateIds"],
            extra: &["AddressTemplateSet"],
            entry: "AddressTemplateId",
        };
        let template = self.template(object, &keys, |id| Ok((id.to_owned(), None)));
        self.inventory.address_templates.extend(template);
    }

    fn service_group(&mut self, object: &Object) {
        let keys = Keys {
            prefix: "ppmg-",
            id: "ServiceTemplateGroupId",
            name: "ServiceTemplateGroupName",
            entries: &["ServiceTemplateIdSet", "ServiceTemplateIds"],
            extra: &["ServiceTemplateSet"],
            entry: "ServiceTemplateId",
        };
        let template = self.template(object, &keys, |id| Ok((id.to_owned(), None)));
        self.inventory.service_templates.extend(template);
    }

    fn template(
        &mut self,
        object: &Object,
        keys: &Keys,
        read: impl Fn(&str) -> crate::cloud::formats::values::Read<String>,
    ) -> Option<TemplateRecord> {
        let name = object.text(keys.name);
        let id = object.text(keys.id).or_else(|| {
            let id = made_id(keys.prefix, name.as_ref()?);
            let message = format!("a request has no id yet: it is called {id}");
            self.notes.assumed(&object.place, message);
            Some(id)
        })?;
        if !is_id(&id, keys.prefix) {
            let message = format!("`{id}` is not the id of a template");
            self.notes.not_kept(&object.place, message);
            return None;
        }
        if name.as_ref().is_some_and(|name| *name != id) && object.has(keys.id) {
            let message = format!("a template has no name beside its id {id}");
            self.notes.not_kept(object.at(keys.name), message);
        }
        if object.has("TagSet") && !object.objects("TagSet", self.notes).is_empty() {
            self.notes
                .not_kept(object.at("TagSet"), "a definition has no key for it");
        }
        let mut written: Vec<String> = keys
            .entries
            .iter()
            .flat_map(|key| object.texts(key))
            .collect();
        let listed = !written.is_empty();
        for key in keys.extra {
            for each in object.objects(key, self.notes) {
                if let Some(description) = each.text("Description") {
                    let message = format!("an entry has no description: `{description}`");
                    self.notes.not_kept(&each.place, message);
                }
                if !listed {
                    written.extend(each.text(keys.entry));
                }
            }
        }
        let mut entries = Vec::new();
        for text in written {
            match read(&text) {
                Ok((entry, assumed)) => {
                    entries.push(entry);
                    if let Some(assumed) = assumed {
                        self.notes.assumed(&object.place, assumed);
                    }
                }
                Err(why) => self.notes.not_kept(&object.place, why),
            }
        }
        Some(TemplateRecord {
            id,
            entries,
            place: object.place.clone(),
        })
    }
}

/// How a kind of template is called.
struct Keys {
    prefix: &'static str,
    id: &'static str,
    name: &'static str,
    entries: &'static [&'static str],
    extra: &'static [&'static str],
    entry: &'static str,
}

/// Whether a text is the id of a template with this prefix.
pub fn is_id(text: &str, prefix: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let rest = text.strip_prefix(prefix);
    text.len() <= 64 && rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed))
}
