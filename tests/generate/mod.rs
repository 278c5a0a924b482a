//! Random definitions, as the text an operator would write, and packets on the edges of what they say.
#![allow(dead_code)]

use fastrand::Rng;
use secgroupd::policy::{
    About, AddressRange, AddressSet, Direction, Flow, Own, Packet, Policy, Protocol, Service,
    State, Way,
};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

const RANGES: &[&str] = &[
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.2.0/24",
    "10.1.2.3",
    "10.1.2.128/25",
    "10.1.2.10-10.1.3.20",
    "192.0.2.0/24",
    "192.0.2.7",
    "198.51.100.0-198.51.100.255",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1::1",
    "2001:db8:1::10-2001:db8:1::ff",
    "fe80::/10",
    "fd00::/8",
    "203.0.113.9",
    "any",
];
const PORTS: &[&str] = &[
    "22",
    "80",
    "443",
    "25",
    "53",
    "1-1024",
    "80,443",
    "8000-8100",
    "8000-8100,9000",
    "[22, 80, \"443-445\"]",
    "135",
    "136",
    "1433-1434",
    "1",
    "65535",
    "1024-65535",
    "all",
    "67-68",
    "546-547",
];
const PROTOCOLS: &[&str] = &[
    "tcp", "tcp", "tcp", "udp", "udp", "icmp", "icmpv6", "gre", "all",
];

/// A random definition: some groups bound to `eth0`, others to `eth1` or a glob, templates, platform options.
pub fn definition(rng: &mut Rng) -> String {
    let groups = rng.usize(1..=4);
    let mut out = String::from("version: 1\n");
    out += &templates(rng);
    out += "security_groups:\n";
    for group in 0..groups {
        let _ = writeln!(out, "  sg-{group}:");
        let _ = writeln!(out, "    name: group {group}");
        if rng.u8(..) < 40 {
            out += "    mode: observe\n";
        }
        for (list, remote) in [("inbound", "source"), ("outbound", "destination")] {
            let _ = writeln!(
                out,
                "    {list}: {}",
                if rng.u8(..) < 20 { "[]" } else { "" }
            );
            if out.ends_with("[]\n") {
                continue;
            }
            for _ in 0..rng.usize(1..=8) {
                let _ = writeln!(out, "      - {}", rule(rng, remote, groups));
            }
        }
    }
    out += &instances(rng, groups, false);
    out += &platform(rng);
    out
}

/// The same groups on other interfaces, some of them bound to equal lists, under another platform.
pub fn rebound(rng: &mut Rng, definition: &str) -> String {
    let rules = definition.split("instances:").next().unwrap_or_default();
    let groups = rules.lines().filter(|line| line.starts_with("  sg-"));
    let groups = groups.count();
    let keep = match rng.u8(..4) {
        0 => "  established: keep\n",
        _ => "",
    };
    format!(
        "{rules}{}{}{keep}",
        instances(rng, groups, true),
        platform(rng)
    )
}

/// A definition of many rules of few networks and ports each, nested and repeated, among others: what is asked as pairs.
pub fn pairs(rng: &mut Rng) -> String {
    let lengths = [[16, 24, 32, 24], [24, 24, 24, 32], [20, 24, 28, 32]][rng.usize(..3)];
    let long = [48, 64, 128, 64];
    let observes = if rng.u8(..) < 40 {
        "    mode: observe\n"
    } else {
        ""
    };
    let mut out = format!(
        "version: 1\n{}security_groups:\n  sg-0:\n{observes}",
        templates(rng)
    );
    for (list, remote) in [("inbound", "source"), ("outbound", "destination")] {
        let _ = writeln!(out, "    {list}:");
        let other = |rng: &mut Rng, out: &mut String| {
            for _ in 0..rng.usize(..4) {
                let _ = writeln!(out, "      - {}", self::rule(rng, remote, 1));
            }
        };
        other(rng, &mut out);
        for _ in 0..rng.usize(180..260) {
            let v6 = rng.u8(..) < 100;
            let network = |rng: &mut Rng| match v6 {
                false => {
                    let bits = lengths[rng.usize(..4)];
                    let address = Ipv4Addr::from(
                        u32::from_be_bytes([10, 1, rng.u8(..40), rng.u8(..)]) >> (32 - bits)
                            << (32 - bits),
                    );
                    format!("{address}/{bits}")
                }
                true => {
                    let bits = long[rng.usize(..4)];
                    let address = (0x2001_0db8_u128 << 96)
                        | (u128::from(rng.u8(..4)) << 80)
                        | (u128::from(rng.u8(..40)) << 64)
                        | u128::from(rng.u8(..8));
                    let address = Ipv6Addr::from(address >> (128 - bits) << (128 - bits));
                    format!("\"{address}/{bits}\"")
                }
            };
            let action = if rng.bool() { "allow" } else { "refuse" };
            let protocol = if rng.u8(..) < 170 { "tcp" } else { "udp" };
            let port = rng.u16(1000..1200);
            let (a, b) = (network(rng), network(rng));
            let (port, from) = match rng.u8(..8) {
                0 => (format!("[{port}, {}]", rng.u16(1000..1200)), a),
                1 => (port.to_string(), format!("[{a}, {b}]")),
                _ => (port.to_string(), a),
            };
            let _ = writeln!(
                out,
                "      - {{ action: {action}, protocol: {protocol}, port: {port}, {remote}: {from} }}"
            );
        }
        other(rng, &mut out);
    }
    out += "instances:\n  ins-a:\n    kind: cvm\n    interfaces:\n      eth0: { addresses: [10.1.2.3, \"2001:db8:1::1\"], security_groups: [sg-0] }\n";
    out += &platform(rng);
    out
}

/// The same definition behind network ACLs: `eth0` in one subnet, `eth1` in another, each with an ACL of its own or the
/// same. The subnet of `eth0` holds the addresses that the kernel's tests have.
pub fn behind_acls(rng: &mut Rng, definition: &str) -> String {
    let mut out = definition.replace(
        "eth1: { security_groups",
        "eth1: { addresses: [10.9.9.9], security_groups",
    );
    let second = ["acl-a", "acl-b"][rng.usize(..2)];
    let _ = writeln!(
        out,
        "subnets:\n  subnet-a: {{ cidr: [10.1.2.0/25, 198.18.0.96/28, \"2001:db8:1::/64\", \"2001:db8:ffff::4/126\"], network_acl: acl-a }}\n  \
         subnet-b: {{ cidr: 10.9.9.0/24, network_acl: {second} }}\nnetwork_acls:"
    );
    for acl in ["acl-a", "acl-b"] {
        let _ = writeln!(out, "  {acl}:");
        let five_part = rng.bool();
        for (list, remote, local) in [
            ("inbound", "source", "destination"),
            ("outbound", "destination", "source"),
        ] {
            let _ = writeln!(out, "    {list}:");
            let most = if rng.u8(..) < 30 { 60 } else { 8 };
            for _ in 0..rng.usize(1..=most) {
                let entry = acl_entry(rng, remote, local, five_part);
                let _ = writeln!(out, "      - {{ {entry} }}");
            }
            if rng.u8(..) < 180 {
                let _ = writeln!(
                    out,
                    "      - {{ action: allow, protocol: all, {remote}: any }}"
                );
            }
        }
    }
    out
}

/// Addresses on the subnet's side.
const LOCAL: &[&str] = &[
    "198.18.0.105",
    "198.18.0.0/24",
    "10.1.2.0/24",
    "2001:db8:ffff::5",
    "2001:db8:1::1-2001:db8:1::9",
    "0.0.0.0/0",
    "::/0",
    "any",
];

fn acl_entry(rng: &mut Rng, remote_key: &str, local_key: &str, five_part: bool) -> String {
    let action = if rng.u8(..) < 140 { "allow" } else { "refuse" };
    let protocol = PROTOCOLS[rng.usize(..PROTOCOLS.len())];
    let mut out = format!("action: {action}, protocol: {protocol}");
    let ports = |rng: &mut Rng| {
        let port = PORTS[rng.usize(..PORTS.len())];
        let quote = if port.starts_with('[') { "" } else { "\"" };
        format!("{quote}{port}{quote}")
    };
    if matches!(protocol, "tcp" | "udp") {
        if rng.u8(..) < 200 {
            let _ = write!(out, ", port: {}", ports(rng));
        }
        if five_part && rng.bool() {
            let _ = write!(out, ", source_port: {}", ports(rng));
        }
    }
    // Of one family, so that the two addresses of an entry fit each other and the protocol.
    let v4 = match protocol {
        "icmp" => true,
        "icmpv6" => false,
        _ => rng.bool(),
    };
    let mut one = |list: &[&'static str]| loop {
        let range = list[rng.usize(..list.len())];
        if range == "any" || range.contains(':') != v4 {
            return range;
        }
    };
    let (a, b, local) = (one(RANGES), one(RANGES), one(LOCAL));
    let _ = write!(out, ", {remote_key}: [\"{a}\", \"{b}\"]");
    if five_part && rng.bool() {
        let _ = write!(out, ", {local_key}: \"{local}\"");
    }
    out
}

fn templates(rng: &mut Rng) -> String {
    let mut list = |count: usize| -> String {
        (0..count)
            .map(|_| address(rng))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (a, b) = (list(3), list(6));
    let many: Vec<String> = (0..20)
        .map(|_| format!("10.{}.{}.0/24", rng.u8(0..4), rng.u8(..)))
        .collect();
    format!(
        "address_templates:\n  ipm-a: [{a}]\n  ipm-b: [{b}, 192.0.2.1, \"2001:db8::1\"]\n  ipm-many: [{}]\n  ipmg-all: [ipm-a, ipm-b]\n\
         service_templates:\n  ppm-web: [\"tcp:80,443\", \"udp:443\"]\n  ppm-mix: [icmp, icmpv6, gre, \"tcp:{}\"]\n  ppmg-all: [ppm-web, ppm-mix]\n",
        many.join(", "),
        rng.u16(1..),
    )
}

/// An address that is no `any`, quoted for YAML.
fn address(rng: &mut Rng) -> String {
    loop {
        let range = RANGES[rng.usize(..RANGES.len())];
        if range != "any" {
            return format!("\"{range}\"");
        }
    }
}

fn rule(rng: &mut Rng, remote_key: &str, groups: usize) -> String {
    let action = if rng.bool() { "allow" } else { "refuse" };
    if rng.u8(..) < 40 {
        let service = ["ppm-web", "ppm-mix", "ppmg-all"][rng.usize(..3)];
        return format!(
            "{{ action: {action}, service: {service}, {remote_key}: {} }}",
            remote(rng, None, groups)
        );
    }
    let protocol = PROTOCOLS[rng.usize(..PROTOCOLS.len())];
    let port = match protocol {
        "tcp" | "udp" if rng.u8(..) < 220 => {
            let port = PORTS[rng.usize(..PORTS.len())];
            let quote = if port.starts_with('[') { "" } else { "\"" };
            format!("port: {quote}{port}{quote}, ")
        }
        _ => String::new(),
    };
    let family = match protocol {
        "icmp" => Some(true),
        "icmpv6" => Some(false),
        _ => None,
    };
    format!(
        "{{ action: {action}, protocol: {protocol}, {port}{remote_key}: {} }}",
        remote(rng, family, groups)
    )
}

/// A remote; of one family where the protocol demands it.
fn remote(rng: &mut Rng, v4: Option<bool>, groups: usize) -> String {
    let mut one = || match (rng.u8(..), v4) {
        (0..40, _) => format!("sg-{}", rng.usize(..groups)),
        (40..100, None) => ["ipm-a", "ipm-b", "ipm-many", "ipmg-all"][rng.usize(..4)].to_owned(),
        _ => loop {
            let range = RANGES[rng.usize(..RANGES.len())];
            let fits = v4.is_none_or(|v4| range == "any" || range.contains(':') != v4);
            if fits {
                return format!("\"{range}\"");
            }
        },
    };
    let first = one();
    let second = one();
    match rng.bool() {
        true => first,
        false => format!("[{first}, {second}]"),
    }
}

/// Groups are bound to `eth0`, `eth1` and `veth*`; with `others` to other interfaces too, and more often to equal lists.
fn instances(rng: &mut Rng, groups: usize, others: bool) -> String {
    let mut bound = |at_least: usize| -> String {
        let mut all: Vec<usize> = (0..groups).collect();
        rng.shuffle(&mut all);
        let count = rng.usize(at_least..=groups);
        all[..count]
            .iter()
            .map(|group| format!("sg-{group}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let (eth0, mut eth1, mut glob, other) = (bound(1), bound(0), bound(0), bound(1));
    let own = match others {
        true => bound(0),
        false => String::new(),
    };
    if others {
        // Interfaces that are bound to equal lists count as one.
        match rng.u8(..8) {
            0 => eth1 = eth0.clone(),
            1 => glob = eth0.clone(),
            2 => glob = eth1.clone(),
            _ => {}
        }
    }
    let mut last = format!("\"veth*\": {{ security_groups: [{glob}] }}");
    if others {
        last = match rng.u8(..8) {
            0 => format!("veth7: {{ security_groups: [{own}] }}"),
            1 => format!("veth7: {{ security_groups: [{own}] }}\n      {last}"),
            2 => format!("wlan0: {{ security_groups: [{glob}] }}"),
            _ => last,
        };
    }
    let smtp = if rng.u8(..) < 60 {
        "unblocked"
    } else {
        "blocked"
    };
    let kind = ["cvm", "cvm", "cvm", "clb"][rng.usize(..4)];
    let smtp = if kind == "cvm" {
        format!("\n    smtp: {smtp}")
    } else {
        String::new()
    };
    format!(
        "instances:\n  ins-a:\n    kind: {kind}\n    billing: prepaid{smtp}\n    interfaces:\n      eth0: {{ addresses: [10.1.2.3, \"2001:db8:1::1\"], security_groups: [{eth0}] }}\n      \
         eth1: {{ security_groups: [{eth1}] }}\n      {last}\n  \
         ins-b:\n    interfaces:\n      eth0: {{ addresses: [203.0.113.9, 10.7.7.7], security_groups: [{other}] }}\n"
    )
}

fn platform(rng: &mut Rng) -> String {
    let mut out = String::from("platform:\n");
    let pick = |rng: &mut Rng, list: &[&'static str]| list[rng.usize(..list.len())];
    let (profile, direction, peers) = (
        pick(rng, &["tencent", "tencent", "none"]),
        pick(rng, &["both", "inbound", "outbound"]),
        pick(rng, &["any", "external"]),
    );
    let _ = writeln!(
        out,
        "  blocked_ports: {{ profile: {profile}, direction: {direction}, peers: {peers}, add: {{ tcp: [7777, \"8050-8060\"] }}, remove: {{ udp: 136 }} }}"
    );
    let _ = writeln!(
        out,
        "  smtp: {{ block: {} }}",
        pick(rng, &["true", "true", "false"])
    );
    let _ = writeln!(
        out,
        "  unbound_interfaces: {}",
        pick(rng, &["ignore", "refuse"])
    );
    if rng.u8(..) < 40 {
        out += "  mode: observe\n";
    }
    if rng.u8(..) < 60 {
        out += "  events: refusals\n";
    }
    if rng.bool() {
        let _ = writeln!(
            out,
            "  internal_networks: [{}, {}]",
            address(rng),
            address(rng)
        );
    }
    if rng.bool() {
        let _ = writeln!(
            out,
            "  approved_services:\n    health: {{ direction: inbound, protocol: tcp, port: 80, source: 10.1.0.0/16 }}\n    ping: {{ direction: inbound, protocol: [icmp, icmpv6], source: any }}"
        );
    }
    out
}

/// What a packet can be made of: every edge of what a policy says.
#[derive(Default)]
pub struct Edges {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    ports: Vec<u16>,
    /// The same for each rule alone, so that most packets meet one.
    rules: Vec<(Direction, Service, Edges)>,
    /// Source ports, and addresses on the host's side.
    source_ports: Vec<u16>,
    local: Vec<IpAddr>,
    /// The list of groups of each interface.
    keys: BTreeMap<&'static str, Arc<str>>,
}

/// The interfaces that packets come by.
const INTERFACES: [&str; 5] = ["eth0", "eth1", "veth7", "wlan0", "lo"];

impl Edges {
    /// First and last address and port of everything that the policy names, and their neighbours.
    pub fn of(policy: &Policy) -> Self {
        let mut edges = Edges {
            ports: vec![1, 25, 67, 68, 135, 136, 546, 547, 7777, 65535, 40000],
            ..Edges::default()
        };
        edges.addresses(&AddressSet::any());
        let platform = &policy.platform;
        platform
            .internal
            .iter()
            .for_each(|set| edges.addresses(set));
        for approved in &platform.approved_services {
            edges.addresses(&approved.remote);
            approved
                .services
                .iter()
                .for_each(|service| edges.service(service));
        }
        for group in policy.groups() {
            for rule in group.inbound.iter().chain(&group.outbound) {
                for service in &rule.services {
                    let mut own = Edges::default();
                    rule.remote.iter().for_each(|set| own.addresses(set));
                    own.service(service);
                    edges.v4.extend(&own.v4);
                    edges.v6.extend(&own.v6);
                    edges.ports.extend(&own.ports);
                    own.clean();
                    edges.rules.push((rule.id.direction, service.clone(), own));
                }
            }
        }
        edges.of_acls(policy);
        edges.clean();
        let keys = INTERFACES.into_iter();
        edges.keys = keys
            .filter_map(|name| Some((name, policy.list_key(name)?)))
            .collect();
        edges
    }

    fn of_acls(&mut self, policy: &Policy) {
        self.source_ports.push(49152);
        let acls = policy.bindings.iter().filter_map(|each| each.acl.as_ref());
        for acl in acls {
            let (mut local, mut ports) = (Edges::default(), Edges::default());
            local.addresses(&acl.networks);
            self.addresses(&acl.networks);
            for entry in acl.acl.inbound.iter().chain(&acl.acl.outbound) {
                let mut own = Edges::default();
                own.addresses(entry.remote());
                own.service(&entry.service);
                local.addresses(entry.local());
                ports.service(&Service::Tcp(entry.source_ports.clone()));
                self.v4.extend(&own.v4);
                self.v6.extend(&own.v6);
                self.ports.extend(&own.ports);
                own.clean();
                let direction = entry.id.direction;
                self.rules.push((direction, entry.service.clone(), own));
            }
            local.clean();
            ports.clean();
            self.local.extend(local.v4.iter().chain(&local.v6));
            self.source_ports.extend(ports.ports);
        }
    }

    /// Where the packet comes from and goes to beside what rules of groups ask, where a network ACL asks it.
    fn fill(&self, rng: &mut Rng, packet: &mut Packet) {
        if packet.protocol.has_ports() && rng.u8(..) < 160 {
            packet.source_port = self.source_ports[rng.usize(..self.source_ports.len())];
        }
        let v6 = packet.remote.is_ipv6();
        let local = self.local.iter().filter(|each| each.is_ipv6() == v6);
        let local: Vec<&IpAddr> = local.collect();
        if !local.is_empty() {
            packet.local = *local[rng.usize(..local.len())];
        }
    }

    fn clean(&mut self) {
        let edges = self;
        // Neither "this network" nor broadcast nor loopback can be sent to or from.
        edges.v4.retain(|address| matches!(address, IpAddr::V4(a) if !a.is_loopback() && !a.is_multicast() && a.octets()[0] != 0 && a.octets()[0] < 224));
        edges.v6.retain(|address| matches!(address, IpAddr::V6(a) if !a.is_loopback() && !a.is_multicast() && !a.is_unspecified() && a.to_ipv4().is_none()));
        edges.ports.retain(|port| *port != 0);
        for list in [&mut edges.v4, &mut edges.v6] {
            list.sort_unstable();
            list.dedup();
        }
    }

    fn addresses(&mut self, set: &AddressSet) {
        for range in set.ranges() {
            match range {
                AddressRange::V4(i) => {
                    let near = [
                        i.first.saturating_sub(1),
                        i.first,
                        i.last,
                        i.last.saturating_add(1),
                    ];
                    self.v4
                        .extend(near.map(|number| IpAddr::V4(Ipv4Addr::from(number))));
                }
                AddressRange::V6(i) => {
                    let near = [
                        i.first.saturating_sub(1),
                        i.first,
                        i.last,
                        i.last.saturating_add(1),
                    ];
                    self.v6
                        .extend(near.map(|number| IpAddr::V6(Ipv6Addr::from(number))));
                }
            }
        }
    }

    fn service(&mut self, service: &Service) {
        if let Service::Tcp(ports) | Service::Udp(ports) = service {
            for i in ports.intervals() {
                self.ports.extend([
                    i.first.saturating_sub(1),
                    i.first,
                    i.last,
                    i.last.saturating_add(1),
                ]);
            }
        }
    }

    /// A packet that opens a flow, at an edge: most of one rule, some of anything.
    pub fn opening(&self, rng: &mut Rng, interface: &str) -> Packet {
        if !self.rules.is_empty() && rng.u8(..) < 170 {
            let (direction, service, edges) = &self.rules[rng.usize(..self.rules.len())];
            if !edges.v4.is_empty() || !edges.v6.is_empty() {
                let mut packet = edges.packet(rng, interface, *direction, service.protocol());
                self.fill(rng, &mut packet);
                return packet;
            }
        }
        let direction = [Direction::Inbound, Direction::Outbound][rng.usize(..2)];
        let mut packet = self.packet(rng, interface, direction, None);
        self.fill(rng, &mut packet);
        packet
    }

    fn packet(
        &self,
        rng: &mut Rng,
        interface: &str,
        direction: Direction,
        protocol: Option<Protocol>,
    ) -> Packet {
        let v6 = match protocol {
            Some(Protocol::ICMPV6) => !self.v6.is_empty(),
            _ => self.v4.is_empty() || (rng.bool() && !self.v6.is_empty()),
        };
        let list = if v6 { &self.v6 } else { &self.v4 };
        let remote = list[rng.usize(..list.len())];
        let icmp = if v6 { Protocol::ICMPV6 } else { Protocol::ICMP };
        let any = [
            Protocol::TCP,
            Protocol::TCP,
            Protocol::UDP,
            Protocol::UDP,
            icmp,
            Protocol::GRE,
            Protocol(50),
        ];
        let protocol = match protocol {
            Some(Protocol::ICMP | Protocol::ICMPV6) => icmp,
            Some(protocol) if rng.u8(..) < 230 => protocol,
            _ => any[rng.usize(..any.len())],
        };
        let ports = matches!(protocol, Protocol::TCP | Protocol::UDP);
        let port = match ports {
            true if self.ports.is_empty() => rng.u16(1..),
            true => self.ports[rng.usize(..self.ports.len())],
            false => 0,
        };
        let mut packet = Packet::opening(direction, interface, protocol, remote, port);
        packet.source_port = if ports { 49152 } else { 0 };
        packet
    }

    /// Any state but that of a new flow; a tracked one was opened on any of the interfaces that packets come by.
    fn state(&self, rng: &mut Rng, interface: &str) -> State {
        let about = [About::Passes, About::Refused, About::Unknown][rng.usize(..3)];
        let other = [
            State::IcmpError(about),
            State::Related,
            State::Invalid,
            State::Untracked,
        ];
        if let Some(state) = other.into_iter().nth(rng.usize(..12)) {
            return state;
        }
        let any = |rng: &mut Rng| INTERFACES[rng.usize(..INTERFACES.len())];
        let some = |rng: &mut Rng| match rng.u8(..3) {
            0 => interface.to_owned(),
            _ => any(rng).to_owned(),
        };
        let opened = match rng.u8(..8) {
            0 | 1 => None,
            2 => Some(vec![some(rng), some(rng)]),
            _ => Some(vec![some(rng)]),
        };
        let of = any(rng);
        State::Tracked(Flow {
            way: [Way::Opening, Way::Answer][rng.usize(..2)],
            opened,
            own_of_another: rng.bool(),
            passes: self.keys.get(of).filter(|_| rng.u8(..4) == 0).cloned(),
        })
    }

    /// Any packet: every state, forwarded or not, essential or nearly.
    pub fn any(&self, rng: &mut Rng) -> Packet {
        let interface = match rng.u8(..) {
            0..4 => "lo",
            4..20 => "wlan0",
            20..50 => "eth1",
            50..80 => "veth7",
            _ => "eth0",
        };
        let mut packet = self.opening(rng, interface);
        if rng.u8(..) < 120 {
            packet.state = self.state(rng, interface);
        }
        packet.without_syn = packet.protocol == Protocol::TCP && rng.bool();
        if packet.without_syn && rng.bool() {
            packet.source_port = rng.u16(1..1024);
        }
        if let State::Tracked(Flow {
            way: Way::Answer, ..
        }) = packet.state
            && rng.u8(..) < 200
        {
            // An answer comes from the port that was asked.
            std::mem::swap(&mut packet.source_port, &mut packet.destination_port);
        }
        if matches!(packet.state, State::IcmpError(_)) {
            // Only ICMP can be one.
            let v6 = packet.remote.is_ipv6();
            packet.protocol = if v6 { Protocol::ICMPV6 } else { Protocol::ICMP };
            packet.icmp_type = if v6 {
                rng.u8(1..=4)
            } else {
                [3, 11, 12][rng.usize(..3)]
            };
        } else if rng.u8(..) < 40 {
            packet.own = near_end(rng, &packet);
            if packet.remote.is_ipv6() && rng.bool() {
                packet.protocol = Protocol::ICMPV6;
                packet.icmp_type = rng.u8(129..=145);
                packet.hop_limit = [1, 2, 64, 254, 255][rng.usize(..5)];
            } else if rng.u8(..4) == 0 {
                packet.protocol = Protocol::IGMP;
                packet.hop_limit = rng.u8(1..=2);
            } else {
                packet.protocol = Protocol::UDP;
                packet.source_port = [67, 68, 546, 547][rng.usize(..4)];
                packet.destination_port = [67, 68, 546, 547][rng.usize(..4)];
            }
        }
        packet
    }
}

/// What the near end of a packet is to the host, among what it can be.
fn near_end(rng: &mut Rng, packet: &Packet) -> Own {
    let apart = match (packet.direction, packet.remote.is_ipv6()) {
        (Direction::Inbound, false) => [Own::Broadcast, Own::Multicast],
        (Direction::Inbound, true) => [Own::LinkLocal, Own::Multicast],
        (Direction::Outbound, false) => [Own::Unspecified; 2],
        (Direction::Outbound, true) => [Own::LinkLocal, Own::Unspecified],
    };
    match rng.u8(..4) {
        0 => Own::Host,
        1 => Own::Forwarded,
        other => apart[usize::from(other) - 2],
    }
}
