//! Where a definition is. Another kind of source is another variant here: what it holds is read by [`Location::files`].

use super::read::{BYTES_AT_MOST, ReadError, SourceFile, Trust, definition_files};
use super::shown::shown;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a definition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, or a directory of files.
    Path(PathBuf),
    /// What another program writes: `-`. Relative names in it count from the working directory.
    StandardInput,
}

/// The name of standard input in messages. It has no folder, so that relative names count from the working directory.
const STANDARD_INPUT: &str = "standard input";

impl Location {
    /// Reads its files.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any of them; the list is never empty.
    pub fn files(&self, trust: Trust) -> Result<Vec<SourceFile>, Vec<ReadError>> {
        match self {
            Location::Path(path) => definition_files(path, trust),
            Location::StandardInput => {
                let file = standard_input().map_err(|error| vec![error])?;
                Ok(vec![file])
            }
        }
    }

    /// The same, absolute: a daemon has a working directory of its own.
    ///
    /// # Errors
    ///
    /// When there is no working directory.
    pub fn absolute(self) -> std::io::Result<Location> {
        Ok(match self {
            Location::Path(path) => Location::Path(std::path::absolute(path)?),
            Location::StandardInput => Location::StandardInput,
        })
    }

    /// Its name, as a path.
    pub fn name(&self) -> &Path {
        match self {
            Location::Path(path) => path,
            Location::StandardInput => Path::new(STANDARD_INPUT),
        }
    }
}

fn standard_input() -> Result<SourceFile, ReadError> {
    let path = PathBuf::from(STANDARD_INPUT);
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(BYTES_AT_MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| ReadError::from_io(&path, error))?;
    SourceFile::of(path, bytes)
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Location::Path(path)
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Location::Path(path.to_owned())
    }
}

impl FromStr for Location {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "-" => Location::StandardInput,
            path => Location::Path(path.into()),
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.name()))
    }
}
