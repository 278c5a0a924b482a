//! An event, as it is told.

use crate::definition::printable;
use crate::netfilter::refusals::{Flow, Told};
use crate::policy::{AclEntryId, Direction, Policy, Protocol, Reason, RuleId};
use nix::libc;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// Something that happened: `{"event":"refused",…}`, `{"event":"left-out",…}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A packet was refused, or would have been.
    Refused(Refusal),
    /// Packets that became no event.
    LeftOut(LeftOut),
}

/// A packet that was refused, or would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// When the daemon was told, in UTC: `2026-11-23T06:00:00.123456Z`.
    pub time: String,
    /// The interface that it came by or would have left by.
    pub interface: String,
    /// Which way it went.
    pub direction: Direction,
    /// Whether it passed, since what refuses it observes.
    pub observed: bool,
    /// `tcp`, `udp`, `icmp`, …, or a number.
    pub protocol: String,
    /// Where it came from.
    pub source: IpAddr,
    /// Where it went.
    pub destination: IpAddr,
    /// Its source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Its destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// The type of an ICMP message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// The layer that refused it.
    pub layer: String,
    /// The rule: `sg-web/in/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where the rule stands: `groups.yaml:14`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// Packets that became no event, since the last event of this kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// When.
    pub time: String,
    /// Their remotes had caused many events.
    pub limited: u64,
    /// The kernel had no room for them.
    pub lost: u64,
}

impl Refusal {
    /// What the kernel tells, with the names that this host and the policy have for it.
    pub(super) fn of(told: &Told, flow: &Flow, interface: String, policy: Option<&Policy>) -> Self {
        let (observed, reason) = match told.prefix.strip_prefix("observe ") {
            Some(reason) => (true, reason),
            None => (false, told.prefix),
        };
        let (layer, rule, place) = decided_by(reason, policy);
        let [source_port, destination_port] = match flow.ports {
            Some([source, destination]) => [Some(source), Some(destination)],
            None => [None, None],
        };
        Refusal {
            time: now(),
            interface,
            direction: direction(told),
            observed,
            protocol: protocol(flow.protocol),
            source: flow.source,
            destination: flow.destination,
            source_port,
            destination_port,
            icmp_type: flow.icmp_type,
            layer,
            rule,
            place,
        }
    }

    /// What refused it.
    pub fn reason(&self) -> &str {
        self.rule.as_deref().unwrap_or(&self.layer)
    }
}

/// The layer that a prefix names, the rule or entry, and where that stands.
fn decided_by(reason: &str, policy: Option<&Policy>) -> (String, Option<String>, Option<String>) {
    if let Some(id) = RuleId::parse(reason) {
        let rule = policy.and_then(|policy| policy.rule(&id));
        let place = rule.map(|rule| rule.place.to_string());
        return ("group".to_owned(), Some(id.to_string()), place);
    }
    if let Some(id) = AclEntryId::parse(reason) {
        let entry = policy.and_then(|policy| policy.acl_entry(&id));
        let acl = policy.and_then(|policy| policy.network_acl(&id.acl));
        let place = entry.map(|entry| &entry.place);
        let place = place.or(acl.map(|acl| &acl.place));
        let layer = Reason::Acl(id.clone()).layer().to_owned();
        return (layer, Some(id.to_string()), place.map(ToString::to_string));
    }
    (printable(reason), None, None)
}

/// The hook tells which way a packet goes.
pub(super) fn direction(told: &Told) -> Direction {
    match i32::from(told.hook) {
        libc::NF_INET_POST_ROUTING => Direction::Outbound,
        _ => Direction::Inbound,
    }
}

/// Now, as events say it.
pub(super) fn now() -> String {
    let mut text = String::new();
    // Only a broken writer fails.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

fn protocol(protocol: Protocol) -> String {
    let name = protocol.name().map(str::to_owned);
    name.unwrap_or_else(|| protocol.0.to_string())
}

/// `10.0.0.9:4242`, `[2001:db8::9]:4242`, `10.0.0.9`.
struct End(IpAddr, Option<u16>);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(port) => std::net::SocketAddr::new(self.0, port).fmt(f),
            None => self.0.fmt(f),
        }
    }
}

/// `2026-… eth0 inbound tcp 203.0.113.9:4242 -> 10.0.0.5:23 refused by sg-web/in/3 (groups.yaml:14)`
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (
            End(self.source, self.source_port),
            End(self.destination, self.destination_port),
        );
        write!(
            f,
            "{} {} {} {}",
            self.time,
            printable(&self.interface),
            self.direction,
            self.protocol
        )?;
        if let Some(kind) = self.icmp_type {
            write!(f, " type {kind}")?;
        }
        let verb = match self.observed {
            true => "would be refused",
            false => "refused",
        };
        write!(f, " {from} -> {to} {verb} by {}", self.reason())?;
        match &self.place {
            Some(place) => write!(f, " ({})", printable(place)),
            None => Ok(()),
        }
    }
}

/// `2026-… 120 more were refused, of remotes that were told of often; 3 were lost by the kernel`
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LeftOut {
            time,
            limited,
            lost,
        } = self;
        write!(f, "{time} ")?;
        match (limited, lost) {
            (limited, 0) => write!(f, "{limited} more refusals were not told one by one"),
            (0, lost) => write!(
                f,
                "{lost} more refusals were not told: the kernel had no room"
            ),
            (limited, lost) => write!(
                f,
                "{limited} more refusals were not told one by one, and {lost} not at all: the kernel had no room"
            ),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Refused(refusal) => refusal.fmt(f),
            Event::LeftOut(left_out) => left_out.fmt(f),
        }
    }
}
