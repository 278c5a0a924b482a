//! What shows in a rule as it is written, without asking what other rules leave of it.

use super::finding::Finding;
use super::members::Members;
use super::never::never_a_remote;
use crate::definition::model::InstanceKind;
use crate::definition::{Definition, codes};
use crate::insight::listed::FlowKind;
use crate::policy::interval::touch;
use crate::policy::places::WrittenRules;
use crate::policy::quotas::{Usage, usages};
use crate::policy::{
    Account, Action, AddressSet, Direction, GroupId, Interval, Platform, PortSet, Rule, Service,
};
use std::collections::{HashMap, HashSet};

/// A longer run of ports is written to mean many, not one of them.
const FEW_PORTS: u16 = 1024;

/// Everything that shows in single rules, groups and services.
pub fn findings(definition: &Definition, account: &Account) -> Vec<Finding> {
    let written = WrittenRules::new(definition);
    let mut findings = Vec::new();
    let members = Members::new(definition, account);
    let mail = mail_blocked(account);
    let peers = match account.platform.blocked_ports.external_only {
        true => AddressSet::outside(account.platform.internal.as_ref()),
        false => Some(AddressSet::any()),
    };
    let external = AddressSet::outside(account.platform.internal.as_ref());
    for group in account.groups.values() {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let rules = group.rules(direction);
            let mut ipv4_only = ipv4_only(rules);
            for (at, rule) in rules.iter().enumerate() {
                let blocked = blocked_port(&account.platform, rule, peers.as_ref());
                let mail = mail
                    .contains(&group.id)
                    .then(|| blocked_mail(rule, external.as_ref()))
                    .flatten();
                let never = never_a_remote(rule, &written);
                let all = [blocked, mail, ipv4_only.remove(&at), never, ended(rule)];
                findings.extend(
                    all.into_iter()
                        .flatten()
                        .map(|found| of_rule(found, rule, &written)),
                );
                let entry = written.rule(&rule.id).filter(|_| rule.ended.is_none());
                if let Some(remote) = entry.and_then(|entry| entry.remote.as_ref()) {
                    let empty = members.empty_groups(remote);
                    findings.extend(empty.map(|found| Finding {
                        group: Some(group.id.clone()),
                        rule: Some(rule.id.clone()),
                        ..found
                    }));
                }
            }
        }
    }
    for entry in &definition.platform.approved_services {
        if let Some(remote) = &entry.remote {
            findings.extend(members.empty_groups(remote));
        }
    }
    findings.extend(approved(definition, &account.platform));
    findings.extend(near_quotas(definition));
    findings
}

/// A finding about a rule stands where the rule stands.
pub fn of_rule(found: Finding, rule: &Rule, written: &WrittenRules) -> Finding {
    Finding {
        span: found
            .span
            .or_else(|| written.rule(&rule.id).map(|rule| rule.span)),
        group: Some(rule.id.group.clone()),
        rule: Some(rule.id.clone()),
        ..found
    }
}

fn approved<'d>(
    definition: &'d Definition,
    platform: &'d Platform,
) -> impl Iterator<Item = Finding> + 'd {
    let inbound = platform.approved_services.iter().filter(|service| {
        let all = |service: &Service| match service {
            Service::All => true,
            Service::Tcp(ports) | Service::Udp(ports) => is_every_port(ports),
            _ => false,
        };
        service.direction == Direction::Inbound && service.services.iter().any(all)
    });
    inbound.map(|service| {
        let mut written = definition.platform.approved_services.iter();
        let entry = written.find(|entry| entry.name.text == *service.name);
        Finding {
            span: entry.map(|entry| entry.name.span),
            ..Finding::new(
                codes::APPROVED_ALL_PORTS,
                format!(
                    "the inbound approved service `{}` is about all ports: no group can refuse its sources anything",
                    service.name
                ),
                "write the `port` that the service needs",
            )
        }
    })
}

fn is_every_port(ports: &PortSet) -> bool {
    // Port 0 can be meant by `all` alone.
    ports
        .intervals()
        .first()
        .is_some_and(|all| all.first <= 1 && all.last == u16::MAX)
}

/// What comes near a quota.
fn near_quotas(definition: &Definition) -> impl Iterator<Item = Finding> {
    let near = usages(definition).into_iter().filter(Usage::is_near);
    near.map(|usage| Finding {
        span: Some(usage.span),
        group: usage
            .group
            .as_deref()
            .and_then(|id| GroupId::parse(id).ok()),
        ..Finding::new(
            codes::NEAR_QUOTA,
            usage.message(),
            "put addresses and ports together, or take away what is not needed any longer",
        )
    })
}

/// A rule that is left in the definition after its time.
fn ended(rule: &Rule) -> Option<Finding> {
    let until = rule.until.filter(|_| rule.ended.is_some())?;
    let message = format!("this rule has ended at {until}: it matches nothing");
    let help = "remove it, or write a later `until`";
    Some(Finding::new(codes::ENDED, message, help))
}

/// An allow for a port that no rule can open.
fn blocked_port(platform: &Platform, rule: &Rule, peers: Option<&AddressSet>) -> Option<Finding> {
    let blocked = &platform.blocked_ports;
    if rule.action == Action::Refuse
        || !blocked.blocks(rule.id.direction)
        || !meet(rule.remote.as_ref(), peers)
    {
        return None;
    }
    let named = rule.services.iter().filter_map(|service| {
        let (name, ports, blocked) = match service {
            Service::Tcp(ports) => ("tcp", ports, blocked.tcp.as_ref()?),
            Service::Udp(ports) => ("udp", ports, blocked.udp.as_ref()?),
            _ => return None,
        };
        let both = named_ports(ports, blocked)?;
        Some(format!("{name} {both}"))
    });
    let named: Vec<String> = named.collect();
    if named.is_empty() {
        return None;
    }
    let only = match blocked.external_only {
        true => " for external addresses",
        false => "",
    };
    Some(Finding::new(
        codes::BLOCKED_PORT,
        format!(
            "this allows {}, which the platform blocks{only}: no rule can open it",
            named.join(" and ")
        ),
        "use another port, or take it off the list with `platform: { blocked_ports: { remove: … } }`",
    ))
}

/// The blocked ports among those that a rule names: alone, or in a short run.
pub fn named_ports(ports: &PortSet, blocked: &PortSet) -> Option<PortSet> {
    let few = ports
        .intervals()
        .iter()
        .filter(|each| each.last - each.first < FEW_PORTS);
    let few = PortSet::new(few.copied().collect())?;
    match few.without(blocked) {
        Some(open) => few.without(&open),
        None => Some(few),
    }
}

/// The groups that are bound to an instance whose TCP 25 is blocked.
fn mail_blocked(account: &Account) -> HashSet<&GroupId> {
    let instances = account.instances.iter().filter(|instance| {
        account.platform.smtp_block && instance.kind == InstanceKind::Cvm && !instance.smtp_request
    });
    instances
        .flat_map(|instance| &instance.interfaces)
        .flat_map(|interface| &interface.groups)
        .collect()
}

fn blocked_mail(rule: &Rule, external: Option<&AddressSet>) -> Option<Finding> {
    let mail = PortSet::single(25);
    let named = rule.services.iter().any(
        |service| matches!(service, Service::Tcp(ports) if named_ports(ports, &mail).is_some()),
    );
    let allows = rule.action == Action::Allow && rule.id.direction == Direction::Outbound;
    (allows && named && meet(rule.remote.as_ref(), external)).then(|| {
        Finding::new(
            codes::BLOCKED_PORT,
            "this allows tcp 25 to external addresses, which the platform blocks for CVMs"
                .to_owned(),
            "send mail through port 465 or 587, or write `smtp: unblocked` for a prepaid instance",
        )
    })
}

fn meet(one: Option<&AddressSet>, other: Option<&AddressSet>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    touch(one.v4(), other.v4()) || touch(one.v6(), other.v6())
}

/// Whether all addresses of a family are meant.
pub fn is_whole(set: &AddressSet, v4: bool) -> bool {
    let any = AddressSet::any();
    match v4 {
        true => set.v4() == any.v4(),
        false => set.v6() == any.v6(),
    }
}

/// Ports of every kind, as bits.
struct PortBits([[u64; 1024]; FlowKind::ALL.len()]);

impl PortBits {
    fn none() -> Box<Self> {
        Box::new(PortBits([[0; 1024]; FlowKind::ALL.len()]))
    }

    /// Adds the ports of IPv6 that a rule is about.
    fn add(&mut self, rule: &Rule) {
        for (kind, bits) in FlowKind::ALL.into_iter().zip(&mut self.0) {
            for ports in kind.ports_of(&rule.services, false) {
                for_words(ports, |at, word| bits[at] |= word);
            }
        }
    }

    /// Whether all, and whether any, of the ports of IPv6 are there that a rule is about.
    fn has(&self, rule: &Rule) -> (bool, bool) {
        let (mut all, mut any) = (true, false);
        for (kind, bits) in FlowKind::ALL.into_iter().zip(&self.0) {
            for ports in kind.ports_of(&rule.services, false) {
                for_words(ports, |at, word| {
                    all &= bits[at] & word == word;
                    any |= bits[at] & word != 0;
                });
            }
        }
        (all, any)
    }
}

/// The words that an interval of ports takes.
fn for_words(ports: Interval<u16>, mut each: impl FnMut(usize, u64)) {
    let (first, last) = (usize::from(ports.first), usize::from(ports.last));
    for at in first / 64..=last / 64 {
        let from = first.saturating_sub(at * 64).min(63);
        let to = (last - at * 64).min(63);
        each(at, u64::MAX >> (63 - to) & u64::MAX << from);
    }
}

/// The rules about 0.0.0.0/0 that have no twin about ::/0, each with the finding. One that refuses needs none where
/// nothing is allowed after it.
fn ipv4_only(rules: &[Rule]) -> HashMap<usize, Finding> {
    let alone = |rule: &Rule| {
        let remote = rule.remote.as_ref();
        remote.is_some_and(|set| is_whole(set, true) && set.v6().is_empty())
    };
    let mut found = HashMap::new();
    if !rules.iter().any(alone) {
        return found;
    }
    let (mut allowed, mut refused) = (PortBits::none(), PortBits::none());
    for rule in rules {
        let whole = rule.remote.as_ref().is_some_and(|set| is_whole(set, false));
        match (whole, rule.action) {
            (true, Action::Allow) => allowed.add(rule),
            (true, Action::Refuse) => refused.add(rule),
            (false, _) => {}
        }
    }
    let mut later = PortBits::none();
    for (at, rule) in rules.iter().enumerate().rev() {
        let six = rule.remote.as_ref().is_some_and(|set| !set.v6().is_empty());
        if six && rule.action == Action::Allow {
            later.add(rule);
        }
        if !alone(rule) {
            continue;
        }
        let (what, end, missing) = match rule.action {
            Action::Allow => ("allows", "IPv6 is refused", !allowed.has(rule).0),
            Action::Refuse => (
                "refuses",
                "a rule after it lets IPv6 pass",
                !refused.has(rule).0 && later.has(rule).1,
            ),
        };
        if missing {
            let message = format!(
                "this {what} 0.0.0.0/0, and no rule of the group says the same about ::/0: {end}"
            );
            let help = "write `any` if both families are meant";
            found.insert(at, Finding::new(codes::IPV4_ONLY, message, help));
        }
    }
    found
}
