//! Changes a definition's files: reads, plans, judges the new texts whole, and exchanges each file if it is still what
//! was read. A change that meets another one is planned anew.
//!
//! Killed anywhere, each file is the old or the new one.

mod candidate;
mod error;
mod lock;
pub mod rollback;
#[cfg(test)]
mod tests;

pub use candidate::{candidate, discard};
pub use error::ChangeError;

use self::lock::Lock;
use super::clock::now;
use super::load::{Loaded, judge_parsed};
use super::read::{SourceFile, Trust, definition_files, template_file};
use super::write::exchange;
use crate::cloud::edit::{Draft, Edit, Refusal};
use crate::definition::patch::{FileTree, PatchError, Patched};
use crate::definition::{Definition, Diagnostic, Severity, Span, parse_read};
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
    edit: &dyn Fn(&Draft) -> Result<Edit, Refusal>,
) -> Result<Changed, ChangeError> {
    let files = definition_files(path, Trust::Any).map_err(ChangeError::Unreadable)?;
    let names = names(&files);
    let trees: Vec<_> = (0..)
        .zip(&files)
        .map(|(n, file)| FileTree::read(n, &file.text))
        .collect();
    let texts = files.iter().map(|file| file.text.as_str());
    let before = judged(&names, texts, &trees);
    // A definition that is refused may be edited where the edit is what mends it; of a text that is no YAML nothing is.
    let trees: Option<Vec<_>> = trees.into_iter().collect();
    let Some(trees) = trees else {
        return Err(ChangeError::Faults(Box::new(before.0)));
    };
    let draft = Draft::new(&before.1, &trees);
    let edit = match edit(&draft) {
        Ok(edit) => edit,
        // What is missing may be what is wrong.
        Err(_) if before.0.account.is_none() => {
            return Err(ChangeError::Faults(Box::new(before.0)));
        }
        Err(refusal) => {
            return Err(ChangeError::Refused {
                reasons: refusal.reasons,
                sources: Box::new(before.0.sources),
            });
        }
    };
    let refuse = |source: u32, error: PatchError| {
        let span = error.place().map(|place| Span {
            source,
            start: u32::try_from(place.start).unwrap_or_default(),
            end: u32::try_from(place.end).unwrap_or_default(),
        });
        let reason = Diagnostic::new(Severity::Error, "cannot-edit", span, error.to_string());
        ChangeError::Refused {
            reasons: vec![reason.help(way_out(&files, source))],
            sources: Box::new(before.0.sources.clone()),
        }
    };
    let mut patched: Vec<Option<Patched>> = files.iter().map(|_| None).collect();
    for (source, patches) in &edit.patches {
        let at = *source as usize;
        if let (Some(tree), Some(place)) = (trees.get(at), patched.get_mut(at)) {
            *place = Some(
                tree.patched(patches)
                    .map_err(|error| refuse(*source, error))?,
            );
        }
    }
    let mut after_trees = Vec::new();
    for (n, patched) in (0..).zip(&patched) {
        let tree = patched.as_ref().map(|patched| patched.tree(n)).transpose();
        after_trees.push(tree.map_err(|error| refuse(n, error))?);
    }
    let texts = files.iter().zip(&patched).map(|(file, patched)| {
        let new = patched.as_ref().map(|patched| patched.text.as_str());
        new.unwrap_or(&file.text)
    });
    let after = judged(&names, texts, &after_trees);
    let changes = files.iter().zip(&patched).filter_map(|(file, patched)| {
        let after = &patched.as_ref()?.text;
        (*after != file.text).then(|| FileChange {
            path: file.path.clone(),
            before: file.text.clone(),
            after: after.clone(),
        })
    });
    let changes = changes.collect();
    match after.0.account.is_some() {
        true => Ok(Changed {
            before,
            after,
            files: changes,
            done: edit.done,
        }),
        false if before.0.account.is_none() => Err(ChangeError::Faults(Box::new(before.0))),
        false => Err(ChangeError::Wrong(Box::new(after.0))),
    }
}

/// Plans a change, has it announced, and writes it.
///
/// # Errors
///
/// See [`ChangeError`]. Where several files change and the system refuses one, those before it are changed.
pub fn change(
    path: &Path,
    edit: &dyn Fn(&Draft) -> Result<Edit, Refusal>,
    announce: &dyn Fn(&Changed),
) -> Result<Changed, ChangeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ChangeError::Write { path, source }
    };
    let Ok(folder) = folder(path) else {
        // What cannot be found cannot be read either, which has better words.
        return plan(path, edit);
    };
    let busy = || ChangeError::Busy(path.to_owned());
    let _lock = Lock::of(&folder)
        .map_err(failed(&folder))?
        .ok_or_else(busy)?;
    'again: for _ in 0..TRIES {
        let changed = plan(path, edit)?;
        if !changed.files.is_empty() {
            announce(&changed);
        }
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

/// What to do where a text cannot be changed.
fn way_out(files: &[SourceFile], source: u32) -> &'static str {
    let file = files.get(source as usize);
    match file.is_some_and(|file| file.text.contains('&')) {
        true => {
            "what an anchor (`&name`) marks is used elsewhere too (`*name`): write it out in one of the places, or change it by hand"
        }
        false => "change it by hand: the file was left as it is",
    }
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

/// Judges these files, some of which were read as trees already. Their sources are those of both.
fn judged<'f>(
    names: &'f [String],
    texts: impl Iterator<Item = &'f str>,
    trees: &'f [Option<FileTree<'f>>],
) -> (Loaded, Definition) {
    let template = |path: &Path| template_file(path, Trust::Any).map_err(|error| error.to_string());
    let texts = names.iter().zip(texts).zip(trees);
    let texts = texts.map(|((name, text), tree)| (name.as_str(), text, tree.as_ref()));
    let (loaded, mut definition) = judge_parsed(parse_read(texts), template, Vec::new(), now());
    definition.sources = loaded.sources.clone();
    (loaded, definition)
}

fn names(files: &[SourceFile]) -> Vec<String> {
    let paths = files.iter().map(|file| &file.path);
    paths
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}
