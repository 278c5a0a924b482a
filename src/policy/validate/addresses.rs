//! Remotes and address templates into sets of addresses.

use super::limits::{Room, Weight};
use super::list::plainly_a_list;
use super::templates::{Nesting, TemplateNames};
use super::uses::GroupUses;
use crate::definition::model::AddressTemplateContent;
use crate::definition::reader::{Text, Texts};
use crate::definition::{Definition, Diagnostic, Diagnostics, Span};
use crate::policy::account::Instance;
use crate::policy::address::{AddressError, AddressRange, AddressSet};
use crate::policy::id::{AddressTemplateGroupId, AddressTemplateId, GroupId};
use crate::policy::interval::Interval;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

/// A file with more wrong lines than this is not worth listing whole.
const MOST_WRONG_LINES: usize = 20;
/// What begins a comment in a template's file; `;` does in the lists of Spamhaus, and stands in no address.
const COMMENT: [char; 2] = ['#', ';'];

/// What remotes can name: templates and the members of groups. `None` where an error was reported.
#[derive(Debug)]
pub struct KnownAddresses<'d> {
    room: &'d Room,
    templates: BTreeMap<&'d str, Option<AddressSet>>,
    names: TemplateNames<'d>,
    members: HashMap<GroupId, AddressSet>,
    /// Everything that a remote can name.
    known: Vec<&'d str>,
}

/// A family that a rule is limited to by its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolFamily {
    V4,
    V6,
}

impl<'d> KnownAddresses<'d> {
    /// Reads all templates, and collects the members of all groups.
    pub fn new(
        definition: &'d Definition,
        instances: &[Instance],
        room: &'d Room,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut members: HashMap<GroupId, Vec<AddressRange>> = HashMap::new();
        for interface in instances.iter().flat_map(|instance| &instance.interfaces) {
            let copies = interface.addresses.len() * interface.groups.len();
            if !room.take(copies, None, diagnostics) {
                break;
            }
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
        let ids = || definition.address_templates.iter().map(|each| &each.id);
        let groups = definition.security_groups.iter().map(|group| &group.id);
        let names = TemplateNames::new("address", ["ipm-", "ipmg-"], ids(), definition.incomplete);
        KnownAddresses {
            templates: templates(definition, &names, room, diagnostics),
            room,
            names,
            members: members.collect(),
            known: ids()
                .chain(groups)
                .map(|id| id.text.as_str())
                .chain(["any"])
                .collect(),
        }
    }

    /// A remote: `Ok(None)` matches nothing, `Err(())` was reported.
    pub fn remote(
        &self,
        remote: &Texts,
        family: Option<ProtocolFamily>,
        user: &str,
        uses: &mut GroupUses,
        diagnostics: &mut Diagnostics,
    ) -> Result<Option<AddressSet>, ()> {
        let before = diagnostics.found();
        let mut sets = Vec::new();
        let mut left_out = Vec::new();
        for item in &remote.items {
            let Some(set) = self.item(item, family, user, uses, diagnostics) else {
                continue;
            };
            match has_family(&set, family) {
                true => sets.push(set),
                false => left_out.push(item),
            }
        }
        let errors = remote.incomplete || diagnostics.errors_since(before);
        // What a group matches depends on its members, and may be nothing; what a template holds is written.
        let of_group = |item: &&Text| GroupId::is_meant_by(&item.text);
        if let (false, true, Some(item)) = (errors, sets.is_empty(), left_out.first())
            && !remote.items.iter().any(|item| of_group(&item))
        {
            diagnostics.push(wrong_family(item, family, true));
            return Err(());
        }
        match sets.as_slice() {
            _ if errors => Err(()),
            // One template is stored once, however many rules use it.
            [one] => Ok(Some(one.clone())),
            sets => {
                let weight = sets.iter().map(Weight::weight).sum();
                match self.room.take(weight, Some(remote.span), diagnostics) {
                    true => Ok(AddressSet::new(sets.iter().flat_map(AddressSet::ranges))),
                    false => Err(()),
                }
            }
        }
    }

    fn item(
        &self,
        item: &Text,
        family: Option<ProtocolFamily>,
        user: &str,
        uses: &mut GroupUses,
        diagnostics: &mut Diagnostics,
    ) -> Option<AddressSet> {
        let text = item.text.as_str();
        if text == "any" {
            return Some(AddressSet::any());
        }
        if GroupId::is_meant_by(text) {
            let id = uses.used(item, user, diagnostics);
            return self.members.get(&id?).cloned();
        }
        if self.names.is_one(text) {
            let known = self.templates.get(text);
            if known.is_none() {
                self.names.undefined(item, diagnostics);
            }
            return known?.clone();
        }
        let before = diagnostics.len();
        let range = range(item, diagnostics);
        // A word that looks like no address is rather the name of something.
        let word = range.is_none() && !text.contains(['.', ':', '/']);
        let some = word
            .then(|| diagnostics.closest(text, &self.known))
            .flatten();
        if let (true, Some(last)) = (word, diagnostics[before..].last_mut()) {
            let few = self.known.len() <= 10;
            last.message = match text.is_empty() {
                true => "an empty text is not a remote".to_owned(),
                false => format!("`{text}` is not a remote"),
            };
            last.help = Some(match some {
                Some(name) => format!("did you mean `{name}`?"),
                None if few => format!("write an address, or one of {}", self.known.join(", ")),
                None => "write an address, any, or the id of a group or template".to_owned(),
            });
        }
        let set = AddressSet::new([range?])?;
        if !has_family(&set, family) {
            diagnostics.push(wrong_family(item, family, false));
            return None;
        }
        Some(set)
    }
}

/// Addresses of an entry of a network ACL, which names no groups and no templates.
pub fn plain(
    items: &Texts,
    family: Option<ProtocolFamily>,
    diagnostics: &mut Diagnostics,
) -> Option<AddressSet> {
    let before = diagnostics.found();
    let mut sets = Vec::new();
    for item in &items.items {
        let text = item.text.as_str();
        if text == "any" {
            sets.push(AddressSet::any());
            continue;
        }
        let is_named = ["sg-", "ipm-", "ipmg-"];
        if is_named.iter().any(|prefix| text.starts_with(prefix)) {
            let message = format!("a network ACL names addresses, and `{text}` is a name");
            let help = "write the addresses, CIDRs or ranges themselves, or `any`";
            diagnostics.error("bad-address", item.span, message, help);
            continue;
        }
        let Some(set) = range(item, diagnostics).and_then(|range| AddressSet::new([range])) else {
            continue;
        };
        match has_family(&set, family) {
            true => sets.push(set),
            false => diagnostics.push(wrong_family(item, family, false)),
        }
    }
    let wrong = items.incomplete || diagnostics.errors_since(before);
    (!wrong).then(|| AddressSet::new(sets.iter().flat_map(AddressSet::ranges)))?
}

fn has_family(set: &AddressSet, family: Option<ProtocolFamily>) -> bool {
    match family {
        Some(ProtocolFamily::V4) => !set.v4().is_empty(),
        Some(ProtocolFamily::V6) => !set.v6().is_empty(),
        None => true,
    }
}

/// Of a remote that is an address of the other family; or of a template, whose addresses of the other family are left
/// out: when none are left, the rule would be empty.
fn wrong_family(item: &Text, family: Option<ProtocolFamily>, is_template: bool) -> Diagnostic {
    let (protocol, own, other_protocol, other) = match family {
        Some(ProtocolFamily::V4) => ("icmp", "IPv4", "icmpv6", "IPv6"),
        _ => ("icmpv6", "IPv6", "icmp", "IPv4"),
    };
    let (is, instead) = match is_template {
        true => (format!("holds no {own} address"), ", or another template"),
        false => (format!("is {other}"), " for this remote"),
    };
    let message = format!("{protocol} is {own} only, and `{}` {is}", item.text);
    let help = format!("use `protocol: {other_protocol}`{instead}");
    Diagnostic::error("wrong-family", item.span, message).help(help)
}

/// An address, CIDR or range, with a word of warning where the cloud reads it otherwise.
pub fn range(item: &Text, diagnostics: &mut Diagnostics) -> Option<AddressRange> {
    match AddressRange::parse(&item.text) {
        Ok(range) => {
            if item.text.starts_with("0.0.0.0/") && item.text != "0.0.0.0/0" {
                let message = format!(
                    "`{}` means just this network here; the cloud itself silently reads it as 0.0.0.0/0",
                    item.text
                );
                let help = "write 0.0.0.0/0 if the whole of IPv4 is meant";
                diagnostics.warning("zero-network", item.span, message, help);
            }
            Some(range)
        }
        Err(error) => {
            let help = match (&error, item.text.as_str()) {
                (AddressError::NotAnAddress(_), "any") => {
                    "`any` stands in rules; write \"0.0.0.0/0\" and \"::/0\" here".to_owned()
                }
                (AddressError::NotAnAddress(_), text) if text.starts_with("ipm") => {
                    "templates are put together in an `ipmg-` group".to_owned()
                }
                (AddressError::NotAnAddress(_), text) if GroupId::is_meant_by(text) => {
                    "groups are named in rules only".to_owned()
                }
                _ => error.help(),
            };
            diagnostics.error("bad-address", item.span, error.to_string(), help);
            None
        }
    }
}

fn templates<'d>(
    definition: &'d Definition,
    names: &TemplateNames<'d>,
    room: &Room,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<&'d str, Option<AddressSet>> {
    let mut done: BTreeMap<&str, Option<AddressSet>> = BTreeMap::new();
    let mut groups: BTreeMap<&str, &Texts> = BTreeMap::new();
    let mut files: HashMap<u32, Option<AddressSet>> = HashMap::new();
    for template in &definition.address_templates {
        let id = template.id.text.as_str();
        let is_group = names.is_group(id);
        let wrong = match is_group {
            true => AddressTemplateGroupId::parse(id).err(),
            false => AddressTemplateId::parse(id).err(),
        };
        names.report(wrong, &template.id, diagnostics);
        let set = match &template.content {
            AddressTemplateContent::Items(items) if is_group => {
                groups.insert(id, items);
                continue;
            }
            AddressTemplateContent::File { written, .. } if is_group => {
                let message = "a group of templates lists ids of templates and has no file";
                let help = "give the file to an `ipm-` template and name that here";
                diagnostics.error("group-with-file", written.span, message, help);
                None
            }
            AddressTemplateContent::Items(items) => {
                let ranges = items.items.iter().map(|item| range(item, diagnostics));
                collect(ranges)
                    .filter(|_| !items.incomplete)
                    .and_then(AddressSet::new)
            }
            AddressTemplateContent::File { written, loaded } => match loaded {
                Some(Ok(source)) => files
                    .entry(*source)
                    .or_insert_with(|| file(definition, *source, written, diagnostics))
                    .clone(),
                not_loaded => {
                    let error = not_loaded.as_ref().and_then(|loaded| loaded.as_ref().err());
                    diagnostics.push(unreadable(written, error));
                    None
                }
            },
            AddressTemplateContent::Unreadable => None,
        };
        done.insert(id, set);
    }
    let join = |sets: Vec<AddressSet>| AddressSet::new(sets.iter().flat_map(AddressSet::ranges));
    let mut nesting = Nesting::new(names, &groups, done, join, room);
    for id in groups.keys() {
        nesting.expand(id, diagnostics);
    }
    nesting.into_templates()
}

fn unreadable(written: &Text, error: Option<&String>) -> Diagnostic {
    let error = error.map_or("it was not read", String::as_str);
    let message = format!("the file of this template cannot be read: {error}");
    let help = match written.text.starts_with('/') {
        true => "correct the path, or create the file",
        false => "a relative path is relative to the file that names it",
    };
    Diagnostic::error("template-file", written.span, message).help(help)
}

/// All or nothing, but every item is looked at, so that every error is reported.
fn collect<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let items: Vec<Option<T>> = items.collect();
    items.into_iter().collect()
}

/// A template's file: one address, CIDR or range a line, and comments.
fn file(
    definition: &Definition,
    source: u32,
    written: &Text,
    diagnostics: &mut Diagnostics,
) -> Option<AddressSet> {
    let text = definition.sources.get(source).text.clone();
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let found_before = diagnostics.len();
    let mut wrong = 0;
    let mut first_unlisted = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        // Most lines are one address of IPv4 and nothing else, which the standard library reads as strictly, and
        // faster.
        if let Ok(address) = line.strip_suffix('\n').unwrap_or(line).parse::<Ipv4Addr>() {
            v4.push(Interval::point(address.into()));
            start += line.len();
            continue;
        }
        let content = line.split(COMMENT).next().unwrap_or("").trim();
        // `content` is a part of `line`, so the distance of their starts is its offset.
        let at = start + (content.as_ptr() as usize - line.as_ptr() as usize);
        start += line.len();
        if content.is_empty() {
            continue;
        }
        let item = Text {
            span: Span {
                source,
                start: at as u32,
                end: (at + content.len()) as u32,
            },
            text: content.to_owned(),
        };
        let before = diagnostics.len();
        match range(&item, diagnostics) {
            Some(AddressRange::V4(interval)) => v4.push(interval),
            Some(AddressRange::V6(interval)) => v6.push(interval),
            None => {
                wrong += 1;
                if wrong == 1
                    && let Err(why) = plainly_a_list(&text)
                {
                    diagnostics.truncate(found_before);
                    let message =
                        format!("the file `{}` is no list of addresses: {why}", written.text);
                    let help = "name a file with one address, CIDR or range a line; the lines of this one are not shown, since they may be secret";
                    diagnostics.error("template-file", written.span, message, help);
                    return None;
                }
                if wrong > MOST_WRONG_LINES {
                    diagnostics.truncate(before);
                    first_unlisted.get_or_insert(item.span);
                } else if let Some(diagnostic) = diagnostics[before..].last_mut() {
                    diagnostic
                        .related
                        .push((written.span, "this template's file".to_owned()));
                }
            }
        }
    }
    if let Some(span) = first_unlisted {
        let more = wrong - MOST_WRONG_LINES;
        let message = format!("from here on {more} more lines of this file are wrong");
        let help = "one address, CIDR or range a line; `#` or `;` begins a comment";
        diagnostics.error("bad-address", span, message, help);
    }
    if v4.is_empty() && v6.is_empty() && wrong == 0 {
        let message = format!("the file `{}` holds no address", written.text);
        let help =
            "nothing empty ever means \"any\": put an address into it, or remove the template";
        diagnostics.error("empty-list", written.span, message, help);
    }
    match wrong {
        0 => AddressSet::of(v4, v6),
        _ => None,
    }
}
