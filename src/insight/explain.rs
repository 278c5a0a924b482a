//! Which layer, group and rule decides about a flow. No kernel and no privilege is needed.

use crate::definition::Place;
use crate::policy::{Direction, Packet, Policy, Protocol, Reason, Verdict};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use thiserror::Error;

/// A flow to judge, by the packet that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who opens it, seen from the host.
    pub direction: Direction,
    /// The interface; may be left out where only one is bound.
    #[serde(default)]
    pub interface: Option<String>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `gre`, or a number.
    #[serde(deserialize_with = "text_or_number")]
    pub protocol: String,
    /// The source of an inbound, the destination of an outbound flow.
    pub remote: IpAddr,
    /// The destination port, with tcp and udp.
    #[serde(default)]
    pub port: Option<u16>,
}

/// What decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Whether it passes.
    pub verdict: Verdict,
    /// Whether it passes only because what would refuse it observes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub would_be_refused: bool,
    /// The layer that decides.
    pub layer: &'static str,
    /// The rule, as `sg-web/in/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The approved service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where the rule or the service stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// Why a question cannot be answered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QuestionError {
    /// No interface named, and not exactly one bound.
    #[error("name the interface with --interface: bound are {0}")]
    Interface(String),
    /// Not a protocol.
    #[error(
        "`{0}` is not a protocol: write tcp, udp, icmp, icmpv6, gre, or a number from 0 to 255"
    )]
    Protocol(String),
    /// TCP and UDP have ports.
    #[error("{0} needs a port: `{0} 203.0.113.9 443`")]
    NoPort(String),
    /// Others have none.
    #[error("{0} has no ports")]
    Port(String),
    /// ICMP is IPv4 only, ICMPv6 IPv6 only.
    #[error("{protocol} does not go with {remote}: icmp is IPv4 only, icmpv6 IPv6 only")]
    Family {
        /// The protocol.
        protocol: String,
        /// The address.
        remote: IpAddr,
    },
}

/// Judges the packet that opens the flow.
pub fn explain(policy: &Policy, question: &Question) -> Result<Answer, QuestionError> {
    let decision = policy.decide(&opening(policy, question)?);
    let mut answer = Answer {
        verdict: decision.verdict,
        would_be_refused: decision.verdict == Verdict::Observe,
        layer: decision.reason.layer(),
        rule: None,
        service: None,
        place: None,
    };
    match decision.reason {
        Reason::Rule(id) => {
            answer.place = policy.rule(&id).map(|rule| rule.place.clone());
            answer.rule = Some(id.to_string());
        }
        Reason::ApprovedService(name) => {
            let approved = policy.platform.approved_service(&name);
            answer.place = approved.and_then(|approved| approved.place.clone());
            answer.service = Some(name.to_string());
        }
        _ => {}
    }
    Ok(answer)
}

/// The packet that opens the flow.
pub fn opening(policy: &Policy, question: &Question) -> Result<Packet, QuestionError> {
    let interface = match (&question.interface, policy.bindings.as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [only]) if !only.interface.is_glob() => only.interface.to_string(),
        (None, bindings) => {
            let names: Vec<_> = bindings
                .iter()
                .map(|binding| binding.interface.to_string())
                .collect();
            return Err(QuestionError::Interface(names.join(", ")));
        }
    };
    let name = || question.protocol.clone();
    let protocol =
        Protocol::parse(&question.protocol).ok_or_else(|| QuestionError::Protocol(name()))?;
    let has_ports = matches!(protocol, Protocol::TCP | Protocol::UDP);
    let port = match question.port {
        Some(port) if has_ports => port,
        Some(_) => return Err(QuestionError::Port(name())),
        None if has_ports => return Err(QuestionError::NoPort(name())),
        None => 0,
    };
    let wrong_family = match protocol {
        Protocol::ICMP => question.remote.is_ipv6(),
        Protocol::ICMPV6 => question.remote.is_ipv4(),
        _ => false,
    };
    if wrong_family {
        return Err(QuestionError::Family {
            protocol: name(),
            remote: question.remote,
        });
    }
    Ok(Packet::opening(
        question.direction,
        &interface,
        protocol,
        question.remote,
        port,
    ))
}

/// A protocol may be a name or a number in JSON.
fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Number(u8),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}
