//! Instances of AWS and their interfaces.

use crate::cloud::formats::inventory::{InstanceRecord, InterfaceRecord, Inventory};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::tencent::instances::{add_address, groups};
use crate::policy::InstanceId;
use std::collections::BTreeMap;

/// Instances as they are read, each with its interfaces by their index.
#[derive(Debug, Default)]
pub struct Instances {
    order: Vec<String>,
    records: BTreeMap<String, (InstanceRecord, BTreeMap<i64, InterfaceRecord>)>,
}

impl Instances {
    /// Reads an item of `Instances`.
    pub fn instance(&mut self, object: &Object, notes: &mut Notes) {
        let Some(id) = self.known(object, object.text("InstanceId"), notes) else {
            return;
        };
        let tags = object.objects("Tags", notes);
        let mut tags = tags.iter();
        let tag = tags.find(|tag| tag.text("Key").is_some_and(|key| key == "Name"));
        let name = tag.and_then(|tag| tag.text("Value"));
        if let Some((record, _)) = self.records.get_mut(&id) {
            record.hostname = name;
        }
        let interfaces = object.objects("NetworkInterfaces", notes);
        for interface in &interfaces {
            self.add(&id, interface, notes);
        }
        if interfaces.is_empty() {
            let mut addresses = Vec::new();
            for text in ["PrivateIpAddress", "Ipv6Address"]
                .iter()
                .flat_map(|key| object.texts(key))
            {
                add_address(&mut addresses, &text, object, notes);
            }
            let ids = object.objects("SecurityGroups", notes);
            let ids = ids.iter().filter_map(|each| each.text("GroupId")).collect();
            let interface = InterfaceRecord {
                name: "eth0".to_owned(),
                addresses,
                groups: groups(ids, object, notes),
            };
            if let Some((_, interfaces)) = self.records.get_mut(&id) {
                interfaces.insert(0, interface);
            }
        }
    }

    /// Reads an item of `describe-network-interfaces`.
    pub fn interface(&mut self, object: &Object, notes: &mut Notes) {
        let attachment = object.object("Attachment");
        let attached = attachment.and_then(|each| each.text("InstanceId"));
        if attached.is_none() {
            let id = object.text("NetworkInterfaceId").unwrap_or_default();
            let message = format!("{id} is attached to no instance");
            return notes.not_kept(&object.place, message);
        }
        if let Some(id) = self.known(object, attached, notes) {
            self.add(&id, object, notes);
        }
    }

    /// Puts them into the inventory.
    pub fn finish(mut self, inventory: &mut Inventory, notes: &mut Notes) {
        for id in self.order {
            let Some((mut record, interfaces)) = self.records.remove(&id) else {
                continue;
            };
            let message = format!(
                "it is called {id}, and its interfaces are taken for eth0, eth1 and so on, by their device index"
            );
            notes.assumed(&record.place, message);
            record.interfaces = interfaces.into_values().collect();
            inventory.instances.push(record);
        }
    }

    /// The id that `i-…` has in a definition, with a record of it.
    fn known(&mut self, object: &Object, id: Option<String>, notes: &mut Notes) -> Option<String> {
        let id = id.unwrap_or_default();
        let id = format!("ins-{}", id.strip_prefix("i-").unwrap_or(&id));
        if let Err(error) = InstanceId::parse(&id) {
            notes.not_kept(&object.place, error.to_string());
            return None;
        }
        self.records.entry(id.clone()).or_insert_with(|| {
            self.order.push(id.clone());
            let record = InstanceRecord {
                id: id.clone(),
                place: object.place.clone(),
                ..InstanceRecord::default()
            };
            (record, BTreeMap::new())
        });
        Some(id)
    }

    fn add(&mut self, id: &str, object: &Object, notes: &mut Notes) {
        let mut addresses = Vec::new();
        for (list, key) in [
            ("PrivateIpAddresses", "PrivateIpAddress"),
            ("Ipv6Addresses", "Ipv6Address"),
        ] {
            for each in object.objects(list, notes) {
                if let Some(text) = each.text(key) {
                    add_address(&mut addresses, &text, object, notes);
                }
            }
        }
        let ids = object.objects("Groups", notes);
        let ids = ids.iter().filter_map(|each| each.text("GroupId")).collect();
        let index = object
            .object("Attachment")
            .and_then(|each| each.number("DeviceIndex"));
        let index = index.unwrap_or(0);
        let record = InterfaceRecord {
            name: format!("eth{index}"),
            addresses,
            groups: groups(ids, object, notes),
        };
        if let Some((_, interfaces)) = self.records.get_mut(id) {
            interfaces.insert(index, record);
        }
    }
}
