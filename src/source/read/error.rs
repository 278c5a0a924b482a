//! Why a definition cannot be read.

use crate::source::shown::shown;
use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be read. Each prints as one line that ends with the way out.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file, or a link on the way leads nowhere.
    #[error("{} does not exist: create it, or mend the link on the way to it", shown(.path))]
    Missing {
        /// What was to be read.
        path: PathBuf,
    },
    /// A directory without a definition file in it.
    #[error("{} holds no definition: put a file into it whose name ends in .yaml or .yml", shown(.path))]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// Neither a regular file nor, where one may be, a directory.
    #[error("{} is {kind}, not a regular file: name a file, or take it away", shown(.path))]
    NotAFile {
        /// What was to be read.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// More than [`BYTES_AT_MOST`](super::BYTES_AT_MOST).
    #[error("{} is larger than 16 MB: split the definition over files in a directory", shown(.path))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are no text.
    #[error("{}:{line}: not UTF-8: save the file in the UTF-8 encoding", shown(.path))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first wrong byte, counted from 1.
        line: usize,
    },
    /// Still changing at the last try.
    #[error("{} changed each time it was read: save it again when its writer is done", shown(.path))]
    Changing {
        /// The file or directory.
        path: PathBuf,
    },
    /// Somebody else may write it, or a directory on the way to it.
    #[error("{}{} {fault}: {mend}", shown(.at), on_the_way(.path, .at))]
    Untrusted {
        /// What was to be read.
        path: PathBuf,
        /// What others may write: the file, a directory or a link on the way.
        at: PathBuf,
        /// Why, as in "may be written by everybody (mode 0666)".
        fault: String,
        /// The command that mends it.
        mend: String,
    },
    /// We may not read it.
    #[error("{}: permission denied: let the user that secgroupd runs as (uid {uid}) read it", shown(.path))]
    Denied {
        /// What was to be read.
        path: PathBuf,
        /// Who we are.
        uid: u32,
    },
    /// Anything else the system refuses.
    #[error("{} cannot be read: {source}", shown(.path))]
    Failed {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    pub(in crate::source) fn from_io(path: &Path, source: io::Error) -> ReadError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => ReadError::Missing { path },
            io::ErrorKind::PermissionDenied => ReadError::Denied {
                path,
                uid: nix::unistd::geteuid().as_raw(),
            },
            _ => ReadError::Failed { path, source },
        }
    }
}

/// " (on the way to PATH)", unless the fault is that of the path itself.
fn on_the_way(path: &Path, at: &Path) -> String {
    match path == at {
        true => String::new(),
        false => format!(" (on the way to {})", shown(path)),
    }
}
