//! Writes a file whole or not at all, as another one is readable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::Path;

/// Writes a file under another name, as readable as the file at `like`, and renames it over.
pub(super) fn replace(path: &Path, text: &str, like: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = folder.join(format!(".{name}.secgroupd"));
    let _ = std::fs::remove_file(&new);
    let written = write_like(like, &new, text).and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    File::open(folder)?.sync_all()
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
