//! From a path to an account: reads, parses and judges, and gathers everything that is wrong.

use super::read::{Trust, definition_files, template_file};
use crate::definition::{Diagnostic, Severity, Sources, parse};
use crate::policy::{Account, validate};
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
}

/// Reads a definition, which may be a file or a directory. Never fails: what is wrong is in the diagnostics.
pub fn load(path: &Path, trust: Trust) -> Loaded {
    let begin = Instant::now();
    let mut unread = Vec::new();
    let files = definition_files(path, trust).unwrap_or_else(|errors| {
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
    let mut parsed = parse(texts.iter().map(|(path, text)| (path.as_str(), *text)));
    let template_files = parsed.definition.template_files();
    let read = |path: &PathBuf| {
        (
            path.clone(),
            template_file(path, trust).map_err(|error| error.to_string()),
        )
    };
    let contents: HashMap<_, _> = template_files.iter().map(read).collect();
    parsed.definition.attach(&contents);
    unread.extend(parsed.diagnostics);
    let read = begin.elapsed();
    let validated = validate(&parsed.definition, unread);
    debug!(
        "read in {read:.1?}, judged in {:.1?}",
        begin.elapsed() - read
    );
    Loaded {
        sources: parsed.definition.sources,
        account: validated.account,
        diagnostics: validated.diagnostics,
        template_files,
    }
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
}
