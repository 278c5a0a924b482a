//! A policy as people write it without secgroupd: a list of rules, one for each rule of the policy, asked from top to
//! bottom. In nft's text, and for `iptables-restore`.
//!
//! Each begins with `ct state established accept` and ends with the refusal of the rest. Inbound rules of the first
//! binding only.

use secgroupd::policy::{Action, AddressRange, AddressSet, Direction, Policy, Rule, Service};
use std::fmt::Write;

/// A longer list of addresses is a set: nobody writes a rule for each of 100,000 addresses ten times over.
const INLINE: usize = 8;

/// The rules of the first binding, in the order in which they are asked.
pub fn rules(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.bindings[0]
        .groups
        .iter()
        .flat_map(|group| group.rules(Direction::Inbound))
}

/// `accept` or `drop`.
pub fn verdict(action: Action) -> &'static str {
    match action {
        Action::Allow => "accept",
        Action::Refuse => "drop",
    }
}

/// A table `inet plain` at our own hook.
pub fn nft(policy: &Policy) -> String {
    let (mut sets, mut lines) = (String::new(), String::new());
    let mut named: Vec<&AddressSet> = Vec::new();
    for rule in rules(policy) {
        let Some(remote) = &rule.remote else { continue };
        for source in sources(remote, &mut named, &mut sets) {
            for service in &rule.services {
                let _ = writeln!(
                    lines,
                    "{source} {} counter {}",
                    nft_service(service),
                    verdict(rule.action)
                );
            }
        }
    }
    format!(
        "table inet plain {{\n{sets}chain c {{\ntype filter hook prerouting priority -160; policy accept;\n\
         ct state established counter accept\n{lines}counter drop\n}}\n}}\n"
    )
}

/// What a rule asks of the source, for each family; a list that is too long becomes a set once.
fn sources<'p>(
    remote: &'p AddressSet,
    named: &mut Vec<&'p AddressSet>,
    sets: &mut String,
) -> Vec<String> {
    if *remote == AddressSet::any() {
        return vec![String::new()];
    }
    let mut out = Vec::new();
    for (header, kind, ranges) in [
        ("ip", "ipv4_addr", texts(remote, true)),
        ("ip6", "ipv6_addr", texts(remote, false)),
    ] {
        match ranges.as_slice() {
            [] => {}
            [all] if all == "0.0.0.0/0" => out.push("meta nfproto ipv4".into()),
            [all] if all == "::/0" => out.push("meta nfproto ipv6".into()),
            [one] => out.push(format!("{header} saddr {one}")),
            few if few.len() <= INLINE => {
                out.push(format!("{header} saddr {{ {} }}", few.join(", ")))
            }
            many => {
                let number = named.iter().position(|set| *set == remote);
                let number = number.unwrap_or_else(|| {
                    let _ = writeln!(
                        sets,
                        "set s{} {{ type {kind}; flags interval; elements = {{ {} }}; }}",
                        named.len(),
                        many.join(", ")
                    );
                    named.push(remote);
                    named.len() - 1
                });
                out.push(format!("{header} saddr @s{number}"));
            }
        }
    }
    out
}

fn nft_service(service: &Service) -> String {
    let braced = |list: String| match list.contains(',') {
        true => format!("{{ {list} }}"),
        false => list,
    };
    match service {
        Service::All => String::new(),
        Service::Tcp(ports) => format!("tcp dport {}", braced(ports.to_string())),
        Service::Udp(ports) => format!("udp dport {}", braced(ports.to_string())),
        Service::Icmp => "meta l4proto icmp".into(),
        Service::Icmpv6 => "meta l4proto ipv6-icmp".into(),
        Service::Bare(protocol) => format!("meta l4proto {}", protocol.0),
    }
}

/// What an iptables user loads: IPv4 only, since IPv6 is another program's.
pub struct Iptables {
    /// For `ipset restore`; empty if no list is long.
    pub sets: String,
    /// For `iptables-restore`: the table `mangle` at its prerouting hook, next to our own.
    pub rules: String,
}

/// One line for each rule and range.
pub fn iptables(policy: &Policy) -> Iptables {
    let (mut sets, mut lines) = (String::new(), String::new());
    let mut named: Vec<&AddressSet> = Vec::new();
    for rule in rules(policy) {
        let Some(remote) = &rule.remote else { continue };
        let ranges = texts(remote, true);
        let sources: Vec<String> = if ranges.len() <= INLINE {
            ranges.iter().map(|range| iptables_source(range)).collect()
        } else {
            let number = named.iter().position(|set| *set == remote);
            let number = number.unwrap_or_else(|| {
                sets += &ipset(
                    &format!("s{}", named.len()),
                    "hash:net",
                    ranges.iter().cloned(),
                );
                named.push(remote);
                named.len() - 1
            });
            vec![format!("-m set --match-set s{number} src")]
        };
        let services: Vec<String> = rule.services.iter().filter_map(iptables_service).collect();
        for source in sources {
            for service in &services {
                let target = verdict(rule.action).to_uppercase();
                let _ = writeln!(lines, "-A PREROUTING {source} {service} -j {target}");
            }
        }
    }
    Iptables {
        sets,
        rules: iptables_table("", &lines),
    }
}

/// A table for `iptables-restore`: chains of its own, and the rules between the first and the last.
pub fn iptables_table(chains: &str, rules: &str) -> String {
    format!(
        "*mangle\n:PREROUTING ACCEPT [0:0]\n{chains}-A PREROUTING -m conntrack --ctstate ESTABLISHED -j ACCEPT\n\
         {rules}-A PREROUTING -j DROP\nCOMMIT\n"
    )
}

/// A set for `ipset restore`.
pub fn ipset(name: &str, kind: &str, elements: impl Iterator<Item = String>) -> String {
    let mut out = format!("create {name} {kind} maxelem 1048576\n");
    for element in elements {
        let _ = writeln!(out, "add {name} {element}");
    }
    out
}

/// `-s 10.0.0.0/8`, or what stands for a range that is no network.
pub fn iptables_source(range: &str) -> String {
    match range {
        "0.0.0.0/0" => String::new(),
        range if range.contains('-') => format!("-m iprange --src-range {range}"),
        network => format!("-s {network}"),
    }
}

fn iptables_service(service: &Service) -> Option<String> {
    let ports = |protocol: &str, ports: &secgroupd::policy::PortSet| {
        let text = ports.to_string().replace('-', ":");
        match text.contains(',') {
            true => format!("-p {protocol} -m multiport --dports {text}"),
            false => format!("-p {protocol} --dport {text}"),
        }
    };
    match service {
        Service::All => Some(String::new()),
        Service::Tcp(list) => Some(ports("tcp", list)),
        Service::Udp(list) => Some(ports("udp", list)),
        Service::Icmp => Some("-p icmp".into()),
        Service::Icmpv6 => None,
        Service::Bare(protocol) => Some(format!("-p {}", protocol.0)),
    }
}

/// The ranges of one family, as written.
pub fn texts(remote: &AddressSet, v4: bool) -> Vec<String> {
    remote
        .ranges()
        .filter(|range| range.is_v4() == v4)
        .map(|range: AddressRange| range.to_string())
        .collect()
}
