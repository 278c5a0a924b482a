//! The policy's own list for one protocol, as it is written, held against boxes of packets.

use super::regions::{Line, Region};
use crate::policy::interval::Point;
use crate::policy::{
    Action, AddressSet, Binding, Decision, Direction, Interval, Policy, PortSet, Protocol, Reason,
    Service, Verdict,
};
use std::sync::Arc;

/// How many buckets the list is sorted into along each dimension, so that a box asks few entries.
const BUCKETS: usize = 256;

/// One entry: ports × addresses.
struct Entry<T> {
    /// Destination ports; port 0 alone where the protocol has none.
    ports: Vec<Interval<u16>>,
    addresses: Arc<[Interval<T>]>,
    /// Whether it is meant for all other addresses instead.
    negated: bool,
    decision: Decision,
}

/// The ordered list of what decides about new flows of a protocol at an interface.
pub struct List<T> {
    entries: Vec<Entry<T>>,
    by_port: Buckets<u16>,
    by_address: Buckets<T>,
    rest: Decision,
}

/// Entries by where they lie on a line. A bucket holds all that touch it, in order.
struct Buckets<T> {
    /// Where each bucket begins, from the second on.
    starts: Vec<T>,
    entries: Vec<Vec<u32>>,
}

/// How a box lies to a sorted list of intervals.
enum Relation<T> {
    Outside,
    Inside,
    /// Neither: the box may be cut before this point.
    Crosses(T),
}

impl<T: Line> List<T> {
    /// Reads the policy.
    pub fn new(policy: &Policy, direction: Direction, interface: &str, protocol: Protocol) -> Self {
        let binding = policy
            .bindings
            .iter()
            .find(|binding| binding.interface.matches(interface));
        let rest = Decision {
            verdict: Verdict::Refuse,
            reason: Reason::Default,
        };
        let entries = binding
            .map(|binding| entries(policy, binding, direction, protocol))
            .unwrap_or_default();
        let by_port = Buckets::new(entries.iter().map(|entry| (entry.ports.as_slice(), false)));
        let by_address = Buckets::new(
            entries
                .iter()
                .map(|entry| (&*entry.addresses, entry.negated)),
        );
        List {
            entries,
            by_port,
            by_address,
            rest,
        }
    }

    /// Whether all of a box is decided as said. If not, a part of it that is decided otherwise, and how.
    pub fn holds(
        &self,
        region: Region<T>,
        decided: &Decision,
    ) -> Result<(), (Region<T>, Decision)> {
        let (a, b) = (
            self.by_port.touching(region.ports),
            self.by_address.touching(region.addresses),
        );
        let fewest = match (a, b) {
            (Some(a), Some(b)) => Some(if a.len() <= b.len() { a } else { b }),
            (a, b) => a.or(b),
        };
        match fewest {
            Some(list) => self.first_of(list.iter().map(|at| *at as usize), region, decided),
            None => self.first_of(0..self.entries.len(), region, decided),
        }
    }

    fn first_of(
        &self,
        candidates: impl Iterator<Item = usize>,
        region: Region<T>,
        decided: &Decision,
    ) -> Result<(), (Region<T>, Decision)> {
        for at in candidates {
            let entry = &self.entries[at];
            let cut = match relation(&entry.ports, region.ports) {
                Relation::Outside => continue,
                Relation::Inside => None,
                Relation::Crosses(port) => {
                    let [low, high] = halves(region.ports, port, |port| port - 1);
                    Some([
                        Region {
                            ports: low,
                            ..region
                        },
                        Region {
                            ports: high,
                            ..region
                        },
                    ])
                }
            };
            let cut = match (relation(&entry.addresses, region.addresses), entry.negated) {
                (Relation::Outside, false) | (Relation::Inside, true) => continue,
                (Relation::Crosses(address), _) => {
                    let [low, high] = halves(region.addresses, address, T::before);
                    Some([
                        Region {
                            addresses: low,
                            ..region
                        },
                        Region {
                            addresses: high,
                            ..region
                        },
                    ])
                }
                _ => cut,
            };
            return match cut {
                // A part of the box is this entry's: each half is asked for itself.
                Some(halves) => halves
                    .into_iter()
                    .try_for_each(|half| self.holds(half, decided)),
                None if entry.decision == *decided => Ok(()),
                None => Err((region, entry.decision.clone())),
            };
        }
        if self.rest == *decided {
            Ok(())
        } else {
            Err((region, self.rest.clone()))
        }
    }
}

fn entries<T: Line>(
    policy: &Policy,
    binding: &Binding,
    direction: Direction,
    protocol: Protocol,
) -> Vec<Entry<T>> {
    let platform = &*policy.platform;
    let mut entries = Vec::new();
    let mut push = |services: &[Service],
                    (addresses, negated): (Arc<[Interval<T>]>, bool),
                    verdict,
                    reason| {
        let ports: Vec<Interval<u16>> = services
            .iter()
            .flat_map(|service| ports::<T>(service, protocol))
            .collect();
        if !ports.is_empty() {
            let ports = crate::policy::interval::merged(ports);
            entries.push(Entry {
                ports,
                addresses,
                negated,
                decision: Decision { verdict, reason },
            });
        }
    };
    let all = || -> (Arc<[Interval<T>]>, bool) { ([].into(), true) };
    let external = || -> (Arc<[Interval<T>]>, bool) {
        let internal = platform
            .internal
            .as_ref()
            .map(|internal| of_family::<T>(internal));
        (internal.unwrap_or_else(|| [].into()), true)
    };
    let blocked = &platform.blocked_ports;
    if blocked.blocks(direction) {
        let services: Vec<Service> = blocked
            .tcp
            .clone()
            .map(Service::Tcp)
            .into_iter()
            .chain(blocked.udp.clone().map(Service::Udp))
            .collect();
        let remote = if blocked.external_only {
            external()
        } else {
            all()
        };
        push(&services, remote, Verdict::Refuse, Reason::BlockedPorts);
    }
    if policy.smtp_blocked && direction == Direction::Outbound && protocol == Protocol::TCP {
        let smtp = [Service::Tcp(PortSet::single(25))];
        push(&smtp, external(), Verdict::Refuse, Reason::Smtp);
    }
    for approved in platform
        .approved_services
        .iter()
        .filter(|approved| approved.direction == direction)
    {
        let reason = Reason::ApprovedService(approved.name.clone());
        push(
            &approved.services,
            (of_family::<T>(&approved.remote), false),
            Verdict::Allow,
            reason,
        );
    }
    for rule in binding
        .groups
        .iter()
        .flat_map(|group| group.rules(direction))
    {
        let Some(remote) = &rule.remote else { continue };
        let verdict = if rule.action == Action::Allow {
            Verdict::Allow
        } else {
            Verdict::Refuse
        };
        push(
            &rule.services,
            (of_family::<T>(remote), false),
            verdict,
            Reason::Rule(rule.id.clone()),
        );
    }
    entries
}

fn of_family<T: Line>(set: &AddressSet) -> Arc<[Interval<T>]> {
    T::in_set(set)
}

/// The ports at which a service meets packets of a protocol.
fn ports<T: Line>(service: &Service, protocol: Protocol) -> Vec<Interval<u16>> {
    let whole = Interval {
        first: 0,
        last: u16::MAX,
    };
    let v4 = T::FAMILY == crate::ruleset::ir::Family::V4;
    match service {
        Service::All => vec![whole],
        Service::Tcp(ports) if protocol == Protocol::TCP => ports.intervals().to_vec(),
        Service::Udp(ports) if protocol == Protocol::UDP => ports.intervals().to_vec(),
        Service::Icmp if protocol == Protocol::ICMP && v4 => vec![whole],
        Service::Icmpv6 if protocol == Protocol::ICMPV6 && !v4 => vec![whole],
        Service::Gre if protocol == Protocol::GRE => vec![whole],
        _ => vec![],
    }
}

fn relation<T: Point>(list: &[Interval<T>], interval: Interval<T>) -> Relation<T> {
    let at = list.partition_point(|each| each.last < interval.first);
    match list.get(at) {
        Some(each) if each.first <= interval.last => {
            if each.first > interval.first {
                Relation::Crosses(each.first)
            } else if each.last >= interval.last {
                Relation::Inside
            } else {
                // There is a point after: the interval goes on there.
                each.last
                    .successor()
                    .map_or(Relation::Inside, Relation::Crosses)
            }
        }
        _ => Relation::Outside,
    }
}

fn halves<T: Point>(interval: Interval<T>, at: T, before: impl Fn(T) -> T) -> [Interval<T>; 2] {
    [
        Interval {
            first: interval.first,
            last: before(at),
        },
        Interval {
            first: at,
            last: interval.last,
        },
    ]
}

impl<T: Point> Buckets<T> {
    fn new<'a>(lists: impl Iterator<Item = (&'a [Interval<T>], bool)> + Clone) -> Self
    where
        T: 'a,
    {
        let mut starts: Vec<T> = lists
            .clone()
            .flat_map(|(list, _)| list.iter().map(|each| each.first))
            .collect();
        starts.sort_unstable();
        let step = starts.len().div_ceil(BUCKETS).max(1);
        let mut starts: Vec<T> = starts.into_iter().skip(step).step_by(step).collect();
        starts.dedup();
        let mut entries = vec![Vec::new(); starts.len() + 1];
        for (number, (list, negated)) in lists.enumerate() {
            let mut add = |bucket: &mut Vec<u32>| {
                if bucket.last() != Some(&(number as u32)) {
                    bucket.push(number as u32);
                }
            };
            if negated {
                entries.iter_mut().for_each(&mut add);
                continue;
            }
            for each in list {
                let range = bucket(&starts, each.first)..=bucket(&starts, each.last);
                entries[range].iter_mut().for_each(&mut add);
            }
        }
        Buckets { starts, entries }
    }

    /// The entries that can touch an interval, if it lies in one bucket.
    fn touching(&self, interval: Interval<T>) -> Option<&[u32]> {
        let at = bucket(&self.starts, interval.first);
        (at == bucket(&self.starts, interval.last)).then(|| self.entries[at].as_slice())
    }
}

fn bucket<T: Point>(starts: &[T], point: T) -> usize {
    match starts.binary_search_by(|start| start.cmp(&point)) {
        Ok(at) => at + 1,
        Err(at) => at,
    }
}
