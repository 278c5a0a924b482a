//! Why a definition is not changed.

use crate::definition::{Diagnostic, Sources};
use crate::source::load::Loaded;
use crate::source::read::ReadError;
use crate::source::shown::shown;
use std::io;
use std::path::PathBuf;

/// Why a definition is not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Its files cannot be read.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unreadable(Vec<ReadError>),
    /// It is refused as it is.
    #[error("the definition is refused as it is, and would be with this change")]
    Faults(Box<Loaded>),
    /// The cloud would refuse the change.
    #[error("the change is refused")]
    Refused {
        /// Every reason.
        reasons: Vec<Diagnostic>,
        /// The files that their places are in.
        sources: Box<Sources>,
    },
    /// The definition would be refused then.
    #[error("the definition would be refused with this change")]
    Wrong(Box<Loaded>),
    /// Another program changes it all the time, or for long.
    #[error("{} is being changed by another program: try again", shown(.0))]
    Busy(PathBuf),
    /// What the system refuses.
    #[error("cannot write {}: {source}{}", shown(.path), way_out(.source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": it belongs to another user, such as root: use sudo",
        io::ErrorKind::ReadOnlyFilesystem => ": change it where it is written",
        _ => "",
    }
}
