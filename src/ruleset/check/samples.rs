//! Single packets for what boxes do not cover: states, forwarding, and the essential traffic.

use super::Difference;
use crate::policy::{Direction, Packet, Policy, Protocol, Reason, State};
use crate::ruleset::walk::Walker;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const STATES: [State; 6] = [
    State::New,
    State::Established,
    State::IcmpError,
    State::Related,
    State::Invalid,
    State::Untracked,
];

/// Compares the decisions about all samples at an interface; gives how many there were.
pub fn check(
    policy: &Policy,
    walker: &Walker,
    direction: Direction,
    interface: &str,
) -> Result<usize, Difference> {
    let samples = samples(direction, interface);
    for packet in &samples {
        let decided = policy.decide(packet);
        let (verdict, reason) = walker.walk(packet);
        let reason = reason.cloned().unwrap_or(Reason::Unmanaged);
        if (decided.verdict, &decided.reason) != (verdict, &reason) {
            return Err(Difference {
                packet: format!("{packet:?}"),
                policy: decided.to_string(),
                ruleset: format!("{verdict} by {reason}"),
            });
        }
    }
    Ok(samples.len())
}

fn samples(direction: Direction, interface: &str) -> Vec<Packet> {
    let v4 = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77));
    let global = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 7));
    let link_local = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7));
    let agents = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2));
    let opening =
        |protocol, remote, port| Packet::opening(direction, interface, protocol, remote, port);
    let mut packets = Vec::new();
    for remote in [v4, global, link_local] {
        packets.push(opening(Protocol::TCP, remote, 9));
        for (source, destination) in [(67, 68), (68, 67), (547, 546), (546, 547)] {
            packets.push(Packet {
                source_port: source,
                ..opening(Protocol::UDP, remote, destination)
            });
        }
    }
    packets.push(Packet {
        source_port: 546,
        ..opening(Protocol::UDP, agents, 547)
    });
    for icmp_type in 127..=144 {
        for hop_limit in [1, 2, 64, 255] {
            packets.push(Packet {
                icmp_type,
                hop_limit,
                ..opening(Protocol::ICMPV6, link_local, 0)
            });
        }
    }
    for (remote, icmp_type) in [
        (v4, 3),
        (v4, 11),
        (v4, 12),
        (global, 1),
        (global, 2),
        (global, 3),
        (global, 4),
    ] {
        let protocol = if remote.is_ipv4() {
            Protocol::ICMP
        } else {
            Protocol::ICMPV6
        };
        packets.push(Packet {
            icmp_type,
            ..opening(protocol, remote, 0)
        });
    }
    let is_error = |packet: &Packet| match packet.protocol {
        Protocol::ICMP => matches!(packet.icmp_type, 3 | 11 | 12),
        Protocol::ICMPV6 => matches!(packet.icmp_type, 1..=4),
        _ => false,
    };
    let mut samples = Vec::new();
    for packet in packets {
        for state in STATES {
            for forwarded in [false, true] {
                // Only an ICMP error is one, a helper expects no error, and forwarding takes one from the hop limit.
                let possible = (state == State::IcmpError) <= is_error(&packet)
                    && !(state == State::Related && is_error(&packet));
                let leaves = forwarded && direction == Direction::Outbound;
                if possible && !(leaves && packet.hop_limit == 255) {
                    samples.push(Packet {
                        state,
                        forwarded,
                        ..packet.clone()
                    });
                }
            }
        }
    }
    samples
}
