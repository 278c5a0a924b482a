//! What is never filtered, and the essential traffic, to and from the host itself only.

use super::flows;
use super::ir::*;
use crate::policy::{Direction, Interval, PortSet, Reason};

/// What is never filtered, and the essential traffic, to and from the host itself only.
pub fn exempt_chain(direction: Direction) -> Chain {
    let icmpv6 = |types: &'static [(u8, u8)], hops, host: &[Match]| {
        [
            &[Match::Icmpv6Type(types.into()), Match::HopLimit(hops)],
            host,
        ]
        .concat()
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
        .map(|condition| NftRule::plain(vec![condition], NftVerdict::Accept));
    let essential = essential
        .into_iter()
        .map(|matches| rule(matches, NftVerdict::Accept, Reason::Essential));
    Chain {
        name: flows::exempt(direction).into(),
        rules: never.chain(essential).collect(),
    }
}

fn port(side: Side, port: u16) -> Match {
    Match::Port(Transport::Udp, side, PortSet::single(port))
}

fn rule(matches: Vec<Match>, verdict: NftVerdict, reason: Reason) -> NftRule {
    NftRule {
        matches,
        verdict,
        reason: Some(reason),
    }
}
