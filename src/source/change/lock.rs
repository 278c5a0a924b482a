//! One change of a definition at a time. Editors do not ask: what they save is compared before each exchange.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file's name in the folder of the definition, while a change goes on. Only the owner of the folder, and root, can
/// open it.
const NAME: &str = ".secgroupd.lock";
/// How long another change may take.
const LONGEST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// The right to change a definition, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _held: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever waits for it sees that it has gone, and makes another one.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Lock {
    /// Waits for the right to change what is in this folder; `None` where another has it for too long.
    ///
    /// # Errors
    ///
    /// What the system refuses, as where the folder may not be written.
    pub fn of(folder: &Path) -> io::Result<Option<Self>> {
        let path = folder.join(NAME);
        let begin = Instant::now();
        while begin.elapsed() < LONGEST {
            let mut options = OpenOptions::new();
            options.write(true).create(true).mode(0o600);
            let file = options
                .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK)
                .open(&path)?;
            let there = file.metadata()?;
            // Whoever may write in the folder may have put something else there, or a link to another's file.
            if !there.is_file() || there.nlink() > 1 {
                let message = format!("{NAME} in it is not what secgroupd makes: remove it");
                return Err(io::Error::other(message));
            }
            own_as(folder, &file)?;
            if file.try_lock().is_ok() {
                // Whoever had it has removed the file.
                let held = file.metadata()?;
                let is_there = std::fs::metadata(&path)
                    .is_ok_and(|there| (held.ino(), held.dev()) == (there.ino(), there.dev()));
                if is_there {
                    return Ok(Some(Lock { path, _held: file }));
                }
                continue;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(None)
    }
}

/// Of a definition that root changes, its owner may be the next.
fn own_as(folder: &Path, file: &File) -> io::Result<()> {
    let (folder, there) = (std::fs::metadata(folder)?, file.metadata()?);
    match nix::unistd::geteuid().is_root() && there.uid() != folder.uid() {
        true => fchown(file, Some(folder.uid()), Some(folder.gid())),
        false => Ok(()),
    }
}
