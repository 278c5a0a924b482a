//! What the `aws` command prints: `ec2 describe-security-groups`, `describe-security-group-rules`,
//! `describe-instances` and `describe-network-interfaces`.
//!
//! A group of AWS only allows, in no order, and several groups are joined: each permission is a rule, in the order of
//! the input.
//!
//! | file | subject |
//! |---|---|
//! | [`permission`] | one permission as rules |
//! | `instances` | instances and their interfaces |

mod instances;
pub mod permission;

use super::inventory::Inventory;
use super::json::Object;
use super::notes::Notes;
use crate::policy::{Direction, GroupId};
use permission::{Permission, rules};

/// Whether a document is of AWS.
pub fn is_one(object: &Object) -> bool {
    let keys = [
        "SecurityGroups",
        "SecurityGroupRules",
        "Reservations",
        "NetworkInterfaces",
    ];
    keys.iter().any(|key| object.has(key))
}

/// Reads documents.
pub fn read(documents: &[Object], inventory: &mut Inventory, notes: &mut Notes) {
    let mut instances = instances::Instances::default();
    for document in documents {
        document.name_the_rest(
            &[
                "SecurityGroups",
                "SecurityGroupRules",
                "Reservations",
                "NetworkInterfaces",
                "NextToken",
            ],
            notes,
        );
        if document.has("NextToken") {
            let message = "there are more pages: the answer is not whole";
            notes.not_kept(document.at("NextToken"), message);
        }
        for object in document.objects("SecurityGroups", notes) {
            group(&object, inventory, notes);
        }
        for object in document.objects("SecurityGroupRules", notes) {
            single_rule(&object, inventory, notes);
        }
        for reservation in document.objects("Reservations", notes) {
            for object in reservation.objects("Instances", notes) {
                instances.instance(&object, notes);
            }
        }
        for object in document.objects("NetworkInterfaces", notes) {
            instances.interface(&object, notes);
        }
    }
    instances.finish(inventory, notes);
}

/// The valid id of a group.
pub fn group_id(object: &Object, id: Option<String>, notes: &mut Notes) -> Option<String> {
    let id = id.unwrap_or_default();
    match GroupId::parse(&id) {
        Ok(_) => Some(id),
        Err(error) => {
            notes.not_kept(&object.place, error.to_string());
            None
        }
    }
}

fn group(object: &Object, inventory: &mut Inventory, notes: &mut Notes) {
    let known = [
        "GroupId",
        "GroupName",
        "VpcId",
        "OwnerId",
        "SecurityGroupArn",
        "IpPermissions",
        "IpPermissionsEgress",
    ];
    object.name_the_rest(&known, notes);
    let Some(id) = group_id(object, object.text("GroupId"), notes) else {
        return;
    };
    inventory.group(&id).name = object.text("GroupName");
    for (key, direction) in [
        ("IpPermissions", Direction::Inbound),
        ("IpPermissionsEgress", Direction::Outbound),
    ] {
        for permission in object.objects(key, notes) {
            let permission = Permission::of_group(&permission, notes);
            let rules = rules(&permission, notes);
            inventory.group(&id).rules_mut(direction).extend(rules);
        }
    }
}

fn single_rule(object: &Object, inventory: &mut Inventory, notes: &mut Notes) {
    let Some(id) = group_id(object, object.text("GroupId"), notes) else {
        return;
    };
    let outbound = object.text("IsEgress").is_some_and(|text| text == "true");
    let direction = match outbound {
        true => Direction::Outbound,
        false => Direction::Inbound,
    };
    let rules = rules(&Permission::of_rule(object, notes), notes);
    inventory.group(&id).rules_mut(direction).extend(rules);
}
