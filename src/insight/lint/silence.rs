//! What a definition says about its warnings: that one is meant so, and why.

use super::finding::Finding;
use super::members::joined;
use crate::definition::model::SilenceEntry;
use crate::definition::{Definition, Diagnostic, Diagnostics, codes};
use crate::policy::{Direction, GroupId, RuleId};
use std::collections::HashMap;

/// Codes of what is looked for on the host that an instance is: elsewhere nobody knows.
const OF_THE_HOST: [&str; 4] = [
    codes::RESOLVER_REFUSED,
    codes::TIME_SERVER_REFUSED,
    codes::GATEWAY_REFUSED,
    codes::PORT_NOT_OPEN,
];

struct Silence<'d> {
    entry: &'d SilenceEntry,
    used: bool,
}

/// The findings that are not silenced, as warnings, and a warning for each silence that silences nothing, where that is known.
pub fn silence(definition: &Definition, findings: Vec<Finding>, known: bool) -> Vec<Diagnostic> {
    fn all(entries: &[SilenceEntry]) -> Vec<Silence<'_>> {
        let entries = entries.iter();
        entries
            .map(|entry| Silence { entry, used: false })
            .collect()
    }
    let mut top = all(&definition.silence);
    let mut groups: HashMap<GroupId, Vec<Silence>> = HashMap::new();
    let mut rules: HashMap<RuleId, Vec<Silence>> = HashMap::new();
    for group in &definition.security_groups {
        // A definition that is valid has no others.
        let Ok(id) = GroupId::parse(&group.id.text) else {
            continue;
        };
        if !group.silence.is_empty() {
            groups.insert(id.clone(), all(&group.silence));
        }
        for (direction, list) in [
            (Direction::Inbound, &group.inbound),
            (Direction::Outbound, &group.outbound),
        ] {
            for (index, rule) in list.iter().enumerate() {
                if let Some(rule) = rule.as_ref().filter(|rule| !rule.silence.is_empty()) {
                    let id = RuleId {
                        group: id.clone(),
                        direction,
                        index: index as u32,
                    };
                    rules.insert(id, all(&rule.silence));
                }
            }
        }
    }
    let mut left = Vec::new();
    for finding in findings {
        let of_rule = finding.rule.as_ref().and_then(|id| rules.get_mut(id));
        let of_group = finding.group.as_ref().and_then(|id| groups.get_mut(id));
        let all = [of_rule, of_group, Some(&mut top)];
        let mut silenced = false;
        for silence in all.into_iter().flatten().flatten() {
            if silence.entry.code == finding.code {
                silence.used = true;
                silenced = true;
            }
        }
        if !silenced {
            left.push(finding);
        }
    }
    let mut out = Diagnostics::default();
    out.extend(joined(left).into_iter().map(Finding::warning));
    let mut out = out.into_vec();
    let every = top
        .iter()
        .chain(groups.values().flatten())
        .chain(rules.values().flatten());
    let idle = every.filter(|silence| !silence.used && known);
    let mut idle: Vec<&SilenceEntry> = idle
        .map(|silence| silence.entry)
        .filter(|entry| !OF_THE_HOST.contains(&entry.code))
        .collect();
    idle.sort_by_key(|entry| entry.span);
    out.extend(idle.into_iter().map(|entry| {
        let message = format!("there is no warning `{}` here to silence", entry.code);
        Diagnostic::warning("silences-nothing", entry.span, message)
            .help("remove it: what it was for has gone")
    }));
    out
}
