//! What a network ACL lets pass and never answers: it is stateless, and its list of the other direction has no entry for
//! the answers.

use super::finding::Finding;
use super::written::of_rule;
use crate::definition::{Definition, codes};
use crate::policy::address::AddressNumber;
use crate::policy::interval::contains;
use crate::policy::places::WrittenRules;
use crate::policy::{
    Account, AclEntryId, AclId, Action, AddressRange, AddressSet, Direction, Interval, Packet,
    PortSet, Protocol, Rule, RuleId, Service, SubnetAcl,
};
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// So many packets are looked at in all, each with the entries of an ACL.
const MOST_PACKETS: usize = 400_000;

/// Rules whose flows an ACL lets pass without ever letting an answer pass, each once for each ACL.
pub fn findings(definition: &Definition, account: &Account) -> Vec<Finding> {
    let written = WrittenRules::new(definition);
    let mut left = MOST_PACKETS;
    let mut seen: HashSet<(&RuleId, AclId)> = HashSet::new();
    let mut findings = Vec::new();
    let interfaces = account.instances.iter().flat_map(|each| &each.interfaces);
    for interface in interfaces {
        let Some(acl) = account.acl_of(interface) else {
            continue;
        };
        let groups = interface
            .groups
            .iter()
            .filter_map(|id| account.groups.get(id));
        for group in groups {
            for rule in group.inbound.iter().chain(&group.outbound) {
                let is_new = seen.insert((&rule.id, acl.acl.id.clone()));
                if rule.action == Action::Refuse || !is_new {
                    continue;
                }
                let asked = AskedRule {
                    acl: &acl,
                    own: &interface.addresses,
                    rule,
                };
                let Some(refusing) = asked.never_answered(&mut left) else {
                    continue;
                };
                findings.push(of_rule(finding(rule, &refusing, &written), rule, &written));
            }
        }
    }
    findings
}

fn finding(rule: &Rule, refusing: &AclEntryId, written: &WrittenRules) -> Finding {
    let ports = rule.services.iter().find_map(|service| match service {
        Service::Tcp(ports) | Service::Udp(ports) => ports.intervals().first(),
        _ => None,
    });
    let example = match ports {
        Some(one) if one.first == one.last => one.first.to_string(),
        Some(many) => format!("{}-{}", many.first, many.last),
        None => "443".to_owned(),
    };
    let (remote, list) = match refusing.direction {
        Direction::Inbound => ("source", "inbound"),
        Direction::Outbound => ("destination", "outbound"),
    };
    let related = written.acl_entry(refusing);
    Finding {
        related: related
            .map(|entry| (entry.span, "it refuses an answer".to_owned()))
            .into_iter()
            .collect(),
        ..Finding::new(
            codes::ACL_NO_ANSWER,
            format!(
                "the network ACL {} lets this pass, and no answer to it: {refusing} refuses them",
                refusing.acl
            ),
            format!(
                "a network ACL is stateless: add an {list} entry for the answers, such as `source_port: {example}, port: 1024-65535, {remote}: …`"
            ),
        )
    }
}

/// A rule of a group that is bound to an interface behind an ACL.
struct AskedRule<'a> {
    acl: &'a SubnetAcl,
    /// The interface's own addresses.
    own: &'a [IpAddr],
    rule: &'a Rule,
}

impl AskedRule<'_> {
    /// What refuses an answer, if the ACL lets some flow of the rule pass and no answer of any. Looks at one flow for
    /// each combination of what the ACL tells apart; nothing where those are too many.
    fn never_answered(&self, left: &mut usize) -> Option<AclEntryId> {
        let remote = self.rule.remote.as_ref()?;
        let mut refusing = None;
        for (protocol, ports) in self.services() {
            let ports = self.ports(protocol, ports);
            for own in self.own {
                let remotes = match own {
                    IpAddr::V4(_) => self.remotes::<u32>(remote),
                    IpAddr::V6(_) => self.remotes::<u128>(remote),
                };
                *left = left.checked_sub(ports.len() * remotes.len())?;
                for port in &ports {
                    for remote in &remotes {
                        let direction = self.rule.id.direction;
                        let opening = Packet {
                            local: *own,
                            ..Packet::opening(direction, "", protocol, *remote, *port)
                        };
                        // Inside the subnet it is not asked.
                        let asked = self.acl.decide(&opening);
                        if asked.is_none_or(|(action, _)| action == Action::Refuse) {
                            continue;
                        }
                        // One answer is enough.
                        refusing = Some(self.refuses(&opening.answer())?);
                    }
                }
            }
        }
        refusing
    }

    fn refuses(&self, packet: &Packet) -> Option<AclEntryId> {
        let (action, entry) = self.acl.decide(packet)?;
        (action == Action::Refuse).then_some(entry)
    }

    /// Those with ports. What is about all ports is about no service in particular.
    fn services(&self) -> impl Iterator<Item = (Protocol, &PortSet)> {
        let services = self.rule.services.iter();
        let services = services.filter_map(|service| match service {
            Service::Tcp(ports) => Some((Protocol::TCP, ports)),
            Service::Udp(ports) => Some((Protocol::UDP, ports)),
            _ => None,
        });
        services.filter(|(_, ports)| !ports.is_all())
    }

    /// The first port of each piece that the entries tell apart.
    fn ports(&self, protocol: Protocol, ports: &PortSet) -> Vec<u16> {
        let direction = self.rule.id.direction;
        let mut cuts: BTreeSet<u16> = BTreeSet::new();
        let mut cut = |set: &PortSet| {
            for interval in set.intervals() {
                cuts.insert(interval.first);
                cuts.extend(interval.last.checked_add(1));
            }
        };
        cut(ports);
        for entry in self.acl.acl.entries(direction) {
            match &entry.service {
                Service::Tcp(asked) if protocol == Protocol::TCP => cut(asked),
                Service::Udp(asked) if protocol == Protocol::UDP => cut(asked),
                _ => {}
            }
        }
        for entry in self.acl.acl.entries(direction.opposite()) {
            cut(&entry.source_ports);
        }
        cuts.retain(|port| ports.contains(*port));
        cuts.into_iter().collect()
    }

    /// The same of remotes.
    fn remotes<T: AddressNumber>(&self, remote: &AddressSet) -> Vec<IpAddr> {
        let mut cuts: BTreeSet<T> = BTreeSet::new();
        let within = T::in_set(remote);
        let mut cut = |list: &[Interval<T>]| {
            for interval in list {
                cuts.insert(interval.first);
                cuts.extend(interval.last.successor());
            }
        };
        cut(&within);
        cut(&T::in_set(&self.acl.networks));
        for direction in [Direction::Inbound, Direction::Outbound] {
            for entry in self.acl.acl.entries(direction) {
                cut(&T::in_set(entry.remote()));
            }
        }
        cuts.retain(|address| contains(&within, *address));
        cuts.into_iter().map(address).collect()
    }
}

fn address<T: AddressNumber>(number: T) -> IpAddr {
    match T::range(Interval::point(number)) {
        AddressRange::V4(one) => Ipv4Addr::from(one.first).into(),
        AddressRange::V6(one) => Ipv6Addr::from(one.first).into(),
    }
}
