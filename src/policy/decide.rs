//! The reference: what happens to one packet, in plain words. It shares nothing with the compiler, and
//! tests hold the compiled ruleset and the kernel against it.

use super::host::{Binding, Policy};
use super::packet::{Packet, Protocol, State};
use super::platform::Platform;
use super::rule::{Action, Direction, Rule, RuleId, Service};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Whether a packet passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It is dropped without a word.
    Refuse,
    /// It would be refused, and passes: what refuses it only observes.
    #[serde(rename = "allow")]
    Observe,
}

impl Verdict {
    /// Whether the packet goes on its way.
    pub fn passes(self) -> bool {
        self != Verdict::Refuse
    }

    /// What becomes of a packet that is refused: it passes where the refusal only observes.
    pub(super) fn refusal(observes: bool) -> Self {
        match observes {
            true => Verdict::Observe,
            false => Verdict::Refuse,
        }
    }
}

/// What decided: one of the layers, with the rule where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Traffic without which the network itself would not work.
    Essential,
    /// It belongs to a tracked flow.
    Established,
    /// Connection tracking can make nothing of it.
    Invalid,
    /// The platform blocks the port.
    BlockedPorts,
    /// The platform blocks TCP 25 to external addresses.
    Smtp,
    /// An approved service, by name.
    ApprovedService(Arc<str>),
    /// A rule of a group.
    Rule(RuleId),
    /// No rule matched.
    Default,
    /// The interface is not bound.
    Unmanaged,
}

/// A verdict and what decided it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Whether the packet passes.
    pub verdict: Verdict,
    /// What decided.
    pub reason: Reason,
}

impl Policy {
    /// What happens to a packet: the rows of the specification's table 2, from top to bottom. Rows 1 and 2
    /// both pass; as in the kernel, the cheaper question (is the flow known?) comes first.
    pub fn decide(&self, packet: &Packet) -> Decision {
        self.decide_before_list(packet)
            .unwrap_or_else(|binding| self.decide_by_list(binding, packet))
    }

    /// What is decided whatever the ports and addresses, or where the packet is looked up.
    ///
    /// # Errors
    ///
    /// The binding whose list decides.
    pub fn decide_before_list(&self, packet: &Packet) -> Result<Decision, &Binding> {
        use Verdict::Allow;
        let platform = &*self.platform;
        let refuse = Verdict::refusal(platform.observe);
        let binding = self
            .bindings
            .iter()
            .find(|binding| binding.interface.matches(&packet.interface));
        let unjudged = matches!(packet.state, State::Unjudged | State::UnjudgedReply);
        let opened = packet.flow_direction();
        let refuses = packet.direction == Direction::Inbound
            || (platform.recheck && opened == Direction::Inbound);
        let managed = binding.is_some() || (platform.unbound_refuse && refuses);
        if !managed || packet.interface == "lo" {
            return Ok(decision(Allow, Reason::Unmanaged));
        }
        let known = matches!(packet.state, State::Established | State::IcmpError);
        if known || (unjudged && !platform.recheck) {
            return Ok(decision(Allow, Reason::Established));
        }
        if !packet.forwarded && is_essential(packet) {
            return Ok(decision(Allow, Reason::Essential));
        }
        // What is not bound judges inbound flows only.
        if unjudged && binding.is_none() && opened == Direction::Outbound {
            return Ok(decision(Allow, Reason::Established));
        }
        if packet.state == State::Invalid {
            return Ok(decision(refuse, Reason::Invalid));
        }
        binding.map_or(Ok(decision(refuse, Reason::Unmanaged)), Err)
    }

    /// What the platform and the groups of a binding say about a packet that opens a flow; of one that answers, about the flow.
    pub fn decide_by_list(&self, binding: &Binding, packet: &Packet) -> Decision {
        use Verdict::Allow;
        if packet.state == State::UnjudgedReply {
            return self.decide_by_list(binding, &packet.opened_by());
        }
        let platform = &*self.platform;
        let refuse = Verdict::refusal(platform.observe);
        if is_blocked(platform, packet) {
            return decision(refuse, Reason::BlockedPorts);
        }
        let smtp = packet.protocol == Protocol::TCP && packet.destination_port == 25;
        if self.smtp_blocked
            && smtp
            && packet.direction == Direction::Outbound
            && !platform.is_internal(packet.remote)
        {
            return decision(refuse, Reason::Smtp);
        }
        for approved in &platform.approved_services {
            let serves = approved
                .services
                .iter()
                .any(|service| serves(service, packet));
            if approved.direction == packet.direction
                && serves
                && approved.remote.contains(packet.remote)
            {
                return decision(Allow, Reason::ApprovedService(approved.name.clone()));
            }
        }
        for group in &binding.groups {
            if let Some(rule) = group
                .rules(packet.direction)
                .iter()
                .find(|rule| matches(rule, packet))
            {
                let verdict = match rule.action {
                    Action::Allow => Allow,
                    Action::Refuse => Verdict::refusal(platform.observe || group.observe),
                };
                return decision(verdict, Reason::Rule(rule.id.clone()));
            }
        }
        let observes = platform.observe || binding.observes_the_rest();
        decision(Verdict::refusal(observes), Reason::Default)
    }
}

fn decision(verdict: Verdict, reason: Reason) -> Decision {
    Decision { verdict, reason }
}

/// Whether a rule is about a packet.
pub fn matches(rule: &Rule, packet: &Packet) -> bool {
    rule.services.iter().any(|service| serves(service, packet))
        && rule
            .remote
            .as_ref()
            .is_some_and(|remote| remote.contains(packet.remote))
}

fn serves(service: &Service, packet: &Packet) -> bool {
    let is = |protocol| packet.protocol == protocol;
    match service {
        Service::All => true,
        Service::Tcp(ports) => is(Protocol::TCP) && ports.contains(packet.destination_port),
        Service::Udp(ports) => is(Protocol::UDP) && ports.contains(packet.destination_port),
        Service::Icmp => is(Protocol::ICMP) && packet.remote.is_ipv4(),
        Service::Icmpv6 => is(Protocol::ICMPV6) && packet.remote.is_ipv6(),
        Service::Gre => is(Protocol::GRE),
    }
}

fn is_blocked(platform: &Platform, packet: &Packet) -> bool {
    let blocked = &platform.blocked_ports;
    let ports = match packet.protocol {
        Protocol::TCP => &blocked.tcp,
        Protocol::UDP => &blocked.udp,
        _ => return false,
    };
    blocked.blocks(packet.direction)
        && ports
            .as_ref()
            .is_some_and(|ports| ports.contains(packet.destination_port))
        && !(blocked.external_only && platform.is_internal(packet.remote))
}

/// Neighbour discovery, multicast membership and DHCP: without them no address and no neighbour.
fn is_essential(packet: &Packet) -> bool {
    let (kind, hops, ports) = (
        packet.icmp_type,
        packet.hop_limit,
        (packet.source_port, packet.destination_port),
    );
    let link_local =
        |remote: IpAddr| matches!(remote, IpAddr::V6(address) if address.is_unicast_link_local());
    let all_dhcp_agents = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2));
    let v6 = packet.remote.is_ipv6();
    match (packet.direction, packet.protocol) {
        (Direction::Inbound, Protocol::ICMPV6) if v6 => {
            matches!((kind, hops), (134..=136, 255) | (130..=132 | 143, 1))
        }
        (Direction::Outbound, Protocol::ICMPV6) if v6 => {
            matches!((kind, hops), (133 | 135 | 136, 255) | (131 | 132 | 143, 1))
        }
        (Direction::Inbound, Protocol::UDP) => {
            (!v6 && ports == (67, 68)) || (ports == (547, 546) && link_local(packet.remote))
        }
        (Direction::Outbound, Protocol::UDP) => {
            let dhcp_server = packet.remote == all_dhcp_agents || link_local(packet.remote);
            (!v6 && ports == (68, 67)) || (ports == (546, 547) && dhcp_server)
        }
        _ => false,
    }
}
