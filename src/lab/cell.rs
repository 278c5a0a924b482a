//! One cell of the matrix: who tries what where, what is to be expected, and what was found.

use super::node::Node;
use super::probe::{Found, Shot};
use super::service::LabService;
use crate::insight::explain::{Question, explain};
use crate::policy::{Direction, Packet, Policy, Protocol, Reason};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What one side's rules say about the packet that opens the flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether it passes.
    pub allows: bool,
    /// The layer that decides.
    pub layer: String,
    /// The rule, as `sg-web/in/3`, or the approved service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl Judgement {
    /// The name of what decided: the rule, or else the layer.
    pub fn by(&self) -> &str {
        self.rule.as_deref().unwrap_or(&self.layer)
    }

    /// `sg-web/in/3 (groups.yaml:14)`.
    pub fn with_place(&self) -> String {
        match &self.place {
            Some(place) => format!("{} ({place})", self.by()),
            None => self.by().to_owned(),
        }
    }
}

/// What the two sides' rules make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// Both let it pass, and something listens.
    Reached,
    /// Both let it pass; the lab has nothing listen there.
    Passes,
    /// One of the two refuses it.
    Silent,
}

/// Whether what was found is what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Agreement {
    /// It is.
    Equal,
    /// It is not, because of what is named here: an instance's own iptables, or a program on it.
    Explained(String),
    /// It is not, and nothing explains it: what is missing.
    Different(String),
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Who tries.
    pub from: String,
    /// From which address.
    pub source: IpAddr,
    /// Where.
    pub to: String,
    /// At which address.
    pub target: IpAddr,
    /// What.
    pub service: LabService,
    /// What was found.
    pub found: Found,
    /// What was expected.
    pub expected: Expected,
    /// What the sender's outbound rules say; nothing of a host outside, which has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Judgement>,
    /// What the receiver's inbound rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<Judgement>,
    /// Whether the two agree.
    pub agreement: Agreement,
}

impl Cell {
    /// A cell that is to be tried.
    pub fn expect(from: &Node, to: &Node, shot: &Shot, listens: bool) -> Result<Self, String> {
        let outbound = judge(from, Direction::Outbound, shot.source, shot.target, shot)?;
        let inbound = judge(to, Direction::Inbound, shot.target, shot.source, shot)?;
        let passes = |side: &Option<Judgement>| side.as_ref().is_none_or(|side| side.allows);
        // That nothing listens at a UDP port is said by ICMP, which network ACLs judge for itself.
        let is_said = !matches!(shot.service, LabService::Udp(_))
            || (error_passes(to, Direction::Outbound, shot.target, shot.source)
                && error_passes(from, Direction::Inbound, shot.source, shot.target));
        let expected = match passes(&outbound) && passes(&inbound) {
            false => Expected::Silent,
            true if !listens && !is_said => Expected::Silent,
            true if listens || shot.service == LabService::Ping => Expected::Reached,
            true => Expected::Passes,
        };
        Ok(Cell {
            from: from.name().to_owned(),
            source: shot.source,
            to: to.name().to_owned(),
            target: shot.target,
            service: shot.service,
            found: Found::Silent,
            expected,
            outbound,
            inbound,
            agreement: Agreement::Equal,
        })
    }

    /// What is tried.
    pub fn shot(&self) -> Shot {
        Shot {
            source: self.source,
            target: self.target,
            service: self.service,
        }
    }

    /// Whether this is what was expected. Where the lab has nothing listen, a program that was started by hand may.
    pub fn is_as_expected(&self) -> bool {
        match self.expected {
            Expected::Reached => self.found == Found::Reached,
            Expected::Passes => self.found != Found::Silent,
            Expected::Silent => self.found == Found::Silent,
        }
    }

    /// The side that refuses it, if one does: `outbound` comes first, as for the packet.
    pub fn refused_by(&self) -> Option<(Direction, &Judgement)> {
        let sides = [
            (Direction::Outbound, &self.outbound),
            (Direction::Inbound, &self.inbound),
        ];
        sides
            .into_iter()
            .filter_map(|(direction, side)| Some((direction, side.as_ref()?)))
            .find(|(_, side)| !side.allows)
    }
}

/// What the node's rules say about the packet that opens the flow, between its own address and the remote one.
fn judge(
    node: &Node,
    direction: Direction,
    own: IpAddr,
    remote: IpAddr,
    shot: &Shot,
) -> Result<Option<Judgement>, String> {
    let plan = node.plan();
    let Some(enforced) = node.enforced() else {
        return match plan.instance {
            None => Ok(None),
            Some(_) => Err(format!(
                "{} enforces nothing yet, so that nothing can be predicted: save its definition again",
                node.name()
            )),
        };
    };
    let interface = plan.addresses().find(|(_, address)| *address == own);
    let interface = interface.map(|(name, _)| name.to_owned());
    let question = Question {
        direction,
        interface,
        protocol: shot.service.protocol(shot.target).0.to_string(),
        remote,
        port: shot.service.port(),
        local: Some(own),
    };
    judged(&enforced.policy, &question).map(Some)
}

/// Whether the network ACL of a node's interface lets an ICMP error pass between these addresses.
fn error_passes(node: &Node, direction: Direction, own: IpAddr, remote: IpAddr) -> bool {
    let plan = node.plan();
    let interface = plan.addresses().find(|(_, address)| *address == own);
    let (Some(enforced), Some((interface, _))) = (node.enforced(), interface) else {
        return true;
    };
    let protocol = match remote {
        IpAddr::V4(_) => Protocol::ICMP,
        IpAddr::V6(_) => Protocol::ICMPV6,
    };
    let error = Packet {
        local: own,
        ..Packet::opening(direction, interface, protocol, remote, 0)
    };
    let refusal = enforced.policy.acl_refusal(&error);
    refusal.is_none_or(|refusal| refusal.verdict.passes())
}

fn judged(policy: &Policy, question: &Question) -> Result<Judgement, String> {
    let answer = explain(policy, question).map_err(|error| error.to_string())?;
    let named = matches!(
        answer.reason,
        Reason::Rule(_) | Reason::ApprovedService(_) | Reason::Acl(_)
    );
    Ok(Judgement {
        allows: answer.verdict.passes(),
        layer: answer.reason.layer().to_owned(),
        rule: named.then(|| answer.reason.to_string()),
        place: answer.place.map(|place| place.to_string()),
    })
}
