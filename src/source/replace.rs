//! Replaces the definition by a confirmed candidate, in one step.
//!
//! The command does this as root: the daemon may not write its own definition. The files that the candidate's templates
//! name go with it (`templates`).

mod error;
mod folder;
mod templates;

pub use self::error::ReplaceError;
use self::error::failed;
use self::templates::{Copied, companions};
use super::content::content;
use super::load::{judge, load};
use super::read::{Trust, definition_files, is_definition_name, template_file};
use super::write::replace;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::io;
use std::path::{Path, PathBuf};

/// How a candidate takes the definition's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// It is the definition.
    None,
    /// Its text takes the place of a file, and its template files go beside it.
    Over {
        /// The file, links followed.
        file: PathBuf,
        /// As the daemon reads it: relative names count from here.
        place: PathBuf,
    },
    /// The two directories exchange their names: what was the definition is then where the candidate was.
    Exchange(PathBuf),
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
            (false, false) => Ok(Move::Over {
                file: to,
                place: definition.to_owned(),
            }),
            (true, false) => {
                let (definition, candidate) = both();
                Err(ReplaceError::Directory {
                    definition,
                    candidate,
                })
            }
            (false, true) => {
                let names = names(definition).map_err(failed("list", &to))?;
                let (definition, candidate) = both();
                match names.as_slice() {
                    [] => match from.file_name().filter(|name| is_definition_name(name)) {
                        Some(name) => Ok(Move::Over {
                            file: to.join(name),
                            place: definition.join(name),
                        }),
                        None => Err(ReplaceError::Name {
                            definition,
                            candidate,
                        }),
                    },
                    [only] if real(only).is_ok_and(|only| only == from) => Ok(Move::None),
                    [only] => Ok(Move::Over {
                        file: real(only).map_err(failed("read", only))?,
                        place: only.clone(),
                    }),
                    several => Err(ReplaceError::Several {
                        definition,
                        candidate,
                        files: several.len(),
                    }),
                }
            }
        }
    }

    /// Whether nothing would be in the way.
    ///
    /// # Errors
    ///
    /// What would.
    pub fn try_out(&self, candidate: &Path) -> Result<(), ReplaceError> {
        let place = match self {
            Move::None => return Ok(()),
            Move::Exchange(definition) => return folder::try_out(candidate, definition),
            Move::Over { place, .. } => place,
        };
        let text = std::fs::read_to_string(candidate).map_err(failed("read", candidate))?;
        companions(candidate, place, &text).map(|_| ())
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
            Move::None => same(
                content(&load(&candidate.into(), Trust::Any).sources),
                candidate,
            ),
            Move::Exchange(definition) => {
                let loaded = load(&candidate.into(), Trust::Any);
                same(content(&loaded.sources), definition)?;
                folder::make_readable(candidate, definition)?;
                let exchange = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, candidate, AT_FDCWD, definition, exchange)
                    .map_err(io::Error::from)
                    .map_err(failed("exchange the candidate with", definition))
            }
            Move::Over { file, place } => {
                let files = definition_files(candidate, Trust::Any);
                let text = match files.as_deref() {
                    Ok([file]) => &file.text,
                    _ => return Err(differs(place)),
                };
                let copied = Copied::of(companions(candidate, place, text)?, file)?;
                // As it will be read there.
                let shown = place.to_string_lossy();
                let template = |path: &Path| {
                    template_file(path, Trust::Any).map_err(|error| error.to_string())
                };
                let there = judge([(&*shown, text.as_str())], template, Vec::new());
                same(content(&there.sources), place)?;
                replace(file, text, file).map_err(failed("replace", file))?;
                copied.keep();
                std::fs::remove_file(candidate).map_err(failed("remove", candidate))
            }
        }
    }
}

/// Copies a definition file under a name beside it that no reader of the folder takes for a definition. Returns that path.
///
/// # Errors
///
/// What the system refuses.
pub fn copy_beside(file: &Path) -> Result<PathBuf, ReplaceError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = std::fs::read_to_string(file).map_err(failed("read", file))?;
    // An earlier copy stays, unless it says the same.
    let names = std::iter::once(String::new()).chain((2u32..).map(|n| format!("-{n}")));
    let mut copies = names.map(|end| file.with_file_name(format!(".{name}.before-confirm{end}")));
    let is_free = |copy: &PathBuf| {
        std::fs::symlink_metadata(copy).is_err()
            || std::fs::read_to_string(copy).is_ok_and(|other| other == text)
    };
    let copy = copies.find(is_free).unwrap_or_default();
    replace(&copy, &text, file).map_err(failed("write", &copy))?;
    Ok(copy)
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

#[cfg(test)]
mod tests;
