//! Brute force: every packet on an edge of what a definition says, and what each rule says about it, in plain words.

use crate::cases::NOW;
use secgroupd::definition::{Definition, parse};
use secgroupd::insight::listed::FlowKind;
use secgroupd::policy::{
    Account, Action, AddressRange, AddressSet, Binding, Direction, InterfaceName, Packet, Policy,
    Reason, Rule, SecurityGroup, Service, Verdict, validate_at,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A definition that must be right.
pub fn account(text: &str) -> (Definition, Account) {
    let parsed = parse([("test.yaml", text)]);
    let sources = parsed.definition.sources.clone();
    let validated = validate_at(&parsed.definition, parsed.diagnostics, NOW);
    let Some(account) = validated.account else {
        panic!(
            "{text}\n{}",
            validated.diagnostics[0].render(&sources, false)
        );
    };
    (parsed.definition, account)
}

/// Edges of all that groups and a platform say.
#[derive(Default)]
pub struct Edges {
    pub addresses: BTreeSet<IpAddr>,
    pub ports: BTreeSet<u16>,
}

impl Edges {
    pub fn add(&mut self, policy: &Policy, groups: &[Arc<SecurityGroup>]) {
        self.ports.extend([0, 22, 24, 25, 26, 3389, u16::MAX]);
        self.set(&AddressSet::any());
        let platform = &policy.platform;
        platform.internal.iter().for_each(|set| self.set(set));
        let blocked = &platform.blocked_ports;
        for ports in [&blocked.tcp, &blocked.udp].into_iter().flatten() {
            self.service(&Service::Tcp(ports.clone()));
        }
        for approved in &platform.approved_services {
            self.set(&approved.remote);
            approved.services.iter().for_each(|each| self.service(each));
        }
        for group in groups {
            for rule in group.inbound.iter().chain(&group.outbound) {
                rule.remote.iter().for_each(|set| self.set(set));
                rule.services.iter().for_each(|each| self.service(each));
            }
        }
    }

    fn set(&mut self, set: &AddressSet) {
        for range in set.ranges() {
            match range {
                AddressRange::V4(i) => {
                    let near = [
                        i.first.saturating_sub(1),
                        i.first,
                        i.last,
                        i.last.saturating_add(1),
                    ];
                    self.addresses
                        .extend(near.map(|number| IpAddr::V4(Ipv4Addr::from(number))));
                }
                AddressRange::V6(i) => {
                    let near = [
                        i.first.saturating_sub(1),
                        i.first,
                        i.last,
                        i.last.saturating_add(1),
                    ];
                    self.addresses
                        .extend(near.map(|number| IpAddr::V6(Ipv6Addr::from(number))));
                }
            }
        }
    }

    fn service(&mut self, service: &Service) {
        if let Service::Tcp(ports) | Service::Udp(ports) = service {
            for i in ports.intervals() {
                self.ports.extend([
                    i.first.saturating_sub(1),
                    i.first,
                    i.last,
                    i.last.saturating_add(1),
                ]);
            }
        }
    }

    /// Every packet that opens a flow at an edge, with its kind.
    pub fn packets(&self, interface: &str, mut each: impl FnMut(FlowKind, &Packet)) {
        for direction in [Direction::Inbound, Direction::Outbound] {
            for address in &self.addresses {
                for kind in FlowKind::ALL {
                    let protocol = kind.protocol(address.is_ipv4());
                    let mut packet = Packet::opening(direction, interface, protocol, *address, 0);
                    match kind.has_ports() {
                        true => {
                            for port in &self.ports {
                                packet.destination_port = *port;
                                each(kind, &packet);
                            }
                        }
                        false => each(kind, &packet),
                    }
                }
            }
        }
    }
}

/// Whether a rule is about a packet.
pub fn is_about(rule: &Rule, packet: &Packet) -> bool {
    let port = packet.destination_port;
    let v4 = packet.remote.is_ipv4();
    let service = |service: &Service| match (service, packet.protocol.0) {
        (Service::All, _) => true,
        (Service::Tcp(ports), 6) | (Service::Udp(ports), 17) => ports.contains(port),
        (Service::Icmp, 1) => v4,
        (Service::Icmpv6, 58) => !v4,
        (Service::Bare(protocol), number) => protocol.0 == number,
        _ => false,
    };
    let remote = rule.remote.as_ref();
    remote.is_some_and(|set| set.contains(packet.remote)) && rule.services.iter().any(service)
}

/// What decides about a packet: the platform, or the rules that are about it in order, with the place of their group.
pub fn about<'g>(
    policy: &Policy,
    groups: &'g [Arc<SecurityGroup>],
    packet: &Packet,
) -> Option<Vec<(usize, &'g Rule)>> {
    let rules = groups.iter().enumerate().flat_map(|(place, group)| {
        let rules = group.rules(packet.direction).iter();
        rules
            .filter(|rule| is_about(rule, packet))
            .map(move |rule| (place, rule))
    });
    let rules: Vec<(usize, &Rule)> = rules.collect();
    let binding = Binding {
        interface: InterfaceName::parse("eth0").unwrap(),
        groups: groups.to_vec(),
        addresses: Vec::new(),
        acl: None,
    };
    let decision = policy.decide_by_list(&binding, packet);
    // The reference says who decides.
    match (&decision.reason, rules.first()) {
        (Reason::Rule(id), Some((_, first))) => assert_eq!(*id, first.id),
        (Reason::Default, None) => {}
        (Reason::BlockedPorts | Reason::Smtp | Reason::ApprovedService(_), _) => return None,
        (other, first) => panic!("{other:?} and {first:?} about {packet:?}"),
    }
    Some(rules)
}

/// What a rule makes of a packet.
pub fn verdict(rule: &Rule) -> Verdict {
    match rule.action {
        Action::Allow => Verdict::Allow,
        Action::Refuse => Verdict::Refuse,
    }
}
