//! Why a candidate cannot take the definition's place.

use crate::source::shown::shown;
use std::io;
use std::path::{Path, PathBuf};

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
    /// A template file of another content stands where the candidate's would.
    #[error("{} holds something else than {}, which the candidate names: give one of the two another name", shown(.to), shown(.from))]
    InTheWay {
        /// The candidate's.
        from: PathBuf,
        /// What stands there.
        to: PathBuf,
    },
    /// A relative name leads out of the definition's folder.
    #[error("the candidate's template file {} would not stand in the definition's folder: name it without `..`, or by its whole path", shown(.file))]
    Outside {
        /// The file.
        file: PathBuf,
    },
    /// Two directories of two file systems have no common step.
    #[error("the candidate {} is on another file system than the definition {}: copy it beside that one, and try the copy", shown(.candidate), shown(.definition))]
    OtherFileSystem {
        /// The candidate.
        candidate: PathBuf,
        /// The definition.
        definition: PathBuf,
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

/// A step that the system refuses.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReplaceError {
    let path = path.to_owned();
    move |source| ReplaceError::Failed { what, path, source }
}
