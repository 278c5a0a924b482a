//! Reads, parses and validates a definition: from a path to an account, with everything that is wrong.

use super::clock::now;
use super::location::Location;
use super::read::{Trust, template_file};
use crate::definition::{Definition, Diagnostic, Parsed, Severity, Sources, parse};
use crate::policy::{Account, validate_at};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tracing::debug;

/// A definition as it was read.
#[derive(Debug)]
pub struct Loaded {
    /// Its files, for places.
    pub sources: Sources,
    /// The account, unless an error refuses the definition.
    pub account: Option<Account>,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
    /// The files that address templates name.
    pub template_files: Vec<PathBuf>,
    /// How many of the sources are files of the definition itself; those of templates follow.
    pub definition_files: usize,
}

/// Reads a definition. Never fails: what is wrong is in the diagnostics.
pub fn load(location: &Location, trust: Trust) -> Loaded {
    load_with_text(location, trust).0
}

/// The same, with the definition as it was written; its sources are those of what was loaded.
pub fn load_with_text(location: &Location, trust: Trust) -> (Loaded, Definition) {
    let begin = Instant::now();
    let mut unread = Vec::new();
    let files = location.files(trust).unwrap_or_else(|errors| {
        unread = errors
            .iter()
            .map(|error| unreadable(&error.to_string()))
            .collect();
        Vec::new()
    });
    let texts: Vec<(String, &str)> = files
        .iter()
        .map(|file| (file.path.to_string_lossy().into_owned(), file.text.as_str()))
        .collect();
    let texts = texts.iter().map(|(path, text)| (path.as_str(), *text));
    let template = |path: &Path| template_file(path, trust).map_err(|error| error.to_string());
    let loaded = judge_with_text(texts, template, unread, now());
    debug!("read and judged in {:.1?}", begin.elapsed());
    loaded
}

/// Judges a definition by the texts of its files, given as path to show and text; those of templates are asked for.
/// `unread` is what is wrong already.
pub fn judge<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    template: impl Fn(&Path) -> Result<String, String>,
    unread: Vec<Diagnostic>,
) -> Loaded {
    judge_at(texts, template, unread, now())
}

/// The same as at this time, in seconds since 1970: which rules have ended.
pub fn judge_at<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    template: impl Fn(&Path) -> Result<String, String>,
    unread: Vec<Diagnostic>,
    now: u64,
) -> Loaded {
    judge_with_text(texts, template, unread, now).0
}

fn judge_with_text<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    template: impl Fn(&Path) -> Result<String, String>,
    unread: Vec<Diagnostic>,
    now: u64,
) -> (Loaded, Definition) {
    judge_parsed(parse(texts), template, unread, now)
}

/// The same of a definition that was parsed, at this time, in seconds since 1970.
pub fn judge_parsed(
    mut parsed: Parsed,
    template: impl Fn(&Path) -> Result<String, String>,
    mut unread: Vec<Diagnostic>,
    now: u64,
) -> (Loaded, Definition) {
    let definition_files = parsed.definition.sources.iter().count();
    let template_files = parsed.definition.template_files();
    let read = |path: &PathBuf| (path.clone(), template(path));
    let contents: HashMap<_, _> = template_files.iter().map(read).collect();
    parsed.definition.attach(&contents);
    unread.extend(parsed.diagnostics);
    let validated = validate_at(&parsed.definition, unread, now);
    let loaded = Loaded {
        sources: std::mem::take(&mut parsed.definition.sources),
        account: validated.account,
        diagnostics: validated.diagnostics,
        template_files,
        definition_files,
    };
    (loaded, parsed.definition)
}

fn unreadable(message: &str) -> Diagnostic {
    Diagnostic::new(Severity::Error, "unreadable", None, message)
}

impl Loaded {
    /// How many errors and how many warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self
            .diagnostics
            .iter()
            .filter(|d| d.severity != Severity::Warning)
            .count();
        (errors, self.diagnostics.len() - errors)
    }

    /// The warnings alone, each in one line with its place, for the log.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Warning)
            .map(|d| in_one_line(&d.to_json(&self.sources)))
    }
}

/// Formats a diagnostic in one line: `groups.yaml:5:19: action cannot be ...`.
pub fn in_one_line(diagnostic: &Value) -> String {
    let message = diagnostic["message"].as_str().unwrap_or_default();
    let at = &diagnostic["at"];
    match (at["file"].as_str(), &at["line"], &at["column"]) {
        (Some(file), line, column) => format!("{file}:{line}:{column}: {message}"),
        (None, ..) => message.to_owned(),
    }
}
