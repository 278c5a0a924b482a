//! An improper group, reset: an instance is bound to an all-pass group only, and what was bound stands in a comment.
//!
//! ```text
//! eth0: { addresses: [10.0.0.5], security_groups: [sg-all-pass] }   # reset of ins-web1/eth0, was: sg-base, sg-web
//! ```

use super::bindings::{ids, instance, list, name, whole};
use super::groups::GROUPS;
use super::presets::Preset;
use super::{Draft, Edit, Refusal, refused};
use crate::definition::model::InterfaceEntry;
use crate::definition::patch::{Patch, keys};
use crate::definition::tree::Tree;
use crate::definition::{Definition, Diagnostic};
use crate::policy::id::{GroupId, InstanceId};

/// The id of an all-pass group, unless it has other rules.
const ALL_PASS: &str = "sg-all-pass";

/// Binds an instance to an all-pass group only; `new` is the id of one where another group has the usual id.
pub(super) fn reset(draft: &Draft, id: &InstanceId, new: &GroupId) -> Result<Edit, Refusal> {
    let entry = instance(draft.definition, id)?;
    let files = &draft.files;
    let mut edit = Edit::default();
    let all_pass = match files.holder(&[GROUPS, ALL_PASS]) {
        Some((_, group)) if !is_all_pass(group) => new.as_str(),
        _ => ALL_PASS,
    };
    if files.holder(&[GROUPS, all_pass]).is_none() {
        let name = ("name", Tree::text("all pass"));
        let group = Tree::map([name].into_iter().chain(Preset::OpenAll.entries()));
        let (file, patch) = files.add_entry(GROUPS, all_pass, group, None);
        edit.push(file, vec![patch]);
        edit.done
            .push(format!("made the all-pass group {all_pass}"));
    }
    let is_reset = |interface: &&InterfaceEntry| ids(interface) == [all_pass];
    if entry
        .interfaces
        .iter()
        .all(|interface| is_reset(&interface))
    {
        let message = format!("every interface of {id} is bound to {all_pass} only already");
        let help = format!("`secgroupd reset {id} --undo` binds again what was bound before");
        return Err(refused("reset-already", message).help(help).into());
    }
    for interface in entry.interfaces.iter().filter(|each| !is_reset(each)) {
        let bound = ids(interface);
        let Some((file, _)) = files.holder(&list(entry, interface)) else {
            continue;
        };
        let name = name(entry, interface);
        let comment = format!("{} {}", mark(&name), bound.join(", "));
        // What an earlier reset wrote is true no longer.
        if let Some((old, _)) = recorded(draft.definition, file, &mark(&name)) {
            edit.push(file, vec![Patch::Uncomment { text: old }]);
        }
        let patches = vec![
            whole(entry, interface, vec![all_pass.to_owned()]),
            Patch::Comment {
                at: keys(list(entry, interface)),
                text: comment.trim_end().to_owned(),
            },
        ];
        edit.push(file, patches);
        let bound = listed(&bound);
        edit.done.push(format!(
            "bound {name} to {all_pass} only; it was bound to {bound}"
        ));
    }
    Ok(edit)
}

/// Binds again what a reset took away.
pub(super) fn undo(draft: &Draft, id: &InstanceId) -> Result<Edit, Refusal> {
    let entry = instance(draft.definition, id)?;
    let mut edit = Edit::default();
    for interface in &entry.interfaces {
        let name = name(entry, interface);
        let Some((file, _)) = draft.files.holder(&list(entry, interface)) else {
            continue;
        };
        let Some((comment, groups)) = recorded(draft.definition, file, &mark(&name)) else {
            continue;
        };
        match ids(interface).as_slice() {
            [only] if is_all_pass_group(draft, only) => {}
            bound => {
                let message = format!("{name} was bound to {} since its reset", listed(bound));
                let help = "bind what is wanted with `secgroupd group bind`; the comment says what was bound before";
                let reason = Diagnostic::error("bound-since", interface.name.span, message);
                return Err(reason.help(help).into());
            }
        }
        for id in &groups {
            is_there(draft, id, &name)?;
        }
        edit.done
            .push(format!("bound {name} to {} again", listed(&groups)));
        let patches = vec![
            whole(entry, interface, groups),
            Patch::Uncomment { text: comment },
        ];
        edit.push(file, patches);
    }
    if !edit.done.is_empty() {
        let stays = format!(
            "{ALL_PASS} stays: `secgroupd group delete {ALL_PASS}` removes it once nothing is bound to it"
        );
        edit.done.push(stays);
    }
    if edit.done.is_empty() {
        let message = format!("no comment says what was bound to {id} before a reset");
        return Err(Diagnostic::error("no-reset", entry.id.span, message)
            .help("`secgroupd history` lists earlier definitions, and `secgroupd rollback` goes back to one")
            .into());
    }
    Ok(edit)
}

/// A group may be deleted while an instance is reset.
fn is_there(draft: &Draft, id: &str, name: &str) -> Result<(), Refusal> {
    if draft.files.holder(&[GROUPS, id]).is_some() {
        return Ok(());
    }
    let message = format!("{id} was deleted since {name} was reset: it cannot be bound again");
    let help =
        "`secgroupd history` lists earlier definitions, and `secgroupd rollback` goes back to one";
    Err(refused("unknown-group", message).help(help).into())
}

fn is_all_pass_group(draft: &Draft, id: &str) -> bool {
    let holder = draft.files.holder(&[GROUPS, id]);
    holder.is_some_and(|(_, group)| is_all_pass(group))
}

/// How the comment of an interface begins.
fn mark(name: &str) -> String {
    format!("# reset of {name}, was:")
}

fn listed(groups: &[String]) -> String {
    match groups.is_empty() {
        true => "nothing".to_owned(),
        false => groups.join(", "),
    }
}

/// The comment that begins so in a file, and the groups that it names. Another comment may stand behind it.
fn recorded(definition: &Definition, file: u32, mark: &str) -> Option<(String, Vec<String>)> {
    let text = &definition.sources.get(file).text;
    let at = text.find(mark)?;
    let rest = text[at..].lines().next()?;
    let end = rest[1..].find('#').map_or(rest.len(), |end| end + 1);
    let comment = rest[..end].trim_end();
    let groups = comment[mark.len()..].split(',').map(str::trim);
    let groups = groups.filter(|id| !id.is_empty()).map(str::to_owned);
    Some((comment.to_owned(), groups.collect()))
}

/// Whether a group's lists are those of the open group.
fn is_all_pass(group: &Tree) -> bool {
    let mut lists = Preset::OpenAll.entries();
    lists.all(|(key, rules)| group.get(key) == Some(&rules)) && group.get("mode").is_none()
}
