//! A permission of AWS as rules: one protocol, ports or an ICMP type, and what it is granted to.

use crate::cloud::formats::inventory::{RuleRecord, ServiceRecord};
use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::values::{address, has_ports, protocol};
use crate::policy::Interval;

/// A permission, whichever document it came from.
#[derive(Debug, Default)]
pub struct Permission {
    /// `tcp`, a number, or `-1` for all.
    pub protocol: String,
    /// The first port or the ICMP type.
    pub from: Option<i64>,
    /// The last port or the ICMP code.
    pub to: Option<i64>,
    /// Addresses and groups, each with its description.
    pub remotes: Vec<(String, Option<String>)>,
    /// Ids of prefix lists.
    pub prefix_lists: Vec<String>,
    /// Where it stands.
    pub place: String,
}

impl Permission {
    /// An item of `IpPermissions`.
    pub fn of_group(object: &Object, notes: &mut Notes) -> Self {
        let known = [
            "IpProtocol",
            "FromPort",
            "ToPort",
            "IpRanges",
            "Ipv6Ranges",
            "UserIdGroupPairs",
            "PrefixListIds",
        ];
        object.name_the_rest(&known, notes);
        let mut remotes = Vec::new();
        for (list, key) in [
            ("IpRanges", "CidrIp"),
            ("Ipv6Ranges", "CidrIpv6"),
            ("UserIdGroupPairs", "GroupId"),
        ] {
            for each in object.objects(list, notes) {
                match each.text(key) {
                    Some(text) => remotes.push((text, each.text("Description"))),
                    None => notes.not_kept(&each.place, format!("it has no {key}")),
                }
            }
        }
        let lists = object.objects("PrefixListIds", notes);
        Permission {
            protocol: object.text("IpProtocol").unwrap_or_default(),
            from: object.number("FromPort"),
            to: object.number("ToPort"),
            remotes,
            prefix_lists: lists
                .iter()
                .filter_map(|each| each.text("PrefixListId"))
                .collect(),
            place: object.place.clone(),
        }
    }

    /// An item of `SecurityGroupRules`.
    pub fn of_rule(object: &Object, notes: &mut Notes) -> Self {
        let known = [
            "SecurityGroupRuleId",
            "SecurityGroupRuleArn",
            "GroupId",
            "GroupOwnerId",
            "IsEgress",
            "IpProtocol",
            "FromPort",
            "ToPort",
            "CidrIpv4",
            "CidrIpv6",
            "PrefixListId",
            "ReferencedGroupInfo",
            "Description",
        ];
        object.name_the_rest(&known, notes);
        let referred = object.object("ReferencedGroupInfo");
        let referred = referred.and_then(|info| info.text("GroupId"));
        let remotes = [object.text("CidrIpv4"), object.text("CidrIpv6"), referred];
        let description = object.text("Description");
        Permission {
            protocol: object.text("IpProtocol").unwrap_or_default(),
            from: object.number("FromPort"),
            to: object.number("ToPort"),
            remotes: remotes
                .into_iter()
                .flatten()
                .map(|remote| (remote, description.clone()))
                .collect(),
            prefix_lists: object.text("PrefixListId").into_iter().collect(),
            place: object.place.clone(),
        }
    }
}

/// The rules of a permission: one for each description, since a rule has one.
pub fn rules(permission: &Permission, notes: &mut Notes) -> Vec<RuleRecord> {
    for list in &permission.prefix_lists {
        let message =
            format!("the prefix list {list} is left out: its addresses are not in the input");
        notes.not_kept(&permission.place, message);
    }
    let service = match service(permission, notes) {
        Ok(service) => service,
        Err(why) => {
            let message = format!("the permission is left out: {why}");
            notes.not_kept(&permission.place, message);
            return Vec::new();
        }
    };
    let mut rules: Vec<RuleRecord> = Vec::new();
    for (written, description) in &permission.remotes {
        let remote = match written.starts_with("sg-") {
            true => written.clone(),
            false => match address(written) {
                Ok((text, assumed)) => {
                    if let Some(assumed) = assumed {
                        notes.assumed(&permission.place, assumed);
                    }
                    text
                }
                Err(why) => {
                    notes.not_kept(&permission.place, why);
                    continue;
                }
            },
        };
        match rules
            .last_mut()
            .filter(|last| last.description == *description)
        {
            Some(last) => last.remote.push(remote),
            None => rules.push(RuleRecord {
                allow: true,
                service: service.clone(),
                remote: vec![remote],
                description: description.clone(),
                comment: None,
                place: permission.place.clone(),
            }),
        }
    }
    rules
}

fn service(permission: &Permission, notes: &mut Notes) -> Result<ServiceRecord, String> {
    let written = &permission.protocol;
    let name = protocol(written).ok_or(format!("a definition has no protocol `{written}`"))?;
    let whole = |from: i64, to: i64| match has_ports(name) {
        true => from <= 0 && (to == 65535 || to < 0),
        false => from < 0 || (name == "all") || (name == "gre"),
    };
    let (Some(from), Some(to)) = (permission.from, permission.to) else {
        return Ok(ServiceRecord::Protocol(name.to_owned(), Vec::new()));
    };
    if whole(from, to) {
        return Ok(ServiceRecord::Protocol(name.to_owned(), Vec::new()));
    }
    if !has_ports(name) {
        return Err(format!(
            "a rule names no type of {name}, and this is type {from}"
        ));
    }
    if from == 0 {
        notes.not_kept(&permission.place, "port 0 is left out: no rule names it");
    }
    let port = |number: i64| u16::try_from(number.max(1)).ok();
    let ports = port(from).zip(port(to)).filter(|_| to > 0);
    let ports = ports.and_then(|(from, to)| Interval::new(from, to));
    let ports = ports.ok_or(format!("{from} to {to} are no ports"))?;
    Ok(ServiceRecord::Protocol(name.to_owned(), vec![ports]))
}
