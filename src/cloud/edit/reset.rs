//! An improper group, reset: an instance is bound to an all-pass group only, and what was bound stands in a comment.
//!
//! ```text
//! eth0: { addresses: [10.0.0.5], security_groups: [sg-all-pass] }   # reset of ins-web1/eth0, was: sg-base, sg-web
//! ```

use super::bindings::{ids, instance, list, name, whole};
use super::files::Files;
use super::groups::GROUPS;
use super::presets::Preset;
use super::{Change, Edit, Refusal, refused};
use crate::definition::patch::{Patch, keys};
use crate::definition::tree::Tree;
use crate::definition::{Definition, Diagnostic};

/// The id of an all-pass group, unless it has other rules.
const ALL_PASS: &str = "sg-all-pass";

pub(super) fn edit(
    definition: &Definition,
    files: &Files,
    change: &Change,
) -> Result<Edit, Refusal> {
    let mut edit = Edit::default();
    let mut add = |file: u32, patches: Vec<Patch>| match edit
        .patches
        .iter_mut()
        .find(|(number, _)| *number == file)
    {
        Some((_, before)) => before.extend(patches),
        None => edit.patches.push((file, patches)),
    };
    let mut done = Vec::new();
    match change {
        Change::Reset {
            instance: id,
            id: new,
        } => {
            let entry = instance(definition, id)?;
            let all_pass = match files.holder(&[GROUPS, ALL_PASS]) {
                Some((_, group)) if is_all_pass(group) => ALL_PASS,
                Some(_) => new.as_str(),
                None => ALL_PASS,
            };
            if files.holder(&[GROUPS, all_pass]).is_none() {
                let name = ("name", Tree::text("all pass"));
                let group = Tree::map([name].into_iter().chain(Preset::OpenAll.entries()));
                let (file, patch) = files.add_entry(GROUPS, all_pass, group, None);
                add(file, vec![patch]);
                done.push(format!("made the all-pass group {all_pass}"));
            }
            let mut changed = false;
            for interface in &entry.interfaces {
                let bound = ids(interface);
                let Some((file, _)) = files.holder(&list(entry, interface)) else {
                    continue;
                };
                if bound == [all_pass] {
                    continue;
                }
                changed = true;
                let name = name(entry, interface);
                let patches = vec![
                    whole(entry, interface, vec![all_pass.to_owned()]),
                    Patch::Comment {
                        at: keys(list(entry, interface)),
                        text: format!("{} {}", mark(&name), bound.join(", "))
                            .trim_end()
                            .to_owned(),
                    },
                ];
                add(file, patches);
                done.push(format!(
                    "bound {name} to {all_pass} only; it was bound to {}",
                    listed(&bound)
                ));
            }
            if !changed {
                let message =
                    format!("every interface of {id} is bound to {all_pass} only already");
                return Err(refused("reset-already", message)
                    .help(format!(
                        "`secgroupd reset {id} --undo` binds again what was bound before"
                    ))
                    .into());
            }
        }
        Change::UndoReset { instance: id } => {
            let entry = instance(definition, id)?;
            for interface in &entry.interfaces {
                let name = name(entry, interface);
                let Some((file, _)) = files.holder(&list(entry, interface)) else {
                    continue;
                };
                let Some((comment, groups)) = recorded(definition, file, &mark(&name)) else {
                    continue;
                };
                done.push(format!("bound {name} to {} again", listed(&groups)));
                let patches = vec![
                    whole(entry, interface, groups),
                    Patch::Uncomment { text: comment },
                ];
                add(file, patches);
            }
            if done.is_empty() {
                let message = format!("no comment says what was bound to {id} before a reset");
                return Err(Diagnostic::error("no-reset", entry.id.span, message)
                    .help("`secgroupd history` lists earlier definitions, and `secgroupd rollback` goes back to one")
                    .into());
            }
        }
        // Another file's.
        _ => {}
    }
    edit.done = done;
    Ok(edit)
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

/// The comment that begins so in a file, and the groups that it names.
fn recorded(definition: &Definition, file: u32, mark: &str) -> Option<(String, Vec<String>)> {
    let text = &definition.sources.get(file).text;
    let at = text.find(mark)?;
    let comment = text[at..].lines().next()?.trim_end();
    let groups = comment[mark.len()..].split(',').map(str::trim);
    let groups = groups.filter(|id| !id.is_empty()).map(str::to_owned);
    Some((comment.to_owned(), groups.collect()))
}

/// Whether a group's lists are those of the open group.
fn is_all_pass(group: &Tree) -> bool {
    let mut lists = Preset::OpenAll.entries();
    lists.all(|(key, rules)| group.get(key) == Some(&rules)) && group.get("mode").is_none()
}
