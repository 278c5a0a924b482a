//! Groups made, cloned and deleted.

use super::change::Details;
use super::presets::Preset;
use super::{Draft, Edit, Refusal, refused};
use crate::cloud::copy::{GroupCopy, copy};
use crate::cloud::users::{refusal, rules_that_name_groups};
use crate::definition::keys::names_at;
use crate::definition::model::GroupEntry;
use crate::definition::patch::{Patch, Spot, keys};
use crate::definition::tree::Tree;
use crate::definition::{Definition, Diagnostic, closest};
use crate::policy::id::GroupId;

/// The section of the groups.
pub(super) const GROUPS: &str = "security_groups";

/// Makes a group.
pub(super) fn create(
    draft: &Draft,
    id: &GroupId,
    details: &Details,
    preset: Preset,
) -> Result<Edit, Refusal> {
    is_free(draft.definition, id)?;
    let group = details.over(Tree::map(preset.entries()));
    let mut edit = Edit::default();
    let (file, patch) = draft.files.add_entry(GROUPS, id.as_str(), group, None);
    edit.push(file, vec![patch]);
    edit.done.push(format!("made the security group {id}"));
    Ok(edit)
}

/// Clones a group within its definition.
pub(super) fn clone_here(
    draft: &Draft,
    source: &GroupId,
    id: &GroupId,
    details: &Details,
) -> Result<Edit, Refusal> {
    is_free(draft.definition, id)?;
    let (copy, done) = clone(draft.definition, source, id, details)?;
    let mut edit = Edit::default();
    let beside = Some(source.as_str());
    let (file, patch) = draft
        .files
        .add_entry(GROUPS, id.as_str(), copy.group, beside);
    edit.push(file, vec![patch]);
    edit.done = done;
    Ok(edit)
}

/// A copy of a group under another id, and what to say about it.
///
/// # Errors
///
/// Where there is no such group, or it would go to another region and names groups, which are those of its region.
pub fn clone(
    definition: &Definition,
    source: &GroupId,
    id: &GroupId,
    details: &Details,
) -> Result<(GroupCopy, Vec<String>), Refusal> {
    let written = group(definition, source)?;
    let region = written.region.as_ref().map(|region| region.text.as_str());
    let other_region = details.region.as_deref().filter(|new| Some(*new) != region);
    if let Some(new) = other_region
        && let Some((first, _)) = rules_that_name_groups(definition, source).first()
    {
        let named = rules_that_name_groups(definition, source);
        let message = format!(
            "{source} cannot be cloned to the region {new}: its rules name groups, which are of its own region"
        );
        let reason = Diagnostic::error("cross-region", *first, message).help(
            "clone it within the region, or replace these remotes by addresses or a template first",
        );
        let others = named.iter().skip(1);
        return Err(others
            .fold(reason, |reason, (span, name)| {
                reason.related(*span, format!("names {name}"))
            })
            .into());
    }
    let unknown = || {
        Refusal::from(refused(
            "unknown-group",
            format!("there is no group {source}"),
        ))
    };
    let copy = copy(definition, source).ok_or_else(unknown)?;
    let copy = GroupCopy {
        id: id.clone(),
        group: details.over(copy.group),
        templates: copy.templates,
    };
    let done = vec![
        format!("cloned {source} to {id}: its rules"),
        format!(
            "nothing is bound to {id}: only rules are cloned, and `secgroupd group bind INSTANCE {id}` binds it"
        ),
    ];
    Ok((copy, done))
}

/// Adds a group of another definition, with the templates that it uses.
pub(super) fn add(draft: &Draft, copy: &GroupCopy) -> Result<Edit, Refusal> {
    is_free(draft.definition, &copy.id)?;
    let files = &draft.files;
    let id = copy.id.as_str();
    let mut edit = Edit::default();
    let (file, patch) = files.add_entry(GROUPS, id, copy.group.clone(), None);
    edit.push(file, vec![patch]);
    for (section, name, value) in &copy.templates {
        match files.holder(&[section, name]) {
            Some((_, there)) if there == value => {}
            Some(_) => {
                let message = format!("{name} says something else there: the rules of {id} use it");
                let help = "rename one of the two templates";
                return Err(refused("template-differs", message).help(help).into());
            }
            None => {
                let (file, patch) = files.add_entry(section, name, value.clone(), None);
                edit.done.push(format!("took the template {name} along"));
                let patch = merged(edit.of(file), patch);
                edit.push(file, vec![patch]);
            }
        }
    }
    Ok(edit)
}

/// A section is made once: the second entry goes into it.
fn merged(before: &[Patch], patch: Patch) -> Patch {
    let Patch::Set {
        map,
        key,
        value: Tree::Map(entries),
        ..
    } = &patch
    else {
        return patch;
    };
    let makes =
        |other: &Patch| matches!(other, Patch::Set { map: m, key: k, .. } if m == map && k == key);
    match (
        map.is_empty() && before.iter().any(makes),
        entries.as_slice(),
    ) {
        (true, [(name, value)]) => Patch::Set {
            map: keys([key.as_str()]),
            key: name.clone(),
            value: value.clone(),
            spot: Spot::End,
        },
        _ => patch,
    }
}

/// Deletes groups.
pub(super) fn delete(draft: &Draft, ids: &[GroupId]) -> Result<Edit, Refusal> {
    let mut reasons = Vec::new();
    let mut edit = Edit::default();
    for id in ids {
        match group(draft.definition, id) {
            Err(refusal) => reasons.extend(refusal.reasons),
            Ok(_) => reasons.extend(refusal(draft.definition, id, ids)),
        }
        for file in draft.files.holders(&[GROUPS, id.as_str()]) {
            let patch = Patch::Unset {
                map: keys([GROUPS]),
                key: id.to_string(),
            };
            edit.push(file, vec![patch]);
        }
        edit.done.push(format!("deleted the security group {id}"));
    }
    match reasons.is_empty() {
        true => Ok(edit),
        false => Err(Refusal { reasons }),
    }
}

/// The group of this id.
pub(super) fn group<'d>(
    definition: &'d Definition,
    id: &GroupId,
) -> Result<&'d GroupEntry, Refusal> {
    let mut groups = definition.security_groups.iter();
    groups
        .find(|group| group.id.text == id.as_str())
        .ok_or_else(|| {
            let known = definition.security_groups.iter();
            let known: Vec<&str> = known.map(|group| group.id.text.as_str()).collect();
            let reason = refused("unknown-group", format!("there is no security group {id}"));
            let help = match closest(id.as_str(), &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "`secgroupd group list` prints them".to_owned(),
            };
            reason.help(help).into()
        })
}

fn is_free(definition: &Definition, id: &GroupId) -> Result<(), Refusal> {
    let mut groups = definition.security_groups.iter();
    match groups.find(|group| group.id.text == id.as_str()) {
        None => Ok(()),
        Some(there) => {
            let message = format!("there is a security group {id} already");
            Err(Diagnostic::error("group-exists", there.id.span, message).into())
        }
    }
}

impl Details {
    /// A group's mapping that says this, and for the rest what it said.
    fn over(&self, group: Tree) -> Tree {
        let Tree::Map(mut entries) = group else {
            return group;
        };
        let details = [
            ("name", &self.name),
            ("region", &self.region),
            ("project", &self.project),
        ];
        for (key, text) in details {
            let Some(text) = text else { continue };
            entries.retain(|(name, _)| name != key);
            entries.push((key.to_owned(), Tree::text(text)));
        }
        let order = names_at("security_groups.<sg-id>");
        entries.sort_by_key(|(key, _)| order.iter().position(|name| name == key));
        Tree::Map(entries)
    }
}
