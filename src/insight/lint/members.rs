//! Groups that stand for no address where a rule names them: one warning for each cause, and not for each rule.

use super::finding::{Cause, Finding};
use crate::definition::reader::Texts;
use crate::definition::{Definition, Span, codes};
use crate::policy::{Account, GroupId};
use crate::words::count;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// So many interfaces, groups and places are named in one warning.
const NAMED: usize = 8;

/// Which groups have members, and where those that have none are bound.
pub struct Members<'d> {
    with_address: HashSet<&'d str>,
    bound: HashMap<&'d str, Vec<(String, Option<Span>)>>,
}

impl<'d> Members<'d> {
    pub fn new(definition: &'d Definition, account: &'d Account) -> Self {
        let interfaces = account.instances.iter().flat_map(|each| &each.interfaces);
        let listed = interfaces.filter(|interface| !interface.addresses.is_empty());
        let with_address: HashSet<&str> = listed
            .flat_map(|interface| interface.groups.iter().map(GroupId::as_str))
            .collect();
        let mut bound: HashMap<&str, Vec<(String, Option<Span>)>> = HashMap::new();
        for instance in &definition.instances {
            for interface in &instance.interfaces {
                let name = &interface.name;
                let at = format!("{} ({})", instance.id.text, name.text);
                let groups = interface.security_groups.iter().map(|id| id.text.as_str());
                for group in groups.filter(|group| !with_address.contains(group)) {
                    let places = bound.entry(group).or_default();
                    places.push((at.clone(), Some(name.span)));
                }
            }
        }
        Members {
            with_address,
            bound,
        }
    }

    /// A finding for each group without members among these.
    pub fn empty_groups(&self, remote: &Texts) -> impl Iterator<Item = Finding> {
        let groups = remote
            .items
            .iter()
            .filter(|item| GroupId::is_meant_by(&item.text));
        let empty = groups.filter(|item| !self.with_address.contains(item.text.as_str()));
        empty.map(|item| {
            let group = item.text.clone();
            Finding {
                span: Some(item.span),
                cause: Some(match self.bound.get(group.as_str()) {
                    None => Cause::Unbound(group),
                    Some(places) => Cause::Unaddressed(group, places.clone()),
                }),
                ..Finding::new(codes::EMPTY_GROUP, String::new(), "")
            }
        })
    }
}

/// Makes one finding of all that have one cause. Others stay as they are.
pub fn joined(findings: Vec<Finding>) -> Vec<Finding> {
    let mut rest = Vec::new();
    let mut unbound: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    let mut unaddressed = Vec::new();
    for finding in findings {
        match &finding.cause {
            None => rest.push(finding),
            Some(Cause::Unbound(group)) => {
                unbound.entry(group.clone()).or_default().push(finding);
            }
            Some(Cause::Unaddressed(..)) => unaddressed.push(finding),
        }
    }
    rest.extend(unbound.into_iter().map(|(group, uses)| Finding {
        span: uses.first().and_then(|first| first.span),
        related: named_again(&uses[1..]),
        ..Finding::new(
            codes::EMPTY_GROUP,
            format!("no interface is bound to `{group}`, so it matches nothing as a remote"),
            "bind it to an interface with `addresses`, or remove it here",
        )
    }));
    rest.extend(without_addresses(&unaddressed));
    rest.sort_by_key(|finding| finding.span);
    rest
}

fn without_addresses(uses: &[Finding]) -> Option<Finding> {
    let mut groups = BTreeSet::new();
    let mut places: Vec<&(String, Option<Span>)> = Vec::new();
    let mut seen = HashSet::new();
    for cause in uses.iter().filter_map(|each| each.cause.as_ref()) {
        let Cause::Unaddressed(group, bound) = cause else {
            continue;
        };
        if groups.insert(group.as_str()) {
            places.extend(bound.iter().filter(|(at, _)| seen.insert(at.as_str())));
        }
    }
    places.sort_by_key(|(_, span)| *span);
    let (_, first) = places.first()?;
    let list = |names: Vec<String>, total: usize| match total - names.len() {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    };
    let at = places.iter().take(NAMED).map(|(at, _)| at.clone());
    let of = groups.iter().take(NAMED).map(|group| format!("`{group}`"));
    let message = format!(
        "{} no `addresses`, so {} {} nothing as {} ({})",
        match places.len() {
            1 => format!("{} lists", list(at.collect(), 1)),
            all => format!("{} list", list(at.collect(), all)),
        },
        list(of.collect(), groups.len()),
        if groups.len() == 1 {
            "matches"
        } else {
            "match"
        },
        if groups.len() == 1 {
            "a remote"
        } else {
            "remotes"
        },
        count(uses.len(), "use")
    );
    Some(Finding {
        span: *first,
        related: named_again(uses),
        ..Finding::new(
            codes::EMPTY_GROUP,
            message,
            match places.iter().all(|(at, _)| at.ends_with("*)")) {
                true => "name the interface in full and list its addresses: a glob has none",
                false => "list the addresses of the interface: a group as a remote means those",
            },
        )
    })
}

fn named_again(uses: &[Finding]) -> Vec<(Span, String)> {
    let places = uses.iter().filter_map(|each| each.span);
    places
        .take(NAMED)
        .map(|span| (span, "named here".to_owned()))
        .collect()
}
