//! The ruleset as nft text: what is loaded, and what `compile` prints.

use super::ir::*;
use super::table::{BASE_CHAINS, Generation, TABLE};
use crate::policy::{AddressRange, Interval, PortSet};
use std::fmt::{Display, Write};

/// Elements of a set in one command. A transaction that is too long for the kernel's socket buffer is cut between commands.
const ELEMENTS_A_COMMAND: usize = 500;

/// The load transaction, one command a line: the table and its base chains if they are not there, and the
/// generation's objects, which nothing refers to yet. It may be cut between commands, since nothing takes
/// effect before the switch.
pub fn load(ruleset: &Ruleset, generation: Generation) -> Vec<String> {
    let mut commands = vec![format!("add table inet {TABLE}")];
    commands.extend(BASE_CHAINS.iter().map(|base| {
        let (name, hook, priority) = (base.name, base.hook, base.priority);
        format!("add chain inet {TABLE} {name} {{ type filter hook {hook} priority {priority}; policy accept; }}")
    }));
    for set in &ruleset.sets {
        let name = generation.object(&set.name);
        commands.push(format!(
            "add set inet {TABLE} {name} {{ type {}; flags interval; }}",
            set_type(set)
        ));
        for elements in address_list(&set.elements).chunks(ELEMENTS_A_COMMAND) {
            commands.push(format!(
                "add element inet {TABLE} {name} {{ {} }}",
                elements.join(", ")
            ));
        }
    }
    let chains = ruleset.chains.iter();
    commands.extend(
        chains
            .clone()
            .map(|chain| format!("add chain inet {TABLE} {}", generation.object(&chain.name))),
    );
    for map in &ruleset.maps {
        let name = generation.object(&map.name);
        let (kind, flags) = map_type(map);
        commands.push(format!(
            "add map inet {TABLE} {name} {{ type {kind} : verdict;{flags} }}"
        ));
        for elements in element_list(&map.elements, generation).chunks(ELEMENTS_A_COMMAND) {
            commands.push(format!(
                "add element inet {TABLE} {name} {{ {} }}",
                elements.join(", ")
            ));
        }
    }
    for chain in chains {
        let name = generation.object(&chain.name);
        commands.extend(chain.rules.iter().map(|rule| {
            format!(
                "add rule inet {TABLE} {name} {}",
                rule_text(rule, generation)
            )
        }));
    }
    commands
}

/// The switch transaction: `flush chain inet secgroupd inbound`, `add rule inet secgroupd inbound jump g7_inbound`, and outbound.
pub fn switch(generation: Generation) -> String {
    let mut out = String::new();
    for base in BASE_CHAINS {
        out += &format!("flush chain inet {TABLE} {}\n", base.name);
        out += &format!(
            "add rule inet {TABLE} {} jump {}\n",
            base.name,
            generation.object(base.name)
        );
    }
    out
}

/// The delete transaction: `flush chain …` first, since rules hold chains and maps, and maps hold chains.
pub fn delete(chains: &[String], maps: &[String], sets: &[String]) -> String {
    let mut out = String::new();
    let steps = [
        ("flush", "chain", chains),
        ("delete", "map", maps),
        ("delete", "set", sets),
        ("delete", "chain", chains),
    ];
    for (verb, kind, names) in steps {
        for name in names {
            let _ = writeln!(out, "{verb} {kind} inet {TABLE} {name}");
        }
    }
    out
}

/// The whole table with one generation switched in: what `compile` prints, for people and for `nft -f`.
pub fn table(ruleset: &Ruleset, generation: Generation) -> String {
    let mut out = format!("table inet {TABLE} {{\n");
    for set in &ruleset.sets {
        let _ = writeln!(
            out,
            "\tset {} {{\n\t\ttype {}\n\t\tflags interval",
            generation.object(&set.name),
            set_type(set)
        );
        let _ = writeln!(
            out,
            "\t\telements = {{ {} }}\n\t}}\n",
            address_list(&set.elements).join(", ")
        );
    }
    for map in &ruleset.maps {
        let (kind, flags) = map_type(map);
        let flags = flags.trim().trim_end_matches(';');
        let _ = writeln!(
            out,
            "\tmap {} {{\n\t\ttype {kind} : verdict",
            generation.object(&map.name)
        );
        if !flags.is_empty() {
            let _ = writeln!(out, "\t\t{flags}");
        }
        let _ = writeln!(
            out,
            "\t\telements = {{ {} }}\n\t}}\n",
            element_list(&map.elements, generation).join(", ")
        );
    }
    for chain in &ruleset.chains {
        let _ = writeln!(out, "\tchain {} {{", generation.object(&chain.name));
        for rule in &chain.rules {
            let _ = writeln!(out, "\t\t{}", rule_text(rule, generation));
        }
        out += "\t}\n\n";
    }
    for base in BASE_CHAINS {
        let (name, hook, priority) = (base.name, base.hook, base.priority);
        let _ = writeln!(
            out,
            "\tchain {name} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;"
        );
        let _ = writeln!(out, "\t\tjump {}\n\t}}\n", generation.object(name));
    }
    out.truncate(out.trim_end().len());
    out += "\n}\n";
    out
}

fn set_type(set: &Set) -> &'static str {
    match set.elements.family() {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

/// One rule: its conditions, its counter, its verdict, and the reason as comment.
pub fn rule_text(rule: &NftRule, generation: Generation) -> String {
    let mut words: Vec<String> = rule
        .matches
        .iter()
        .map(|each| match_text(each, generation))
        .collect();
    if rule.reason.is_some() {
        words.push("counter".into());
    }
    words.push(verdict_text(&rule.verdict, generation));
    if let Some(reason) = &rule.reason {
        words.push(format!("comment \"{reason}\""));
    }
    words.join(" ")
}

fn verdict_text(verdict: &NftVerdict, generation: Generation) -> String {
    match verdict {
        NftVerdict::Accept => "accept".into(),
        NftVerdict::Drop => "drop".into(),
        NftVerdict::Return => "return".into(),
        NftVerdict::Jump(chain) => format!("jump {}", generation.object(chain)),
        NftVerdict::Goto(chain) => format!("goto {}", generation.object(chain)),
        NftVerdict::Map(key, map) => format!("{} vmap @{}", key_text(*key), generation.object(map)),
        NftVerdict::Protocols(protocols) => {
            let elements: Vec<String> = protocols
                .iter()
                .map(|(protocol, chain)| format!("{protocol} : goto {}", generation.object(chain)))
                .collect();
            format!("meta l4proto vmap {{ {} }}", elements.join(", "))
        }
    }
}

fn key_text(key: MapKey) -> String {
    match key {
        MapKey::Port(transport) => format!("{} dport", transport.name()),
        MapKey::Address(side, family) => format!("{} {}", family.header(), side.address()),
    }
}

/// A map's type, and its flags: intervals need a tree, single points a hash.
fn map_type(map: &Map) -> (&'static str, &'static str) {
    let kind = match map.key {
        MapKey::Port(_) => "inet_service",
        MapKey::Address(_, Family::V4) => "ipv4_addr",
        MapKey::Address(_, Family::V6) => "ipv6_addr",
    };
    (
        kind,
        if map.elements.are_points() {
            ""
        } else {
            " flags interval;"
        },
    )
}

/// `10.0.0.0/8 : goto g7_in_0_3`
fn element_list(elements: &MapElements, generation: Generation) -> Vec<String> {
    let element = |key: String, verdict: &NftVerdict| {
        format!("{key} : {}", verdict_text(verdict, generation))
    };
    match elements {
        MapElements::Ports(list) => list
            .iter()
            .map(|(i, verdict)| element(interval(i), verdict))
            .collect(),
        MapElements::V4(list) => list
            .iter()
            .map(|(i, verdict)| element(AddressRange::V4(*i).to_string(), verdict))
            .collect(),
        MapElements::V6(list) => list
            .iter()
            .map(|(i, verdict)| element(AddressRange::V6(*i).to_string(), verdict))
            .collect(),
    }
}

fn match_text(each: &Match, generation: Generation) -> String {
    let name = |side: &Side, source: &'static str, destination: &'static str| match side {
        Side::Source => source,
        Side::Destination => destination,
    };
    match each {
        Match::Interface(side, interface) => {
            format!("{} \"{interface}\"", name(side, "iifname", "oifname"))
        }
        Match::Loopback(side) => format!("{} \"lo\"", name(side, "iifname", "oifname")),
        Match::State(state) => format!("ct state {}", state.name()),
        Match::Family(family) => format!("meta nfproto {}", family.nfproto()),
        Match::Protocol(protocol) => format!("meta l4proto {protocol}"),
        Match::Port(transport, side, ports) => format!(
            "{} {} {}",
            transport.name(),
            name(side, "sport", "dport"),
            elements(&port_list(ports))
        ),
        Match::Address {
            side,
            with,
            negated,
        } => {
            let (family, value) = match with {
                AddressMatch::Inline(addresses) => {
                    (addresses.family(), elements(&address_list(addresses)))
                }
                AddressMatch::Set(set, family) => (*family, format!("@{}", generation.object(set))),
            };
            let header = family.header();
            let not = if *negated { "!= " } else { "" };
            format!("{header} {} {not}{value}", name(side, "saddr", "daddr"))
        }
        Match::IcmpType(types) => format!("icmp type {}", elements(&pairs(types))),
        Match::Icmpv6Type(types) => format!("icmpv6 type {}", elements(&pairs(types))),
        Match::HopLimit(hops) => format!("ip6 hoplimit {hops}"),
        Match::ToThisHost => "fib daddr type { local, broadcast, anycast, multicast }".into(),
        Match::FromProcess => "meta iif 0".into(),
        Match::FromLinkToMany => "ip6 saddr { ::, fe80::/10 } ip6 daddr ff00::/8".into(),
        Match::Decrypted => "meta ipsec exists".into(),
        Match::WillEncrypt => "rt ipsec exists".into(),
        Match::LoopedBack => {
            "rt ipsec missing fib saddr type local fib daddr type { broadcast, multicast }".into()
        }
    }
}

/// One element as it is, several in braces.
fn elements(list: &[String]) -> String {
    match list {
        [one] => one.clone(),
        many => format!("{{ {} }}", many.join(", ")),
    }
}

fn address_list(addresses: &Addresses) -> Vec<String> {
    match addresses {
        Addresses::V4(intervals) => intervals
            .iter()
            .map(|i| AddressRange::V4(*i).to_string())
            .collect(),
        Addresses::V6(intervals) => intervals
            .iter()
            .map(|i| AddressRange::V6(*i).to_string())
            .collect(),
    }
}

fn port_list(ports: &PortSet) -> Vec<String> {
    ports.intervals().iter().map(interval).collect()
}

fn pairs(types: &[(u8, u8)]) -> Vec<String> {
    types
        .iter()
        .map(|(first, last)| {
            interval(&Interval {
                first: *first,
                last: *last,
            })
        })
        .collect()
}

fn interval<T: Display + PartialEq>(interval: &Interval<T>) -> String {
    match interval.first == interval.last {
        true => interval.first.to_string(),
        false => format!("{}-{}", interval.first, interval.last),
    }
}

impl CtState {
    /// nft's word.
    pub fn name(self) -> &'static str {
        match self {
            CtState::Established => "established",
            CtState::Related => "related",
            CtState::Invalid => "invalid",
        }
    }
}

impl Family {
    /// nft's word after `meta nfproto`.
    pub fn nfproto(self) -> &'static str {
        match self {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        }
    }
}

impl Family {
    /// nft's name of its header.
    pub fn header(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }
}

impl Side {
    /// nft's name of its address.
    pub fn address(self) -> &'static str {
        match self {
            Side::Source => "saddr",
            Side::Destination => "daddr",
        }
    }
}

impl Transport {
    /// nft's word.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}
