//! A policy into chains: one for each interface role, one for each group and direction, a few nft rules
//! for each rule.
//!
//! ```text
//! inbound  -> in_0 (interfaces bound to one list of groups) -> exempt_in, platform_in, sg_base_in, sg_web_in, drop
//! outbound -> out_0                                         -> exempt_out, platform_out, sg_base_out, sg_web_out, drop
//! ```

use super::ir::*;
use super::remote::Remotes;
use crate::policy::{
    Action, AddressSet, Binding, Direction, GroupId, InterfaceName, Interval, Platform, Policy,
    PortSet, Protocol, Reason, Rule, SecurityGroup, Service,
};

/// ICMP errors about a tracked flow: unreachable, time exceeded, parameter problem. IPv4's "too big" is a
/// code of unreachable; a redirect (5) is none of them.
const ICMP_ERRORS: &[(u8, u8)] = &[(3, 3), (11, 12)];
/// Unreachable, too big, time exceeded, parameter problem.
const ICMPV6_ERRORS: &[(u8, u8)] = &[(1, 4)];

/// Compiles a policy. The result is a function of the policy alone.
pub fn compile(policy: &Policy) -> Ruleset {
    let mut remotes = Remotes::default();
    let mut chains = Vec::new();
    for direction in [Direction::Inbound, Direction::Outbound] {
        chains.push(exempt_chain(direction));
        chains.push(platform_chain(policy, direction, &mut remotes));
        for group in policy.groups() {
            chains.push(group_chain(group, direction, &mut remotes));
        }
        let roles = Roles::new(&policy.bindings, direction);
        chains.extend(roles.chains(direction));
        let unbound = policy.platform.unbound_refuse && direction == Direction::Inbound;
        if unbound {
            chains.push(unbound_chain());
        }
        chains.push(entry_chain(&roles, direction, unbound));
    }
    Ruleset {
        sets: remotes.into_sets(),
        chains,
    }
}

/// Interfaces bound to the same list of groups share one chain.
struct Roles<'p> {
    lists: Vec<&'p Binding>,
    /// Each interface and the index of its list.
    interfaces: Vec<(&'p InterfaceName, usize)>,
    prefix: &'static str,
}

impl<'p> Roles<'p> {
    fn new(bindings: &'p [Binding], direction: Direction) -> Self {
        let ids = |binding: &Binding| -> Vec<GroupId> {
            binding
                .groups
                .iter()
                .map(|group| group.id.clone())
                .collect()
        };
        let mut lists: Vec<&Binding> = Vec::new();
        let mut interfaces = Vec::new();
        for binding in bindings {
            let known = lists.iter().position(|list| ids(list) == ids(binding));
            let index = known.unwrap_or_else(|| {
                lists.push(binding);
                lists.len() - 1
            });
            interfaces.push((&binding.interface, index));
        }
        Roles {
            lists,
            interfaces,
            prefix: suffix(direction),
        }
    }

    fn name(&self, list: usize) -> String {
        format!("{}_{list}", self.prefix)
    }

    fn chains(&self, direction: Direction) -> Vec<Chain> {
        let chain = |(index, binding): (usize, &&Binding)| {
            let mut rules = tracked_rules();
            rules.push(jump(format!("exempt_{}", self.prefix)));
            rules.push(rule(
                vec![Match::State(CtState::Invalid)],
                NftVerdict::Drop,
                Reason::Invalid,
            ));
            rules.push(jump(format!("platform_{}", self.prefix)));
            rules.extend(
                binding
                    .groups
                    .iter()
                    .map(|group| jump(group_chain_name(&group.id, direction))),
            );
            rules.push(rule(vec![], NftVerdict::Drop, Reason::Default));
            Chain {
                name: self.name(index),
                rules,
            }
        };
        self.lists.iter().enumerate().map(chain).collect()
    }
}

/// Where packets of a direction enter: `iifname "eth0" goto in_0`. What falls off the end is not managed.
fn entry_chain(roles: &Roles, direction: Direction, unbound: bool) -> Chain {
    let (name, side) = match direction {
        Direction::Inbound => (INBOUND, Side::Source),
        Direction::Outbound => (OUTBOUND, Side::Destination),
    };
    let mut rules = Vec::new();
    if unbound || roles.interfaces.iter().any(|(name, _)| name.matches("lo")) {
        rules.push(plain(vec![Match::Loopback(side)], NftVerdict::Return));
    }
    for (interface, list) in &roles.interfaces {
        rules.push(plain(
            vec![Match::Interface(side, (*interface).clone())],
            NftVerdict::Goto(roles.name(*list)),
        ));
    }
    if unbound {
        rules.push(plain(vec![], NftVerdict::Goto("unbound_in".into())));
    }
    Chain {
        name: name.into(),
        rules,
    }
}

/// What belongs to a tracked flow passes: `ct state established counter accept`.
fn tracked_rules() -> Vec<NftRule> {
    let related = |errors| {
        rule(
            vec![Match::State(CtState::Related), errors],
            NftVerdict::Accept,
            Reason::Established,
        )
    };
    vec![
        rule(
            vec![Match::State(CtState::Established)],
            NftVerdict::Accept,
            Reason::Established,
        ),
        related(Match::IcmpType(ICMP_ERRORS)),
        related(Match::Icmpv6Type(ICMPV6_ERRORS)),
    ]
}

/// New inbound flows on interfaces that nobody named, when they are refused.
fn unbound_chain() -> Chain {
    let mut rules = tracked_rules();
    rules.push(jump("exempt_in".into()));
    rules.push(rule(
        vec![Match::State(CtState::Invalid)],
        NftVerdict::Drop,
        Reason::Invalid,
    ));
    rules.push(rule(vec![], NftVerdict::Drop, Reason::Unmanaged));
    Chain {
        name: "unbound_in".into(),
        rules,
    }
}

/// What is never filtered, and the essential traffic, to and from the host itself only.
fn exempt_chain(direction: Direction) -> Chain {
    let icmpv6 = |types, hops, host: &[Match]| {
        [&[Match::Icmpv6Type(types), Match::HopLimit(hops)], host].concat()
    };
    let udp = |from: u16, to: u16, peer: Vec<Match>, host: Match| {
        [
            peer,
            vec![port(Side::Source, from), port(Side::Destination, to), host],
        ]
        .concat()
    };
    let link_local: u128 = 0xfe80 << 112;
    let link_local = Interval {
        first: link_local,
        last: link_local | ((1 << 118) - 1),
    };
    let agents = 0xff02_0000_0000_0000_0000_0000_0001_0002;
    let agents = Interval {
        first: agents,
        last: agents,
    };
    let v6 = |side, intervals: &[Interval<u128>]| Match::Address {
        side,
        with: AddressMatch::Inline(Addresses::V6(intervals.into())),
        negated: false,
    };
    let ipv4 = vec![Match::Family(Family::V4)];
    let (never, essential) = match direction {
        Direction::Inbound => (
            vec![Match::Decrypted, Match::LoopedBack],
            vec![
                icmpv6(&[(134, 136)], 255, &[Match::ToThisHost]),
                icmpv6(&[(130, 132), (143, 143)], 1, &[Match::ToThisHost]),
                udp(67, 68, ipv4, Match::ToThisHost),
                udp(
                    547,
                    546,
                    vec![v6(Side::Source, &[link_local])],
                    Match::ToThisHost,
                ),
            ],
        ),
        Direction::Outbound => (
            vec![Match::WillEncrypt],
            vec![
                // Forwarding takes one from the hop limit: what leaves with 255 was made here.
                icmpv6(&[(133, 133), (135, 136)], 255, &[]),
                icmpv6(&[(131, 132), (143, 143)], 1, &[Match::FromProcess]),
                icmpv6(&[(131, 132), (143, 143)], 1, &[Match::FromLinkToMany]),
                udp(68, 67, ipv4, Match::FromProcess),
                udp(
                    546,
                    547,
                    vec![v6(Side::Destination, &[link_local, agents])],
                    Match::FromProcess,
                ),
            ],
        ),
    };
    let never = never
        .into_iter()
        .map(|condition| plain(vec![condition], NftVerdict::Accept));
    let essential = essential
        .into_iter()
        .map(|matches| rule(matches, NftVerdict::Accept, Reason::Essential));
    Chain {
        name: format!("exempt_{}", suffix(direction)),
        rules: never.chain(essential).collect(),
    }
}

/// Blocked ports, TCP 25 to external addresses, approved services.
fn platform_chain(policy: &Policy, direction: Direction, remotes: &mut Remotes) -> Chain {
    let platform = &*policy.platform;
    let mut rules = Vec::new();
    let blocked = &platform.blocked_ports;
    if blocked.blocks(direction) {
        for (transport, ports) in [
            (Transport::Tcp, &blocked.tcp),
            (Transport::Udp, &blocked.udp),
        ] {
            let Some(ports) = ports else { continue };
            let ports = Match::Port(transport, Side::Destination, ports.clone());
            let peers = match blocked.external_only {
                true => external(platform, direction, remotes),
                false => vec![vec![]],
            };
            rules.extend(peers.into_iter().map(|matches| {
                rule(
                    [matches, vec![ports.clone()]].concat(),
                    NftVerdict::Drop,
                    Reason::BlockedPorts,
                )
            }));
        }
    }
    if policy.smtp_blocked && direction == Direction::Outbound {
        let smtp = Interval {
            first: 25,
            last: 25,
        };
        let smtp = PortSet::new(vec![smtp])
            .map(|ports| Match::Port(Transport::Tcp, Side::Destination, ports));
        for matches in external(platform, direction, remotes) {
            rules.push(rule(
                matches.into_iter().chain(smtp.clone()).collect(),
                NftVerdict::Drop,
                Reason::Smtp,
            ));
        }
    }
    for approved in platform
        .approved_services
        .iter()
        .filter(|approved| approved.direction == direction)
    {
        for service in &approved.services {
            for matches in service_matches(service, &approved.remote, direction, remotes) {
                rules.push(rule(
                    matches,
                    NftVerdict::Accept,
                    Reason::ApprovedService(approved.name.clone()),
                ));
            }
        }
    }
    Chain {
        name: format!("platform_{}", suffix(direction)),
        rules,
    }
}

/// What is not internal, in each family: `ip daddr != { 10.0.0.0/8, … }`.
fn external(platform: &Platform, direction: Direction, remotes: &mut Remotes) -> Vec<Vec<Match>> {
    match &platform.internal {
        Some(internal) => remotes.outside(internal, remote_side(direction)),
        None => vec![vec![]],
    }
}

/// The rules of a group, in order: the first that matches decides, and what falls off the end goes to the next group.
fn group_chain(group: &SecurityGroup, direction: Direction, remotes: &mut Remotes) -> Chain {
    let mut rules = Vec::new();
    for each in group.rules(direction) {
        rules.extend(nft_rules(each, direction, remotes));
    }
    Chain {
        name: group_chain_name(&group.id, direction),
        rules,
    }
}

/// `ip saddr 10.0.0.0/8 tcp dport { 80, 443 } counter accept comment "sg-web/in/3"`, for each service and family.
fn nft_rules(each: &Rule, direction: Direction, remotes: &mut Remotes) -> Vec<NftRule> {
    let Some(remote) = &each.remote else {
        return Vec::new();
    };
    let verdict = match each.action {
        Action::Allow => NftVerdict::Accept,
        Action::Refuse => NftVerdict::Drop,
    };
    let matches = each
        .services
        .iter()
        .flat_map(|service| service_matches(service, remote, direction, remotes));
    matches
        .map(|matches| rule(matches, verdict.clone(), Reason::Rule(each.id.clone())))
        .collect()
}

/// The conditions of a service with a remote: one list for each family that is left.
fn service_matches(
    service: &Service,
    remote: &AddressSet,
    direction: Direction,
    remotes: &mut Remotes,
) -> Vec<Vec<Match>> {
    let (limit, condition) = match service {
        Service::All => (None, None),
        Service::Tcp(ports) if ports.is_all() => (None, Some(Match::Protocol(Protocol::TCP.0))),
        Service::Udp(ports) if ports.is_all() => (None, Some(Match::Protocol(Protocol::UDP.0))),
        Service::Tcp(ports) => (
            None,
            Some(Match::Port(
                Transport::Tcp,
                Side::Destination,
                ports.clone(),
            )),
        ),
        Service::Udp(ports) => (
            None,
            Some(Match::Port(
                Transport::Udp,
                Side::Destination,
                ports.clone(),
            )),
        ),
        Service::Icmp => (Some(Family::V4), Some(Match::Protocol(Protocol::ICMP.0))),
        Service::Icmpv6 => (Some(Family::V6), Some(Match::Protocol(Protocol::ICMPV6.0))),
        Service::Gre => (None, Some(Match::Protocol(Protocol::GRE.0))),
    };
    let mut lists = remotes.inside(remote, limit, remote_side(direction));
    for list in &mut lists {
        list.extend(condition.clone());
    }
    lists
}

/// The remote is the source of an inbound and the destination of an outbound packet.
fn remote_side(direction: Direction) -> Side {
    match direction {
        Direction::Inbound => Side::Source,
        Direction::Outbound => Side::Destination,
    }
}

fn suffix(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    }
}

/// `sg_web_in`: nft's names have no `-`, and an id has no `_`, so that no two groups share a chain.
fn group_chain_name(id: &GroupId, direction: Direction) -> String {
    format!("{}_{}", id.as_str().replace('-', "_"), suffix(direction))
}

fn port(side: Side, port: u16) -> Match {
    match PortSet::new(vec![Interval {
        first: port,
        last: port,
    }]) {
        Some(ports) => Match::Port(Transport::Udp, side, ports),
        None => Match::Protocol(Protocol::UDP.0),
    }
}

fn rule(matches: Vec<Match>, verdict: NftVerdict, reason: Reason) -> NftRule {
    NftRule {
        matches,
        verdict,
        reason: Some(reason),
    }
}

fn plain(matches: Vec<Match>, verdict: NftVerdict) -> NftRule {
    NftRule {
        matches,
        verdict,
        reason: None,
    }
}

fn jump(chain: String) -> NftRule {
    plain(vec![], NftVerdict::Jump(chain))
}
