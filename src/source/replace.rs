//! Replaces the definition by a confirmed candidate, in one step.
//!
//! The command does this as root: the daemon may not write its own definition.

use super::content::content;
use super::load::{judge, load};
use super::read::{Trust, definition_files, is_definition_name, template_file};
use super::shown::shown;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// How a candidate takes the definition's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// It is the definition.
    None,
    /// Its text takes the place of this file.
    Over(PathBuf),
    /// The two directories exchange their names: what was the definition is then where the candidate was.
    Exchange(PathBuf),
}

/// Why a candidate cannot take the definition's place.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// A file cannot stand for several.
    #[error(
        "the definition {} is a directory of {files} files, which the one file {} cannot replace in one step: try a copy of the whole \
         directory, and its confirmation exchanges the two", shown(.definition), shown(.candidate)
    )]
    Several {
        /// The definition.
        definition: PathBuf,
        /// The candidate.
        candidate: PathBuf,
        /// How many files it has.
        files: usize,
    },
    /// A directory cannot stand for a file.
    #[error(
        "the candidate {} is a directory and the definition {} a file: try a file, or make the definition a directory", shown(.candidate), shown(.definition)
    )]
    Directory {
        /// The definition.
        definition: PathBuf,
        /// The candidate.
        candidate: PathBuf,
    },
    /// Its name would not be read there.
    #[error("the definition {} is an empty directory, in which {} would not be read: give it a name that ends in .yaml", shown(.definition), shown(.candidate))]
    Name {
        /// The definition.
        definition: PathBuf,
        /// The candidate.
        candidate: PathBuf,
    },
    /// It is not what was tried, or would not be in the definition's place.
    #[error(
        "{} would not be the same as what is on trial: it was changed since, or a relative `file:` in it leads elsewhere from {}. Nothing \
         was moved", shown(.candidate), shown(.definition)
    )]
    Differs {
        /// Where it would stand.
        definition: PathBuf,
        /// The candidate.
        candidate: PathBuf,
    },
    /// What the system refuses.
    #[error("cannot {what} {}: {source}", shown(.path))]
    Failed {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReplaceError {
    let path = path.to_owned();
    move |source| ReplaceError::Failed { what, path, source }
}

impl Move {
    /// How this candidate could take this definition's place, both absolute.
    ///
    /// # Errors
    ///
    /// When it could not.
    pub fn of(candidate: &Path, definition: &Path) -> Result<Self, ReplaceError> {
        let real = |path: &Path| std::fs::canonicalize(path);
        let from = real(candidate).map_err(failed("read", candidate))?;
        let to = match real(definition) {
            // The first definition of this host.
            Err(error) if error.kind() == io::ErrorKind::NotFound => definition.to_owned(),
            to => to.map_err(failed("read", definition))?,
        };
        let both = || (definition.to_owned(), candidate.to_owned());
        match (from.is_dir(), to.is_dir()) {
            _ if from == to => Ok(Move::None),
            (true, true) => Ok(Move::Exchange(to)),
            (false, false) => Ok(Move::Over(to)),
            (true, false) => {
                let (definition, candidate) = both();
                Err(ReplaceError::Directory {
                    definition,
                    candidate,
                })
            }
            (false, true) => {
                let names = names(&to).map_err(failed("list", &to))?;
                let (definition, candidate) = both();
                match names.as_slice() {
                    [] => match from.file_name().filter(|name| is_definition_name(name)) {
                        Some(name) => Ok(Move::Over(to.join(name))),
                        None => Err(ReplaceError::Name {
                            definition,
                            candidate,
                        }),
                    },
                    [only] if real(only).is_ok_and(|only| only == from) => Ok(Move::None),
                    [only] => Ok(Move::Over(real(only).map_err(failed("read", only))?)),
                    several => Err(ReplaceError::Several {
                        definition,
                        candidate,
                        files: several.len(),
                    }),
                }
            }
        }
    }

    /// Moves the candidate, if it is still what has this hash.
    ///
    /// # Errors
    ///
    /// Then nothing was moved.
    pub fn carry_out(&self, candidate: &Path, hash: &str) -> Result<(), ReplaceError> {
        let differs = |definition: &Path| ReplaceError::Differs {
            definition: definition.to_owned(),
            candidate: candidate.to_owned(),
        };
        let same = |found: String, definition: &Path| match found == hash {
            true => Ok(()),
            false => Err(differs(definition)),
        };
        match self {
            Move::None => same(content(&load(candidate, Trust::Any).sources), candidate),
            Move::Exchange(definition) => {
                same(content(&load(candidate, Trust::Any).sources), definition)?;
                let exchange = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, candidate, AT_FDCWD, definition, exchange)
                    .map_err(io::Error::from)
                    .map_err(failed("exchange the candidate with", definition))
            }
            Move::Over(definition) => {
                let files = definition_files(candidate, Trust::Any);
                let text = match files.as_deref() {
                    Ok([file]) => &file.text,
                    _ => return Err(differs(definition)),
                };
                // As it will be read there.
                let place = definition.to_string_lossy();
                let template = |path: &Path| {
                    template_file(path, Trust::Any).map_err(|error| error.to_string())
                };
                let there = judge([(&*place, text.as_str())], template, Vec::new());
                same(content(&there.sources), definition)?;
                replace(definition, text).map_err(failed("replace", definition))?;
                std::fs::remove_file(candidate).map_err(failed("remove", candidate))
            }
        }
    }
}

/// The files of a definition directory.
fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if is_definition_name(&entry.file_name()) {
            names.push(entry.path());
        }
    }
    Ok(names)
}

/// Writes a file beside another, as readable as that, and renames it over.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.secgroupd"));
    let _ = std::fs::remove_file(&new);
    let written = write_like(path, &new, text).and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write_like(path: &Path, new: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(new)?;
    file.write_all(text.as_bytes())?;
    match std::fs::metadata(path) {
        Ok(old) => {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.set_permissions(old.permissions())?;
        }
        // The first one: the daemon, which is another user, must be able to read it.
        Err(_) => file.set_permissions(std::fs::Permissions::from_mode(0o644))?,
    }
    file.sync_all()
}

#[cfg(test)]
mod tests;
