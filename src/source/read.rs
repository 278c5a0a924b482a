//! Reads a definition from disk. Nothing else reads one.

mod acl;
mod error;
mod ordinary;
pub mod trust;

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::source::path_walk::{End, PathWalk};
pub use error::ReadError;
pub use trust::Trust;

/// The most a definition or template file may hold, in bytes.
pub const BYTES_AT_MOST: u64 = 16_000_000;

/// How often a file that changes under the reader is read before it is given up.
const TRIES: u32 = 5;

/// The pause before a changing file is read again, so that the tries outlast an ordinary write.
const PAUSE: Duration = Duration::from_millis(20);

/// One file of a definition, as it was on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path it was read by, links not followed: what the operator calls it.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

impl SourceFile {
    /// A file that holds these bytes.
    ///
    /// # Errors
    /// When they are too many, or no UTF-8.
    pub fn of(path: PathBuf, bytes: Vec<u8>) -> Result<Self, ReadError> {
        if bytes.len() as u64 > BYTES_AT_MOST {
            return Err(ReadError::TooLarge { path });
        }
        let text = text(&path, bytes)?;
        Ok(SourceFile { path, text })
    }
}

/// Whether a name in a definition directory is that of a definition file.
pub fn is_definition_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.starts_with(b".") && (name.ends_with(b".yaml") || name.ends_with(b".yml"))
}

/// Reads the definition at `path`: a file, or of a directory its own `*.yaml` and `*.yml` in the order of their names.
///
/// # Errors
/// Everything that is wrong with any of the files; the list is never empty.
pub fn definition_files(path: &Path, trust: Trust) -> Result<Vec<SourceFile>, Vec<ReadError>> {
    let walk = walk(path, trust).map_err(|error| vec![error])?;
    if !walk.found().is_some_and(|(_, metadata)| metadata.is_dir()) {
        return Ok(vec![source_file(path, trust).map_err(|error| vec![error])?]);
    }
    if let (Trust::Checked, Some((_, folder))) = (trust, walk.found()) {
        // Whoever may put a file into it may write the definition, though not what belongs to others.
        trust::check_itself(path, folder, &trust::Trusted::ourselves())
            .map_err(|error| vec![error])?;
    }
    for _ in 0..TRIES {
        let names = list(path).map_err(|error| vec![error])?;
        if names.is_empty() {
            return Err(vec![ReadError::Empty {
                path: path.to_owned(),
            }]);
        }
        let read: Vec<_> = names.iter().map(|name| source_file(name, trust)).collect();
        // A file that came or went meanwhile belongs to another state of the directory than those read.
        if list(path).map_err(|error| vec![error])? == names {
            return all_or_errors(read);
        }
        std::thread::sleep(PAUSE);
    }
    Err(vec![ReadError::Changing {
        path: path.to_owned(),
    }])
}

fn all_or_errors(
    read: Vec<Result<SourceFile, ReadError>>,
) -> Result<Vec<SourceFile>, Vec<ReadError>> {
    let mut files = Vec::new();
    let mut errors = Vec::new();
    for one in read {
        match one {
            Ok(file) => files.push(file),
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(files),
        false => Err(errors),
    }
}

/// Reads the file of an address template, with the same care as a definition.
///
/// # Errors
/// The first thing that is wrong with the file.
pub fn template_file(path: &Path, trust: Trust) -> Result<String, ReadError> {
    source_file(path, trust).map(|file| file.text)
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let failed = |error| ReadError::from_io(directory, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_definition_name(&entry.file_name()) {
            names.push(entry.path());
        }
    }
    names.sort();
    Ok(names)
}

/// Walks to `path`; refuses it when others may change what it leads to.
fn walk(path: &Path, trust: Trust) -> Result<PathWalk, ReadError> {
    let walk = PathWalk::of(path);
    if let End::Stopped(error) = walk.end {
        return Err(ReadError::from_io(path, error));
    }
    // Who may write a device is no question of ours.
    if let Some((_, found)) = walk.found()
        && !found.is_dir()
    {
        regular(path, found)?;
    }
    match trust {
        Trust::Checked => trust::check(path, &walk, &trust::Trusted::ourselves())?,
        Trust::Any => trust::check_links(path, &walk)?,
    }
    Ok(walk)
}

fn source_file(path: &Path, trust: Trust) -> Result<SourceFile, ReadError> {
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let walk = walk(path, trust)?;
        let Some((_, expected)) = walk.found() else {
            continue;
        };
        // Before it is opened, because opening alone makes some devices act.
        regular(path, expected)?;
        ordinary::check(path, rustix::fs::statfs(path))?;
        if let Some(bytes) = unchanged_bytes(path, expected)? {
            return SourceFile::of(path.to_owned(), bytes);
        }
    }
    Err(ReadError::Changing {
        path: path.to_owned(),
    })
}

/// The bytes of `path`, or `None` when it is not, or does not stay, the file that was `expected`.
fn unchanged_bytes(path: &Path, expected: &Metadata) -> Result<Option<Vec<u8>>, ReadError> {
    let failed = |error| ReadError::from_io(path, error);
    let file = match open(path) {
        Ok(file) => file,
        // Replaced by rename between two system calls: not missing, only not there yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let before = file.metadata().map_err(failed)?;
    regular(path, &before)?;
    ordinary::check(path, rustix::fs::fstatfs(&file))?;
    if state(&before) != state(expected) {
        return Ok(None);
    }
    if before.len() > BYTES_AT_MOST {
        return Err(ReadError::TooLarge {
            path: path.to_owned(),
        });
    }
    // No more than the file says it has: what the kernel makes up while it is read mostly says 0.
    let mut bytes = Vec::with_capacity(before.len() as usize);
    (&file)
        .take(before.len())
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let after = file.metadata().map_err(failed)?;
    let named = std::fs::metadata(path).ok();
    if state(&after) != state(&before) || named.as_ref().map(state) != Some(state(&after)) {
        return Ok(None);
    }
    Ok((bytes.len() as u64 == before.len()).then_some(bytes))
}

/// Opens for reading without ever waiting: a FIFO put in the file's place must not stop the daemon.
fn open(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY | nix::libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// What changes when a file does.
fn state(metadata: &Metadata) -> (u64, u64, u64, i64, i64) {
    let m = metadata;
    (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec())
}

fn regular(path: &Path, metadata: &Metadata) -> Result<(), ReadError> {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let path = path.to_owned();
    Err(ReadError::NotAFile { path, kind })
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, ReadError> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|&&byte| byte == b'\n')
            .count();
        let path = path.to_owned();
        ReadError::NotUtf8 { path, line }
    })
}

#[cfg(test)]
mod tests;
