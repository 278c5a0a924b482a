//! What address and service templates share: their names, and groups of them.

use super::limits::{Room, Weight};
use crate::definition::reader::{Text, Texts};
use crate::definition::{Diagnostic, Diagnostics};
use crate::policy::id::IdError;
use crate::policy::quotas::DEEPEST;
use std::collections::BTreeMap;

/// The names of the templates of one kind.
#[derive(Debug)]
pub struct TemplateNames<'d> {
    kind: &'static str,
    prefixes: [&'static str; 2],
    defined: Vec<&'d str>,
    /// A file could not be read: it may define what is missing.
    incomplete: bool,
}

impl<'d> TemplateNames<'d> {
    /// The names of `address` or `service` templates; `prefixes` are those of templates and of groups.
    pub fn new(
        kind: &'static str,
        prefixes: [&'static str; 2],
        ids: impl Iterator<Item = &'d Text>,
        incomplete: bool,
    ) -> Self {
        TemplateNames {
            kind,
            prefixes,
            defined: ids.map(|id| id.text.as_str()).collect(),
            incomplete,
        }
    }

    /// Whether a text can only be the name of a template or of a group of templates.
    pub fn is_one(&self, text: &str) -> bool {
        self.prefixes.iter().any(|prefix| text.starts_with(prefix))
    }

    /// Whether it is the name of a group of templates.
    pub fn is_group(&self, text: &str) -> bool {
        text.starts_with(self.prefixes[1])
    }

    /// Reports an id that is none.
    pub fn report(&self, wrong: Option<IdError>, id: &Text, diagnostics: &mut Diagnostics) {
        let [one, group] = self.prefixes;
        diagnostics.extend(wrong.map(|error| {
            Diagnostic::error("bad-id", id.span, error.to_string()).help(format!(
                "the id of a template begins with `{one}`, of a group of templates with `{group}`"
            ))
        }));
    }

    /// A template that nobody defined.
    pub fn undefined(&self, item: &Text, diagnostics: &mut Diagnostics) {
        if self.incomplete {
            return;
        }
        let message = format!("the {} template `{}` is not defined", self.kind, item.text);
        let diagnostic = Diagnostic::error("undefined-template", item.span, message);
        diagnostics.push(match diagnostics.closest(&item.text, &self.defined) {
            Some(name) => diagnostic.help(format!("did you mean `{name}`?")),
            None => diagnostic.help(format!("define it under `{}_templates`", self.kind)),
        });
    }
}

/// Groups of templates, unfolded depth first; each once.
pub struct Nesting<'n, 'd, T, J> {
    names: &'n TemplateNames<'d>,
    groups: &'n BTreeMap<&'d str, &'d Texts>,
    done: BTreeMap<&'d str, Option<T>>,
    join: J,
    room: &'n Room,
    /// The groups that are being unfolded.
    path: Vec<&'d str>,
}

impl<'n, 'd, T: Clone + Weight, J: Fn(Vec<T>) -> Option<T>> Nesting<'n, 'd, T, J> {
    /// `done` holds the templates themselves; `join` makes the content of a group of the contents of its items.
    pub fn new(
        names: &'n TemplateNames<'d>,
        groups: &'n BTreeMap<&'d str, &'d Texts>,
        done: BTreeMap<&'d str, Option<T>>,
        join: J,
        room: &'n Room,
    ) -> Self {
        Nesting {
            names,
            groups,
            done,
            join,
            room,
            path: Vec::new(),
        }
    }

    /// All templates and groups; `None` where an error was reported.
    pub fn into_templates(self) -> BTreeMap<&'d str, Option<T>> {
        self.done
    }

    /// Unfolds one group, unless it is done.
    pub fn expand(&mut self, id: &'d str, diagnostics: &mut Diagnostics) {
        let Some(items) = self.groups.get(id).copied() else {
            return;
        };
        if self.done.contains_key(id) {
            return;
        }
        self.path.push(id);
        let contents: Vec<Option<T>> = items
            .items
            .iter()
            .map(|item| self.item(item, diagnostics))
            .collect();
        self.path.pop();
        let contents: Option<Vec<T>> = contents.into_iter().collect();
        let whole = contents.filter(|_| !items.incomplete);
        let fitting = whole.filter(|contents| {
            let weight = contents.iter().map(Weight::weight).sum();
            self.room.take(weight, Some(items.span), diagnostics)
        });
        self.done.insert(id, fitting.and_then(&self.join));
    }

    fn item(&mut self, item: &'d Text, diagnostics: &mut Diagnostics) -> Option<T> {
        let inner = item.text.as_str();
        if let Some(start) = self.path.iter().position(|outer| *outer == inner) {
            let circle = self.path[start..].join(" -> ");
            let message = format!("`{inner}` contains itself: {circle} -> {inner}");
            let help = "remove one step of the circle";
            diagnostics.error("template-cycle", item.span, message, help);
            return None;
        }
        if self.path.len() > DEEPEST {
            let message = format!("groups of templates nest more than {DEEPEST} levels deep");
            let help = "name the templates themselves";
            diagnostics.error("too-deep", item.span, message, help);
            return None;
        }
        self.expand(inner, diagnostics);
        if let Some(content) = self.done.get(inner) {
            return content.clone();
        }
        let kind = self.names.kind;
        if self.names.is_one(inner) {
            self.names.undefined(item, diagnostics);
        } else {
            let [one, group] = self.names.prefixes;
            let message = format!("`{inner}` is not the id of {kind} templates");
            diagnostics.error("bad-id", item.span, message, format!(
                "a `{group}` group lists templates: put the values into a `{one}` template and name that"
            ));
        }
        None
    }
}
