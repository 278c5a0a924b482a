//! The cloud's quotas: how much of each a definition uses, counted as the cloud counts.
//!
//! Source: the cloud's limits page and its page of parameter templates. A rule of the cloud has one remote of one family
//! and either a list of ports or one range: a rule of a definition counts as many as it would be written as.

use crate::definition::Span;
use crate::definition::model::{
    AddressTemplateContent, Definition, GroupEntry, RuleEntry, RuleService,
};
use crate::definition::reader::Texts;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Groups of each region and project.
pub const GROUPS: usize = 50;
/// Rules of each direction of a group.
pub const RULES: usize = 100;
/// Groups of an interface.
pub const GROUPS_OF_AN_INTERFACE: usize = 5;
/// Rules of a group that name groups.
pub const RULES_THAT_NAME_GROUPS: usize = 10;
/// Instances of a group.
pub const INSTANCES: usize = 2000;
/// Rules of a group after templates are unfolded.
pub const UNFOLDED: usize = 512;

/// How deep groups of templates may nest. The cloud's hold templates only; a definition may go deeper.
pub const DEEPEST: usize = 32;

/// How much of a quota is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Where what uses it stands.
    pub span: Span,
    /// The group that it is about, if it is about one.
    pub group: Option<String>,
    /// How many there are.
    pub count: usize,
    /// How many there may be.
    pub quota: usize,
    /// What is counted: `sg-web has {} inbound rules`.
    what: String,
}

impl Usage {
    /// Whether there are too many.
    pub fn is_over(&self) -> bool {
        self.count > self.quota
    }

    /// Whether four fifths are used, or more.
    pub fn is_near(&self) -> bool {
        self.count * 5 >= self.quota * 4
    }

    /// What there is, and how many the cloud allows.
    pub fn message(&self) -> String {
        let count = self.what.replace("{}", &self.count.to_string());
        format!("{count}: the cloud allows {}", self.quota)
    }
}

/// Each quota that a definition asks to be held, with its use.
pub fn usages(definition: &Definition) -> Vec<Usage> {
    if definition.platform.quotas != Some(true) {
        return Vec::new();
    }
    let counts = Counts::of(definition);
    let mut bound: HashMap<&str, usize> = HashMap::new();
    for instance in &definition.instances {
        let groups = instance
            .interfaces
            .iter()
            .flat_map(|each| &each.security_groups);
        let groups: HashSet<&str> = groups.map(|id| id.text.as_str()).collect();
        groups
            .into_iter()
            .for_each(|id| *bound.entry(id).or_default() += 1);
    }
    let mut usages = Vec::new();
    let mut places: BTreeMap<[&str; 2], Vec<&GroupEntry>> = BTreeMap::new();
    for group in &definition.security_groups {
        let place =
            [&group.region, &group.project].map(|text| text.as_ref().map_or("", |text| &text.text));
        places.entry(place).or_default().push(group);
        usages.extend(of_group(group, &counts));
        usages.push(Usage {
            span: group.id.span,
            group: Some(group.id.text.clone()),
            count: bound.get(group.id.text.as_str()).copied().unwrap_or(0),
            quota: INSTANCES,
            what: format!("{} is bound to {{}} instances", group.id.text),
        });
    }
    for ([region, project], groups) in places {
        let name = |word: &str, name: &str| match name {
            "" => format!("no {word}"),
            name => format!("the {word} {name}"),
        };
        let Some(last) = groups.last() else { continue };
        usages.push(Usage {
            span: last.id.span,
            group: None,
            count: groups.len(),
            quota: GROUPS,
            what: format!(
                "{{}} groups are of {} and {}",
                name("region", region),
                name("project", project)
            ),
        });
    }
    for instance in &definition.instances {
        usages.extend(instance.interfaces.iter().map(|interface| Usage {
            span: interface.name.span,
            group: None,
            count: interface.security_groups.len(),
            quota: GROUPS_OF_AN_INTERFACE,
            what: format!(
                "{{}} groups are bound to {}/{}",
                instance.id.text, interface.name.text
            ),
        }));
    }
    usages
}

fn of_group(group: &GroupEntry, counts: &Counts) -> Vec<Usage> {
    let id = &group.id.text;
    let usage = |count: usize, quota: usize, what: String| Usage {
        span: group.id.span,
        group: Some(id.clone()),
        count,
        quota,
        what,
    };
    let mut usages = Vec::new();
    let mut unfolded: usize = 0;
    let mut naming: usize = 0;
    for (word, rules) in [("inbound", &group.inbound), ("outbound", &group.outbound)] {
        let rules = || rules.iter().flatten();
        let written: usize = rules().map(written).sum();
        usages.push(usage(
            written,
            RULES,
            format!("{id} has {{}} {word} rules, of one remote each"),
        ));
        unfolded = rules().fold(unfolded, |all, rule| {
            all.saturating_add(counts.unfolded(rule))
        });
        naming += rules().filter(|rule| names_groups(rule)).count();
    }
    usages.push(usage(
        unfolded,
        UNFOLDED,
        format!("{id} has {{}} rules once its templates are unfolded"),
    ));
    usages.push(usage(
        naming,
        RULES_THAT_NAME_GROUPS,
        format!("{id} has {{}} rules that name groups"),
    ));
    usages
}

/// As how many rules of the cloud a rule is written.
fn written(rule: &RuleEntry) -> usize {
    let remotes = items(rule.remote.as_ref()).map(|item| families(item, rule));
    remotes.sum::<usize>() * ports(rule)
}

fn items(texts: Option<&Texts>) -> impl Iterator<Item = &str> {
    let items = texts.map(|texts| texts.items.as_slice());
    items
        .unwrap_or_default()
        .iter()
        .map(|item| item.text.as_str())
}

/// `any` is both families, where the protocol is of both.
fn families(remote: &str, rule: &RuleEntry) -> usize {
    let of_one_family = matches!(&rule.service, Some(RuleService::Protocol(Some(protocol), _)) if protocol.text.starts_with("icmp"));
    match remote == "any" && !of_one_family {
        true => 2,
        false => 1,
    }
}

/// All single ports are one rule; each range is one.
fn ports(rule: &RuleEntry) -> usize {
    let Some(RuleService::Protocol(_, Some(ports))) = &rule.service else {
        return 1;
    };
    let parts = ports.items.iter().flat_map(|item| item.text.split(','));
    let (ranges, single): (Vec<&str>, Vec<&str>) = parts.partition(|part| part.contains('-'));
    (ranges.len() + usize::from(!single.is_empty())).max(1)
}

fn names_groups(rule: &RuleEntry) -> bool {
    items(rule.remote.as_ref()).any(|item| item.starts_with("sg-"))
}

/// How many entries each template has in the end.
struct Counts<'d> {
    entries: HashMap<&'d str, usize>,
}

impl<'d> Counts<'d> {
    fn of(definition: &'d Definition) -> Self {
        let mut entries = HashMap::new();
        let mut groups: Vec<(&str, &Texts)> = Vec::new();
        for template in &definition.address_templates {
            let id = template.id.text.as_str();
            match &template.content {
                AddressTemplateContent::Items(items) if id.starts_with("ipmg-") => {
                    groups.push((id, items))
                }
                AddressTemplateContent::Items(texts) => {
                    entries.insert(id, texts.items.len());
                }
                AddressTemplateContent::File {
                    loaded: Some(Ok(source)),
                    ..
                } => {
                    let text = &definition.sources.get(*source).text;
                    let lines = text.lines().map(str::trim);
                    let count = lines
                        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
                        .count();
                    entries.insert(id, count);
                }
                AddressTemplateContent::File { .. } | AddressTemplateContent::Unreadable => {}
            }
        }
        for template in &definition.service_templates {
            let id = template.id.text.as_str();
            match &template.items {
                Some(items) if id.starts_with("ppmg-") => groups.push((id, items)),
                Some(texts) => {
                    entries.insert(id, texts.items.len());
                }
                None => {}
            }
        }
        // A group may hold groups: each round counts one level more, and what nests deeper is an error of its own.
        for _ in 0..=DEEPEST {
            for (id, members) in &groups {
                let of = |member| entries.get(member).copied().unwrap_or(0);
                let count = items(Some(members)).map(of).fold(0, usize::saturating_add);
                entries.insert(id, count);
            }
        }
        Counts { entries }
    }

    fn unfolded(&self, rule: &RuleEntry) -> usize {
        let of = |name: &str| self.entries.get(name).copied();
        let remotes = items(rule.remote.as_ref())
            .map(|item| of(item).unwrap_or_else(|| families(item, rule)));
        let services = match &rule.service {
            Some(RuleService::Template(id)) => of(&id.text).unwrap_or(1),
            _ => ports(rule),
        };
        remotes
            .fold(0, usize::saturating_add)
            .saturating_mul(services)
    }
}
