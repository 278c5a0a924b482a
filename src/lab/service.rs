//! What can listen and what can be tried: a port of TCP or UDP, or ping.

use crate::policy::port::PortError;
use crate::policy::{Interval, PortSet, Protocol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use thiserror::Error;

/// The most ports that one text may stand for.
const MOST_PORTS: usize = 1000;

/// Why a text is no service of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}: {help}")]
pub struct ServiceError {
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
}

/// A port of TCP or UDP, or an echo request. Printed as `tcp:80`, `udp:53`, `icmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LabService {
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// An echo request, of ICMP or ICMPv6 as the address wants.
    Ping,
}

impl LabService {
    /// Its protocol towards an address.
    pub fn protocol(self, to: IpAddr) -> Protocol {
        match self {
            LabService::Tcp(_) => Protocol::TCP,
            LabService::Udp(_) => Protocol::UDP,
            LabService::Ping if to.is_ipv4() => Protocol::ICMP,
            LabService::Ping => Protocol::ICMPV6,
        }
    }

    /// Its port, if it has one.
    pub fn port(self) -> Option<u16> {
        match self {
            LabService::Tcp(port) | LabService::Udp(port) => Some(port),
            LabService::Ping => None,
        }
    }

    /// Several of them as people write them: `tcp:22,8000-8009, udp:53`.
    pub fn list<'s>(services: impl IntoIterator<Item = &'s LabService>) -> String {
        let (mut ports, mut ping) = ([Vec::new(), Vec::new()], None);
        for service in services {
            match service {
                LabService::Tcp(port) => ports[0].extend(Interval::new(*port, *port)),
                LabService::Udp(port) => ports[1].extend(Interval::new(*port, *port)),
                LabService::Ping => ping = Some("icmp".to_owned()),
            }
        }
        let written = ["tcp", "udp"].into_iter().zip(ports);
        let mut parts: Vec<String> = written
            .filter_map(|(protocol, ports)| Some(format!("{protocol}:{}", PortSet::new(ports)?)))
            .collect();
        parts.extend(ping);
        parts.join(", ")
    }

    /// `tcp:80,443` or `udp:53`.
    ///
    /// # Errors
    /// What is wrong, and the way out.
    pub fn parse_listening(text: &str) -> Result<BTreeSet<LabService>, ServiceError> {
        let wrong = || ServiceError {
            message: format!("`{text}` is not a service that can listen"),
            help: "write `tcp:80`, `tcp:80,443` or `udp:53`".to_owned(),
        };
        let (protocol, ports) = text.split_once(':').ok_or_else(wrong)?;
        let of: fn(u16) -> LabService = match protocol.trim() {
            "tcp" => LabService::Tcp,
            "udp" => LabService::Udp,
            _ => return Err(wrong()),
        };
        let intervals = PortSet::parse(ports.trim()).map_err(|error| ServiceError {
            message: error.to_string(),
            help: match error {
                PortError::Named(_, port) | PortError::LeadingZero(_, port) => {
                    format!("write `{protocol}:{port}`")
                }
                error => error.help(),
            },
        })?;
        let count: usize = intervals
            .iter()
            .map(|interval| usize::from(interval.last - interval.first) + 1)
            .sum();
        if count > MOST_PORTS {
            return Err(ServiceError {
                message: format!("`{text}` is {count} ports: {MOST_PORTS} is the most"),
                help: "name those that are tried".to_owned(),
            });
        }
        let ports = intervals
            .into_iter()
            .flat_map(|interval| interval.first..=interval.last);
        Ok(ports.map(of).collect())
    }

    /// The same, or `icmp`, or `icmpv6`: both mean ping.
    ///
    /// # Errors
    /// What is wrong, and the way out.
    pub fn parse_tried(text: &str) -> Result<BTreeSet<LabService>, ServiceError> {
        match text {
            "icmp" | "icmpv6" | "ping" => Ok([LabService::Ping].into()),
            _ if text.contains(':') => Self::parse_listening(text),
            _ => Err(ServiceError {
                message: format!("`{text}` is not a service that can be tried"),
                help: "write `tcp:80`, `udp:53`, `tcp:8000-8010` or `icmp`".to_owned(),
            }),
        }
    }
}

impl fmt::Display for LabService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabService::Tcp(port) => write!(f, "tcp:{port}"),
            LabService::Udp(port) => write!(f, "udp:{port}"),
            LabService::Ping => f.write_str("icmp"),
        }
    }
}

impl From<LabService> for String {
    fn from(service: LabService) -> String {
        service.to_string()
    }
}

impl TryFrom<String> for LabService {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let services = LabService::parse_tried(&text).map_err(|error| error.to_string())?;
        services
            .into_iter()
            .next()
            .ok_or_else(|| format!("`{text}` is no service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_service() {
        let ports = LabService::parse_listening("tcp:80,8000-8001").unwrap();
        assert_eq!(
            ports,
            [
                LabService::Tcp(80),
                LabService::Tcp(8000),
                LabService::Tcp(8001)
            ]
            .into()
        );
        assert_eq!(
            LabService::parse_tried("icmpv6"),
            Ok([LabService::Ping].into())
        );
        for wrong in [
            "icmp",
            "80",
            "tcp:",
            "tcp:0",
            "sctp:1",
            "tcp:all",
            "udp:1-2000",
        ] {
            assert!(LabService::parse_listening(wrong).is_err(), "{wrong}");
        }
        assert_eq!(LabService::Udp(53).to_string(), "udp:53");
        let all = LabService::parse_listening("tcp:22,8000-8002").unwrap();
        let all = all
            .into_iter()
            .chain([LabService::Udp(53), LabService::Ping]);
        let all: Vec<_> = all.collect();
        assert_eq!(LabService::list(&all), "tcp:22,8000-8002, udp:53, icmp");
    }
}
