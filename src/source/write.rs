//! Writes a file whole or not at all, as another one is readable.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};

/// Writes a file under another name, as readable as the file at `like`, and renames it over.
pub(super) fn replace(path: &Path, text: &str, like: &Path) -> io::Result<()> {
    let new = beside(path);
    let _ = std::fs::remove_file(&new);
    let written = write_like(like, &new, text).and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    sync_folder(path)
}

/// Exchanges a file for one of another text, as readable as it is, if it still holds what was read. What another
/// program saved meanwhile stays. Returns whether it was exchanged.
pub(super) fn exchange(path: &Path, read: &str, text: &str) -> io::Result<bool> {
    let new = beside(path);
    let _ = std::fs::remove_file(&new);
    let exchanged = write_like(path, &new, text).and_then(|()| exchange_with(path, &new, read));
    let _ = std::fs::remove_file(&new);
    let exchanged = exchanged?;
    sync_folder(path)?;
    Ok(exchanged)
}

fn exchange_with(path: &Path, new: &Path, read: &str) -> io::Result<bool> {
    if std::fs::read(path)? != read.as_bytes() {
        return Ok(false);
    }
    let swap = || renameat2(AT_FDCWD, new, AT_FDCWD, path, RenameFlags::RENAME_EXCHANGE);
    match swap() {
        Ok(()) => {}
        // A file system that cannot exchange: between the look and the rename a save could be lost.
        Err(Errno::EINVAL | Errno::ENOSYS) => return std::fs::rename(new, path).map(|()| true),
        Err(error) => return Err(error.into()),
    }
    // What was exchanged is looked at again: a save between the first look and the exchange is put back.
    match std::fs::read(new)? == read.as_bytes() {
        true => Ok(true),
        false => swap().map(|()| false).map_err(io::Error::from),
    }
}

/// The name that a new text has until it is whole: the readers of a definition directory leave it out.
fn beside(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder.join(format!(".{name}.secgroupd"))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// Makes a file or folder as readable as another one.
pub(super) fn like(path: &Path, other: &Path) -> io::Result<()> {
    let other = std::fs::metadata(other)?;
    chown(path, Some(other.uid()), Some(other.gid()))?;
    std::fs::set_permissions(path, other.permissions())
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
