//! Which layer, group and rule decides about a flow. No kernel and no privilege is needed.

use crate::definition::keys::protocol_names;
use crate::definition::{Place, closest};
use crate::policy::{Decision, Direction, Packet, Policy, PortSet, Protocol, Reason, Verdict};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
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
    /// One of [`Protocol::NAMES`], or a number.
    #[serde(deserialize_with = "text_or_number")]
    pub protocol: String,
    /// The source of an inbound, the destination of an outbound flow.
    pub remote: IpAddr,
    /// The destination port, with tcp and udp.
    #[serde(default, deserialize_with = "port")]
    pub port: Option<u16>,
    /// The host's own end, where its interface has several: network ACLs may ask for it.
    #[serde(default)]
    pub local: Option<IpAddr>,
}

/// What decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "AnswerJson")]
pub struct Answer {
    /// Whether it passes.
    pub verdict: Verdict,
    /// What decides.
    pub reason: Reason,
    /// Where the rule or the service stands.
    pub place: Option<Place>,
}

/// An answer as JSON has it.
#[derive(Serialize)]
struct AnswerJson {
    verdict: Verdict,
    /// Whether it passes only because what would refuse it observes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    would_be_refused: bool,
    layer: &'static str,
    /// `sg-web/in/3`
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
}

impl From<Answer> for AnswerJson {
    fn from(answer: Answer) -> Self {
        let layer = answer.reason.layer();
        let (rule, service) = match answer.reason {
            Reason::Rule(id) => (Some(id.to_string()), None),
            Reason::Acl(entry) => (Some(entry.to_string()), None),
            Reason::ApprovedService(name) => (None, Some(name)),
            _ => (None, None),
        };
        AnswerJson {
            verdict: answer.verdict,
            would_be_refused: answer.verdict == Verdict::Observe,
            layer,
            rule,
            service,
            place: answer.place,
        }
    }
}

impl Answer {
    /// ` (groups.yaml:14)`; nothing where it stands nowhere.
    pub fn at(&self) -> String {
        let place = self.place.as_ref();
        place.map_or(String::new(), |place| format!(" ({place})"))
    }
}

/// Why a question cannot be answered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum QuestionError {
    /// No interface named, and not exactly one bound.
    #[error("name the interface with --interface: bound are {0}")]
    Interface(String),
    /// Neither bound nor an interface of the host.
    #[error("no interface `{asked}` is bound, and this host has none: {}", hint(.asked, .bound))]
    NoInterface {
        /// As asked.
        asked: String,
        /// Those that are bound.
        bound: Vec<String>,
    },
    /// Not a protocol.
    #[error("`{0}` is not a protocol: write {names}, or a number from 0 to 255", names = protocol_names!())]
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

fn hint(asked: &str, bound: &[String]) -> String {
    let names: Vec<&str> = bound.iter().map(String::as_str).collect();
    match (closest(asked, &names), names.as_slice()) {
        (Some(name), _) => format!("did you mean `{name}`?"),
        (None, []) => "none is bound at all".to_owned(),
        (None, names) => format!("bound are {}", names.join(", ")),
    }
}

/// Refuses a question about an interface that is neither bound nor one of these, which are the host's: there is nothing
/// that could be left alone.
///
/// # Errors
/// [`QuestionError::NoInterface`].
pub fn known_interface(
    policy: &Policy,
    interface: Option<&str>,
    of_host: &[String],
) -> Result<(), QuestionError> {
    match interface {
        Some(name) if policy.binding(name).is_none() && !of_host.iter().any(|own| own == name) => {
            let bound = policy.bindings.iter();
            Err(QuestionError::NoInterface {
                asked: name.to_owned(),
                bound: bound.map(|each| each.interface.to_string()).collect(),
            })
        }
        _ => Ok(()),
    }
}

/// Judges the flow: the packet that opens it, and where a network ACL stands, its answers.
pub fn explain(policy: &Policy, question: &Question) -> Result<Answer, QuestionError> {
    let Decision { verdict, reason } = policy.decide_flow(&opening(policy, question)?);
    let place = place_of(policy, &reason);
    Ok(Answer {
        verdict,
        reason,
        place,
    })
}

/// Where what decided stands.
pub fn place_of(policy: &Policy, reason: &Reason) -> Option<Place> {
    match reason {
        Reason::Rule(id) => policy.rule(id).map(|rule| rule.place.clone()),
        Reason::ApprovedService(name) => {
            let approved = policy.platform.approved_service(name);
            approved.and_then(|approved| approved.place.clone())
        }
        // What no entry matches stands nowhere: its list does.
        Reason::Acl(id) => match policy.acl_entry(id) {
            Some(entry) => Some(entry.place.clone()),
            None => policy.network_acl(&id.acl).map(|acl| acl.place.clone()),
        },
        _ => None,
    }
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
    let remote = question.remote;
    let mut packet = Packet::opening(question.direction, &interface, protocol, remote, port);
    let own = question
        .local
        .filter(|own| own.is_ipv4() == remote.is_ipv4());
    packet.local = own.unwrap_or_else(|| policy.own_address(&interface, remote));
    Ok(packet)
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

/// A port may be a text in JSON; one that is none is told in words that help.
fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        None,
        Number(u16),
        Text(String),
        Other(serde_json::Value),
    }
    match Either::deserialize(deserializer)? {
        Either::None => Ok(None),
        Either::Number(port) => Ok(Some(port)),
        Either::Text(text) => PortSet::parse_single(&text)
            .map(Some)
            .map_err(|error| serde::de::Error::custom(format!("{error}: {}", error.help()))),
        Either::Other(value) => Err(serde::de::Error::custom(format!(
            "`port` cannot be {value}: write a number from 1 to 65535"
        ))),
    }
}
