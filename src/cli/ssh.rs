//! The SSH session that a command is called from: would a new policy refuse it?

use crate::insight::explain::place_of;
use crate::netfilter::links::{Link, links};
use crate::policy::{Direction, Packet, Policy, Protocol, Reason};
use std::net::IpAddr;

/// Where the question could not be answered.
pub fn not_known(why: &anyhow::Error) -> String {
    format!("it is not known whether this policy refuses the SSH session that you are in: {why:#}")
}

/// An SSH session, as sshd names it to its shells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    client: IpAddr,
    client_port: u16,
    server: IpAddr,
    server_port: u16,
    /// Of a link-local address.
    zone: Option<String>,
}

impl Session {
    /// The session that this process was called from, also through sudo, which hides it from the environment.
    pub fn of_this_process() -> Option<Self> {
        if let Ok(text) = std::env::var(VARIABLE) {
            return Session::parse(&text);
        }
        let mut process = std::os::unix::process::parent_id();
        // Nobody nests deeper.
        for _ in 0..64 {
            if process <= 1 {
                return None;
            }
            let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            if let Some(session) = in_environment(&environment) {
                return Some(session);
            }
            process = parent(process)?;
        }
        None
    }

    /// The address that it comes from.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// `203.0.113.9 51000 10.0.0.5 22`
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (client, _) = address(words.next()?)?;
        let client_port = words.next()?.parse().ok()?;
        let (server, zone) = address(words.next()?)?;
        let server_port = words.next()?.parse().ok()?;
        Some(Session {
            client,
            client_port,
            server,
            server_port,
            zone,
        })
    }

    /// A sentence that says so if this policy would refuse a session like this one, judged at the interface that has
    /// the server's address; nothing if none has it.
    pub fn refused_by(&self, policy: &Policy) -> anyhow::Result<Option<String>> {
        Ok(self.refused_at(policy, &links()?))
    }

    fn refused_at(&self, policy: &Policy, links: &[Link]) -> Option<String> {
        let interface = links.iter().find(|link| match &self.zone {
            Some(zone) => link.name == *zone,
            None => link.addresses.contains(&self.server),
        })?;
        let port = self.server_port;
        let mut packet = Packet::opening(
            Direction::Inbound,
            &interface.name,
            Protocol::TCP,
            self.client,
            port,
        );
        packet.source_port = self.client_port;
        packet.local = self.server;
        let decision = policy.decide_flow(&packet);
        if decision.verdict.passes() {
            return None;
        }
        let by = match &decision.reason {
            Reason::Rule(id) => match policy.rule(id) {
                Some(rule) => format!("the rule {id}, {}", rule.place),
                None => format!("the rule {id}"),
            },
            Reason::Default => "no rule of the bound groups allows it".into(),
            Reason::Acl(_) => match place_of(policy, &decision.reason) {
                Some(place) => format!("{}, {place}", decision.reason.words()),
                None => decision.reason.words(),
            },
            reason => reason.to_string(),
        };
        Some(format!(
            "this policy refuses the SSH session that you are in, from {} to {} port {port} at {}: {by}",
            self.client, self.server, interface.name
        ))
    }
}

const VARIABLE: &str = "SSH_CONNECTION";

/// An address, as IPv4 where it is an IPv4 address seen by an IPv6 socket, and its zone.
fn address(text: &str) -> Option<(IpAddr, Option<String>)> {
    let (text, zone) = match text.split_once('%') {
        Some((text, zone)) => (text, Some(zone.to_owned())),
        None => (text, None),
    };
    let address: IpAddr = text.parse().ok()?;
    Some((address.to_canonical(), zone))
}

fn in_environment(environment: &[u8]) -> Option<Session> {
    let mut variables = environment.split(|byte| *byte == 0);
    let value = variables.find_map(|variable| {
        let text = std::str::from_utf8(variable).ok()?;
        text.strip_prefix(VARIABLE)?.strip_prefix('=')
    })?;
    Session::parse(value)
}

fn parent(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse;
    use crate::policy::validate;
    use std::collections::BTreeSet;

    fn policy(rules: &str) -> Policy {
        let text = format!(
            "version: 1\nsecurity_groups: {{ sg-a: {{ inbound: [{rules}] }} }}\ninstances: {{ ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }} }}\n"
        );
        let parsed = parse([("x.yaml", text.as_str())]);
        let account = validate(&parsed.definition, parsed.diagnostics)
            .account
            .unwrap();
        account
            .policy(&account.instances[0].id, &BTreeSet::new())
            .unwrap()
    }

    fn eth0() -> [Link; 1] {
        [Link {
            index: 2,
            name: "eth0".into(),
            addresses: vec!["10.0.0.5".parse().unwrap(), "fe80::5".parse().unwrap()],
            ..Link::default()
        }]
    }

    #[test]
    fn judged_at_the_interface_of_the_session() {
        let office = policy("{ action: allow, protocol: tcp, port: 22, source: 203.0.113.0/24 }");
        let refused = |text: &str| Session::parse(text).unwrap().refused_at(&office, &eth0());
        assert_eq!(refused("203.0.113.9 51000 10.0.0.5 22"), None);
        assert_eq!(refused("::ffff:203.0.113.9 51000 ::ffff:10.0.0.5 22"), None);
        let why = refused("198.51.100.9 51000 10.0.0.5 22").unwrap();
        assert!(
            why.contains("198.51.100.9 to 10.0.0.5 port 22 at eth0: no rule"),
            "{why}"
        );
        assert!(refused("203.0.113.9 51000 10.0.0.5 2222").is_some());
        assert!(refused("fe80::9%eth0 51000 fe80::5%eth0 22").is_some());
        // An interface that is not bound, and an address that is of none.
        assert_eq!(refused("198.51.100.9 51000 10.9.9.9 22"), None);
        let by = policy("{ action: refuse, protocol: all, source: any }");
        let session = Session::parse("203.0.113.9 51000 10.0.0.5 22").unwrap();
        let why = session.refused_at(&by, &eth0()).unwrap();
        assert!(why.ends_with("the rule sg-a/in/0, x.yaml:2"), "{why}");
    }

    #[test]
    fn found_in_an_environment() {
        let environment = b"HOME=/root\0SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22\0X=\xff\0";
        assert!(in_environment(environment).is_some());
        assert_eq!(
            in_environment(b"NOT_SSH_CONNECTION=192.0.2.1 1 192.0.2.2 22\0"),
            None
        );
        assert_eq!(in_environment(b"SSH_CONNECTION=nonsense\0"), None);
    }
}
