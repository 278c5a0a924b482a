//! Instances and network interfaces of the cloud: which groups are bound where.

use crate::cloud::formats::inventory::{InstanceRecord, InterfaceRecord, Inventory};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::values::address;
use crate::policy::{GroupId, InstanceId};
use std::collections::{BTreeMap, HashSet};

/// What the description of an interface begins with that names it as its host does; `export` writes it.
pub const NAMED: &str = "interface ";

/// Instances and interfaces as they are read, one apart from the other.
#[derive(Debug, Default)]
pub struct Interfaces {
    instances: Vec<CloudInstance>,
    interfaces: Vec<CloudInterface>,
}

/// An instance, with what holds where none of its interfaces is in the input.
#[derive(Debug)]
struct CloudInstance {
    record: InstanceRecord,
    addresses: Vec<String>,
    groups: Vec<String>,
}

/// An interface that is attached to an instance.
#[derive(Debug)]
struct CloudInterface {
    id: String,
    instance: String,
    index: i64,
    record: InterfaceRecord,
    place: String,
}

impl Interfaces {
    /// Reads an item of `InstanceSet`. What an instance has beside groups, names and addresses is no part of a
    /// definition.
    pub fn instance(&mut self, object: &Object, notes: &mut Notes) {
        let Some(id) = instance_id(object, object.text("InstanceId"), notes) else {
            return;
        };
        let mut addresses = Vec::new();
        for text in ["PrivateIpAddresses", "IPv6Addresses"]
            .iter()
            .flat_map(|key| object.texts(key))
        {
            add_address(&mut addresses, &text, object, notes);
        }
        let named = object.text_of(&["HostName", "InstanceName"]);
        let hostname = named.filter(|name| *name != id);
        self.instances.push(CloudInstance {
            record: InstanceRecord {
                id,
                hostname,
                prepaid: object
                    .text("InstanceChargeType")
                    .is_some_and(|kind| kind == "PREPAID"),
                place: object.place.clone(),
                ..InstanceRecord::default()
            },
            addresses,
            groups: groups(object.texts("SecurityGroupIds"), object, notes),
        });
    }

    /// Reads an item of `NetworkInterfaceSet`.
    pub fn interface(&mut self, object: &Object, notes: &mut Notes) {
        let attachment = object.object("Attachment");
        let attached = attachment.as_ref().and_then(|each| each.text("InstanceId"));
        let id = object.text("NetworkInterfaceId").unwrap_or_default();
        let Some(attached) = attached else {
            let message = format!("{id} is attached to no instance");
            return notes.not_kept(&object.place, message);
        };
        let Some(instance) = instance_id(object, Some(attached), notes) else {
            return;
        };
        let mut addresses = Vec::new();
        let lists = [
            ("PrivateIpAddressSet", "PrivateIpAddress"),
            ("Ipv6AddressSet", "Address"),
        ];
        for (list, key) in lists {
            for each in object.objects(list, notes) {
                if let Some(text) = each.text(key) {
                    add_address(&mut addresses, &text, object, notes);
                }
            }
        }
        let primary = object.text("Primary").is_some_and(|text| text == "true");
        let index = attachment.and_then(|each| each.number("DeviceIndex"));
        let description = object.text("NetworkInterfaceDescription");
        let name = description
            .as_deref()
            .and_then(|text| text.strip_prefix(NAMED))
            .unwrap_or_default();
        self.interfaces.push(CloudInterface {
            id,
            instance,
            index: if primary { -1 } else { index.unwrap_or(0) },
            record: InterfaceRecord {
                name: name.to_owned(),
                addresses,
                groups: groups(object.texts("GroupSet"), object, notes),
            },
            place: object.place.clone(),
        });
    }

    /// Puts each interface to its instance. An instance without interfaces in the input has one, `eth0`.
    pub fn finish(mut self, inventory: &mut Inventory, notes: &mut Notes) {
        self.interfaces
            .sort_by(|a, b| (&a.instance, a.index).cmp(&(&b.instance, b.index)));
        let mut of_instance: BTreeMap<String, Vec<CloudInterface>> = BTreeMap::new();
        for interface in self.interfaces {
            let list = of_instance.entry(interface.instance.clone()).or_default();
            list.push(interface);
        }
        for mut instance in self.instances {
            match of_instance.remove(&instance.record.id) {
                Some(interfaces) => named(&mut instance.record, interfaces, notes),
                None => {
                    let message = "no network interface of it is in the input: eth0 is assumed";
                    notes.assumed(&instance.record.place, message);
                    instance.record.interfaces.push(InterfaceRecord {
                        name: "eth0".to_owned(),
                        addresses: instance.addresses,
                        groups: instance.groups,
                    });
                }
            }
            inventory.instances.push(instance.record);
        }
        for (id, interfaces) in of_instance {
            let mut record = InstanceRecord {
                id,
                place: interfaces
                    .first()
                    .map(|each| each.place.clone())
                    .unwrap_or_default(),
                ..InstanceRecord::default()
            };
            named(&mut record, interfaces, notes);
            inventory.instances.push(record);
        }
    }
}

/// Adds interfaces in their order; one whose description does not name it is `eth0`, `eth1` and so on.
fn named(record: &mut InstanceRecord, interfaces: Vec<CloudInterface>, notes: &mut Notes) {
    for (index, mut interface) in interfaces.into_iter().enumerate() {
        if interface.record.name.is_empty() {
            interface.record.name = format!("eth{index}");
            let message = format!("{} is taken for eth{index} of {}", interface.id, record.id);
            notes.assumed(&interface.place, message);
        }
        record.interfaces.push(interface.record);
    }
}

fn instance_id(object: &Object, id: Option<String>, notes: &mut Notes) -> Option<String> {
    let id = id.unwrap_or_default();
    match InstanceId::parse(&id) {
        Ok(_) => Some(id),
        Err(error) => {
            notes.not_kept(&object.place, error.to_string());
            None
        }
    }
}

/// Adds the single address that a text is.
pub fn add_address(addresses: &mut Vec<String>, text: &str, object: &Object, notes: &mut Notes) {
    match address(text) {
        Ok((text, None)) if !text.contains(['/', '-']) => addresses.push(text),
        Ok((text, _)) => notes.not_kept(&object.place, format!("`{text}` is no single address")),
        Err(why) => notes.not_kept(&object.place, why),
    }
}

/// The ids of groups, each once.
pub fn groups(ids: Vec<String>, object: &Object, notes: &mut Notes) -> Vec<String> {
    let (mut groups, mut seen) = (Vec::new(), HashSet::new());
    for id in ids {
        match GroupId::parse(&id) {
            Ok(_) if !seen.insert(id.clone()) => {}
            Ok(_) => groups.push(id),
            Err(error) => notes.not_kept(&object.place, error.to_string()),
        }
    }
    groups
}
