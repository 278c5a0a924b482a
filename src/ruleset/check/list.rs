//! The policy's own list for one protocol, as it is written, held against boxes of packets.

use super::buckets::{Buckets, Common};
use super::regions::{Region, along};
use super::sets::{Relation, Relations, RulesetNumber, relation, split};
use crate::policy::interval::merged;
use crate::policy::{
    Binding, Decision, Direction, Interval, Point, Policy, Protocol, Reason, Service, Verdict,
    listed,
};
use std::sync::Arc;

/// One entry of a list.
pub struct CheckedEntry<T> {
    /// Destination ports; port 0 alone where the protocol has none.
    pub ports: Vec<Interval<u16>>,
    /// Remotes.
    pub addresses: Arc<[Interval<T>]>,
    /// What it decides.
    pub decision: Decision,
}

/// The ordered list of what decides about new flows of a protocol at an interface.
pub struct PolicyList<T> {
    entries: Vec<CheckedEntry<T>>,
    by_port: Buckets<u16>,
    by_address: Buckets<T>,
    all: Vec<u32>,
    rest: Decision,
}

/// What a ruleset says about a box.
#[derive(Clone, Copy)]
pub enum Said<'r> {
    Exactly(Verdict, &'r Reason),
    Passes(bool),
}

/// A part of a box about which the policy says something else.
pub struct Disagreement<T> {
    pub region: Region<T>,
    pub decision: Decision,
}

impl<T: RulesetNumber> PolicyList<T> {
    pub fn new(policy: &Policy, direction: Direction, interface: &str, protocol: Protocol) -> Self {
        let binding = policy
            .bindings
            .iter()
            .find(|binding| binding.interface.matches(interface));
        let observes = binding.is_some_and(|binding| {
            let mut groups = binding.groups.iter();
            policy.platform.observe
                || (!binding.groups.is_empty() && groups.all(|group| group.observe))
        });
        let rest = Decision {
            verdict: refusal(observes),
            reason: Reason::Default,
        };
        let entries = binding
            .map(|binding| entries(policy, binding, direction, protocol))
            .unwrap_or_default();
        Self::of(entries, rest)
    }

    /// A list of these entries. What none of them matches is decided as the rest.
    pub fn of(entries: Vec<CheckedEntry<T>>, rest: Decision) -> Self {
        let by_port = Buckets::new(entries.iter().map(|entry| entry.ports.as_slice()));
        let by_address = Buckets::new(entries.iter().map(|entry| &*entry.addresses));
        PolicyList {
            all: (0..entries.len() as u32).collect(),
            entries,
            by_port,
            by_address,
            rest,
        }
    }

    /// Whether all of a box is decided as said.
    /// The error is a part of it that is decided otherwise, and how.
    pub fn holds(
        &self,
        region: Region<T>,
        said: Said,
        relations: &mut Relations<T>,
    ) -> Result<(), Disagreement<T>> {
        if region.addresses.len() > FEW {
            let candidates = self.candidates(self.by_port.touching(region.ports), None);
            return self.cut_holds(candidates, region, said, relations);
        }
        region.addresses.iter().try_for_each(|addresses| {
            self.interval_holds(region.ports, *addresses, said, relations)
        })
    }

    /// The entries that can meet a box, from what is known of its two sides.
    fn candidates<'l>(&'l self, a: Option<&'l [u32]>, b: Option<&'l [u32]>) -> Common<'l> {
        let either = a.or(b).unwrap_or(&self.all);
        Common {
            a: a.unwrap_or(either),
            b: b.unwrap_or(either),
        }
    }

    /// The same for one interval of addresses, which few entries touch.
    fn interval_holds(
        &self,
        ports: Interval<u16>,
        addresses: Interval<T>,
        said: Said,
        relations: &mut Relations<T>,
    ) -> Result<(), Disagreement<T>> {
        let candidates = self.candidates(
            self.by_port.touching(ports),
            self.by_address.touching(addresses),
        );
        let mut met = candidates.filter_map(|at| {
            let entry = &self.entries[at];
            let ports = relation(&entry.ports, &[ports]);
            match (ports, relation(&entry.addresses, &[addresses])) {
                (Relation::Outside, _) | (_, Relation::Outside) => None,
                (Relation::Inside, Relation::Inside) => Some(Ok(entry)),
                _ => Some(Err(())),
            }
        });
        let region = || Region {
            ports,
            addresses: [addresses].into(),
        };
        let decision = match met.next() {
            Some(Err(())) => {
                return self.cut_holds(candidates, region(), said, relations);
            }
            Some(Ok(entry)) => &entry.decision,
            None => &self.rest,
        };
        match is(decision, said) {
            true => Ok(()),
            false => Err(Disagreement {
                region: region(),
                decision: decision.clone(),
            }),
        }
    }

    /// The same for any box: it is cut along every entry that it meets. Boxes of a right ruleset are cut only where
    /// one reason has several entries.
    fn cut_holds(
        &self,
        candidates: Common,
        region: Region<T>,
        said: Said,
        relations: &mut Relations<T>,
    ) -> Result<(), Disagreement<T>> {
        let mut waiting = vec![region];
        let mut next = Vec::new();
        for at in candidates {
            let entry = &self.entries[at];
            for region in waiting.drain(..) {
                let taken = entry.take(region, &mut next, relations).pop();
                if let Some(region) = taken.filter(|_| !is(&entry.decision, said)) {
                    let decision = entry.decision.clone();
                    return Err(Disagreement { region, decision });
                }
            }
            std::mem::swap(&mut waiting, &mut next);
            if waiting.is_empty() {
                return Ok(());
            }
        }
        match waiting.pop().filter(|_| !is(&self.rest, said)) {
            None => Ok(()),
            Some(region) => Err(Disagreement {
                region,
                decision: self.rest.clone(),
            }),
        }
    }
}

/// What becomes of what is refused: it passes where the refusal only observes.
pub fn refusal(observes: bool) -> Verdict {
    if observes {
        Verdict::Observe
    } else {
        Verdict::Refuse
    }
}

/// Up to so many intervals of a box are each looked up for themselves.
const FEW: usize = 8;

fn is(decision: &Decision, said: Said) -> bool {
    match said {
        Said::Exactly(verdict, reason) => decision.verdict == verdict && decision.reason == *reason,
        Said::Passes(passes) => decision.verdict.passes() == passes,
    }
}

impl<T: RulesetNumber> CheckedEntry<T> {
    /// The parts of a box that this entry decides about; what it leaves goes into `rest`.
    fn take(
        &self,
        region: Region<T>,
        rest: &mut Vec<Region<T>>,
        relations: &mut Relations<T>,
    ) -> Vec<Region<T>> {
        let first = self
            .ports
            .partition_point(|each| each.last < region.ports.first);
        if self
            .ports
            .get(first)
            .is_none_or(|each| each.first > region.ports.last)
        {
            rest.push(region);
            return Vec::new();
        }
        let set = &region.addresses;
        let [inside, outside] = match relations.of(&self.addresses, set) {
            Relation::Inside => [Some(set.clone()), None],
            Relation::Outside => [None, Some(set.clone())],
            Relation::Crosses => split(&self.addresses, set),
        };
        let Some(inside) = inside else {
            rest.push(region);
            return Vec::new();
        };
        let mut taken = Vec::new();
        for (ports, meets) in along(&self.ports, region.ports, |each| *each) {
            match meets {
                None => rest.push(Region {
                    ports,
                    addresses: set.clone(),
                }),
                Some(_) => {
                    taken.push(Region {
                        ports,
                        addresses: inside.clone(),
                    });
                    rest.extend(outside.clone().map(|addresses| Region { ports, addresses }));
                }
            }
        }
        taken
    }
}

fn entries<T: RulesetNumber>(
    policy: &Policy,
    binding: &Binding,
    direction: Direction,
    protocol: Protocol,
) -> Vec<CheckedEntry<T>> {
    let (platform, groups) = (&*policy.platform, &*binding.groups);
    let listed = listed::entries(platform, groups, policy.smtp_blocked, direction);
    let entry = |entry: listed::ListEntry| {
        let addresses = T::in_set(entry.remote.as_deref()?);
        let services = entry.services.iter();
        let ports = services.flat_map(|service| ports::<T>(service, protocol));
        let ports: Vec<Interval<u16>> = ports.copied().collect();
        let of_group = |(place, _): (usize, _)| groups[place].observe;
        let verdict = match entry.allows {
            true => Verdict::Allow,
            false => refusal(platform.observe || entry.rule.is_some_and(of_group)),
        };
        (!addresses.is_empty() && !ports.is_empty()).then(|| CheckedEntry {
            ports: merged(ports),
            addresses,
            decision: Decision {
                verdict,
                reason: entry.reason,
            },
        })
    };
    listed.into_iter().filter_map(entry).collect()
}

/// The ports at which a service meets packets of a protocol.
pub fn ports<T: RulesetNumber>(service: &Service, protocol: Protocol) -> &[Interval<u16>] {
    const WHOLE: &[Interval<u16>] = &[u16::WHOLE];
    match service {
        Service::All => WHOLE,
        Service::Tcp(ports) if protocol == Protocol::TCP => ports.intervals(),
        Service::Udp(ports) if protocol == Protocol::UDP => ports.intervals(),
        Service::Icmp if protocol == Protocol::ICMP && T::V4 => WHOLE,
        Service::Icmpv6 if protocol == Protocol::ICMPV6 && !T::V4 => WHOLE,
        Service::Bare(bare) if protocol == *bare => WHOLE,
        _ => &[],
    }
}
