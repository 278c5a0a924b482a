//! Flows that a change of the policy has ended, remembered for the case that connection tracking loses them (`conntrack -F`).
//!
//! The next packet of a lost flow opens a new one, in its own direction. That is right for a flow that is allowed. Of one that was
//! refused it would undo the end: where everything may go out, an answer of a refused inbound flow would open an outbound flow. So the
//! daemon writes down what answers of ended flows look like (see `daemon::ended`), in two sets that outlast all generations, and what
//! is new to connection tracking and stands there is refused as invalid:
//!
//! ```text
//! set ended_v4 { type ipv4_addr . inet_service . ipv4_addr . inet_service . inet_proto; flags dynamic,timeout; }
//!
//! chain in_0 { … ct state new jump ended_in; goto in_0_list }
//! chain ended_in {
//!     tcp flags & (fin | syn | rst | ack) == syn return                     a new connection
//!     meta l4proto tcp ct original ip saddr . th sport . ct original ip daddr . th dport . meta l4proto @ended_v4 goto invalid_in
//!     …
//! }
//! ```
//!
//! What the side sends that had opened the flow is judged by the list, which refuses it as it has refused the flow. The addresses are those
//! that connection tracking has just read from the packet, before any translation, so that an answer is known that leaves the host
//! through a masquerade. nft 1.0.6 cannot ask so for the ports: those are the packet's own. A masquerade leaves a source port as it is
//! where it is free, but not one with `random` or `fully-random`, or to ports of its own (`masquerade to :1024-65535`, iptables'
//! `--random` and `--to-ports`). That is a gap: an answer that leaves through such a one is not known here, and opens a flow, from
//! another port than the one that whoever opened the ended flow listens to.
//!
//! A flow is remembered as long as connection tracking would know it: of TCP five days from its end, of UDP three minutes from its
//! last packet. What is still tracked is refused without a look at the set, so its time runs meanwhile. The daemon looks again, of UDP
//! about once a minute, and has what is still tracked remembered anew once half of its time is over. Without a daemon nobody does: a UDP flow
//! that goes on for three minutes after an `apply` that has ended it, and is lost then, may come to life again. In a table that is made anew the
//! time of UDP begins again, since what its packets have prolonged is not known; TCP is remembered no longer than before.
//!
//! What is allowed again is forgotten by the look after the change. What connection tracking does not know then is judged by what its answers
//! say. Where the flow was translated, that is the port behind the DNAT, and the masquerade in place of whoever opened it. So such a flow
//! may be forgotten that is still refused, or stay remembered though it is allowed. But lost, it cannot go on as it was: its answers
//! have another source than what was asked, and what asks again is judged and translated anew, and then tracked.
//!
//! ICMP needs no memory: to an answer nobody asked for it says that it is invalid. Of protocols without ports nothing is
//! remembered. Where no more than 5,000 flows are tracked, what is about to end is remembered before the switch. Of more, what is lost
//! before the look after the change has read it is not remembered: that takes about 1 ms for a thousand flows.

use super::ir::*;
use super::recheck::suffix;
use crate::policy::Direction;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// How many ended flows of a family the kernel remembers; it takes this for a set that does not say how many.
pub const MOST_ENDED: usize = 65_535;

/// Both families.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The order in which a packet is asked: TCP that opens a connection is let go first.
const ASKED: [(Family, Transport); 4] = [
    (Family::V4, Transport::Udp),
    (Family::V4, Transport::Tcp),
    (Family::V6, Transport::Udp),
    (Family::V6, Transport::Tcp),
];

/// A flow that has ended, as the packets of whoever answered in it look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndedFlow {
    /// TCP or UDP.
    pub transport: Transport,
    /// Who answered.
    pub source: SocketAddr,
    /// Whom.
    pub destination: SocketAddr,
}

/// The set of a family, which belongs to no generation and stays.
pub fn ended_set(family: Family) -> &'static str {
    match family {
        Family::V4 => "ended_v4",
        Family::V6 => "ended_v6",
    }
}

/// How long a flow is remembered, as long as connection tracking remembers one by default (of UDP: one that was answered). Of TCP
/// that is from its end; of UDP from its last packet, since only a pause tells an old flow from a new one.
pub fn remembered_for(transport: Transport) -> Duration {
    Duration::from_secs(match transport {
        Transport::Tcp => 5 * 24 * 60 * 60,
        Transport::Udp => 3 * 60,
    })
}

/// The name of [`ended_chain`].
pub fn ended(direction: Direction) -> String {
    format!("ended_{}", suffix(direction))
}

/// `ct state new jump ended_in`
pub fn asks_whether_ended(direction: Direction) -> NftRule {
    NftRule::plain(
        vec![Match::State(CtState::New)],
        NftVerdict::Jump(ended(direction).into()),
    )
}

/// The chain that sends what belongs to an ended flow to `invalid`.
pub fn ended_chain(direction: Direction, invalid: &str) -> Chain {
    let refused = |(family, transport)| {
        NftRule::plain(
            vec![Match::HasEnded(family, transport)],
            NftVerdict::Goto(invalid.into()),
        )
    };
    let opens = NftRule::plain(vec![Match::OpensTcp], NftVerdict::Return);
    Chain {
        name: ended(direction).into(),
        rules: [opens].into_iter().chain(ASKED.map(refused)).collect(),
    }
}

impl EndedFlow {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        match self.source.ip() {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Its key in the set: each field begins at a multiple of four bytes.
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(44);
        for end in [self.source, self.destination] {
            match end.ip() {
                IpAddr::V4(address) => key.extend(address.octets()),
                IpAddr::V6(address) => key.extend(address.octets()),
            }
            key.extend(end.port().to_be_bytes());
            key.extend([0; 2]);
        }
        key.extend([self.transport.protocol().0, 0, 0, 0]);
        key
    }

    /// The flow that a key is of.
    pub fn of_key(family: Family, key: &[u8]) -> Option<Self> {
        let (source, rest) = end(family, key)?;
        let (destination, rest) = end(family, rest)?;
        let transport = [Transport::Tcp, Transport::Udp]
            .into_iter()
            .find(|transport| rest.first() == Some(&transport.protocol().0))?;
        Some(EndedFlow {
            transport,
            source,
            destination,
        })
    }
}

/// The address and the port at the front of a key, and what follows.
fn end(family: Family, key: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (address, rest): (IpAddr, _) = match family {
        Family::V4 => {
            let (bytes, rest) = key.split_first_chunk::<4>()?;
            (Ipv4Addr::from(*bytes).into(), rest)
        }
        Family::V6 => {
            let (bytes, rest) = key.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*bytes).into(), rest)
        }
    };
    let ([high, low, _, _], rest) = rest.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([*high, *low]);
    Some((SocketAddr::new(address, port), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_flow() {
        for (source, destination, length) in [
            ("10.0.0.5:22", "10.0.0.9:5000", 20),
            ("[2001:db8::5]:53", "[2001:db8::9]:65535", 44),
        ] {
            for transport in [Transport::Tcp, Transport::Udp] {
                let flow = EndedFlow {
                    transport,
                    source: source.parse().expect("an address"),
                    destination: destination.parse().expect("an address"),
                };
                assert_eq!(flow.key().len(), length);
                assert_eq!(EndedFlow::of_key(flow.family(), &flow.key()), Some(flow));
            }
        }
        assert_eq!(EndedFlow::of_key(Family::V4, &[0; 20]), None, "protocol 0");
        assert_eq!(EndedFlow::of_key(Family::V6, &[6; 20]), None, "too short");
    }
}
