//! The ordered list that a role is: the platform's rows and the rules of its groups, each as sets of ports and
//! addresses.

use crate::policy::address::AddressNumber;
use crate::policy::{
    Action, AddressSet, Direction, Interval, Policy, PortSet, Reason, SecurityGroup, Service,
    Verdict,
};
use std::sync::Arc;

/// One entry of the list: if a packet is of any of the services and its remote lies in the addresses, the verdict.
#[derive(Debug, Clone)]
pub struct Clause {
    /// What it matches; never none.
    pub services: Vec<Service>,
    /// IPv4 remotes, sorted and apart; perhaps none.
    pub v4: Arc<[Interval<u32>]>,
    /// IPv6 remotes.
    pub v6: Arc<[Interval<u128>]>,
    /// What happens.
    pub verdict: Verdict,
    /// What it decides for.
    pub reason: Reason,
}

/// What matches every packet.
pub fn everything(verdict: Verdict, reason: Reason) -> Clause {
    let (v4, v6) = whole();
    Clause {
        services: vec![Service::All],
        v4,
        v6,
        verdict,
        reason,
    }
}

/// The list of a direction: blocked ports, TCP 25, approved services, then the groups by priority. What no
/// entry matches is refused.
pub fn clauses<'p>(
    policy: &'p Policy,
    groups: &'p [Arc<SecurityGroup>],
    direction: Direction,
) -> Vec<Clause> {
    let platform = &*policy.platform;
    let mut clauses = Vec::new();
    let outside = platform.internal.as_ref().map_or_else(whole, complement);
    let refuse = |observes| match observes {
        true => Verdict::Observe,
        false => Verdict::Refuse,
    };
    let blocked = &platform.blocked_ports;
    if blocked.blocks(direction) {
        let tcp = blocked.tcp.clone().map(Service::Tcp);
        let services: Vec<Service> = tcp
            .into_iter()
            .chain(blocked.udp.clone().map(Service::Udp))
            .collect();
        let remote = if blocked.external_only {
            outside.clone()
        } else {
            whole()
        };
        push(
            &mut clauses,
            services,
            remote,
            refuse(platform.observe),
            Reason::BlockedPorts,
        );
    }
    if policy.smtp_blocked && direction == Direction::Outbound {
        let port = vec![Service::Tcp(PortSet::single(25))];
        let verdict = refuse(platform.observe);
        push(&mut clauses, port, outside, verdict, Reason::Smtp);
    }
    for approved in platform
        .approved_services
        .iter()
        .filter(|approved| approved.direction == direction)
    {
        let reason = Reason::ApprovedService(approved.name.clone());
        push(
            &mut clauses,
            approved.services.clone(),
            ranges(&approved.remote),
            Verdict::Allow,
            reason,
        );
    }
    let rules = |group: &'p Arc<SecurityGroup>| {
        let rules = group.rules(direction).iter();
        rules.map(move |rule| (rule, platform.observe || group.observe))
    };
    for (rule, observes) in groups.iter().flat_map(rules) {
        let Some(remote) = &rule.remote else { continue };
        let verdict = match rule.action {
            Action::Allow => Verdict::Allow,
            Action::Refuse => refuse(observes),
        };
        push(
            &mut clauses,
            rule.services.clone(),
            ranges(remote),
            verdict,
            Reason::Rule(rule.id.clone()),
        );
    }
    clauses
}

/// Addresses of both families.
type Ranges = (Arc<[Interval<u32>]>, Arc<[Interval<u128>]>);

fn push(
    clauses: &mut Vec<Clause>,
    services: Vec<Service>,
    (v4, v6): Ranges,
    verdict: Verdict,
    reason: Reason,
) {
    if !services.is_empty() {
        clauses.push(Clause {
            services,
            v4,
            v6,
            verdict,
            reason,
        });
    }
}

fn ranges(set: &AddressSet) -> Ranges {
    (u32::in_set(set), u128::in_set(set))
}

fn whole() -> Ranges {
    ranges(&AddressSet::any())
}

fn complement(set: &AddressSet) -> Ranges {
    match set.complement() {
        Some(others) => ranges(&others),
        None => ([].into(), [].into()),
    }
}
