//! What is known of each rule, told: with the rules that have to do with it.

use super::covered::{covering, instead};
use super::fact::{ADMIN_PORTS, Fact, Facts, GroupList, Overruled};
use super::finding::Finding;
use super::written::{is_whole, of_rule};
use crate::definition::{Definition, codes};
use crate::insight::listed::FlowKind;
use crate::insight::space::{TooLarge, Work};
use crate::policy::listed::{ListEntry, entries};
use crate::policy::places::WrittenRules;
use crate::policy::{Account, Action, Direction, PortSet, Reason, Rule, RuleId};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

/// Nobody reads more than this; what is beyond is reported without its reasons.
const EXPLAINED: usize = 1000;
/// So many rules are named in one warning.
const NAMED: usize = 8;
/// How much is spent on looking for reasons.
const REASONS: u64 = 200_000_000;

/// All that the facts give rise to. `blocked` are the rules of which a finding says that the platform blocks what they
/// allow: where it blocks all of that, the rule never matches for this one cause.
pub fn findings(
    definition: &Definition,
    account: &Account,
    facts: &Facts,
    blocked: &HashSet<RuleId>,
    work: &mut Work,
) -> Result<Vec<Finding>, TooLarge> {
    work.spend(facts.of.len())?;
    let mut told = Reporter {
        account,
        facts,
        written: WrittenRules::new(definition),
        list: None,
        homes: BTreeMap::new(),
        left: Work::of(REASONS),
        explained: 0,
    };
    for (number, context) in facts.contexts.iter().enumerate() {
        for group in &context.groups {
            told.homes.entry(group.id.as_str()).or_insert(number);
        }
    }
    let mut findings = Vec::new();
    for (rule, fact) in &facts.of {
        // A group without members is reported as such.
        if rule.remote.is_none() {
            continue;
        }
        let about = match fact {
            Fact { decides: false, .. } => told.never_matches(rule, blocked.contains(&rule.id)),
            Fact { needed: false, .. } => Some(told.changes_nothing(rule)),
            _ => None,
        };
        let overruled = fact.overruled.as_ref().filter(|_| fact.decides);
        let overruled = overruled.map(|overruled| told.overruled(rule, overruled));
        let all = [about, overruled, admin_port(rule, fact)];
        let all = all.into_iter().flatten();
        findings.extend(all.map(|found| of_rule(found, rule, &told.written)));
    }
    Ok(findings)
}

struct Reporter<'t> {
    account: &'t Account,
    facts: &'t Facts<'t>,
    written: WrittenRules<'t>,
    /// What a context asks in one direction, the last that was looked at: rules come in the order of their groups.
    list: Option<(usize, Direction, Rc<[ListEntry<'t>]>)>,
    /// The first context of a group.
    homes: BTreeMap<&'t str, usize>,
    left: Work,
    explained: usize,
}

impl<'t> Reporter<'t> {
    fn list(&mut self, context: usize, direction: Direction) -> Option<Rc<[ListEntry<'t>]>> {
        if let Some((of, way, list)) = &self.list
            && (*of, *way) == (context, direction)
        {
            return Some(list.clone());
        }
        let GroupList {
            groups,
            smtp_blocked,
            ..
        } = &self.facts.contexts[context];
        let rules: usize = groups
            .iter()
            .map(|group| group.rules(direction).len())
            .sum();
        self.left.spend(100 * rules).ok()?;
        let list: Rc<[ListEntry]> =
            entries(&self.account.platform, groups, *smtp_blocked, direction).into();
        self.list = Some((context, direction, list.clone()));
        Some(list)
    }

    /// The context in which a rule is first met, what is asked there, and its place; `None` where it is not to be
    /// explained.
    fn home(&mut self, rule: &Rule) -> Option<(usize, Rc<[ListEntry<'t>]>, usize)> {
        self.explained += 1;
        if self.explained > EXPLAINED {
            return None;
        }
        let context = *self.homes.get(rule.id.group.as_str())?;
        let list = self.list(context, rule.id.direction)?;
        self.left.spend(10 * list.len()).ok()?;
        let own =
            |entry: &ListEntry| matches!(entry.rule, Some((_, each)) if std::ptr::eq(each, rule));
        let index = list.iter().position(own)?;
        Some((context, list, index))
    }

    fn never_matches(&mut self, rule: &Rule, blocked: bool) -> Option<Finding> {
        let help = "remove it, or move it before what covers it";
        let plain = || {
            let message = "this rule can never match: all of it is decided before";
            let found = Finding::new(codes::NEVER_MATCHES, message.to_owned(), help);
            (!blocked).then_some(found)
        };
        let home = self.home(rule);
        let afford = home.filter(|(.., index)| self.left.spend(40 * index).is_ok());
        let Some((context, list, index)) = afford else {
            return plain();
        };
        // Within its own group it holds wherever that is bound.
        let group = |entry: &ListEntry| entry.rule.map(|(place, _)| place);
        let own = list[..=index].iter();
        let own = own.filter(|entry| group(entry) == group(&list[index]));
        let part: Vec<ListEntry> = own.cloned().collect();
        let within = covering(&part, part.len() - 1, &mut self.left).ok();
        let within = within.flatten();
        if let Some(cover) = within {
            let cover: Vec<&ListEntry> = cover.iter().map(|at| &part[*at]).collect();
            let message = format!("this rule can never match: {}", all_of_it(&cover));
            let found = Finding::new(codes::NEVER_MATCHES, message, help);
            return Some(self.with_rules(found, &cover));
        }
        let Ok(Some(cover)) = covering(&list, index, &mut self.left) else {
            return plain();
        };
        let cover: Vec<&ListEntry> = cover.iter().map(|at| &list[*at]).collect();
        let of_platform =
            |each: &&ListEntry| matches!(each.reason, Reason::BlockedPorts | Reason::Smtp);
        if blocked && cover.iter().all(of_platform) {
            return None;
        }
        let opposed = cover
            .iter()
            .all(|each| each.rule.is_some() && each.allows != list[index].allows);
        let place = self.place(context);
        let found = match opposed {
            true => {
                let message = format!(
                    "this rule never has its way{place}: groups of higher priority decide the opposite; {}",
                    all_of_it(&cover)
                );
                let help = "change the order in which the groups are bound, or one of the two";
                Finding::new(codes::OVERRULED, message, help)
            }
            false => {
                let message = format!("this rule can never match{place}: {}", all_of_it(&cover));
                Finding::new(codes::NEVER_MATCHES, message, help)
            }
        };
        Some(self.with_rules(found, &cover))
    }

    /// ` at ins-web1 (eth0) and 3 other places`
    fn place(&self, context: usize) -> String {
        let context = &self.facts.contexts[context];
        let Some(place) = &context.place else {
            return String::new();
        };
        let more = match context.places {
            0 | 1 => String::new(),
            2 => " and one other place".to_owned(),
            more => format!(" and {} other places", more - 1),
        };
        format!(" at {place}{more}")
    }

    fn with_rules(&self, found: Finding, entries: &[&ListEntry]) -> Finding {
        let rules = entries.iter().filter_map(|entry| entry.rule);
        let places = rules.filter_map(|(_, rule)| {
            let written = self.written.rule(&rule.id)?;
            Some((
                written.span,
                format!("{}: {}", rule.id, verb(entries, rule)),
            ))
        });
        Finding {
            related: places.take(NAMED).collect(),
            ..found
        }
    }

    fn changes_nothing(&mut self, rule: &Rule) -> Finding {
        let does = match rule.action {
            Action::Allow => "allowed",
            Action::Refuse => "refused",
        };
        let help = "remove it; or keep it and silence this with the reason";
        let plain = format!("this rule changes nothing: without it the same would be {does}");
        let home = self.home(rule);
        let afford = home.filter(|(_, list, _)| self.left.spend(40 * list.len()).is_ok());
        let Some((_, list, index)) = afford else {
            return Finding::new(codes::CHANGES_NOTHING, plain, help);
        };
        // What never decides is no help.
        let live: Vec<usize> = (0..list.len())
            .filter(|at| {
                let number = self.facts.number(&list[*at]);
                number.is_none_or(|number| self.facts.of[number].1.decides)
            })
            .collect();
        let part: Vec<ListEntry> = live.iter().map(|at| list[*at].clone()).collect();
        let at = live.partition_point(|at| *at < index);
        let Ok(deciders) = instead(&part, at, &mut self.left) else {
            return Finding::new(codes::CHANGES_NOTHING, plain, help);
        };
        let rules: Vec<&ListEntry> = deciders.iter().filter_map(|at| part.get(*at)).collect();
        let mut names = names(&rules);
        if deciders.contains(&part.len()) {
            names.push("default, where no rule matches".to_owned());
        }
        let message = format!("{plain} by {}", names.join(", "));
        let found = Finding::new(codes::CHANGES_NOTHING, message, help);
        self.with_rules(found, &rules)
    }

    fn overruled(&self, rule: &Rule, overruled: &Overruled) -> Finding {
        let (does, opposite) = match rule.action {
            Action::Allow => ("allows", "refuse"),
            Action::Refuse => ("refuses", "allow"),
        };
        let by: Vec<&Rule> = overruled.by.iter().map(|by| self.facts.of[*by].0).collect();
        let groups: BTreeSet<&str> = by.iter().map(|rule| rule.id.group.as_str()).collect();
        let groups: Vec<&str> = groups.into_iter().collect();
        let message = format!(
            "this {does} {}, and {} of higher priority {opposite}{} all of it{}",
            flows(&overruled.ports, rule),
            groups.join(", "),
            if groups.len() == 1 { "s" } else { "" },
            self.place(overruled.context)
        );
        let help = "change the order in which the groups are bound, or one of the two";
        let related = by.iter().filter_map(|by| {
            let written = self.written.rule(&by.id)?;
            Some((written.span, format!("{} decides first", by.id)))
        });
        Finding {
            related: related.collect(),
            ..Finding::new(codes::OVERRULED, message, help)
        }
    }
}

/// `tcp 22,3389`
fn flows(ports: &BTreeMap<FlowKind, Vec<crate::policy::Interval<u16>>>, rule: &Rule) -> String {
    let each = ports.iter().filter_map(|(kind, ports)| {
        let name = match kind {
            FlowKind::Tcp => "tcp",
            FlowKind::Udp => "udp",
            FlowKind::Bare(protocol) => protocol.name()?,
            FlowKind::Other => "other protocols",
            FlowKind::Icmp => {
                let six = rule.services.contains(&crate::policy::Service::Icmpv6);
                return Some(if six { "icmpv6" } else { "icmp" }.to_owned());
            }
        };
        match kind.has_ports() {
            true => Some(format!("{name} {}", PortSet::new(ports.clone())?)),
            false => Some(name.to_owned()),
        }
    });
    each.collect::<Vec<_>>().join(" and ")
}

/// The names of those that decide, of many the first ones.
fn names(deciders: &[&ListEntry]) -> Vec<String> {
    let all = deciders.iter().map(|each| match &each.reason {
        Reason::Rule(id) => id.to_string(),
        reason => reason.words(),
    });
    let mut names: Vec<String> = all.collect();
    if names.len() > NAMED {
        let more = names.len() - NAMED;
        names.truncate(NAMED);
        names.push(format!("{more} more"));
    }
    names
}

fn all_of_it(cover: &[&ListEntry]) -> String {
    match names(cover).as_slice() {
        [one] => format!("{one} decides all of it before"),
        [rest @ .., last] => format!(
            "{} and {last} together decide all of it before",
            rest.join(", ")
        ),
        [] => "all of it is decided before".to_owned(),
    }
}

fn verb(entries: &[&ListEntry], rule: &Rule) -> &'static str {
    let all = entries.len() == 1;
    match (rule.action, all) {
        (Action::Allow, true) => "this allows all of it",
        (Action::Allow, false) => "this allows a part of it",
        (Action::Refuse, true) => "this refuses all of it",
        (Action::Refuse, false) => "this refuses a part of it",
    }
}

fn admin_port(rule: &Rule, fact: &Fact) -> Option<Finding> {
    let remote = rule.remote.as_ref()?;
    let (v4, v6) = (is_whole(remote, true), is_whole(remote, false));
    if rule.action == Action::Refuse || rule.id.direction == Direction::Outbound || !(v4 || v6) {
        return None;
    }
    let ports = ADMIN_PORTS
        .iter()
        .zip(fact.admin)
        .filter(|(_, decides)| *decides);
    let ports: Vec<String> = ports.map(|(port, _)| port.to_string()).collect();
    if ports.is_empty() {
        return None;
    }
    let from = match (v4, v6) {
        (true, true) => "every address",
        (true, false) => "every IPv4 address",
        _ => "every IPv6 address",
    };
    Some(Finding::new(
        codes::ADMIN_PORT,
        format!("this opens TCP {} to {from}", ports.join(" and ")),
        "name the networks that administrators come from",
    ))
}
