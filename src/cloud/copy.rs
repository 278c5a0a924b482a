//! A group taken out of a definition, with the templates that its rules use, for another definition.

use crate::definition::model::{AddressTemplateContent, Definition};
use crate::definition::tree::{Tree, of_text};
use crate::policy::id::GroupId;
use std::collections::BTreeSet;

/// A group as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCopy {
    /// Its id.
    pub id: GroupId,
    /// Its mapping.
    pub group: Tree,
    /// The templates that it uses, and those that these use: section, id and value.
    pub templates: Vec<(&'static str, String, Tree)>,
}

/// The sections that a rule can name templates of, and how their ids begin.
const SECTIONS: [(&str, [&str; 2]); 2] = [
    ("address_templates", ["ipm-", "ipmg-"]),
    ("service_templates", ["ppm-", "ppmg-"]),
];

/// Takes what is said about warnings out of a group: it is about where the group is, not about its rules.
fn without_silence(value: Tree) -> Tree {
    match value {
        Tree::Map(entries) => {
            let entries = entries.into_iter().filter(|(key, _)| key != "silence");
            Tree::Map(
                entries
                    .map(|(key, value)| (key, without_silence(value)))
                    .collect(),
            )
        }
        Tree::List(items) => Tree::List(items.into_iter().map(without_silence).collect()),
        other => other,
    }
}

/// Copies a group, `None` where there is none of this id. Files of templates are named by their whole paths.
pub fn copy(definition: &Definition, id: &GroupId) -> Option<GroupCopy> {
    let sources = definition.sources.iter();
    let files: Vec<Tree> = sources.filter_map(|file| of_text(&file.text)).collect();
    let value = |section: &str, id: &str| {
        let mut entries: Vec<(String, Tree)> = Vec::new();
        let found = files.iter().filter_map(|file| file.get(section)?.get(id));
        let mut other = None;
        for value in found {
            match value {
                // One group may be written in several files.
                Tree::Map(more) => entries.extend(more.iter().cloned()),
                value => other = Some(value.clone()),
            }
        }
        other.or((!entries.is_empty()).then_some(Tree::Map(entries)))
    };
    let group = value("security_groups", id.as_str());
    let is_there = definition
        .security_groups
        .iter()
        .any(|group| group.id.text == id.as_str());
    let group = group.or(is_there.then(|| Tree::Map(Vec::new())))?;
    let group = without_silence(group);
    let mut templates = Vec::new();
    let mut wanted: Vec<String> = Vec::new();
    texts(&group, &mut wanted);
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        let of_section = |(_, prefixes): &&(&str, [&str; 2])| {
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        };
        let Some((section, _)) = SECTIONS.iter().find(of_section) else {
            continue;
        };
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(value) = value(section, &name) {
            let value = with_whole_path(definition, &name, value);
            texts(&value, &mut wanted);
            templates.push((*section, name, value));
        }
    }
    templates.sort_by(|(_, a, _), (_, b, _)| a.cmp(b));
    Some(GroupCopy {
        id: id.clone(),
        group,
        templates,
    })
}

/// A relative `file:` counts from the file that names it: elsewhere it would be another one.
fn with_whole_path(definition: &Definition, id: &str, value: Tree) -> Tree {
    let mut templates = definition.address_templates.iter();
    let template = templates.find(|template| template.id.text == id);
    match template.map(|template| &template.content) {
        Some(AddressTemplateContent::File { written, .. }) => {
            let path = definition.path_of(written);
            let path = std::path::absolute(&path).unwrap_or(path);
            Tree::map([("file", Tree::text(path.to_string_lossy()))])
        }
        _ => value,
    }
}

/// Every text of a value.
fn texts(value: &Tree, found: &mut Vec<String>) {
    match value {
        Tree::Null => {}
        Tree::Text(text) => found.push(text.clone()),
        Tree::List(items) => items.iter().for_each(|item| texts(item, found)),
        Tree::Map(entries) => entries.iter().for_each(|(_, value)| texts(value, found)),
    }
}
