//! What no group judges: essential traffic, what IPsec has decrypted or will encrypt, and the host's own multicast
//! looped back.
//!
//! ```text
//! chain exempt_in {
//!     meta ipsec exists accept
//!     icmpv6 type 134-136 ip6 hoplimit 255 counter accept comment "essential"
//!     …
//!     @ll,0,8 >= 0 return
//!     meta iifkind "vrf" return
//!     meta iiftype ether rt ipsec missing fib saddr type local fib daddr type { broadcast, multicast } accept
//!     meta iifkind "tun" rt ipsec missing fib saddr type local fib daddr type { broadcast, multicast } accept
//! }
//! ```

use super::flows::exempt;
use super::ir::*;
use crate::policy::{Direction, Interval, PortSet, Reason};

/// The chain of what is never filtered, and of essential traffic to and from the host itself. Any other packet comes
/// back from it: by `return`, or at its end.
pub(super) fn exempt_chain(direction: Direction) -> Chain {
    let (ipsec, essential, looped_back) = match direction {
        Direction::Inbound => (Match::Decrypted, essential_inbound(), looped_back()),
        Direction::Outbound => (Match::WillEncrypt, essential_outbound(), vec![]),
    };
    let mut rules = vec![NftRule::plain(vec![ipsec], NftVerdict::Accept)];
    rules.extend(essential.into_iter().map(|matches| NftRule {
        matches,
        verdict: NftVerdict::Accept,
        reason: Some(Reason::Essential),
    }));
    rules.extend(looped_back);
    Chain::new(exempt(direction), rules)
}

fn essential_inbound() -> Vec<Vec<Match>> {
    vec![
        // No router has passed on what comes with 255. Between two ports of a bridge it has a guest's address.
        icmpv6(&[(134, 136)], 255, &[]),
        icmpv6(&[(130, 132), (143, 143)], 1, &[Match::ToThisHost]),
        vec![Match::LinkIgmp],
        dhcp_v4(67, 68, &[Match::ToOwnOrBroadcast]),
        // A server may answer from any port and any of its addresses (RFC 8415, 7.2 names only where it listens).
        vec![port(Side::Destination, 546), Match::ToOwnLinkLocal],
    ]
}

/// The copies that multicast routing sends have no input interface either, but another machine's source.
fn essential_outbound() -> Vec<Vec<Match>> {
    use Match::{FromLinkToMany, FromOwnAddress, FromProcess, FromUnspecified};
    vec![
        // Forwarding takes one from the hop limit: what leaves with 255 was made here.
        icmpv6(&[(133, 133), (135, 136)], 255, &[]),
        icmpv6(&[(131, 132), (143, 143)], 1, &[FromProcess]),
        icmpv6(&[(131, 132), (143, 143)], 1, &[FromLinkToMany]),
        // The kernel's own reports carry the interface that they leave by as their input interface.
        vec![Match::LinkIgmp, FromOwnAddress],
        vec![Match::LinkIgmp, FromUnspecified],
        dhcp_v4(68, 67, &[FromProcess, FromOwnAddress]),
        dhcp_v4(68, 67, &[FromProcess, FromUnspecified]),
        vec![
            to_dhcp_servers(),
            port(Side::Source, 546),
            port(Side::Destination, 547),
            FromProcess,
            FromOwnAddress,
        ],
    ]
}

/// The host's own multicast and broadcast, looped back: the kernel gives it no link-layer header, and alone of all that
/// reaches prerouting it carries a route already.
///
/// A received packet has a link-layer header on every Ethernet-like device. On other devices it has none, and from a
/// tunnel with `external` (gre, ipip, sit, xfrm) it also carries what `rt ipsec` takes for a route. So of other devices
/// only those kinds are named that drop the route of all they receive. A VRF passes as Ethernet, and hands on what its
/// tunnels have received.
fn looped_back() -> Vec<NftRule> {
    let back = |condition| NftRule::plain(vec![condition], NftVerdict::Return);
    let pass = |device| NftRule::plain(vec![device, Match::LoopedBack], NftVerdict::Accept);
    vec![
        back(Match::HasLinkHeader),
        back(Match::EnteredByKind(DeviceKind::Vrf)),
        pass(Match::EnteredByEthernet),
        pass(Match::EnteredByKind(DeviceKind::Tun)),
        pass(Match::EnteredByKind(DeviceKind::Wireguard)),
    ]
}

fn icmpv6(types: &'static [(u8, u8)], hops: u8, host: &[Match]) -> Vec<Match> {
    let first = [Match::Icmpv6Type(types.into()), Match::HopLimit(hops)];
    [&first, host].concat()
}

fn dhcp_v4(from: u16, to: u16, host: &[Match]) -> Vec<Match> {
    let first = [
        Match::Family(Family::V4),
        port(Side::Source, from),
        port(Side::Destination, to),
    ];
    [&first, host].concat()
}

/// `ip6 daddr { fe80::/10, ff02::1:2 }`
fn to_dhcp_servers() -> Match {
    let link_local = 0xfe80_u128 << 112;
    let link_local = Interval::between(link_local, link_local | ((1 << 118) - 1));
    let agents = 0xff02_0000_0000_0000_0000_0000_0001_0002;
    let agents = Interval::point(agents);
    Match::Address {
        side: Side::Destination,
        with: AddressMatch::Inline(Addresses::V6([link_local, agents].into())),
        negated: false,
    }
}

fn port(side: Side, port: u16) -> Match {
    Match::Port(Transport::Udp, side, PortSet::single(port))
}
