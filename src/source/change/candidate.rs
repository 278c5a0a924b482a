//! A change as a candidate beside the definition, for a trial: `confirm` moves it into the definition's place.

use super::Changed;
use crate::source::write::{like, replace};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// How deep folders of a definition are copied; templates are seldom deeper than one.
const DEEPEST: usize = 8;

/// Writes what a definition would be with a change beside it, as readable as it is, and returns its path: of a file, or of
/// a folder with one definition file, that file; else a copy of the whole folder.
///
/// # Errors
///
/// What the system refuses.
pub fn candidate(definition: &Path, changed: &Changed) -> io::Result<PathBuf> {
    let real = std::fs::canonicalize(definition)?;
    match changed.files.as_slice() {
        [only] if changed.after.0.definition_files == 1 => {
            let file = std::fs::canonicalize(&only.path)?;
            let path = free(&file);
            replace(&path, &only.after, &file)?;
            Ok(path)
        }
        files => {
            let folder = free(&real);
            copy(&real, &folder, 0)?;
            for file in files {
                let name = file.path.file_name().unwrap_or_default();
                let path = folder.join(name);
                // A link into another folder stays one for the others of its files: this one is written here.
                if path.is_symlink() {
                    std::fs::remove_file(&path)?;
                }
                replace(&path, &file.after, &file.path)?;
            }
            Ok(folder)
        }
    }
}

/// A name beside the definition that nothing has, and that the readers of a definition directory leave out. What stands
/// there from before may be what somebody wrote: a confirmation exchanges folders.
fn free(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (1u32..).map(|n| path.with_file_name(format!(".{name}.candidate-{n}")));
    let mut free = names.filter(|path| std::fs::symlink_metadata(path).is_err());
    free.next().unwrap_or_default()
}

/// Removes a candidate that is of no use.
pub fn discard(candidate: &Path) {
    let _ = match candidate.is_dir() {
        true => std::fs::remove_dir_all(candidate),
        false => std::fs::remove_file(candidate),
    };
}

/// Copies a folder with the owners and permissions of what is in it.
pub(super) fn copy(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::other(
            "the folder is nested too deep to be copied",
        ));
    }
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (old, new) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            symlink(std::fs::read_link(&old)?, &new)?;
        } else if kind.is_dir() {
            copy(&old, &new, depth + 1)?;
        } else if kind.is_file() {
            std::fs::copy(&old, &new)?;
            like(&new, &old)?;
        } else {
            let message = format!(
                "{} is no file, folder or link, which cannot be copied",
                old.display()
            );
            return Err(io::Error::other(message));
        }
    }
    like(to, from)
}
