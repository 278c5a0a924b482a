//! The ruleset as nft text: what is loaded, and what `compile` prints.

use super::batch::{Command, Elements, Names};
use super::ended::{EndedFlow, FAMILIES, ended_set, remembered_for};
use super::ir::*;
use super::table::{BASE_CHAINS, DIRECTIONS, EVENTS_GROUP, Generation, Stamp, TABLE, passed_chain};
use crate::policy::{AddressRange, Direction, Interval, PortSet};
use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One command, as `nft -f` takes it; examples stand at [`Command`].
pub fn command(command: &Command, names: &Names) -> String {
    match command {
        Command::AddTable => format!("add table inet {TABLE}"),
        Command::AddBaseChain(base) => {
            let (name, hook, priority) = (base.name, base.hook, base.priority);
            format!(
                "add chain inet {TABLE} {name} {{ type filter hook {hook} priority {priority}; policy accept; }}"
            )
        }
        Command::AddPassedChain(direction) => {
            format!("add chain inet {TABLE} {}", passed_chain(*direction))
        }
        Command::AddEndedSet(family) => {
            let (name, key) = (ended_set(*family), ended_key(*family));
            format!("add set inet {TABLE} {name} {{ type {key}; flags dynamic,timeout; }}")
        }
        Command::AddEnded(family, flows) => format!(
            "add element inet {TABLE} {} {{ {} }}",
            ended_set(*family),
            ended_list(flows, true)
        ),
        Command::DeleteEnded(family, flows) => format!(
            "delete element inet {TABLE} {} {{ {} }}",
            ended_set(*family),
            ended_list(flows, false)
        ),
        Command::AddChain(name) => format!("add chain inet {TABLE} {name}"),
        Command::AddSet {
            name,
            family,
            intervals,
        } => {
            let (kind, flags) = (address_type(*family), interval_flag(*intervals));
            format!("add set inet {TABLE} {name} {{ type {kind};{flags} }}")
        }
        Command::AddMap {
            name,
            key,
            intervals,
        } => {
            format!(
                "add map inet {TABLE} {} }}",
                map_head(name, *key, *intervals)
            )
        }
        Command::AddElements { of, elements, .. } => format!(
            "add element inet {TABLE} {} {{ {} }}",
            of.name,
            element_list(*elements, Some(names)).join(", ")
        ),
        Command::DeleteElements { of, elements } => format!(
            "delete element inet {TABLE} {} {{ {} }}",
            of.name,
            element_list(*elements, None).join(", ")
        ),
        Command::AddRule { chain, rule } => {
            format!("add rule inet {TABLE} {chain} {}", rule_text(rule, names))
        }
        Command::AddPassedRule(direction, stamp) => format!(
            "add rule inet {TABLE} {} {}",
            passed_chain(*direction),
            passed_rule(*direction, *stamp)
        ),
        Command::FlushChain(name) => format!("flush chain inet {TABLE} {name}"),
        Command::DeleteMap(name) => format!("delete map inet {TABLE} {name}"),
        Command::DeleteSet(name) => format!("delete set inet {TABLE} {name}"),
        Command::DeleteChain(name) => format!("delete chain inet {TABLE} {name}"),
        Command::DeleteTable => format!("delete table inet {TABLE}"),
    }
}

/// A transaction, one command a line; what is new stands in a block with all that it holds, which nft reads a third faster than
/// commands:
///
/// ```text
/// add table inet secgroupd
/// table inet secgroupd {
///     chain g7_in_0_r7 {
///         counter accept comment "sg-web/in/7"
///     }
/// }
/// ```
pub fn transaction(commands: &[Command], names: &Names) -> String {
    let (mut out, mut block) = (String::new(), Block::default());
    // A block makes the table, which nft may not do with one whose flags it does not know.
    let blocks = matches!(commands.first(), Some(Command::AddTable));
    for each in commands {
        if !(blocks && block.takes(each, names)) {
            block.end(&mut out);
            out += &command(each, names);
            out.push('\n');
        }
    }
    block.end(&mut out);
    out
}

/// New objects of one transaction, with what they hold.
#[derive(Default)]
struct Block<'c> {
    objects: Vec<Object>,
    by_name: HashMap<&'c str, usize>,
}

/// One of them.
struct Object {
    /// `map g7_in_0_3 { type ipv4_addr : verdict;`
    head: String,
    /// Elements of sets and maps.
    elements: Vec<String>,
    /// Rules of a chain.
    rules: Vec<String>,
}

impl<'c> Block<'c> {
    /// Whether a command is about what is new here; it is taken in then.
    fn takes(&mut self, command: &'c Command, names: &Names) -> bool {
        match command {
            Command::AddChain(name) => self.begin(name, format!("chain {name} {{")),
            Command::AddSet {
                name,
                family,
                intervals,
            } => {
                let (kind, flags) = (address_type(*family), interval_flag(*intervals));
                self.begin(name, format!("set {name} {{ type {kind};{flags}"));
            }
            Command::AddMap {
                name,
                key,
                intervals,
            } => {
                self.begin(name, format!("map {}", map_head(name, *key, *intervals)));
            }
            Command::AddElements { of, elements, .. } => {
                let Some(object) = self.object(&of.name) else {
                    return false;
                };
                object.elements.extend(element_list(*elements, Some(names)));
            }
            Command::AddRule { chain, rule } => {
                let Some(object) = self.object(chain) else {
                    return false;
                };
                object.rules.push(rule_text(rule, names));
            }
            _ => return false,
        }
        true
    }

    fn begin(&mut self, name: &'c str, head: String) {
        self.by_name.insert(name, self.objects.len());
        self.objects.push(Object {
            head,
            elements: Vec::new(),
            rules: Vec::new(),
        });
    }

    fn object(&mut self, name: &str) -> Option<&mut Object> {
        self.objects.get_mut(*self.by_name.get(name)?)
    }

    /// Writes what was taken in.
    fn end(&mut self, out: &mut String) {
        self.by_name.clear();
        if self.objects.is_empty() {
            return;
        }
        let _ = writeln!(out, "table inet {TABLE} {{");
        for object in self.objects.drain(..) {
            let _ = writeln!(out, "\t{}", object.head);
            if !object.elements.is_empty() {
                let _ = writeln!(out, "\t\telements = {{ {} }}", object.elements.join(", "));
            }
            for rule in object.rules {
                let _ = writeln!(out, "\t\t{rule}");
            }
            out.push_str("\t}\n");
        }
        out.push_str("}\n");
    }
}

/// The whole table with one generation switched in: what `compile` prints, for people and for `nft -f`.
pub fn table(ruleset: &Ruleset, generation: Generation) -> String {
    let names = &Names::new(generation);
    let mut out = format!("table inet {TABLE} {{\n");
    for set in &ruleset.sets {
        let _ = writeln!(
            out,
            "\tset {} {{\n\t\ttype {}",
            names.of(&set.name),
            address_type(set.elements.family())
        );
        if !set.elements.are_points() {
            out += "\t\tflags interval\n";
        }
        let _ = writeln!(
            out,
            "\t\telements = {{ {} }}\n\t}}\n",
            element_list(Elements::of_set(set), None).join(", ")
        );
    }
    for family in FAMILIES.into_iter().filter(|_| ruleset.recheck) {
        let _ = writeln!(
            out,
            "\tset {} {{\n\t\ttype {}\n\t\tflags dynamic,timeout\n\t}}\n",
            ended_set(family),
            ended_key(family)
        );
    }
    for map in &ruleset.maps {
        let kind = map_type(map.key);
        let _ = writeln!(
            out,
            "\tmap {} {{\n\t\ttype {kind} : verdict",
            names.of(&map.name)
        );
        if !map.elements.are_points() {
            out += "\t\tflags interval\n";
        }
        if map.key.counts() {
            out += "\t\tcounter\n";
        }
        let _ = writeln!(
            out,
            "\t\telements = {{ {} }}\n\t}}\n",
            element_list(Elements::of_map(map), Some(names)).join(", ")
        );
    }
    for direction in DIRECTIONS {
        let _ = writeln!(out, "\tchain {} {{", passed_chain(direction));
        if ruleset.recheck {
            let _ = writeln!(out, "\t\t{}", passed_rule(direction, names.stamp()));
            out += "\t\taccept\n";
        }
        out += "\t}\n\n";
    }
    for chain in &ruleset.chains {
        let _ = writeln!(out, "\tchain {} {{", names.of(&chain.name));
        for rule in &chain.rules {
            let _ = writeln!(out, "\t\t{}", rule_text(rule, names));
        }
        out += "\t}\n\n";
    }
    for base in BASE_CHAINS {
        let (name, hook, priority) = (base.name, base.hook, base.priority);
        let _ = writeln!(
            out,
            "\tchain {name} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;"
        );
        let _ = writeln!(out, "\t\tjump {}\n\t}}\n", names.of(name));
    }
    out.truncate(out.trim_end().len());
    out += "\n}\n";
    out
}

/// What passes the way that its flow was opened is stamped: `ct direction original ct label set 64 accept`. Flows without room for
/// labels just pass.
fn passed_rule(direction: Direction, stamp: Stamp) -> String {
    format!(
        "ct direction original ct label set {} accept",
        stamp.label(direction)
    )
}

/// What the keys of [`ended_set`] are.
fn ended_key(family: Family) -> String {
    let address = address_type(family);
    format!("{address} . inet_service . {address} . inet_service . inet_proto")
}

/// `10.0.0.5 . 22 . 10.0.0.9 . 5000 . tcp timeout 432000s`
fn ended_list(flows: &[EndedFlow], timeout: bool) -> String {
    let texts = flows.iter().map(|flow| {
        let (from, to) = (flow.source, flow.destination);
        let (from_port, to_port) = (from.port(), to.port());
        let key = format!(
            "{} . {from_port} . {} . {to_port} . {}",
            from.ip(),
            to.ip(),
            flow.transport.name()
        );
        match timeout {
            true => format!(
                "{key} timeout {}s",
                remembered_for(flow.transport).as_secs()
            ),
            false => key,
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn address_type(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

/// One rule: its conditions, its counter, its verdict, and the reason as comment.
pub fn rule_text(rule: &NftRule, names: &Names) -> String {
    let mut words: Vec<String> = rule
        .matches
        .iter()
        .map(|each| match_text(each, names))
        .collect();
    if rule.counts() {
        words.push("counter".into());
    }
    words.push(verdict_text(&rule.verdict, names));
    if let Some(reason) = rule.named() {
        words.push(format!("comment \"{reason}\""));
    }
    words.join(" ")
}

fn verdict_text(verdict: &NftVerdict, names: &Names) -> String {
    match verdict {
        NftVerdict::Accept | NftVerdict::Observe(None) => "accept".into(),
        NftVerdict::Drop => "drop".into(),
        NftVerdict::Return => "return".into(),
        NftVerdict::Pass(direction) | NftVerdict::Observe(Some(direction)) => {
            format!("goto {}", passed_chain(*direction))
        }
        NftVerdict::Jump(chain) => format!("jump {}", names.of(chain)),
        NftVerdict::Goto(chain) => format!("goto {}", names.of(chain)),
        NftVerdict::Map(key, map) => format!("{} vmap @{}", key_text(*key), names.of(map)),
    }
}

fn key_text(key: MapKey) -> String {
    match key {
        MapKey::Port(transport) => format!("{} dport", transport.name()),
        MapKey::Address(side, family) => format!("{} {}", family.header(), side.address()),
        MapKey::FlowPort(direction, transport) => flow_port(direction, transport),
        MapKey::FlowAddress(direction, family) => flow_address(direction, family),
        MapKey::Pair(side, family, bits, transport) => format!(
            "{} {}{} . {} dport",
            family.header(),
            side.address(),
            mask(family, bits),
            transport.name()
        ),
        MapKey::FlowPair(direction, family, bits, transport) => {
            let (side, field) = direction.of_flow();
            format!(
                "meta l4proto {} {}{} . ct {side} {field}",
                transport.name(),
                flow_address(direction, family),
                mask(family, bits)
            )
        }
    }
}

/// ` & 255.255.255.0`; nothing for a whole address.
fn mask(family: Family, bits: u8) -> String {
    match prefix_mask(family, bits) {
        Some(mask) => format!(" & {mask}"),
        None => String::new(),
    }
}

/// `255.255.255.0`; nothing for a whole address.
pub(super) fn prefix_mask(family: Family, bits: u8) -> Option<IpAddr> {
    match family {
        Family::V4 => (bits < 32).then(|| Ipv4Addr::from(u32::mask(bits)).into()),
        Family::V6 => (bits < 128).then(|| Ipv6Addr::from(u128::mask(bits)).into()),
    }
}

/// `meta l4proto tcp ct original proto-dst`: nft takes a port of connection tracking for one only behind its protocol.
fn flow_port(direction: Direction, transport: Transport) -> String {
    let (side, field) = direction.of_flow();
    format!("meta l4proto {} ct {side} {field}", transport.name())
}

/// `ct original ip saddr`
fn flow_address(direction: Direction, family: Family) -> String {
    format!("ct {} {} saddr", direction.of_flow().0, family.header())
}

fn map_type(key: MapKey) -> String {
    match key {
        MapKey::Port(_) | MapKey::FlowPort(..) => "inet_service".into(),
        MapKey::Address(_, family) | MapKey::FlowAddress(_, family) => address_type(family).into(),
        MapKey::Pair(_, family, ..) | MapKey::FlowPair(_, family, ..) => {
            format!("{} . inet_service", address_type(family))
        }
    }
}

/// `g7_in_0_3 { type ipv4_addr : verdict; flags interval;`, `g7_in_0_4 { type ipv4_addr . inet_service : verdict; counter;`
fn map_head(name: &str, key: MapKey, intervals: bool) -> String {
    let (kind, flags) = (map_type(key), interval_flag(intervals));
    let counter = if key.counts() { " counter;" } else { "" };
    format!("{name} {{ type {kind} : verdict;{flags}{counter}")
}

/// Intervals need a tree, single points a hash.
fn interval_flag(intervals: bool) -> &'static str {
    if intervals { " flags interval;" } else { "" }
}

/// `10.0.0.0/8 : goto g7_in_0_3`, `10.7.0.0 . 80 comment "sg-web/in/7" : drop`; the keys alone without names.
fn element_list(elements: Elements, names: Option<&Names>) -> Vec<String> {
    let mapped = |key: String, verdict: &NftVerdict| match names {
        Some(names) => format!("{key} : {}", verdict_text(verdict, names)),
        None => key,
    };
    let v4 = |i: &Interval<u32>| AddressRange::V4(*i).to_string();
    let v6 = |i: &Interval<u128>| AddressRange::V6(*i).to_string();
    match elements {
        Elements::V4(list) => list.iter().map(v4).collect(),
        Elements::V6(list) => list.iter().map(v6).collect(),
        Elements::PortMap(list) => list.iter().map(|(i, to)| mapped(interval(i), to)).collect(),
        Elements::V4Map(list) => list.iter().map(|(i, to)| mapped(v4(i), to)).collect(),
        Elements::V6Map(list) => list.iter().map(|(i, to)| mapped(v6(i), to)).collect(),
        Elements::V4Pairs(of, list) => list
            .iter()
            .map(|pair| mapped(pair_text(of, pair, names), &pair.verdict))
            .collect(),
        Elements::V6Pairs(of, list) => list
            .iter()
            .map(|pair| mapped(pair_text(of, pair, names), &pair.verdict))
            .collect(),
    }
}

/// `10.7.0.0 . 80 comment "sg-web/in/7"`; the key alone without names.
fn pair_text<T: Prefixed>(of: MapKey, pair: &Pair<T>, names: Option<&Names>) -> String {
    let key = format!("{} . {}", pair.network.address(), pair.port);
    match of.named(pair).filter(|_| names.is_some()) {
        Some(reason) => format!("{key} comment \"{reason}\""),
        None => key,
    }
}

fn match_text(each: &Match, names: &Names) -> String {
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
        Match::Told(told) => format!("log prefix \"{told}\" group {EVENTS_GROUP}"),
        Match::NotEstablished => format!("ct state != {}", CtState::Established.name()),
        Match::FlowSide(side) => format!("ct direction {}", side.name()),
        Match::Stamp(direction) => format!("ct label {}", names.stamp().label(*direction)),
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
            let (family, value) = compared(with, names);
            let header = family.header();
            let not = if *negated { "!= " } else { "" };
            format!("{header} {} {not}{value}", name(side, "saddr", "daddr"))
        }
        Match::FlowPort(direction, transport, ports) => {
            let field = flow_port(*direction, *transport);
            format!("{field} {}", elements(&port_list(ports)))
        }
        Match::FlowAddress {
            direction,
            with,
            negated,
        } => {
            let (family, value) = compared(with, names);
            let not = if *negated { "!= " } else { "" };
            format!("{} {not}{value}", flow_address(*direction, family))
        }
        Match::IcmpType(types) => format!("icmp type {}", elements(&pairs(types))),
        Match::Icmpv6Type(types) => format!("icmpv6 type {}", elements(&pairs(types))),
        Match::HopLimit(hops) => format!("ip6 hoplimit {hops}"),
        Match::ToThisHost => "fib daddr type { local, broadcast, anycast, multicast }".into(),
        Match::FromProcess => "meta iif 0".into(),
        Match::OpensTcp => "tcp flags & (fin | syn | rst | ack) == syn".into(),
        Match::HasEnded(family, transport) => has_ended(*family, *transport),
        Match::FromLinkToMany => "ip6 saddr { ::, fe80::/10 } ip6 daddr ff00::/8".into(),
        Match::Decrypted => "meta ipsec exists".into(),
        Match::WillEncrypt => "rt ipsec exists".into(),
        Match::LoopedBack => {
            "rt ipsec missing fib saddr type local fib daddr type { broadcast, multicast }".into()
        }
    }
}

/// `meta l4proto udp … @ended_v4 update @ended_v4 { … timeout 180s }`, as long as the flow was remembered before.
fn has_ended(family: Family, transport: Transport) -> String {
    let (name, header, set) = (transport.name(), family.header(), ended_set(family));
    let key = format!(
        "ct original {header} saddr . th sport . ct original {header} daddr . th dport . meta l4proto"
    );
    let asked = format!("meta l4proto {name} {key} @{set}");
    match transport {
        Transport::Tcp => asked,
        Transport::Udp => {
            let again = remembered_for(transport).as_secs();
            format!("{asked} update @{set} {{ {key} timeout {again}s }}")
        }
    }
}

/// What an address is compared with.
fn compared(with: &AddressMatch, names: &Names) -> (Family, String) {
    match with {
        AddressMatch::Inline(addresses) => (addresses.family(), elements(&address_list(addresses))),
        AddressMatch::Set(set, family) => (*family, format!("@{}", names.of(set))),
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
    element_list(
        match addresses {
            Addresses::V4(intervals) => Elements::V4(intervals),
            Addresses::V6(intervals) => Elements::V6(intervals),
        },
        None,
    )
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
            CtState::New => "new",
        }
    }
}

impl FlowSide {
    /// nft's word.
    pub fn name(self) -> &'static str {
        match self {
            FlowSide::Original => "original",
            FlowSide::Reply => "reply",
        }
    }
}

impl Direction {
    /// Where connection tracking keeps the remote of a flow of this direction, and its port beside the remote: an inbound flow's
    /// remote has opened it; an outbound flow's is whoever answers, which is also right behind DNAT.
    pub fn of_flow(self) -> (&'static str, &'static str) {
        match self {
            Direction::Inbound => ("original", "proto-dst"),
            Direction::Outbound => ("reply", "proto-src"),
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
