//! Rules sorted by hand: which sources are asked at each port, neighbours with the same verdict together.

use crate::lists::rules;
use secgroupd::policy::{Action, AddressRange, AddressSet, Interval, Policy, Service};

/// Ports at which the same rules are asked.
pub struct Class {
    pub first: u16,
    pub last: u16,
    /// Sources and what becomes of them, in order; nothing stands behind one that takes all.
    pub runs: Vec<(Action, AddressSet)>,
}

/// The classes of `tcp` or `udp`.
pub fn classes(policy: &Policy, protocol: &str) -> Vec<Class> {
    let intervals = |service: &Service| -> Vec<Interval<u16>> {
        match service {
            Service::Tcp(ports) if protocol == "tcp" => ports.intervals().to_vec(),
            Service::Udp(ports) if protocol == "udp" => ports.intervals().to_vec(),
            _ => vec![],
        }
    };
    let mut starts: Vec<u32> = rules(policy)
        .flat_map(|rule| rule.services.iter().flat_map(intervals))
        .flat_map(|ports| [u32::from(ports.first), u32::from(ports.last) + 1])
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let mut classes = Vec::new();
    for pair in starts.windows(2) {
        let (first, last) = (pair[0] as u16, (pair[1] - 1) as u16);
        let asked = rules(policy).filter(|rule| {
            let ports = rule.services.iter().flat_map(intervals);
            ports.into_iter().any(|ports| ports.contains(first))
        });
        let mut runs: Vec<(Action, Vec<AddressRange>)> = Vec::new();
        for rule in asked {
            let Some(remote) = &rule.remote else { continue };
            let v4 = remote.ranges().filter(AddressRange::is_v4);
            match runs.last_mut() {
                Some((action, sources)) if *action == rule.action => sources.extend(v4),
                _ => runs.push((rule.action, v4.collect())),
            }
            if *remote == AddressSet::any() {
                break;
            }
        }
        let runs: Vec<_> = runs
            .into_iter()
            .filter_map(|(action, sources)| Some((action, AddressSet::new(sources)?)))
            .collect();
        if !runs.is_empty() {
            classes.push(Class { first, last, runs });
        }
    }
    classes
}
