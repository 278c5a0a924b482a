//! A small part of nftables as data: what a policy compiles to.
//!
//! Names are nft's own words. A [`Ruleset`] is one generation's objects; where they hang in the table is
//! said in [`super::table`].

pub use super::key::{Family, FlowKey, FlowSide, MapKey, Side, Transport};
pub use super::map::{Element, Map, MapElements, NftVerdict, Pair, Prefixed};
pub use super::marks::{ListKey, Mark, Slot};

use super::marks::Bits;
use crate::policy::{Direction, InterfaceName, Interval, PortSet, Reason};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The objects of one generation. Jumps and set references name objects of the same generation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ruleset {
    /// Address lists that are too long to stand in a rule.
    pub sets: Vec<Set>,
    /// Verdict maps: what a packet's address or port leads to.
    pub maps: Vec<Map>,
    /// All chains; [`INBOUND`] and [`OUTBOUND`] are where packets enter.
    pub chains: Vec<Chain>,
    /// The lists that are no single diagram.
    pub cuts: Vec<Cut>,
    /// The marks of flows that the chains ask for or set, in the order in which they get a bit.
    pub marks: Vec<Mark>,
    /// Whether live flows are judged again when the policy changes: see [`super::flows`].
    pub recheck: bool,
}

/// A list that was cut into parts because one diagram would have passed its bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The chain of the role and family.
    pub chain: String,
    /// How many entries the list has.
    pub entries: usize,
    /// How many parts a packet may have to be asked by, one after the other.
    pub parts: usize,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the {} entries of the chain {} do not fit one diagram and are asked in {} parts, which costs a new flow more",
            self.entries, self.chain, self.parts
        )
    }
}

/// The chain in which every inbound packet enters a generation.
pub const INBOUND: &str = "inbound";
/// The chain in which every outbound packet enters a generation.
pub const OUTBOUND: &str = "outbound";

/// A named set of addresses of one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Its name within the generation.
    pub name: String,
    /// Its elements.
    pub elements: Addresses,
}

/// Addresses of one family, sorted and apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Addresses {
    /// IPv4.
    V4(Arc<[Interval<u32>]>),
    /// IPv6.
    V6(Arc<[Interval<u128>]>),
}

/// A chain that something jumps to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chain {
    /// Its name within the generation.
    pub name: Arc<str>,
    /// Its rules, in order.
    pub rules: Vec<NftRule>,
}

/// One nft rule: if all matches hold, the verdict.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct NftRule {
    /// What must hold, all of it.
    pub matches: Vec<Match>,
    /// What happens then.
    pub verdict: NftVerdict,
    /// What this rule decides for. Where it is counted (see [`NftRule::counts`]), its comment says this.
    pub reason: Option<Reason>,
}

/// One condition. The nft text of each stands in [`super::text`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// `iifname "eth0"` inbound, `oifname "eth0"` outbound.
    Interface(Side, InterfaceName),
    /// `iifname "lo"`, `oifname "lo"`.
    Loopback(Side),
    /// `ct state established`.
    State(CtState),
    /// `ct direction original`, `ct direction reply`; untracked packets have neither.
    FlowSide(FlowSide),
    /// It does not belong to a flow that was answered: `ct state != established`.
    NotEstablished,
    /// The flow has any of these marks: `ct label 64,96`.
    Marked(Vec<Mark>),
    /// The flow has any of the first marks. Where none of these has a bit: any of the second.
    MarkedOr(Vec<Mark>, Vec<Mark>),
    /// The flow has any [`Mark::Opened`]: `ct label 64,65,66,67`.
    OpenedSomewhere,
    /// Always holds, and sets these marks of the flow: `ct label set 64 | 96`.
    SetMarks(Vec<Mark>),
    /// `meta nfproto ipv4`.
    Family(Family),
    /// `meta l4proto 47`.
    Protocol(u8),
    /// `tcp dport { 80, 8000-8100 }`.
    Port(Transport, Side, PortSet),
    /// `ip saddr 10.0.0.0/8`, `ip saddr @set`.
    Address {
        /// Source or destination.
        side: Side,
        /// What it is compared with.
        with: AddressMatch,
        /// `!=` instead of `==`.
        negated: bool,
    },
    /// [`MapKey::FlowPort`]: `meta l4proto tcp ct original proto-dst { 80, 8000-8100 }`.
    FlowPort(FlowKey, Transport, PortSet),
    /// [`MapKey::FlowAddress`]: `ct original ip saddr @set`.
    FlowAddress {
        /// Of which side of the flow.
        key: FlowKey,
        /// What its remote is compared with.
        with: AddressMatch,
        /// `!=` instead of `==`.
        negated: bool,
    },
    /// `icmp type { 3, 11, 12 }`.
    IcmpType(Cow<'static, [(u8, u8)]>),
    /// `icmpv6 type { 135-136 }`.
    Icmpv6Type(Cow<'static, [(u8, u8)]>),
    /// `ip6 hoplimit 255`.
    HopLimit(u8),
    /// To this host itself and not to be forwarded: `fib daddr type { local, broadcast, anycast, multicast }`.
    ToThisHost,
    /// A process of this host sent it, it is not forwarded: `meta iif 0`. What the kernel itself sends in
    /// IPv6 carries the interface it leaves by instead.
    FromProcess,
    /// The kernel's own multicast membership report, which it alone can send and never forwards:
    /// `ip6 saddr { ::, fe80::/10 } ip6 daddr ff00::/8`.
    FromLinkToMany,
    /// IPsec has decrypted it: `meta ipsec exists`.
    Decrypted,
    /// IPsec will encrypt it: `rt ipsec exists`.
    WillEncrypt,
    /// The host's own multicast or broadcast, looped back: it comes from an own address, goes to many, and carries a
    /// route already in prerouting. So do packets out of tunnels with `external`: see [`Match::HasLinkHeader`]. `rt
    /// ipsec missing fib saddr type local fib daddr type { broadcast, multicast }`.
    LoopedBack,
    /// The host's end of the flow is an address of another interface than the one that this packet crosses:
    /// `fib daddr type local fib daddr . iif type != local` inbound, of the source and `oif` outbound.
    OwnOfAnother(Direction),
    /// A TCP packet without SYN: `tcp flags ! syn`.
    WithoutSyn,
    /// TCP from a port outside this range: `tcp sport != 32768-60999`.
    PortOutside(Interval<u16>),
    /// Always holds, and sends the packet to whoever listens: `log prefix "sg-web/in/3" group 25443`. It stands last,
    /// so that all else holds. Nobody who listens, or does not, changes what becomes of the packet.
    Told(Told),
    /// Its source is one of the host's own addresses: `fib saddr type local`.
    FromOwnAddress,
    /// Its source is not known yet, as a DHCP client's: `ip saddr 0.0.0.0`.
    FromUnspecified,
    /// To one of the host's own addresses or a broadcast address, but to no multicast group:
    /// `fib daddr type { local, broadcast }`.
    ToOwnOrBroadcast,
    /// To one of the host's own link-local addresses: `ip6 daddr fe80::/10 fib daddr type local`.
    ToOwnLinkLocal,
    /// IGMP that stays on its link: `meta l4proto 2 ip ttl 1 ip daddr 224.0.0.0/4`.
    LinkIgmp,
    /// It has a link-layer header: `@ll,0,8 >= 0`. Every packet has one that arrives on an Ethernet-like device. What
    /// the host loops back to itself has none, so that the load of the first byte breaks the rule.
    HasLinkHeader,
    /// It entered by an Ethernet-like device: `meta iiftype ether`.
    EnteredByEthernet,
    /// It entered by a device of this kind: `meta iifkind "tun"`.
    EnteredByKind(DeviceKind),
}

/// A kind of virtual device, as `ip link add type` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// `tun`: OpenVPN and other daemons.
    Tun,
    /// `wireguard`.
    Wireguard,
    /// `vrf`.
    Vrf,
}

impl DeviceKind {
    /// The kernel's name of it.
    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Tun => "tun",
            DeviceKind::Wireguard => "wireguard",
            DeviceKind::Vrf => "vrf",
        }
    }
}

/// Why a packet is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What refuses it.
    pub reason: Reason,
    /// Whether it only would be refused.
    pub observed: bool,
}

/// The prefix of the log: `sg-web/in/3`; `observe sg-web/in/3` for what passes.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.observed {
            f.write_str("observe ")?;
        }
        self.reason.fmt(f)
    }
}

/// What an address is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressMatch {
    /// Elements in the rule itself.
    Inline(Addresses),
    /// A set, by its name within the generation.
    Set(String, Family),
}

/// A state of connection tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CtState {
    /// `established`.
    Established,
    /// `related`.
    Related,
    /// `invalid`.
    Invalid,
    /// `new`.
    New,
}

impl AddressMatch {
    /// Its family.
    pub fn family(&self) -> Family {
        match self {
            AddressMatch::Inline(addresses) => addresses.family(),
            AddressMatch::Set(_, family) => *family,
        }
    }
}

impl Match {
    /// The set that it asks, what for, and whether it matches what is not in the set.
    pub fn set(&self) -> Option<(&str, MapKey, bool)> {
        let (key, with, negated) = match self {
            Match::Address {
                side,
                with,
                negated,
            } => (MapKey::Address(*side, with.family()), with, negated),
            Match::FlowAddress { key, with, negated } => {
                (MapKey::FlowAddress(*key, with.family()), with, negated)
            }
            _ => return None,
        };
        match with {
            AddressMatch::Set(name, _) => Some((name, key, *negated)),
            AddressMatch::Inline(_) => None,
        }
    }
}

impl Addresses {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Addresses::V4(elements) => elements.len(),
            Addresses::V6(elements) => elements.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each is a single point, so that a hash serves instead of a tree, and they can be changed while in use.
    pub fn are_points(&self) -> bool {
        match self {
            Addresses::V4(elements) => elements.iter().all(|i| i.first == i.last),
            Addresses::V6(elements) => elements.iter().all(|i| i.first == i.last),
        }
    }

    /// Their family.
    pub fn family(&self) -> Family {
        match self {
            Addresses::V4(_) => Family::V4,
            Addresses::V6(_) => Family::V6,
        }
    }
}

impl Chain {
    /// A chain of this name.
    pub fn new(name: impl Into<Arc<str>>, rules: Vec<NftRule>) -> Self {
        let name = name.into();
        Chain { name, rules }
    }
}

impl NftRule {
    /// A rule that decides for nothing itself, and is not counted.
    pub fn plain(matches: Vec<Match>, verdict: NftVerdict) -> Self {
        NftRule {
            matches,
            verdict,
            reason: None,
        }
    }

    /// Whether it counts the packets that it decides about. A rule with a reason does, except [`Reason::Established`]:
    /// those packets are most of a host's, and their flow was counted when it was opened.
    pub fn counts(&self) -> bool {
        self.named().is_some()
    }

    /// What its comment says: the name of a count.
    pub fn named(&self) -> Option<&Reason> {
        self.reason
            .as_ref()
            .filter(|reason| **reason != Reason::Established)
    }

    /// Whether it asks for marks of flows or sets some: their bits are others after a change.
    pub fn is_about_marks(&self) -> bool {
        let is = |each: &Match| {
            matches!(
                each,
                Match::Marked(_)
                    | Match::MarkedOr(..)
                    | Match::OpenedSomewhere
                    | Match::SetMarks(_)
            )
        };
        self.matches.iter().any(is)
    }
}

/// What rules ask of the bits of marks.
impl Bits {
    /// The bits that a condition about marks asks for, any of which is enough, or that a statement sets. `None` for
    /// conditions about something else.
    pub fn asked(&self, each: &Match) -> Option<Vec<u8>> {
        match each {
            Match::Marked(marks) | Match::SetMarks(marks) => Some(self.of(marks)),
            Match::MarkedOr(marks, others) => {
                let bits = self.of(marks);
                Some(if bits.is_empty() {
                    self.of(others)
                } else {
                    bits
                })
            }
            Match::OpenedSomewhere => {
                let opened = self
                    .iter()
                    .filter(|(mark, _)| matches!(mark, Mark::Opened(..)));
                let mut bits: Vec<u8> = opened.map(|(_, bit)| bit).collect();
                bits.sort_unstable();
                bits.dedup();
                Some(bits)
            }
            _ => None,
        }
    }

    /// Whether a rule can hold. A rule is not written where none of the marks that it asks for has a bit.
    pub fn can_hold(&self, rule: &NftRule) -> bool {
        let asks = |each: &&Match| !matches!(each, Match::SetMarks(_));
        let mut asked = rule
            .matches
            .iter()
            .filter(asks)
            .filter_map(|each| self.asked(each));
        asked.all(|bits| !bits.is_empty())
    }
}

impl Ruleset {
    /// The chain with this name.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| &*chain.name == name)
    }

    /// How many elements, over all sets and maps.
    pub fn element_count(&self) -> usize {
        let sets: usize = self.sets.iter().map(|set| set.elements.len()).sum();
        sets + self
            .maps
            .iter()
            .map(|map| map.elements.len())
            .sum::<usize>()
    }

    /// How many nft rules, over all chains.
    pub fn rule_count(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }
}
