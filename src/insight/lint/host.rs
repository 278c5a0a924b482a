//! What a host needs and what the rules of its instance make of it. The host itself is asked elsewhere.

use super::finding::Finding;
use crate::definition::codes;
use crate::insight::listed::FlowKind;
use crate::insight::open::open_to;
use crate::policy::listed::entries;
use crate::policy::{AddressSet, Binding, Direction, Packet, Policy, Verdict};
use std::net::{IpAddr, SocketAddr};

/// A server that the host uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address; `None` where only a name is written.
    pub address: Option<IpAddr>,
    /// As it is written, and where.
    pub written: String,
    /// The interface by which it is reached.
    pub interface: Option<String>,
}

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// `true` for TCP, `false` for UDP.
    pub tcp: bool,
    /// Where.
    pub local: SocketAddr,
    /// Of the IPv6 wildcard: whether it takes IPv4 as well.
    pub both: bool,
    /// The process, as `nginx (1234)`, if it is known.
    pub process: Option<String>,
    /// The interface that has its address; `None` for a wildcard.
    pub interface: Option<String>,
}

/// What is known of the host.
#[derive(Debug, Clone, Default)]
pub struct HostNeeds {
    /// Of /etc/resolv.conf.
    pub resolvers: Vec<Server>,
    /// Of chrony, ntpd and systemd-timesyncd.
    pub time_servers: Vec<Server>,
    /// Of the default routes.
    pub gateways: Vec<Server>,
    /// What listens.
    pub listening: Vec<Listening>,
}

impl Listening {
    /// `tcp 443`
    pub fn port(&self) -> String {
        let name = if self.tcp { "tcp" } else { "udp" };
        format!("{name} {}", self.local.port())
    }

    /// What it is for the rules.
    pub fn kind(&self) -> FlowKind {
        if self.tcp {
            FlowKind::Tcp
        } else {
            FlowKind::Udp
        }
    }
}

/// Warnings about what the host needs and does not get.
pub fn findings(policy: &Policy, host: &HostNeeds) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (dns, ntp, ping) = (
        (FlowKind::Udp, 53),
        (FlowKind::Udp, 123),
        (FlowKind::Icmp, 0),
    );
    for (servers, code, what, (kind, port)) in [
        (&host.resolvers, codes::RESOLVER_REFUSED, "resolver", dns),
        (
            &host.time_servers,
            codes::TIME_SERVER_REFUSED,
            "time server",
            ntp,
        ),
        (&host.gateways, codes::GATEWAY_REFUSED, "gateway", ping),
    ] {
        let refused = servers
            .iter()
            .filter(|server| is_refused(policy, server, kind, port));
        findings.extend(refused.map(|server| {
            let flow = match kind {
                FlowKind::Udp => format!("udp {port}"),
                _ => "a ping".to_owned(),
            };
            let message = format!(
                "the outbound rules refuse {flow} to the {what} {} that this host uses",
                server.written
            );
            let help = match code {
                codes::GATEWAY_REFUSED => "allow icmp (or icmpv6) to it, or silence this",
                _ => "allow it outbound, or use another one",
            };
            Finding::new(code, message, help)
        }));
    }
    let mut told = Vec::new();
    for listening in &host.listening {
        if told.contains(&listening.port()) || is_open(policy, listening, &host.listening) {
            continue;
        }
        told.push(listening.port());
        let process = listening
            .process
            .as_ref()
            .map(|process| format!(" ({process})"))
            .unwrap_or_default();
        let message = format!(
            "a process{process} listens on {}, which no inbound rule opens to anybody",
            listening.port()
        );
        let help = "open it in a group, have the process listen on 127.0.0.1, or silence this";
        findings.push(Finding::new(codes::PORT_NOT_OPEN, message, help));
    }
    findings
}

fn is_refused(policy: &Policy, server: &Server, kind: FlowKind, port: u16) -> bool {
    let bindings = &policy.bindings;
    match (server.address, &server.interface) {
        (Some(address), Some(interface)) => {
            let protocol = kind.protocol(address.is_ipv4());
            let direction = Direction::Outbound;
            let packet = Packet {
                local: policy.own_address(interface, address),
                ..Packet::opening(direction, interface, protocol, address, port)
            };
            policy.decide_flow(&packet).verdict == Verdict::Refuse
        }
        // Whoever it is, none can be asked.
        (None, _) => {
            !bindings.is_empty()
                && bindings.iter().all(|binding| {
                    open_at(policy, binding, Direction::Outbound, kind, port).is_none()
                })
        }
        // No route leads there.
        (Some(_), None) => false,
    }
}

fn open_at(
    policy: &Policy,
    binding: &Binding,
    direction: Direction,
    kind: FlowKind,
    port: u16,
) -> Option<AddressSet> {
    let smtp_blocked = policy.smtp_blocked;
    let list = entries(&policy.platform, &binding.groups, smtp_blocked, direction);
    open_to(&list, kind, port)
}

/// Who may reach this port at a binding; `None`: nobody.
pub fn reached_by(
    policy: &Policy,
    binding: &Binding,
    kind: FlowKind,
    port: u16,
) -> Option<AddressSet> {
    open_at(policy, binding, Direction::Inbound, kind, port)
}

/// Whether anybody may reach it, or one that listens on the same port; of what stays within the host nobody asks.
pub fn is_open(policy: &Policy, listening: &Listening, all: &[Listening]) -> bool {
    let port = listening.local.port();
    let same = |other: &&Listening| other.tcp == listening.tcp && other.local.port() == port;
    all.iter().filter(same).any(|each| {
        let ip = each.local.ip();
        // A process asks from such a port, or is reached by what is essential to the network.
        let passing = !each.tcp && (port >= 32_768 || matches!(port, 67 | 68 | 546 | 547));
        let here = |binding: &&Binding| match &each.interface {
            Some(name) => binding.interface.matches(name),
            None => true,
        };
        let bound = policy.bindings.iter().filter(here);
        let mut bound = bound.peekable();
        let nobody = bound.peek().is_none();
        ip.is_loopback()
            || ip.is_multicast()
            || passing
            || nobody
            || bound.any(|binding| {
                let open = reached_by(policy, binding, each.kind(), port);
                open.is_some_and(|open| match (ip.is_ipv4(), each.both) {
                    (true, _) => !open.v4().is_empty(),
                    (false, true) => true,
                    (false, false) => !open.v6().is_empty(),
                })
            })
    })
}
