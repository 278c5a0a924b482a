//! A rule as it is written in a definition.
//!
//! ```text
//! { action: allow, protocol: tcp, port: "80,443", source: any, description: the shop }
//! ```

use crate::definition::tree::Tree;
use crate::policy::Direction;
use thiserror::Error;

/// What a rule matches beside the remote, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceText {
    /// A protocol, and ports where they are named.
    Protocol {
        /// `tcp`.
        protocol: String,
        /// `80,443`.
        port: Option<String>,
    },
    /// A service template.
    Template(String),
}

/// A rule as it is written. What it says is judged with the definition that it comes into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleText {
    /// Whether it allows.
    pub allow: bool,
    /// What it matches beside the remote.
    pub service: ServiceText,
    /// Its source or destination; at least one.
    pub remotes: Vec<String>,
    /// Free text.
    pub description: Option<String>,
    /// When it ends.
    pub until: Option<String>,
}

/// What is no service of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no service: write tcp:443, udp:8000-8100, tcp, icmp, icmpv6, gre, all, or the id of a service template"
)]
pub struct ServiceTextError(String);

impl std::str::FromStr for ServiceText {
    type Err = ServiceTextError;

    /// Reads `tcp:80,443`, `icmp`, `all` or `ppm-web`. Which protocols and ports there are is judged with the definition.
    fn from_str(text: &str) -> Result<Self, ServiceTextError> {
        let wrong = || ServiceTextError(text.to_owned());
        if text.starts_with("ppm-") || text.starts_with("ppmg-") {
            return Ok(ServiceText::Template(text.to_owned()));
        }
        let (protocol, port) = match text.split_once(':') {
            Some((protocol, port)) => (protocol, Some(port.trim())),
            None => (text, None),
        };
        let protocol = protocol.trim().to_lowercase();
        let is_word = !protocol.is_empty() && protocol.bytes().all(|b| b.is_ascii_alphanumeric());
        match is_word && !protocol.starts_with(|c: char| c.is_ascii_digit()) && port != Some("") {
            true => Ok(ServiceText::Protocol {
                protocol,
                port: port.map(str::to_lowercase),
            }),
            false => Err(wrong()),
        }
    }
}

/// The key of a direction's list, and that of its rules' remotes.
pub fn list_keys(direction: Direction) -> (&'static str, &'static str) {
    match direction {
        Direction::Inbound => ("inbound", "source"),
        Direction::Outbound => ("outbound", "destination"),
    }
}

impl RuleText {
    /// The rule as a value, in the order in which people write its keys.
    pub fn to_tree(&self, direction: Direction) -> Tree {
        let action = if self.allow { "allow" } else { "refuse" };
        let mut entries = vec![("action", Tree::text(action))];
        match &self.service {
            ServiceText::Template(id) => entries.push(("service", Tree::text(id))),
            ServiceText::Protocol { protocol, port } => {
                entries.push(("protocol", Tree::text(protocol)));
                entries.extend(port.iter().map(|port| ("port", Tree::text(port))));
            }
        }
        let remote = match self.remotes.as_slice() {
            [one] => Tree::text(one),
            several => Tree::texts(several),
        };
        entries.push((list_keys(direction).1, remote));
        let texts = [("until", &self.until), ("description", &self.description)];
        for (key, text) in texts {
            entries.extend(text.iter().map(|text| (key, Tree::text(text))));
        }
        Tree::map(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_the_command_line() {
        let read = |text: &str| text.parse::<ServiceText>();
        let protocol = |protocol: &str, port: Option<&str>| {
            Ok(ServiceText::Protocol {
                protocol: protocol.into(),
                port: port.map(str::to_owned),
            })
        };
        assert_eq!(read("tcp:80,443"), protocol("tcp", Some("80,443")));
        assert_eq!(read("TCP:ALL"), protocol("tcp", Some("all")));
        assert_eq!(read("icmp"), protocol("icmp", None));
        assert_eq!(read("ppm-web"), Ok(ServiceText::Template("ppm-web".into())));
        for wrong in ["", "443", "tcp:", ":443", "tcp 443"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
