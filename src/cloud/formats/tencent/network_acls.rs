//! Subnets and network ACLs of the cloud, both ways. Entries of three parts name the far end; those of five both.

use super::policy::{cloud_ports, cloud_protocol};
use crate::cloud::formats::apart::entries_apart;
use crate::cloud::formats::inventory::ServiceRecord;
use crate::cloud::formats::inventory::{AclEntryRecord, AclRecord, Inventory, SubnetRecord};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::tencent::policy::protocol_and_ports;
use crate::cloud::formats::values::{address, address_in_cloud_rule, allows, has_ports, ports};
use crate::policy::id::{AclId, SubnetId};
use crate::policy::{Direction, Interval};
use serde_json::{Map, Value, json};

/// The directions, as answers and as requests call them.
const DIRECTIONS: [(&str, &str, Direction); 2] = [
    ("IngressEntries", "Ingress", Direction::Inbound),
    ("EgressEntries", "Egress", Direction::Outbound),
];

/// Reads an item of `SubnetSet`.
pub fn read_subnet(object: &Object, inventory: &mut Inventory, notes: &mut Notes) {
    let id = object.text("SubnetId").unwrap_or_default();
    if let Err(error) = SubnetId::parse(&id) {
        return notes.not_kept(&object.place, error.to_string());
    }
    let mut networks = Vec::new();
    for text in ["CidrBlock", "Ipv6CidrBlock"]
        .iter()
        .filter_map(|key| object.text(key))
    {
        match address(&text) {
            Ok((network, _)) => networks.push(network),
            Err(why) => notes.not_kept(&object.place, why),
        }
    }
    // An ACL lists its subnets, and a subnet its ACL: what is said twice is one.
    let acl = object.text("NetworkAclId");
    let subnet = inventory.subnet(&id, &object.place);
    subnet.acl = acl.or(subnet.acl.take());
    let is_new = subnet.networks.is_empty();
    if is_new {
        subnet.networks = networks;
    } else if subnet.networks != networks {
        let message = format!("the subnet {id} was read already, with other networks");
        notes.not_kept(&object.place, message);
    }
}

/// Reads an item of `NetworkAclSet`, with the subnets that it stands in front of.
pub fn read_acl(object: &Object, inventory: &mut Inventory, notes: &mut Notes) {
    let Some(id) = acl_id(object, notes) else {
        return;
    };
    if let Some(name) = object.text("NetworkAclName").filter(|name| *name != id) {
        let message = format!("a network ACL has no name beside its id {id}: `{name}`");
        notes.not_kept(object.at("NetworkAclName"), message);
    }
    if !object.objects("TagSet", notes).is_empty() {
        notes.not_kept(object.at("TagSet"), "a definition has no key for it");
    }
    inventory.acl(&id, &object.place);
    for (key, _, direction) in DIRECTIONS {
        add(&id, direction, object, key, inventory, notes);
    }
    for mut subnet in object.objects("SubnetSet", notes) {
        subnet.place = object.place.clone();
        read_subnet(&subnet, inventory, notes);
        let of = subnet.text("SubnetId").unwrap_or_default();
        if let Some(known) = inventory.known_subnet(&of) {
            known.acl = Some(id.clone());
        }
    }
}

/// Reads the body of a request that sets entries.
pub fn read_entries(object: &Object, inventory: &mut Inventory, notes: &mut Notes) {
    let Some(id) = acl_id(object, notes) else {
        return;
    };
    inventory.acl(&id, &object.place);
    for set in ["NetworkAclEntrySet", "NetworkAclQuintupleSet"] {
        if let Some(set) = object.object(set) {
            for (_, key, direction) in DIRECTIONS {
                add(&id, direction, &set, key, inventory, notes);
            }
        }
    }
}

fn acl_id(object: &Object, notes: &mut Notes) -> Option<String> {
    let id = object.text("NetworkAclId").unwrap_or_default();
    match AclId::parse(&id) {
        Ok(_) => Some(id),
        Err(error) => {
            notes.not_kept(&object.place, error.to_string());
            None
        }
    }
}

fn add(
    id: &str,
    direction: Direction,
    object: &Object,
    key: &str,
    inventory: &mut Inventory,
    notes: &mut Notes,
) {
    let mut objects = object.objects(key, notes);
    objects.sort_by_key(|each| each.number("Priority").unwrap_or(i64::MAX));
    if objects.is_empty() {
        return;
    }
    if !inventory
        .acl(id, &object.place)
        .entries(direction)
        .is_empty()
    {
        let message = format!("the {direction} entries of {id} were read already");
        return notes.not_kept(object.at(key), message);
    }
    let entries = objects.iter().filter_map(|each| {
        let entry = read_entry(each, direction, notes);
        entry
            .map_err(|why| notes.not_kept(&each.place, format!("the entry is left out: {why}")))
            .ok()
    });
    let entries: Vec<AclEntryRecord> = entries.collect();
    *inventory.acl(id, &object.place).entries_mut(direction) = entries;
}

fn read_entry(
    object: &Object,
    direction: Direction,
    notes: &mut Notes,
) -> Result<AclEntryRecord, String> {
    let known = [
        "Protocol",
        "Port",
        "CidrBlock",
        "Ipv6CidrBlock",
        "Action",
        "Description",
        "ModifyTime",
        "Priority",
        "NetworkAclIpv4EntryId",
        "NetworkAclIpv6EntryId",
        "SourcePort",
        "SourceCidr",
        "SourceIPv6Cidr",
        "DestinationPort",
        "DestinationCidr",
        "DestinationIPv6Cidr",
        "NetworkAclQuintupleEntryId",
        "CreateTime",
        "NetworkAclDirection",
    ];
    object.name_the_rest(&known, notes);
    let port = object.text_of(&["Port", "DestinationPort"]);
    let ServiceRecord::Protocol(protocol, destination_ports) =
        protocol_and_ports(object.text("Protocol"), port)?
    else {
        return Err("it has no protocol".to_owned());
    };
    let source_ports = ports(&object.text("SourcePort").unwrap_or_default())?;
    if !has_ports(&protocol) && !source_ports.is_empty() {
        return Err(format!("{protocol} has no ports, and it names some"));
    }
    let mut side = |keys: &[&str]| -> Result<Vec<String>, String> {
        let mut addresses = Vec::new();
        for text in keys.iter().filter_map(|key| object.text(key)) {
            let (text, assumed) = address_in_cloud_rule(&text)?;
            if let Some(assumed) = assumed {
                notes.assumed(&object.place, assumed);
            }
            addresses.push(text);
        }
        Ok(addresses)
    };
    let (far, near) = (["CidrBlock", "Ipv6CidrBlock"], ["", ""]);
    let (sources, destinations) = match direction {
        Direction::Inbound => (far, near),
        Direction::Outbound => (near, far),
    };
    let source = side(&[sources[0], sources[1], "SourceCidr", "SourceIPv6Cidr"])?;
    let destination = side(&[
        destinations[0],
        destinations[1],
        "DestinationCidr",
        "DestinationIPv6Cidr",
    ])?;
    let action = object.text("Action").unwrap_or_default();
    Ok(near_any(
        AclEntryRecord {
            allow: allows(&action).ok_or(format!("`{action}` is no action"))?,
            protocol,
            ports: destination_ports,
            source_ports,
            source,
            destination,
            description: object.text("Description"),
            place: object.place.clone(),
        },
        direction,
    ))
}

/// The whole family in the subnet beside a far address of it is any.
fn near_any(mut entry: AclEntryRecord, direction: Direction) -> AclEntryRecord {
    let (near, far) = match direction {
        Direction::Inbound => (&mut entry.destination, &entry.source),
        Direction::Outbound => (&mut entry.source, &entry.destination),
    };
    let whole = match far.first() {
        Some(far) if far.contains(':') => "::/0",
        _ => "0.0.0.0/0",
    };
    if near.as_slice() == [whole] && far.len() == 1 {
        near.clear();
    }
    entry
}

/// The lists of a document: `SubnetSet`, `NetworkAclSet`, and bodies that set the entries of each ACL.
pub fn write(inventory: &Inventory, notes: &mut Notes) -> [(&'static str, Vec<Value>); 4] {
    let subnets = inventory
        .subnets
        .iter()
        .map(|each| write_subnet(each, notes));
    let subnets: Vec<Value> = subnets.collect();
    let (mut acls, mut three, mut five) = (Vec::new(), Vec::new(), Vec::new());
    for acl in &inventory.acls {
        let has_five = has_five_parts(acl);
        let kind = if has_five { "QUINTUPLE" } else { "TRIPLE" };
        acls.push(json!({
            "NetworkAclId": acl.id,
            "NetworkAclName": acl.id,
            "NetworkAclType": kind,
        }));
        let mut lists = Map::new();
        for (_, key, direction) in DIRECTIONS {
            let entries = acl.entries(direction).iter();
            let entries = entries.flat_map(|each| entries_apart(each, direction, notes));
            let entries = entries.map(|each| match has_five {
                true => write_five(&each),
                false => write_three(&each, direction),
            });
            lists.insert(key.to_owned(), Value::Array(entries.collect()));
        }
        match has_five {
            true => five.push(json!({ "NetworkAclId": acl.id, "NetworkAclQuintupleSet": lists })),
            false => three.push(json!({ "NetworkAclId": acl.id, "NetworkAclEntrySet": lists })),
        }
    }
    [
        ("SubnetSet", subnets),
        ("NetworkAclSet", acls),
        ("NetworkAclEntries", three),
        ("NetworkAclQuintupleEntries", five),
    ]
}

fn has_five_parts(acl: &AclRecord) -> bool {
    DIRECTIONS.iter().any(|(_, _, direction)| {
        let mut entries = acl.entries(*direction).iter();
        entries.any(|entry| entry.has_five_parts(*direction))
    })
}

/// A subnet of the cloud has one network of each family.
fn write_subnet(subnet: &SubnetRecord, notes: &mut Notes) -> Value {
    let mut map = Map::new();
    map.insert("SubnetId".to_owned(), json!(subnet.id));
    for network in &subnet.networks {
        let key = match network.contains(':') {
            true => "Ipv6CidrBlock",
            false => "CidrBlock",
        };
        match map.contains_key(key) {
            true => {
                let message =
                    format!("{network} is left out: a subnet has one network of each family");
                notes.not_kept(&subnet.place, message);
            }
            false => {
                map.insert(key.to_owned(), json!(network));
            }
        }
    }
    if let Some(acl) = &subnet.acl {
        map.insert("NetworkAclId".to_owned(), json!(acl));
    }
    Value::Object(map)
}

fn write_three(entry: &AclEntryRecord, direction: Direction) -> Value {
    let far = match direction {
        Direction::Inbound => &entry.source,
        Direction::Outbound => &entry.destination,
    };
    let mut map = common(entry);
    map.insert("Port".to_owned(), json!(cloud_ports(&entry.ports)));
    put_address(&mut map, far, "CidrBlock", "Ipv6CidrBlock");
    Value::Object(map)
}

fn write_five(entry: &AclEntryRecord) -> Value {
    let mut map = common(entry);
    let mut put = |key: &str, ports: &[Interval<u16>]| {
        map.insert(key.to_owned(), json!(cloud_ports(ports)));
    };
    put("SourcePort", &entry.source_ports);
    put("DestinationPort", &entry.ports);
    let v6 = entry
        .source
        .iter()
        .chain(&entry.destination)
        .any(|text| text.contains(':'));
    let whole = vec![if v6 { "::/0" } else { "0.0.0.0/0" }.to_owned()];
    let or_whole = |side: &Vec<String>| match side.is_empty() {
        true => whole.clone(),
        false => side.clone(),
    };
    put_address(
        &mut map,
        &or_whole(&entry.source),
        "SourceCidr",
        "SourceIPv6Cidr",
    );
    put_address(
        &mut map,
        &or_whole(&entry.destination),
        "DestinationCidr",
        "DestinationIPv6Cidr",
    );
    Value::Object(map)
}

fn common(entry: &AclEntryRecord) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert(
        "Protocol".to_owned(),
        json!(cloud_protocol(&entry.protocol)),
    );
    let action = if entry.allow { "Accept" } else { "Drop" };
    map.insert("Action".to_owned(), json!(action));
    if let Some(description) = &entry.description {
        map.insert("Description".to_owned(), json!(description));
    }
    map
}

fn put_address(map: &mut Map<String, Value>, side: &[String], v4: &str, v6: &str) {
    for text in side {
        let key = if text.contains(':') { v6 } else { v4 };
        map.insert(key.to_owned(), json!(text));
    }
}
