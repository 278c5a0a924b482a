//! The cloud's own groups to begin with.
//!
//! Source: the console's templates of a new group (`open all ports`, `open 22, 80, 443, 3389 and ICMP`, `custom`).

use crate::cloud::text::{RuleText, ServiceText};
use crate::definition::tree::Tree;
use crate::policy::Direction;

/// The rules that a new group begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// Everything passes, both ways.
    OpenAll,
    /// Inbound: ICMP, TCP 22, 80, 443 and 3389 from anywhere, everything from private networks. Outbound: everything.
    Web,
    /// No rule: everything is refused.
    #[default]
    Custom,
}

impl Preset {
    /// The rules of a direction.
    pub fn rules(self, direction: Direction) -> Vec<RuleText> {
        let everything = || allow("all", None, "any", None);
        match (self, direction) {
            (Preset::Custom, _) => Vec::new(),
            (Preset::OpenAll, _) | (Preset::Web, Direction::Outbound) => vec![everything()],
            (Preset::Web, Direction::Inbound) => {
                let ports = ["22", "80", "443", "3389"];
                let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
                let mut rules = vec![
                    allow("icmp", None, "0.0.0.0/0", None),
                    allow("icmpv6", None, "::/0", None),
                ];
                rules.extend(ports.map(|port| allow("tcp", Some(port), "any", None)));
                rules.extend(
                    private.map(|network| allow("all", None, network, Some("private networks"))),
                );
                rules
            }
        }
    }

    /// The entries of the group's mapping.
    pub fn entries(self) -> impl Iterator<Item = (&'static str, Tree)> {
        let lists = [
            ("inbound", Direction::Inbound),
            ("outbound", Direction::Outbound),
        ];
        lists.into_iter().map(move |(key, direction)| {
            let rules = self.rules(direction);
            let rules = rules.iter().map(|rule| rule.to_tree(direction));
            (key, Tree::List(rules.collect()))
        })
    }
}

fn allow(protocol: &str, port: Option<&str>, remote: &str, description: Option<&str>) -> RuleText {
    RuleText {
        allow: true,
        service: ServiceText::Protocol {
            protocol: protocol.to_owned(),
            port: port.map(str::to_owned),
        },
        remotes: vec![remote.to_owned()],
        description: description.map(str::to_owned),
        until: None,
    }
}
