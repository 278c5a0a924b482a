//! Changes a definition's files: reads, plans, judges the new texts whole, and exchanges each file if it is still what
//! was read. A change that meets another one is planned anew.
//!
//! Killed anywhere, each file is the old or the new one.

mod candidate;
mod error;
mod lock;
#[cfg(test)]
mod tests;

pub use candidate::candidate;
pub use error::ChangeError;

use self::lock::Lock;
use super::load::{Loaded, judge_with_text};
use super::read::{SourceFile, Trust, definition_files, template_file};
use super::write::exchange;
use crate::cloud::edit::{Edit, Refusal};
use crate::definition::patch::patched;
use crate::definition::{Definition, Diagnostic, Severity, Span};
use std::path::{Path, PathBuf};

/// How often a change is planned anew because another one came between.
const TRIES: usize = 20;

/// A file of a definition before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path, as the definition names it.
    pub path: PathBuf,
    /// What it held.
    pub before: String,
    /// What it holds then.
    pub after: String,
}

/// A change, judged and not yet written.
#[derive(Debug)]
pub struct Changed {
    /// The definition before, judged and as it is written.
    pub before: (Loaded, Definition),
    /// The definition after; it is valid.
    pub after: (Loaded, Definition),
    /// The files that change.
    pub files: Vec<FileChange>,
    /// What is done, a sentence each.
    pub done: Vec<String>,
}

/// Plans a change and writes nothing.
///
/// # Errors
///
/// See [`ChangeError`].
pub fn plan(
    path: &Path,
    edit: &dyn Fn(&Definition) -> Result<Edit, Refusal>,
) -> Result<Changed, ChangeError> {
    let files = definition_files(path, Trust::Any).map_err(ChangeError::Unreadable)?;
    let before = judged(&files);
    if before.0.account.is_none() {
        return Err(ChangeError::Faults(Box::new(before.0)));
    }
    let edit = edit(&before.1).map_err(|refusal| ChangeError::Refused {
        reasons: refusal.reasons,
        sources: Box::new(before.0.sources.clone()),
    })?;
    let mut new = files.clone();
    let mut changes = Vec::new();
    for (source, patches) in &edit.patches {
        let Some(file) = new.get_mut(*source as usize) else {
            continue;
        };
        let after = patched(&file.text, patches).map_err(|error| {
            let span = error.place().map(|place| Span {
                source: *source,
                start: u32::try_from(place.start).unwrap_or_default(),
                end: u32::try_from(place.end).unwrap_or_default(),
            });
            let reason = Diagnostic::new(Severity::Error, "cannot-edit", span, error.to_string());
            ChangeError::Refused {
                reasons: vec![reason.help("change it by hand: the file was left as it is")],
                sources: Box::new(before.0.sources.clone()),
            }
        })?;
        if after != file.text {
            changes.push(FileChange {
                path: file.path.clone(),
                before: std::mem::replace(&mut file.text, after.clone()),
                after,
            });
        }
    }
    let after = judged(&new);
    match after.0.account.is_some() {
        true => Ok(Changed {
            before,
            after,
            files: changes,
            done: edit.done,
        }),
        false => Err(ChangeError::Wrong(Box::new(after.0))),
    }
}

/// Plans a change and writes it.
///
/// # Errors
///
/// See [`ChangeError`]. Where several files change and the system refuses one, those before it are changed.
pub fn change(
    path: &Path,
    edit: &dyn Fn(&Definition) -> Result<Edit, Refusal>,
) -> Result<Changed, ChangeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ChangeError::Write { path, source }
    };
    let folder = folder(path).map_err(failed(path))?;
    // A file that may not be written is said before anything else is done.
    let busy = || ChangeError::Busy(path.to_owned());
    let _lock = Lock::of(&folder)
        .map_err(failed(&folder))?
        .ok_or_else(busy)?;
    'again: for _ in 0..TRIES {
        let changed = plan(path, edit)?;
        for (n, file) in changed.files.iter().enumerate() {
            let real = std::fs::canonicalize(&file.path).map_err(failed(&file.path))?;
            let done = exchange(&real, &file.before, &file.after).map_err(failed(&file.path))?;
            match (done, n) {
                (true, _) => {}
                (false, 0) => continue 'again,
                (false, _) => return Err(busy()),
            }
        }
        return Ok(changed);
    }
    Err(busy())
}

/// The folder that a definition's file really is in.
fn folder(path: &Path) -> std::io::Result<PathBuf> {
    let real = std::fs::canonicalize(path)?;
    Ok(match real.is_dir() {
        true => real,
        false => real
            .parent()
            .map_or_else(|| PathBuf::from("/"), Path::to_owned),
    })
}

/// Judges these files. Their sources are those of both.
fn judged(files: &[SourceFile]) -> (Loaded, Definition) {
    let template = |path: &Path| template_file(path, Trust::Any).map_err(|error| error.to_string());
    let names = names(files);
    let (loaded, mut definition) = judge_with_text(pairs(&names, files), template, Vec::new());
    definition.sources = loaded.sources.clone();
    (loaded, definition)
}

fn names(files: &[SourceFile]) -> Vec<String> {
    let paths = files.iter().map(|file| &file.path);
    paths
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

fn pairs<'f>(
    names: &'f [String],
    files: &'f [SourceFile],
) -> impl Iterator<Item = (&'f str, &'f str)> {
    let texts = files.iter().map(|file| file.text.as_str());
    names.iter().map(String::as_str).zip(texts)
}
