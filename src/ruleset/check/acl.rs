//! Network ACLs: their chains held against their entries, and that every packet is asked.
//!
//! Boxes are over destination ports and remotes. Source ports and addresses on the subnet's side are the same in all of
//! a run: there is one for each piece between two ends that either the entries or the chains name, so that together
//! the runs are all packets.

use super::covered::{Checked, EPHEMERAL, entry_of, protocols};
use super::difference::Difference;
use super::list::{CheckedEntry, PolicyList, Said, ports, refusal};
use super::regions::Regions;
use super::regions::run::Run;
use super::regions::targets::Targets;
use super::samples;
use super::sets::{Relations, RulesetNumber};
use crate::policy::{Action, Decision, Direction, Policy, Protocol, Reason, SubnetAcl, Verdict};
use crate::ruleset::ir::{AddressMatch, Chain, FlowSide, Match, NftRule, NftVerdict, Side};
use crate::ruleset::walk::Walker;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Steps that the runs over one ACL may take in a family, about a second. What needs more is compared on single
/// packets.
const STEPS: usize = 3_000_000;

/// Where an interface's ACL is asked.
pub struct Asked {
    /// The chain of the ACL: `acl_in_0`.
    pub chain: String,
    /// The chain of the groups: `in_0`.
    pub role: String,
}

/// Whether a chain of an ACL must decide about every packet. Of those of entries the boxes tell.
pub fn decides_all(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    matches!(
        words.as_slice(),
        ["acl", _, _] | ["acl", _, _, "asked"] | ["acl", _, _, "refused", _]
    )
}

/// Where the ACL of an interface is asked: inbound in front of its groups.
pub fn asked(
    regions: &Regions,
    (direction, interface): (Direction, &str),
    entry: Option<&str>,
) -> Result<Asked, Difference> {
    let role = match direction {
        Direction::Inbound => entry.and_then(|entry| entry.strip_prefix("acl_")),
        Direction::Outbound => entry,
    };
    let asked = role.map(|role| Asked {
        chain: format!("acl_{role}"),
        role: role.to_owned(),
    });
    // What the ACL lets pass comes back, and goes on to the groups.
    let leads_on = |asked: &Asked| {
        let chain = regions.chain(&asked.chain)?;
        let last = chain.rules.last()?;
        let role: &str = &asked.role;
        let goes = matches!(&last.verdict, NftVerdict::Goto(to) if **to == *role);
        Some(direction == Direction::Outbound || (last.matches.is_empty() && goes))
    };
    let asked = asked.filter(|asked| leads_on(asked) == Some(true));
    asked.ok_or_else(|| Difference {
        packet: format!("{direction} packets at {interface}"),
        policy: "to be asked by a network ACL".into(),
        ruleset: "asks none".into(),
    })
}

/// Compares the chains of an ACL with its entries.
pub fn check(
    policy: &Policy,
    acl: &SubnetAcl,
    walker: &Walker,
    regions: &Regions,
    at: (Direction, &str),
    asked: &Asked,
) -> Result<Checked, Difference> {
    lets_nothing_in(regions, at, asked)?;
    let observes = policy.platform.observe;
    let mut checked = Checked::default();
    checked.boxes += family::<u32>(acl, observes, regions, at, asked)?;
    checked.boxes += family::<u128>(acl, observes, regions, at, asked)?;
    checked.packets += samples::of_acl(policy, acl, walker, at)?;
    Ok(checked)
}

/// Inbound what an ACL lets pass goes on to the groups: none of its chains accepts.
fn lets_nothing_in(
    regions: &Regions,
    (direction, interface): (Direction, &str),
    asked: &Asked,
) -> Result<(), Difference> {
    let accepts = |rule: &NftRule| rule.verdict == NftVerdict::Accept;
    let mut own = own_chains(regions, &asked.chain);
    let wrong = own.find(|chain| chain.rules.iter().any(accepts));
    match wrong.filter(|_| direction == Direction::Inbound) {
        None => Ok(()),
        Some(chain) => Err(Difference {
            packet: format!("{direction} packets at {interface}"),
            policy: "to be asked by the groups after the network ACL".into(),
            ruleset: format!("accepts them in `{}`", chain.name),
        }),
    }
}

/// The chains of an ACL.
fn own_chains<'c, 'r: 'c>(
    regions: &'c Regions<'r>,
    chain: &'c str,
) -> impl Iterator<Item = &'r Chain> + 'c {
    let inner = format!("{chain}_");
    let chains = regions.chains();
    chains.filter(move |each| *each.name == *chain || each.name.starts_with(&inner))
}

fn family<T: RulesetNumber>(
    acl: &SubnetAcl,
    observes: bool,
    regions: &Regions,
    (direction, interface): (Direction, &str),
    asked: &Asked,
) -> Result<usize, Difference> {
    let (mut boxes, mut steps) = (0, STEPS);
    let (mut targets, mut relations) = (Targets::new(), Relations::new());
    let conditions = conditions(regions, &asked.chain);
    let source_ports = source_ports(acl, direction, &conditions);
    let locals = locals::<T>(acl, direction, regions, &conditions);
    for protocol in protocols() {
        let ports: Vec<u16> = match protocol.has_ports() {
            true => source_ports.clone(),
            false => vec![EPHEMERAL],
        };
        for local in &locals {
            for source_port in &ports {
                let list = list::<T>(acl, observes, direction, (protocol, *source_port, *local));
                let run = Run {
                    direction,
                    interface,
                    protocol,
                    source_port: *source_port,
                    local: Some(local.address()),
                    end: (direction == Direction::Inbound).then_some(&asked.role),
                    about_a_flow: false,
                    key: None,
                };
                regions.follow::<T>(
                    &run,
                    &asked.chain,
                    // The base chain accepts what falls off the end.
                    Verdict::Allow,
                    &mut targets,
                    &mut steps,
                    &mut |region, verdict, reason| {
                        boxes += 1;
                        // What is exempt passes whatever its entries say; single packets compare that.
                        let exempt = matches!(reason, Reason::Essential | Reason::Established);
                        if exempt && verdict == Verdict::Allow {
                            return Ok(());
                        }
                        let said = Said::Exactly(verdict, reason);
                        list.holds(region, said, &mut relations)
                            .map_err(|otherwise| Difference {
                                packet: otherwise.region.words(&run),
                                policy: otherwise.decision.to_string(),
                                ruleset: format!("{verdict} by {reason} in {}", asked.chain),
                            })
                    },
                )?;
            }
        }
    }
    Ok(boxes)
}

/// The entries for packets of a protocol that have this source port and this address on the subnet's side.
fn list<T: RulesetNumber>(
    acl: &SubnetAcl,
    observes: bool,
    direction: Direction,
    (protocol, source_port, local): (Protocol, u16, T),
) -> PolicyList<T> {
    let mut entries = Vec::new();
    let decision = |verdict, reason| Decision { verdict, reason };
    let local = local.address();
    if acl.networks.contains(local) {
        entries.push(CheckedEntry {
            ports: vec![<u16 as crate::policy::Point>::WHOLE],
            addresses: T::in_set(&acl.networks),
            decision: decision(Verdict::Allow, Reason::Unmanaged),
        });
    }
    for entry in acl.acl.entries(direction) {
        let ports: Vec<_> = ports::<T>(&entry.service, protocol).to_vec();
        let addresses: Arc<_> = T::in_set(entry.remote());
        let from = !protocol.has_ports() || entry.source_ports.contains(source_port);
        let matches = from && entry.local().contains(local);
        if matches && !ports.is_empty() && !addresses.is_empty() {
            let verdict = match entry.action {
                Action::Allow => Verdict::Allow,
                Action::Refuse => refusal(observes),
            };
            entries.push(CheckedEntry {
                ports,
                addresses,
                decision: decision(verdict, Reason::Acl(entry.id.clone())),
            });
        }
    }
    let default = Reason::Acl(acl.acl.default_entry(direction));
    PolicyList::of(entries, decision(refusal(observes), default))
}

/// The conditions of an ACL's chains.
fn conditions<'r>(regions: &Regions<'r>, chain: &str) -> Vec<&'r Match> {
    let rules = own_chains(regions, chain).flat_map(|chain| &chain.rules);
    rules.flat_map(|rule| &rule.matches).collect()
}

/// A source port for each piece between two ends that are named.
fn source_ports(acl: &SubnetAcl, direction: Direction, conditions: &[&Match]) -> Vec<u16> {
    let mut ends = BTreeSet::from([0]);
    let of_entries = acl.acl.entries(direction).iter();
    let of_entries = of_entries.map(|entry| &entry.source_ports);
    let of_chains = conditions.iter().filter_map(|each| match each {
        Match::Port(_, Side::Source, ports) => Some(ports),
        _ => None,
    });
    for interval in of_entries
        .chain(of_chains)
        .flat_map(|ports| ports.intervals())
    {
        ends.insert(interval.first);
        ends.extend(interval.last.checked_add(1));
    }
    ends.into_iter().collect()
}

/// The same of addresses on the subnet's side.
fn locals<T: RulesetNumber>(
    acl: &SubnetAcl,
    direction: Direction,
    regions: &Regions,
    conditions: &[&Match],
) -> Vec<T> {
    let mut ends = BTreeSet::from([T::WHOLE.first]);
    let mut add = |list: &[crate::policy::Interval<T>]| {
        for interval in list {
            ends.insert(interval.first);
            ends.extend(interval.last.successor());
        }
    };
    add(&T::in_set(&acl.networks));
    for entry in acl.acl.entries(direction) {
        add(&T::in_set(entry.local()));
    }
    let local = match direction {
        Direction::Inbound => Side::Destination,
        Direction::Outbound => Side::Source,
    };
    for each in conditions {
        if let Match::Address { side, with, .. } = each
            && *side == local
        {
            add(of_chain::<T>(regions, with));
        }
    }
    ends.into_iter().collect()
}

fn of_chain<'r, T: RulesetNumber>(
    regions: &Regions<'r>,
    with: &'r AddressMatch,
) -> &'r [crate::policy::Interval<T>] {
    regions.addresses(with).and_then(T::of).unwrap_or_default()
}

/// Every way out of the chains of a list leads to the ACL of its interfaces, and to none where they have none.
pub fn outbound_is_asked(policy: &Policy, regions: &Regions) -> Result<(), Difference> {
    for binding in &policy.bindings {
        let interface = samples::sample_name(policy, &binding.interface.to_string());
        let Some(role) = entry_of(regions, Direction::Outbound, &interface) else {
            continue;
        };
        let Some(index) = role.strip_prefix("out_") else {
            continue;
        };
        let asks = NftVerdict::Pass(format!("acl_{role}").into());
        let ends = match binding.acl {
            Some(_) => &asks,
            None => &NftVerdict::Accept,
        };
        let of_list = [role.to_owned(), format!("passed_{role}")];
        let inner = format!("{role}_");
        for chain in regions.chains() {
            let is_own =
                of_list.iter().any(|name| *chain.name == **name) || chain.name.starts_with(&inner);
            let right = match &*chain.name {
                _ if is_own => chain.rules.iter().all(|rule| leads_to(rule, ends)),
                name if *name == format!("allowed_out_{index}") => {
                    outbound_of(&chain.rules, FlowSide::Original, ends)
                }
                name if *name == format!("allowed_in_{index}") => {
                    outbound_of(&chain.rules, FlowSide::Reply, ends)
                }
                _ => true,
            };
            if !right {
                return Err(Difference {
                    packet: format!("outbound packets at {interface}"),
                    policy: match binding.acl {
                        Some(_) => "to be asked by the network ACL last".into(),
                        None => "to be asked by no network ACL".into(),
                    },
                    ruleset: format!("lets them pass otherwise in `{}`", chain.name),
                });
            }
        }
    }
    Ok(())
}

/// Whether a rule that lets a packet go for good lets it go there.
fn leads_to(rule: &NftRule, ends: &NftVerdict) -> bool {
    match &rule.verdict {
        NftVerdict::Accept => *ends == NftVerdict::Accept,
        NftVerdict::Pass(chain) if chain.starts_with("acl_") => rule.verdict == *ends,
        NftVerdict::Goto(chain) | NftVerdict::Jump(chain) => !chain.starts_with("acl_"),
        _ => true,
    }
}

/// Whether outbound packets of flows, which go this way in them, are let go there; inbound ones are accepted.
fn outbound_of(rules: &[NftRule], outbound: FlowSide, ends: &NftVerdict) -> bool {
    let mut before: Option<&NftRule> = None;
    rules.iter().all(|rule| {
        let last = before.replace(rule);
        let about = |side: &FlowSide| rule.matches.contains(&Match::FlowSide(*side));
        let inbound = match outbound {
            FlowSide::Original => FlowSide::Reply,
            FlowSide::Reply => FlowSide::Original,
        };
        match &rule.verdict {
            NftVerdict::Accept if *ends != NftVerdict::Accept && !about(&inbound) => {
                let first = [Match::FlowSide(outbound)];
                let same = [&first, rule.matches.as_slice()].concat();
                last.is_some_and(|last| last.verdict == *ends && last.matches == same)
            }
            _ => leads_to(rule, ends) || rule.verdict == NftVerdict::Accept,
        }
    })
}
