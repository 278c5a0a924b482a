//! The packets that are sent: openings of flows that a policy's rules are about, from varied addresses and ports.
//!
//! IPv4 only: an IPv6 packet would meet other programs of iptables.

use crate::lists::rules;
use crate::support::Probe;
use fastrand::Rng;
use secgroupd::policy::{
    Decision, Direction, Interval, Packet, Policy, Protocol, Reason, Rule, Service,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The judged host's address, which every workload binds its groups to.
pub const OWN: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 5);
/// The far machine of the tracked flows.
pub const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 9);

/// Tracked flows of each sort.
const FLOWS: u16 = 8;

/// A packet to send, and what must become of it.
pub struct Sample {
    /// What is sent.
    pub probe: Probe,
    /// What the policy says.
    pub passes: bool,
}

/// Packets that the last rules decide about (the last hundredth, at least one): what a list of rules is slowest with.
pub fn of_last_rules(policy: &Policy, count: usize) -> Vec<Sample> {
    let mut rng = Rng::with_seed(11);
    let all: Vec<&Rule> = rules(policy).collect();
    let wanted = all.len().div_ceil(100);
    let decided_by = |rule: &Rule, rng: &mut Rng| {
        (0..200).find_map(|_| {
            let (packet, decision) = drawn(policy, rule, rng);
            (decision.reason == Reason::Rule(rule.id.clone())).then_some((packet, decision))
        })
    };
    // A rule that earlier ones hide decides about nothing.
    let last: Vec<&Rule> = all
        .into_iter()
        .rev()
        .filter(|rule| decided_by(rule, &mut rng).is_some())
        .take(wanted)
        .collect();
    (0..count)
        .filter_map(|at| {
            let (packet, decision) = decided_by(last[at % last.len()], &mut rng)?;
            Some(sample(&packet, &decision, &mut rng))
        })
        .collect()
}

/// Packets of all rules at random, whichever rule decides about them: nothing that is asked is in a cache.
pub fn of_any_rule(policy: &Policy, count: usize) -> Vec<Sample> {
    let mut rng = Rng::with_seed(12);
    let all: Vec<&Rule> = rules(policy)
        .filter(|rule| !rule.services.contains(&Service::Icmpv6))
        .collect();
    (0..count)
        .map(|_| {
            let (packet, decision) = drawn(policy, all[rng.usize(..all.len())], &mut rng);
            sample(&packet, &decision, &mut rng)
        })
        .collect()
}

/// New TCP flows to one port, from anywhere.
pub fn of_port(policy: &Policy, port: u16, count: usize) -> Vec<Sample> {
    let mut rng = Rng::with_seed(14);
    (0..count)
        .map(|_| {
            let source = unicast(&mut rng).into();
            let packet = Packet::opening(Direction::Inbound, "eth0", Protocol::TCP, source, port);
            sample(&packet, &policy.decide(&packet), &mut rng)
        })
        .collect()
}

/// A cable's two ends.
#[derive(Clone, Copy)]
pub struct Ends {
    /// Of the judged host.
    pub own: Ipv4Addr,
    /// Of the far machine.
    pub peer: Ipv4Addr,
}

impl Ends {
    /// Of the cable of `eth0`, `eth1`, ...
    pub fn of(interface: u8) -> Self {
        let on = |address: Ipv4Addr| {
            let [a, b, _, d] = address.octets();
            Ipv4Addr::new(a, b, interface, d)
        };
        Ends {
            own: on(OWN),
            peer: on(PEER),
        }
    }

    /// A few flows that the host opens, here and there.
    pub fn opened_here(self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let ports = (0..FLOWS).map(|number| (50_000 + number, 5_300 + number));
        self.flows(ports)
    }

    /// A few flows that the far machine opens, to a port that W1 opens to all.
    pub fn opened_there(self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        let ports = (0..FLOWS).map(|number| (443, 51_000 + number));
        self.flows(ports)
    }

    fn flows(
        self,
        ports: impl Iterator<Item = (u16, u16)>,
    ) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        ports.map(move |(here, there)| {
            (
                SocketAddr::from((self.own, here)),
                SocketAddr::from((self.peer, there)),
            )
        })
    }
}

/// Packets that the far machine sends on tracked flows, which pass.
pub fn of_established_flows(
    flows: impl Iterator<Item = (SocketAddr, SocketAddr)>,
    count: usize,
) -> Vec<Sample> {
    let probes: Vec<Probe> = flows.map(|(own, peer)| Probe::udp(peer, own)).collect();
    (0..count)
        .map(|at| Sample {
            probe: probes[at % probes.len()].clone(),
            passes: true,
        })
        .collect()
}

/// The share of the first packets that is refused.
pub fn refused_share(samples: &[Sample], first: usize) -> f64 {
    let refused = samples[..first]
        .iter()
        .filter(|sample| !sample.passes)
        .count();
    refused as f64 / first as f64
}

/// A packet that a rule is about, and what the policy decides.
fn drawn(policy: &Policy, rule: &Rule, rng: &mut Rng) -> (Packet, Decision) {
    let v4 = rule.remote.as_ref().map_or(&[][..], |remote| remote.v4());
    let source = match v4 {
        [] => unicast(rng),
        [all] if all.first == 0 => unicast(rng),
        some => {
            let Interval { first, last } = some[rng.usize(..some.len())];
            Ipv4Addr::from(rng.u32(first..=last))
        }
    };
    let mut port = |list: &secgroupd::policy::PortSet| {
        let intervals = list.intervals();
        let Interval { first, last } = intervals[rng.usize(..intervals.len())];
        rng.u16(first..=last)
    };
    let (protocol, port) = match &rule.services[0] {
        Service::Tcp(ports) => (Protocol::TCP, port(ports)),
        Service::Udp(ports) => (Protocol::UDP, port(ports)),
        Service::Icmp => (Protocol::ICMP, 0),
        _ => (Protocol::TCP, rng.u16(1..)),
    };
    let packet = Packet::opening(Direction::Inbound, "eth0", protocol, source.into(), port);
    let decision = policy.decide(&packet);
    (packet, decision)
}

/// Any address that a packet may come from.
fn unicast(rng: &mut Rng) -> Ipv4Addr {
    loop {
        let address = Ipv4Addr::from(rng.u32(0x0100_0000..0xe000_0000));
        if !address.is_loopback() && address.octets()[0] != 198 {
            return address;
        }
    }
}

fn sample(packet: &Packet, decision: &Decision, rng: &mut Rng) -> Sample {
    let (from, to) = (
        SocketAddr::new(packet.remote, rng.u16(1024..)),
        SocketAddr::new(IpAddr::V4(OWN), packet.destination_port),
    );
    let probe = match packet.protocol {
        Protocol::UDP => Probe::udp(from, to),
        Protocol::ICMP => Probe::echo(from.ip(), to.ip(), rng.u16(..)),
        _ => Probe::tcp(from, to),
    };
    Sample {
        probe,
        passes: decision.verdict.passes(),
    }
}
