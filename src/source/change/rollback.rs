//! An older definition takes the place of the present one: each of its files as it was, in one step where that can be.
//!
//! Nothing is written outside the folder of the definition, and nothing hidden: the state directory, from which the
//! older texts come, belongs to the daemon's user.

use super::candidate::copy;
use super::error::ChangeError;
use super::lock::Lock;
use super::{Changed, FileChange, folder};
use crate::definition::{Definition, Diagnostic, Severity, Sources, parse};
use crate::source::clock::now;
use crate::source::load::{Loaded, judge_parsed};
use crate::source::read::{SourceFile, Trust, definition_files, template_file};
use crate::source::shown::shown;
use crate::source::write::{exchange, replace};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// A definition as it was.
#[derive(Debug, Clone, Default)]
pub struct Older {
    /// Path and text of each of its files.
    pub files: Vec<(PathBuf, String)>,
    /// The same of the files that its templates named.
    pub templates: Vec<(PathBuf, String)>,
}

/// Plans to put an older definition in the place of the one at this path, and writes nothing. The present one may be
/// wrong; the older one must be right as of now.
///
/// # Errors
///
/// See [`ChangeError`].
pub fn plan_rollback(path: &Path, older: &Older) -> Result<Changed, ChangeError> {
    let present = match definition_files(path, Trust::Any) {
        Ok(files) => files,
        Err(_) if !path.exists() => Vec::new(),
        Err(errors) => return Err(ChangeError::Unreadable(errors)),
    };
    let template_now =
        |path: &Path| template_file(path, Trust::Any).map_err(|error| error.to_string());
    let before = judged(&present, template_now);
    let places = Places::of(path, older);
    let mut reasons = Vec::new();
    let mut new = Vec::new();
    for (old, text) in &older.files {
        new.push(SourceFile {
            path: places.of_definition(old),
            text: text.clone(),
        });
    }
    new.sort_by(|one, other| one.path.cmp(&other.path));
    let is_there = |file: &&SourceFile| new.iter().any(|each| each.path == file.path);
    for file in present.iter().filter(|file| !is_there(file)) {
        reasons.push(refused(
            &file.path,
            "was no part of that definition",
            "move it away, or rename it so that its name begins with a dot",
        ));
    }
    let mut templates = BTreeMap::new();
    let mut files = Vec::new();
    for (old, text) in &older.templates {
        let there = places.of_template(old);
        let present = present_text(&there)?;
        templates.insert(there.clone(), text.clone());
        if present.as_ref() == Some(text) {
            continue;
        }
        if !places.may_write(&there) {
            reasons.push(refused(
                &there,
                "is outside the definition's folder, or hidden, and is not what it was",
                "restore it by hand: `secgroupd history N --text` prints what it was",
            ));
        }
        files.push(change_of(there, present, text));
    }
    for file in &new {
        let present = present_text(&file.path)?;
        if present.as_ref() != Some(&file.text) {
            files.push(change_of(file.path.clone(), present, &file.text));
        }
    }
    if !reasons.is_empty() {
        return Err(ChangeError::Refused {
            reasons,
            sources: Box::new(Sources::default()),
        });
    }
    let template = |path: &Path| match templates.get(path) {
        Some(text) => Ok(text.clone()),
        None => template_now(path),
    };
    let (loaded, definition) = judged(&new, template);
    match loaded.account.is_some() {
        true => Ok(Changed {
            before,
            after: (loaded, definition),
            files,
            done: Vec::new(),
        }),
        false => Err(ChangeError::Wrong(Box::new(loaded))),
    }
}

/// Judges these files as of now. Their sources are those of both.
fn judged(
    files: &[SourceFile],
    template: impl Fn(&Path) -> Result<String, String>,
) -> (Loaded, Definition) {
    let names = files.iter().map(|file| file.path.to_string_lossy());
    let names: Vec<_> = names.collect();
    let texts = names.iter().zip(files);
    let texts = texts.map(|(name, file)| (&**name, file.text.as_str()));
    let (loaded, mut definition) = judge_parsed(parse(texts), template, Vec::new(), now());
    definition.sources = loaded.sources.clone();
    (loaded, definition)
}

/// Carries out what was planned, if the files are still what was read then.
///
/// # Errors
///
/// See [`ChangeError`]. Of several files that cannot be exchanged in one step, those before the one that the system
/// refuses are changed: the same again goes on there.
pub fn rollback(path: &Path, changed: &Changed) -> Result<(), ChangeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ChangeError::Write { path, source }
    };
    let within = match path.exists() {
        true => folder(path).map_err(failed(path))?,
        false => path.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    let busy = || ChangeError::Busy(path.to_owned());
    let _lock = Lock::of(&within)
        .map_err(failed(&within))?
        .ok_or_else(busy)?;
    let _ = std::fs::remove_dir_all(copy_of(&within));
    if changed.files.len() > 1 && path.is_dir() {
        match in_one_step(&within, path, changed) {
            Ok(true) => return Ok(()),
            Ok(false) => return Err(busy()),
            // As where the folder is a mount point: one after the other.
            Err(_) => {}
        }
    }
    for file in &changed.files {
        if !one(file).map_err(failed(&file.path))? {
            return Err(busy());
        }
    }
    Ok(())
}

/// Writes one file, if it is still what was read.
fn one(file: &FileChange) -> io::Result<bool> {
    match std::fs::canonicalize(&file.path) {
        Ok(real) => exchange(&real, &file.before, &file.after),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let within = file.path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(within)?;
            replace(&file.path, &file.after, &file.path)?;
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Where the copy of a folder stands. One that a killed process has left is of no use.
fn copy_of(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.rollback"))
}

/// Exchanges the whole folder for a copy in which all files are changed. Returns whether all was still what was read.
fn in_one_step(real: &Path, path: &Path, changed: &Changed) -> io::Result<bool> {
    let new = copy_of(real);
    let done = copy(real, &new, 0).and_then(|()| {
        for file in &changed.files {
            let inner = file.path.strip_prefix(path).map_err(io::Error::other)?;
            let there = new.join(inner);
            std::fs::create_dir_all(there.parent().unwrap_or(&new))?;
            if there.is_symlink() {
                return Err(io::Error::other("a link is changed where it leads"));
            }
            replace(&there, &file.after, &there)?;
        }
        let swap = || {
            let exchange = RenameFlags::RENAME_EXCHANGE;
            renameat2(AT_FDCWD, &new, AT_FDCWD, real, exchange).map_err(io::Error::from)
        };
        let is_as_read = |folder: &Path| {
            let mut files = changed.files.iter();
            files.all(|file| {
                let inner = file.path.strip_prefix(path).unwrap_or(&file.path);
                let text = std::fs::read(folder.join(inner)).unwrap_or_default();
                text == file.before.as_bytes()
            })
        };
        if !is_as_read(real) {
            return Ok(false);
        }
        swap()?;
        // What was saved between the copy and the exchange stays, in whichever file.
        let is_changed = |inner: &Path| {
            let mut files = changed.files.iter();
            files.any(|file| file.path.strip_prefix(path) == Ok(inner))
        };
        if !is_as_read(&new) || !is_copy(&new, real, Path::new(""), &is_changed)? {
            swap()?;
            return Ok(false);
        }
        Ok(true)
    });
    let _ = std::fs::remove_dir_all(&new);
    done
}

/// Whether everything in a folder is in the other one as it is, but for what is changed.
fn is_copy(
    old: &Path,
    new: &Path,
    inner: &Path,
    is_changed: &dyn Fn(&Path) -> bool,
) -> io::Result<bool> {
    for entry in std::fs::read_dir(old.join(inner))? {
        let entry = entry?;
        let inner = inner.join(entry.file_name());
        let (one, other) = (old.join(&inner), new.join(&inner));
        let kind = entry.file_type()?;
        let same = if is_changed(&inner) {
            true
        } else if kind.is_dir() {
            is_copy(old, new, &inner, is_changed)?
        } else if kind.is_symlink() {
            std::fs::read_link(one)? == std::fs::read_link(other).unwrap_or_default()
        } else {
            kind.is_file() && std::fs::read(one)? == std::fs::read(other).unwrap_or_default()
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn refused(path: &Path, what: &str, help: &str) -> Diagnostic {
    let message = format!("{} {what}", shown(path));
    Diagnostic::new(Severity::Error, "cannot-roll-back", None, message).help(help)
}

/// `None` where there is no such file.
fn present_text(path: &Path) -> Result<Option<String>, ChangeError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ChangeError::Write {
            path: path.to_owned(),
            source,
        }),
    }
}

fn change_of(path: PathBuf, before: Option<String>, after: &str) -> FileChange {
    FileChange {
        path,
        before: before.unwrap_or_default(),
        after: after.to_owned(),
    }
}

/// Where the files of an older definition stand now.
struct Places<'p> {
    /// The definition, a file or a folder.
    definition: &'p Path,
    /// Whether it is one file.
    is_file: bool,
    /// The folder that its files stand in, and stood in.
    folders: [PathBuf; 2],
}

impl<'p> Places<'p> {
    fn of(definition: &'p Path, older: &Older) -> Self {
        let above = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
        let alone = older.files.len() == 1;
        let is_file = definition.is_file() || (alone && !definition.is_dir());
        let now = match is_file {
            true => above(definition),
            false => definition.to_owned(),
        };
        let then = older
            .files
            .first()
            .map_or(now.clone(), |(path, _)| above(path));
        Places {
            definition,
            is_file,
            folders: [now, then],
        }
    }

    fn of_definition(&self, old: &Path) -> PathBuf {
        match (self.is_file, old.file_name()) {
            (false, Some(name)) => self.folders[0].join(name),
            _ => self.definition.to_owned(),
        }
    }

    fn of_template(&self, old: &Path) -> PathBuf {
        let [now, then] = &self.folders;
        match old.strip_prefix(then) {
            Ok(inner) => now.join(inner),
            Err(_) => old.to_owned(),
        }
    }

    /// Whether a template file stands in the definition's folder, links followed, and is not hidden.
    fn may_write(&self, path: &Path) -> bool {
        let Ok(inner) = path.strip_prefix(&self.folders[0]) else {
            return false;
        };
        let is_plain = |part: Component| match part {
            Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
            _ => false,
        };
        let real = |path: &Path| std::fs::canonicalize(path);
        let stays = match (real(path), real(&self.folders[0])) {
            (Ok(file), Ok(folder)) => file.starts_with(folder),
            // Of a file that is not there, the folder that it would be in.
            (Err(_), Ok(folder)) => path
                .ancestors()
                .skip(1)
                .find_map(|above| real(above).ok())
                .is_some_and(|above| above.starts_with(folder)),
            _ => false,
        };
        inner.components().all(is_plain) && stays
    }
}

#[cfg(test)]
mod tests;
