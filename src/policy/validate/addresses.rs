//! Remotes and address templates into sets of addresses.

use super::uses::GroupUses;
use crate::definition::model::AddressTemplateContent;
use crate::definition::reader::{Text, Texts, closest};
use crate::definition::{Definition, Diagnostic, Span};
use crate::policy::account::Instance;
use crate::policy::address::{AddressRange, AddressSet};
use crate::policy::id::{AddressTemplateGroupId, AddressTemplateId, GroupId};
use std::collections::{BTreeMap, HashMap};

/// A file with more wrong lines than this is not worth listing whole.
const MOST_WRONG_LINES: usize = 50;

/// What remotes can name: templates and the members of groups. `None` where an error was reported.
#[derive(Debug)]
pub struct Addresses {
    templates: BTreeMap<String, Option<AddressSet>>,
    members: HashMap<GroupId, AddressSet>,
}

/// A family that a rule is limited to by its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Addresses {
    /// Reads all templates, and collects the members of all groups.
    pub fn new(
        definition: &Definition,
        instances: &[Instance],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut members: HashMap<GroupId, Vec<AddressRange>> = HashMap::new();
        for interface in instances.iter().flat_map(|instance| &instance.interfaces) {
            for group in &interface.groups {
                let of_group = members.entry(group.clone()).or_default();
                of_group.extend(
                    interface
                        .addresses
                        .iter()
                        .map(|address| AddressRange::single(*address)),
                );
            }
        }
        let members = members
            .into_iter()
            .filter_map(|(id, ranges)| Some((id, AddressSet::new(ranges)?)));
        Addresses {
            templates: templates(definition, diagnostics),
            members: members.collect(),
        }
    }

    /// A remote: `Ok(None)` matches nothing, `Err(())` was reported.
    pub fn remote(
        &self,
        remote: &Texts,
        family: Option<Family>,
        user: &str,
        uses: &mut GroupUses,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<Option<AddressSet>, ()> {
        let before = diagnostics.len();
        let mut sets = Vec::new();
        for item in &remote.items {
            if let Some(set) = self.item(item, family, user, uses, diagnostics) {
                sets.push(set);
            }
        }
        let errors = diagnostics[before..]
            .iter()
            .any(|d| d.severity == crate::definition::Severity::Error);
        match sets.as_slice() {
            _ if errors => Err(()),
            // One template is stored once, however many rules use it.
            [one] => Ok(Some(one.clone())),
            sets => Ok(AddressSet::new(sets.iter().flat_map(AddressSet::ranges))),
        }
    }

    fn item(
        &self,
        item: &Text,
        family: Option<Family>,
        user: &str,
        uses: &mut GroupUses,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<AddressSet> {
        let text = item.text.as_str();
        if text == "any" {
            return Some(AddressSet::any());
        }
        if text.starts_with("sg-") {
            let id = uses.used(item, user, diagnostics);
            return self.members.get(&id?).cloned();
        }
        if text.starts_with("ipm-") || text.starts_with("ipmg-") {
            let Some(known) = self.templates.get(text) else {
                diagnostics.push(undefined_template(
                    item,
                    "address template",
                    self.templates.keys(),
                ));
                return None;
            };
            let set = known.clone()?;
            let left = match family {
                Some(Family::V4) => !set.v4().is_empty(),
                Some(Family::V6) => !set.v6().is_empty(),
                None => true,
            };
            if !left {
                let message = format!(
                    "nothing of `{text}` is left for this protocol: it holds only addresses of the other family"
                );
                diagnostics.push(
                    Diagnostic::error("wrong-family", item.span, message)
                        .help("icmp is IPv4 only, icmpv6 IPv6 only"),
                );
                return None;
            }
            return Some(set);
        }
        let range = range(item, diagnostics)?;
        let fits = match family {
            Some(Family::V4) => range.is_v4(),
            Some(Family::V6) => !range.is_v4(),
            None => true,
        };
        if !fits {
            let (protocol, help) = match family {
                Some(Family::V4) => (
                    "icmp is IPv4 only",
                    "use `protocol: icmpv6` for this remote",
                ),
                _ => (
                    "icmpv6 is IPv6 only",
                    "use `protocol: icmp` for this remote",
                ),
            };
            diagnostics.push(
                Diagnostic::error(
                    "wrong-family",
                    item.span,
                    format!("`{text}` is of the other family: {protocol}"),
                )
                .help(help),
            );
            return None;
        }
        AddressSet::new([range])
    }
}

/// An address, CIDR or range, with a word of warning where the cloud reads it otherwise.
pub fn range(item: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<AddressRange> {
    match AddressRange::parse(&item.text) {
        Ok(range) => {
            if item.text.starts_with("0.0.0.0/") && item.text != "0.0.0.0/0" {
                let message = format!(
                    "`{}` means just this network here; the cloud itself silently reads it as 0.0.0.0/0",
                    item.text
                );
                diagnostics.push(
                    Diagnostic::warning("zero-network", item.span, message)
                        .help("write 0.0.0.0/0 if the whole of IPv4 is meant"),
                );
            }
            Some(range)
        }
        Err(error) => {
            diagnostics.push(
                Diagnostic::error("bad-address", item.span, error.to_string()).help(error.help()),
            );
            None
        }
    }
}

/// A template that nobody defined.
pub fn undefined_template<'a>(
    item: &Text,
    what: &str,
    known: impl Iterator<Item = &'a String>,
) -> Diagnostic {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let diagnostic = Diagnostic::error(
        "undefined-template",
        item.span,
        format!("the {what} `{}` is not defined", item.text),
    );
    match closest(&item.text, &known) {
        Some(name) => diagnostic.help(format!("did you mean `{name}`?")),
        None => diagnostic.help("define it, or write the values themselves"),
    }
}

fn templates(
    definition: &Definition,
    diagnostics: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Option<AddressSet>> {
    let mut done: BTreeMap<String, Option<AddressSet>> = BTreeMap::new();
    let mut groups: Vec<(&Text, &Texts)> = Vec::new();
    for template in &definition.address_templates {
        let is_group = template.id.text.starts_with("ipmg-");
        let id = match is_group {
            true => AddressTemplateGroupId::parse(&template.id.text).err(),
            false => AddressTemplateId::parse(&template.id.text).err(),
        };
        if let Some(error) = id {
            diagnostics.push(
                Diagnostic::error("bad-id", template.id.span, error.to_string()).help(
                    "ids of templates begin with `ipm-`, of groups of templates with `ipmg-`",
                ),
            );
        }
        match &template.content {
            AddressTemplateContent::Items(items) if is_group => groups.push((&template.id, items)),
            AddressTemplateContent::File { written, .. } if is_group => {
                let message = "a group of templates lists ids of templates and has no file";
                diagnostics.push(
                    Diagnostic::error("group-with-file", written.span, message)
                        .help("give the file to an `ipm-` template and name that here"),
                );
                done.insert(template.id.text.clone(), None);
            }
            AddressTemplateContent::Items(items) => {
                let ranges: Option<Vec<_>> =
                    collect(items.items.iter().map(|item| range(item, diagnostics)));
                done.insert(template.id.text.clone(), ranges.and_then(AddressSet::new));
            }
            AddressTemplateContent::File { written, loaded } => {
                let set = match loaded {
                    Some(Ok(source)) => file(definition, *source, written, diagnostics),
                    Some(Err(error)) => {
                        diagnostics.push(Diagnostic::error(
                            "template-file",
                            written.span,
                            error.clone(),
                        ));
                        None
                    }
                    None => None,
                };
                done.insert(template.id.text.clone(), set);
            }
        }
    }
    let groups: BTreeMap<&str, (&Text, &Texts)> = groups
        .into_iter()
        .map(|group| (group.0.text.as_str(), group))
        .collect();
    for id in groups.keys() {
        expand_group(id, &groups, &mut done, &mut Vec::new(), diagnostics);
    }
    done
}

/// Adds a group of templates to `done`, depth first. `path` holds the groups being expanded.
fn expand_group<'d>(
    id: &'d str,
    groups: &BTreeMap<&'d str, (&'d Text, &'d Texts)>,
    done: &mut BTreeMap<String, Option<AddressSet>>,
    path: &mut Vec<&'d str>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let Some((own, items)) = groups.get(id) else {
        return;
    };
    if done.contains_key(id) {
        return;
    }
    path.push(id);
    let mut sets = Vec::new();
    for item in &items.items {
        let inner = item.text.as_str();
        if path.contains(&inner) {
            let message = format!(
                "`{}` contains itself: {} -> {inner}",
                own.text,
                path.join(" -> ")
            );
            diagnostics.push(
                Diagnostic::error("template-cycle", item.span, message)
                    .help("remove one step of the circle"),
            );
            sets.push(None);
            continue;
        }
        expand_group(inner, groups, done, path, diagnostics);
        match done.get(inner) {
            Some(set) => sets.push(set.clone()),
            None => {
                let diagnostic = match inner.starts_with("ipm-") || inner.starts_with("ipmg-") {
                    true => undefined_template(item, "address template", done.keys()),
                    false => Diagnostic::error("bad-id", item.span, format!("`{inner}` is not the id of an address template"))
                        .help("a group of templates lists templates; put addresses into an `ipm-` template"),
                };
                diagnostics.push(diagnostic);
                sets.push(None);
            }
        }
    }
    path.pop();
    let sets: Option<Vec<AddressSet>> = collect(sets.into_iter());
    let union = sets.and_then(|sets| AddressSet::new(sets.iter().flat_map(AddressSet::ranges)));
    done.insert(id.to_owned(), union);
}

/// All or nothing, but every item is looked at, so that every error is reported.
fn collect<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// A template's file: one address, CIDR or range a line, `#` comments.
fn file(
    definition: &Definition,
    source: u32,
    written: &Text,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<AddressSet> {
    let text = definition.sources.get(source).text.clone();
    let mut ranges = Vec::new();
    let mut wrong = 0;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.split('#').next().unwrap_or("").trim();
        if !content.is_empty() {
            match AddressRange::parse(content) {
                Ok(range) => ranges.push(range),
                Err(error) => {
                    wrong += 1;
                    if wrong <= MOST_WRONG_LINES {
                        // `content` is a part of `line`, so the distance of their starts is its offset.
                        let at = start + (content.as_ptr() as usize - line.as_ptr() as usize);
                        let span = Span {
                            source,
                            start: at as u32,
                            end: (at + content.len()) as u32,
                        };
                        diagnostics.push(
                            Diagnostic::error("bad-address", span, error.to_string())
                                .help(error.help()),
                        );
                    }
                }
            }
        }
        start += line.len();
    }
    if wrong > MOST_WRONG_LINES {
        let message = format!(
            "{} more lines of `{}` are wrong",
            wrong - MOST_WRONG_LINES,
            written.text
        );
        diagnostics.push(
            Diagnostic::error("bad-address", written.span, message)
                .help("one address, CIDR or range a line; `#` begins a comment"),
        );
    }
    if ranges.is_empty() && wrong == 0 {
        let message = format!("the file `{}` holds no address", written.text);
        diagnostics.push(Diagnostic::error("empty-list", written.span, message).help(
            "nothing empty ever means \"any\": put an address into it, or remove the template",
        ));
    }
    if wrong > 0 {
        None
    } else {
        AddressSet::new(ranges)
    }
}
