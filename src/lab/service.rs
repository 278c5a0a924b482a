//! What can listen and what can be tried: a port of TCP or UDP, or ping.

use crate::policy::{Interval, PortSet, Protocol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// The most ports that one text may stand for.
const MOST_PORTS: usize = 1000;

/// A port of TCP or UDP, or an echo request. Printed as `tcp:80`, `udp:53`, `icmp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Service {
    /// A TCP port.
    Tcp(u16),
    /// A UDP port.
    Udp(u16),
    /// An echo request, of ICMP or ICMPv6 as the address wants.
    Ping,
}

impl Service {
    /// Its protocol towards an address.
    pub fn protocol(self, to: IpAddr) -> Protocol {
        match self {
            Service::Tcp(_) => Protocol::TCP,
            Service::Udp(_) => Protocol::UDP,
            Service::Ping if to.is_ipv4() => Protocol::ICMP,
            Service::Ping => Protocol::ICMPV6,
        }
    }

    /// Its port, if it has one.
    pub fn port(self) -> Option<u16> {
        match self {
            Service::Tcp(port) | Service::Udp(port) => Some(port),
            Service::Ping => None,
        }
    }

    /// Several of them as people write them: `tcp:22,8000-8009, udp:53`.
    pub fn list<'s>(services: impl IntoIterator<Item = &'s Service>) -> String {
        let (mut ports, mut ping) = ([Vec::new(), Vec::new()], None);
        for service in services {
            match service {
                Service::Tcp(port) => ports[0].extend(Interval::new(*port, *port)),
                Service::Udp(port) => ports[1].extend(Interval::new(*port, *port)),
                Service::Ping => ping = Some("icmp".to_owned()),
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
    pub fn parse_listening(text: &str) -> Result<BTreeSet<Service>, String> {
        let wrong = || format!("`{text}` is not a service that can listen");
        let (protocol, ports) = text.split_once(':').ok_or_else(wrong)?;
        let of: fn(u16) -> Service = match protocol.trim() {
            "tcp" => Service::Tcp,
            "udp" => Service::Udp,
            _ => return Err(wrong()),
        };
        let intervals = PortSet::parse(ports.trim()).map_err(|error| error.to_string())?;
        let count: usize = intervals
            .iter()
            .map(|interval| usize::from(interval.last - interval.first) + 1)
            .sum();
        if count > MOST_PORTS {
            return Err(format!(
                "`{text}` is {count} ports: {MOST_PORTS} is the most"
            ));
        }
        let ports = intervals
            .into_iter()
            .flat_map(|interval| interval.first..=interval.last);
        Ok(ports.map(of).collect())
    }

    /// The same, or `icmp`, or `icmpv6`: both mean ping.
    pub fn parse_tried(text: &str) -> Result<BTreeSet<Service>, String> {
        match text {
            "icmp" | "icmpv6" | "ping" => Ok([Service::Ping].into()),
            _ => Self::parse_listening(text).map_err(|error| {
                format!("{error}: write `tcp:80`, `udp:53`, `tcp:8000-8010` or `icmp`")
            }),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Tcp(port) => write!(f, "tcp:{port}"),
            Service::Udp(port) => write!(f, "udp:{port}"),
            Service::Ping => f.write_str("icmp"),
        }
    }
}

impl From<Service> for String {
    fn from(service: Service) -> String {
        service.to_string()
    }
}

impl TryFrom<String> for Service {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let services = Service::parse_tried(&text)?;
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
        let ports = Service::parse_listening("tcp:80,8000-8001").unwrap();
        assert_eq!(
            ports,
            [Service::Tcp(80), Service::Tcp(8000), Service::Tcp(8001)].into()
        );
        assert_eq!(Service::parse_tried("icmpv6"), Ok([Service::Ping].into()));
        for wrong in [
            "icmp",
            "80",
            "tcp:",
            "tcp:0",
            "sctp:1",
            "tcp:all",
            "udp:1-2000",
        ] {
            assert!(Service::parse_listening(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Service::Udp(53).to_string(), "udp:53");
        let all = Service::parse_listening("tcp:22,8000-8002").unwrap();
        let all = all.into_iter().chain([Service::Udp(53), Service::Ping]);
        let all: Vec<_> = all.collect();
        assert_eq!(Service::list(&all), "tcp:22,8000-8002, udp:53, icmp");
    }
}
