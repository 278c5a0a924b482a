//! Why a port of this host is not reached: the source document's causes, in its order, out of what was seen on the
//! host.

use super::explain::{Answer, place_of};
use super::layers::{Explanation, Otherwise};
use super::lint::host::{Listening, is_open};
use crate::policy::{AclEntryId, Decision, Direction, Packet, Policy, Protocol, Reason, Verdict};
use serde::Serialize;
use std::net::IpAddr;

/// One cause: what was seen, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Its name: `ended`, `overruled`, `refused`, `not-opened`, `blocked-port`, `network-acl`, `system-firewall`,
    /// `unknown-way`,
    /// `not-listening`, `only-loopback`, `one-family`, `other-address`, `moved`.
    pub code: &'static str,
    /// What was seen.
    pub seen: String,
    /// The command, or the change of the definition, that mends it.
    pub mend: String,
}

fn cause(code: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Cause {
    Cause {
        code,
        seen: seen.into(),
        mend: mend.into(),
    }
}

/// What is asked about.
#[derive(Debug, Clone)]
pub struct AskedPort {
    /// The interface that it enters by.
    pub interface: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The destination port.
    pub port: u16,
    /// Who opens it.
    pub remote: IpAddr,
    /// The host's address.
    pub local: IpAddr,
}

/// Why the groups and the platform refuse a flow, if they do.
pub fn of_groups(flow: &AskedPort, explanation: &Explanation) -> Option<Cause> {
    let answer = &explanation.answer;
    if answer.verdict.passes() {
        return None;
    }
    let AskedPort {
        protocol,
        port,
        remote,
        interface,
        ..
    } = flow;
    let what = format!("{protocol} {port} from {remote} at {interface}");
    let place = |answer: &Answer| match &answer.place {
        Some(place) => place.to_string(),
        None => "the definition".to_owned(),
    };
    if let Some(ended) = &explanation.ended {
        return Some(cause(
            "ended",
            format!(
                "{what} was allowed by {} ({}) until {}: that rule has ended",
                ended.rule, ended.place, ended.until
            ),
            format!(
                "write a later `until` at {}, or take it out; then `secgroupd reload`",
                ended.place
            ),
        ));
    }
    Some(match (&answer.reason, &explanation.otherwise) {
        (Reason::BlockedPorts, _) => cause(
            "blocked-port",
            format!("the platform blocks {protocol} {port}: no rule of a group can open it"),
            format!(
                "have the service listen on another port, or write `platform: {{ blocked_ports: {{ remove: {{ {protocol}: {port} }} }} }}`"
            ),
        ),
        (
            Reason::Rule(rule),
            Some(Otherwise {
                rule: Some(by),
                group: Some(second),
                place: at,
                ..
            }),
        ) => {
            let at = at.as_ref().map(ToString::to_string);
            let first = &rule.group;
            match first == second {
                true => cause(
                    "refused",
                    format!(
                        "{what} is refused by {rule} ({}), which stands before {by} ({}), which would allow it",
                        place(answer),
                        at.unwrap_or_default()
                    ),
                    format!("move {by} before {rule}, then `secgroupd reload`"),
                ),
                false => cause(
                    "overruled",
                    format!(
                        "{what} is refused by {rule} ({}) of {first}, which has a higher priority than {second}, whose {by} ({}) would allow it",
                        place(answer),
                        at.unwrap_or_default()
                    ),
                    format!(
                        "bind {second} before {first} to {interface}, or correct {} ; then `secgroupd reload`",
                        place(answer)
                    ),
                ),
            }
        }
        (Reason::Rule(rule), _) => cause(
            "refused",
            format!(
                "{what} is refused by {rule} ({}), and no rule after it allows it",
                place(answer)
            ),
            format!("correct {}, then `secgroupd reload`", place(answer)),
        ),
        (Reason::Unmanaged, _) => cause(
            "not-opened",
            format!(
                "{interface} is not bound, and `unbound_interfaces: refuse` refuses all inbound flows there"
            ),
            format!(
                "write {interface} under `interfaces:` of this instance with its groups, then `secgroupd reload`"
            ),
        ),
        _ => cause(
            "not-opened",
            format!("no rule of the groups that are bound to {interface} allows {what}"),
            format!(
                "add `- {{ action: allow, protocol: {protocol}, port: {port}, source: {remote} }}` to the inbound rules of a group of {interface}, then `secgroupd reload`"
            ),
        ),
    })
}

/// Why the network ACL in front of the interface's subnet refuses a flow, or its answers, if it does.
pub fn of_network_acl(flow: &AskedPort, policy: &Policy) -> Option<Cause> {
    let protocol = Protocol::parse(&flow.protocol)?;
    let opening = Packet {
        local: flow.local,
        ..Packet::opening(
            Direction::Inbound,
            &flow.interface,
            protocol,
            flow.remote,
            flow.port,
        )
    };
    let answer = opening.answer();
    let refusing = |packet: &Packet| match policy.acl_refusal(packet)? {
        Decision {
            verdict: Verdict::Refuse,
            reason: Reason::Acl(entry),
        } => Some(entry),
        _ => None,
    };
    let AskedPort {
        protocol,
        port,
        remote,
        interface,
        ..
    } = flow;
    let what = format!("{protocol} {port} from {remote} at {interface}");
    let by = |entry: &AclEntryId| {
        let reason = Reason::Acl(entry.clone());
        let place = place_of(policy, &reason).map(|place| format!(" ({place})"));
        format!("{}{}", reason.words(), place.unwrap_or_default())
    };
    if let Some(entry) = refusing(&opening) {
        return Some(cause(
            "network-acl",
            format!("{what} is refused in front of the subnet by {}", by(&entry)),
            format!(
                "add `- {{ action: allow, protocol: {protocol}, port: {port}, source: {remote} }}` to the inbound entries of {}, before what refuses it, then `secgroupd reload`",
                entry.acl
            ),
        ));
    }
    let entry = refusing(&answer)?;
    Some(cause(
        "network-acl",
        format!(
            "the answers to {what} do not leave the subnet: they are refused by {}",
            by(&entry)
        ),
        format!(
            "a network ACL is stateless: add `- {{ action: allow, protocol: {protocol}, source_port: {port}, port: 1024-65535, destination: {remote} }}` to the outbound entries of {}, before what refuses it, then `secgroupd reload`",
            entry.acl
        ),
    ))
}

/// Why no process answers there, if none does; and the port that the service may have moved to.
pub fn of_service(flow: &AskedPort, policy: &Policy, listening: &[Listening]) -> Vec<Cause> {
    let tcp = flow.protocol == "tcp";
    let (protocol, port) = (&flow.protocol, flow.port);
    let here: Vec<&Listening> = listening
        .iter()
        .filter(|each| each.tcp == tcp && each.local.port() == port)
        .collect();
    let takes = |each: &&Listening| {
        let ip = each.local.ip();
        match ip.is_unspecified() {
            true => ip.is_ipv4() == flow.local.is_ipv4() || each.both,
            false => ip == flow.local,
        }
    };
    if here.iter().any(takes) {
        return Vec::new();
    }
    let who = |each: &Listening| match &each.process {
        Some(process) => process.clone(),
        None => "a process".to_owned(),
    };
    let list = if tcp { "ss -ltnp" } else { "ss -lunp" };
    let mut causes = Vec::new();
    let local = flow.local;
    let listen_here = format!("have it listen on {local} or on every address, and restart it");
    let family = if flow.local.is_ipv4() { "IPv4" } else { "IPv6" };
    match here.first() {
        None => causes.push(cause(
            "not-listening",
            format!("no process listens on {protocol} {port}"),
            format!("start the service; `{list}` shows what listens"),
        )),
        Some(first) if here.iter().all(|each| each.local.ip().is_loopback()) => causes.push(cause(
            "only-loopback",
            format!(
                "{} listens on {} only: the host itself alone reaches it",
                who(first),
                first.local
            ),
            listen_here,
        )),
        Some(first)
            if !here
                .iter()
                .any(|each| each.local.is_ipv4() == local.is_ipv4()) =>
        {
            causes.push(cause(
                "one-family",
                format!(
                    "{} listens on {} only, and not on {family}",
                    who(first),
                    first.local
                ),
                format!("have it listen on {} too, and restart it", flow.local),
            ));
        }
        Some(first) => causes.push(cause(
            "other-address",
            format!(
                "{} listens on {}, and not on {local}",
                who(first),
                first.local
            ),
            listen_here,
        )),
    }
    if here.is_empty() {
        causes.extend(moved(flow, policy, listening));
    }
    causes
}

/// Processes that listen for a container: what the container serves is known by its own published port.
const PROXIES: [&str; 6] = [
    "docker-proxy",
    "rootlessport",
    "rootlesskit",
    "slirp4netns",
    "pasta",
    "conmon",
];

/// Whether it listens for a container, and is no service of the host that can have moved.
fn is_proxy(listening: &Listening) -> bool {
    let name = listening.process.as_deref().unwrap_or_default();
    let name = name.split(' ').next().unwrap_or_default();
    PROXIES.contains(&name.trim_end_matches(".avx2"))
}

/// Services that nobody can reach: what is missing may be one of them.
fn moved(flow: &AskedPort, policy: &Policy, listening: &[Listening]) -> Option<Cause> {
    let tcp = flow.protocol == "tcp";
    let closed = listening
        .iter()
        .filter(|each| each.tcp == tcp && !is_open(policy, each, listening) && !is_proxy(each));
    let mut names: Vec<(u16, String)> = closed
        .map(|each| {
            let process = each.process.as_ref().map(|process| format!(" ({process})"));
            let port = each.local.port();
            (port, format!("{port}{}", process.unwrap_or_default()))
        })
        .collect();
    names.sort();
    names.dedup_by_key(|(port, _)| *port);
    let (first, _) = names.first()?;
    let all: Vec<&str> = names
        .iter()
        .map(|(_, name)| name.as_str())
        .take(5)
        .collect();
    Some(cause(
        "moved",
        format!(
            "processes listen on ports that no group opens: {} {}; the service may have moved there",
            flow.protocol,
            all.join(", ")
        ),
        format!(
            "open it: `- {{ action: allow, protocol: {}, port: {first}, source: {} }}` in the inbound rules of a group of {}, then `secgroupd reload`; or move the service back",
            flow.protocol, flow.remote, flow.interface
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse;
    use crate::policy::validate;

    /// What listens for a container is no service of the host that has moved; a service of the host is.
    #[test]
    fn a_proxy_of_a_container_has_not_moved() {
        let text = "version: 1\nsecurity_groups: { sg-a: {} }\n\
                    instances: { ins-a: { interfaces: { eth0: { addresses: [10.0.0.5], security_groups: [sg-a] } } } }\n";
        let parsed = parse([("x.yaml", text)]);
        let account = validate(&parsed.definition, parsed.diagnostics).account;
        let account = account.unwrap();
        let policy = account.policy(&account.instances[0].id, &Default::default());
        let listens = |port: u16, process: &str| Listening {
            tcp: true,
            local: ([0, 0, 0, 0], port).into(),
            both: false,
            process: Some(format!("{process} (77)")),
            interface: None,
        };
        let flow = AskedPort {
            interface: "eth0".into(),
            protocol: "tcp".into(),
            port: 8080,
            remote: [198, 51, 100, 1].into(),
            local: [10, 0, 0, 5].into(),
        };
        let policy = policy.unwrap();
        let codes = |listening: &[Listening]| -> Vec<&str> {
            let causes = of_service(&flow, &policy, listening);
            causes.iter().map(|each| each.code).collect()
        };
        assert_eq!(codes(&[listens(8081, "nginx")]), ["not-listening", "moved"]);
        for proxy in ["docker-proxy", "rootlessport", "pasta.avx2", "conmon"] {
            assert_eq!(codes(&[listens(8081, proxy)]), ["not-listening"], "{proxy}");
        }
    }
}
