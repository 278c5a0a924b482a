//! The network ACL of a subnet. Inbound it is asked before anything else, outbound where everything else lets a packet
//! pass. It is stateless: each packet is asked by what its header says.
//!
//! ```text
//! chain acl_in_0 {                                                  inbound packets of the interfaces of list 0
//!     ip saddr 10.0.0.0/24 ip daddr 10.0.0.0/24 goto in_0           inside the subnet
//!     jump acl_in_0_asked                                           comes back with what the ACL allows
//!     goto in_0
//! }
//! chain acl_in_0_asked {
//!     tcp dport vmap @acl_in_0_tcp                                  to the entries about this port; few ports are rules
//!     meta l4proto 17 goto acl_in_0_c2
//!     goto acl_in_0_c0                                              the entries about every protocol
//! }
//! chain acl_in_0_c1 {                                               entries about a port, without those behind one that takes all
//!     ip saddr 203.0.113.99 goto acl_in_0_refused_0
//!     counter return comment "acl-app/in/1"
//! }
//! chain acl_in_0_refused_0 {
//!     meta ipsec exists goto elsewhere_in
//!     jump exempt_in                                                essential traffic passes all the same
//!     counter drop comment "acl-app/in/0"
//! }
//! ```
//!
//! So a packet is asked one lookup, by its protocol and destination port, and the few entries that are about that port.
//! Source ports and the other addresses are conditions of their rules.
//!
//! Outbound the same chains stand at the end of the way, where the kernel follows few chains more: it takes 16, jumps and
//! gotos counted alike. There exempt traffic is let pass first, and an entry accepts or drops by itself.

use super::diagram::classes::classes;
use super::exempt::exempt_chain;
use super::flows::{self, acl_chain, goto, plain};
use super::ir::*;
use super::remote::Remotes;
use crate::policy::address::AddressNumber;
use crate::policy::{
    AclEntry, Action, AddressSet, Direction, Interval, Point, PortSet, Protocol, Reason, Service,
    SubnetAcl,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// So many pieces of ports are told apart. A list of more is asked entry by entry.
const MOST_PIECES: usize = 20_000;
/// Up to so many pieces of ports are rules: the kernel gives a map, however small, 16 KB.
const FEW_PIECES: usize = 4;

/// The ACL of a list's interfaces in a direction.
pub(super) struct ListAcl<'p> {
    /// The ACL, and the subnet's networks.
    pub acl: &'p SubnetAcl,
    /// Which way packets go.
    pub direction: Direction,
    /// The list's number.
    pub index: usize,
    /// Whether nothing is refused on this host.
    pub observes: bool,
}

/// Destination ports, and the numbers of the entries that hold there.
type PortClass = (Vec<Interval<u16>>, Vec<u32>);

/// The chains of entries, by the numbers of these.
type ClassChains = BTreeMap<Vec<u32>, Chain>;

impl ListAcl<'_> {
    /// Adds all chains to the ruleset.
    pub(super) fn emit(&self, remotes: &mut Remotes, ruleset: &mut Ruleset) {
        let name = acl_chain(self.direction, self.index);
        let inside = self.inside(remotes);
        let mut chains = ClassChains::new();
        let asked = self.asked(&mut chains, remotes, ruleset);
        match self.direction {
            Direction::Inbound => {
                let groups = goto(flows::role(self.direction, self.index));
                let jump = NftVerdict::Jump(format!("{name}_asked").into());
                let mut rules = inside;
                rules.extend([plain(vec![], jump), plain(vec![], groups)]);
                ruleset.chains.extend(self.refusals());
                ruleset.chains.extend(chains.into_values());
                ruleset
                    .chains
                    .push(Chain::new(format!("{name}_asked"), asked));
                ruleset.chains.push(Chain::new(name, rules));
            }
            Direction::Outbound => {
                let exempt = exempt_chain(self.direction).rules.into_iter();
                let exempt = exempt.map(|rule| NftRule {
                    reason: Some(Reason::Established),
                    ..rule
                });
                let rules = inside.into_iter().chain(exempt).chain(asked);
                ruleset.chains.extend(chains.into_values());
                ruleset.chains.push(Chain::new(name, rules.collect()));
            }
        }
    }

    fn entries(&self) -> &[AclEntry] {
        self.acl.acl.entries(self.direction)
    }

    /// Packets of which both addresses lie in the subnet.
    fn inside(&self, remotes: &mut Remotes) -> Vec<NftRule> {
        let verdict = match self.direction {
            Direction::Inbound => goto(flows::role(self.direction, self.index)),
            Direction::Outbound => NftVerdict::Accept,
        };
        let families = of_families(&self.acl.networks).filter(|networks| !networks.is_empty());
        let both = families.map(|networks| {
            let sides = [Side::Source, Side::Destination];
            let matches = sides.map(|side| remotes.address(networks.clone(), side));
            plain(matches.to_vec(), verdict.clone())
        });
        both.collect()
    }

    /// By protocol and destination port to the entries that are about it.
    fn asked(
        &self,
        chains: &mut ClassChains,
        remotes: &mut Remotes,
        ruleset: &mut Ruleset,
    ) -> Vec<NftRule> {
        let mut rules = Vec::new();
        for (transport, name) in [(Transport::Tcp, "tcp"), (Transport::Udp, "udp")] {
            let Some(classes) = self.by_port(transport) else {
                return self.one_by_one(remotes);
            };
            let protocol = Match::Protocol(transport.protocol().0);
            let most = classes.iter().map(|(ports, _)| ports.len()).max();
            let rest = classes
                .iter()
                .position(|(ports, _)| Some(ports.len()) == most);
            let pieces: usize = classes.iter().map(|(ports, _)| ports.len()).sum();
            if pieces - most.unwrap_or(0) > FEW_PIECES {
                let map: Arc<str> =
                    format!("{}_{name}", acl_chain(self.direction, self.index)).into();
                let mut elements: Vec<(Interval<u16>, NftVerdict)> = Vec::new();
                for (ports, entries) in classes {
                    let chain = NftVerdict::Goto(self.class(entries, chains, remotes));
                    elements.extend(ports.iter().map(|each| (*each, chain.clone())));
                }
                elements.sort_by_key(|(each, _)| each.first);
                ruleset.maps.push(Map {
                    name: map.clone(),
                    key: MapKey::Port(transport),
                    elements: MapElements::Ports(elements),
                });
                rules.push(plain(vec![], NftVerdict::Map(MapKey::Port(transport), map)));
                continue;
            }
            let mut last = None;
            for (at, (ports, entries)) in classes.into_iter().enumerate() {
                let chain = self.class(entries, chains, remotes);
                match PortSet::new(ports.to_vec()).filter(|_| Some(at) != rest) {
                    Some(ports) => rules.push(plain(
                        vec![Match::Port(transport, Side::Destination, ports)],
                        NftVerdict::Goto(chain),
                    )),
                    None => last = Some(chain),
                }
            }
            rules.extend(last.map(|chain| plain(vec![protocol], NftVerdict::Goto(chain))));
        }
        let other = self.about(|service| *service == Service::All);
        let icmp = [
            (Protocol::ICMP, Service::Icmp),
            (Protocol::ICMPV6, Service::Icmpv6),
        ];
        let bare = Protocol::BARE.map(|protocol| (protocol, Service::Bare(protocol)));
        for (protocol, own) in icmp.into_iter().chain(bare) {
            let entries = self.about(|service| *service == Service::All || *service == own);
            if entries != other {
                let chain = NftVerdict::Goto(self.class(entries, chains, remotes));
                rules.push(plain(vec![Match::Protocol(protocol.0)], chain));
            }
        }
        let chain = NftVerdict::Goto(self.class(other, chains, remotes));
        rules.push(plain(vec![], chain));
        rules
    }

    /// The numbers of the entries about such services.
    fn about(&self, is: impl Fn(&Service) -> bool) -> Vec<u32> {
        let entries = self.entries().iter().zip(0..);
        let entries = entries.filter(|(entry, _)| is(&entry.service));
        entries.map(|(_, number)| number).collect()
    }

    /// All destination ports in classes in which the same entries hold; nothing where those are too many pieces.
    fn by_port(&self, transport: Transport) -> Option<Vec<PortClass>> {
        let whole: Arc<[Interval<u16>]> = [u16::WHOLE].into();
        let entries = self.entries().iter().zip(0..);
        let sets = entries.filter_map(|(entry, number)| match &entry.service {
            Service::All => Some((whole.clone(), number)),
            Service::Tcp(ports) if transport == Transport::Tcp => {
                Some((ports.intervals().into(), number))
            }
            Service::Udp(ports) if transport == Transport::Udp => {
                Some((ports.intervals().into(), number))
            }
            _ => None,
        });
        // One that holds everywhere leaves no gap.
        const EVERYWHERE: u32 = u32::MAX;
        let sets: Vec<_> = sets.chain([(whole.clone(), EVERYWHERE)]).collect();
        let pieces: usize = sets
            .iter()
            .map(|(set, _): &(Arc<[_]>, u32)| set.len())
            .sum();
        if pieces > MOST_PIECES {
            return None;
        }
        let classes = classes(sets, 100 * MOST_PIECES)?;
        let mut lists: Vec<PortClass> = classes
            .clauses
            .into_iter()
            .map(|mut entries| {
                entries.retain(|entry| *entry != EVERYWHERE);
                (Vec::new(), entries)
            })
            .collect();
        for (interval, class) in classes.intervals {
            lists[class as usize].0.push(interval);
        }
        Some(lists)
    }

    /// The chain that asks these entries, whose protocol and destination port a packet has.
    fn class(
        &self,
        entries: Vec<u32>,
        chains: &mut ClassChains,
        remotes: &mut Remotes,
    ) -> Arc<str> {
        if let Some(chain) = chains.get(&entries) {
            return chain.name.clone();
        }
        let mut rules: Vec<NftRule> = Vec::new();
        for number in &entries {
            rules.extend(self.entry(*number as usize, false, remotes));
            if rules.last().is_some_and(|rule| rule.matches.is_empty()) {
                break;
            }
        }
        if rules.last().is_none_or(|rule| !rule.matches.is_empty()) {
            rules.push(self.default_refusal());
        }
        let name = acl_chain(self.direction, self.index);
        let chain = Chain::new(format!("{name}_c{}", chains.len()), rules);
        let name = chain.name.clone();
        chains.insert(entries, chain);
        name
    }

    /// All entries, one after the other.
    fn one_by_one(&self, remotes: &mut Remotes) -> Vec<NftRule> {
        let numbers = 0..self.entries().len();
        let rules = numbers.flat_map(|number| self.entry(number, true, remotes));
        let mut rules: Vec<NftRule> = rules.collect();
        rules.push(self.default_refusal());
        rules
    }

    /// An entry as rules, of each family where that matters; where `whole`, with its protocol and destination port.
    fn entry(&self, number: usize, whole: bool, remotes: &mut Remotes) -> Vec<NftRule> {
        let entry = &self.entries()[number];
        let reason = Reason::Acl(entry.id.clone());
        let decides = |matches| match entry.action {
            Action::Allow => NftRule {
                matches,
                verdict: match self.direction {
                    Direction::Inbound => NftVerdict::Return,
                    Direction::Outbound => NftVerdict::Accept,
                },
                reason: Some(reason.clone()),
            },
            Action::Refuse => self.refuses(matches, reason.clone(), &number.to_string()),
        };
        let mut own = Vec::new();
        let transport = match &entry.service {
            Service::Tcp(ports) => Some((Transport::Tcp, ports)),
            Service::Udp(ports) => Some((Transport::Udp, ports)),
            _ => None,
        };
        match (transport, entry.service.protocol()) {
            (Some((transport, ports)), protocol) => {
                if let (true, Some(protocol)) = (whole, protocol) {
                    own.push(Match::Protocol(protocol.0));
                    if !ports.is_all() {
                        let to = Match::Port(transport, Side::Destination, ports.clone());
                        own.push(to);
                    }
                }
                if !entry.source_ports.is_all() {
                    let ports = entry.source_ports.clone();
                    own.push(Match::Port(transport, Side::Source, ports));
                }
            }
            (None, Some(protocol)) if whole => own.push(Match::Protocol(protocol.0)),
            _ => {}
        }
        let family = match entry.service {
            Service::Icmp => Some(Family::V4),
            Service::Icmpv6 => Some(Family::V6),
            _ => None,
        };
        let any = AddressSet::any();
        if family.is_none() && entry.source == any && entry.destination == any {
            return vec![decides(own)];
        }
        let both = of_families(&entry.source).zip(of_families(&entry.destination));
        let both = both.filter(|(source, destination)| {
            let is_of = family.is_none_or(|family| source.family() == family);
            is_of && !source.is_empty() && !destination.is_empty()
        });
        let both = both.map(|(source, destination)| {
            let family = source.family();
            let mut matches = Vec::new();
            for (side, set) in [(Side::Source, source), (Side::Destination, destination)] {
                if !is_whole(&set) {
                    matches.push(remotes.address(set, side));
                }
            }
            if matches.is_empty() {
                matches.push(Match::Family(family));
            }
            matches.extend(own.iter().cloned());
            decides(matches)
        });
        both.collect()
    }

    fn default_refusal(&self) -> NftRule {
        let reason = Reason::Acl(self.acl.acl.default_entry(self.direction));
        self.refuses(vec![], reason, "default")
    }

    /// A rule that refuses. Inbound exempt traffic is looked for first, in a chain.
    fn refuses(&self, matches: Vec<Match>, reason: Reason, what: &str) -> NftRule {
        let (verdict, reason) = match (self.direction, self.observes) {
            (Direction::Inbound, _) => (goto(self.refusing(what)), None),
            (Direction::Outbound, false) => (NftVerdict::Drop, Some(reason)),
            (Direction::Outbound, true) => (NftVerdict::Observe(None), Some(reason)),
        };
        NftRule {
            matches,
            verdict,
            reason,
        }
    }

    /// `acl_in_0_refused_1`
    fn refusing(&self, what: &str) -> String {
        format!("{}_refused_{what}", acl_chain(self.direction, self.index))
    }

    /// The chains that refuse inbound packets, unless they are exempt.
    fn refusals(&self) -> Vec<Chain> {
        let observed = format!("{}_observed", acl_chain(self.direction, self.index));
        let refusal = |what: &str, reason: Reason| {
            let verdict = match self.observes {
                true => NftVerdict::Observe(Some(observed.as_str().into())),
                false => NftVerdict::Drop,
            };
            let exempt = NftVerdict::Jump(flows::exempt(self.direction).into());
            let rules = vec![
                plain(
                    vec![Match::Decrypted],
                    goto(flows::elsewhere(self.direction)),
                ),
                plain(vec![], exempt),
                NftRule {
                    matches: vec![],
                    verdict,
                    reason: Some(reason),
                },
            ];
            Chain::new(self.refusing(what), rules)
        };
        let entries = self.entries().iter().enumerate();
        let refusing = entries.filter(|(_, entry)| entry.action == Action::Refuse);
        let mut chains: Vec<Chain> = refusing
            .map(|(number, entry)| refusal(&number.to_string(), Reason::Acl(entry.id.clone())))
            .collect();
        let default = self.acl.acl.default_entry(self.direction);
        chains.push(refusal("default", Reason::Acl(default)));
        // What is only counted goes on like what is allowed.
        let back = plain(vec![], NftVerdict::Return);
        chains.push(Chain::new(observed, vec![back]));
        chains
    }
}

/// The addresses of each family; perhaps none.
fn of_families(set: &AddressSet) -> impl Iterator<Item = Addresses> {
    let v4 = Addresses::V4(u32::in_set(set));
    [v4, Addresses::V6(u128::in_set(set))].into_iter()
}

fn is_whole(addresses: &Addresses) -> bool {
    match addresses {
        Addresses::V4(list) => **list == [u32::WHOLE],
        Addresses::V6(list) => **list == [u128::WHOLE],
    }
}
