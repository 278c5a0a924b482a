//! One change of a definition at a time. Editors do not ask: what they save is compared before each exchange.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// The file's name in the folder of the definition. Only the owner of the folder, and root, can open it.
const NAME: &str = ".secgroupd.lock";
/// How long another change may take.
const LONGEST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// The right to change a definition, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: File,
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
                .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
                .open(&path)?;
            if file.try_lock().is_ok() {
                // Whoever had it may have removed the file meanwhile.
                let held = file.metadata()?;
                let is_there = std::fs::metadata(&path)
                    .is_ok_and(|there| (held.ino(), held.dev()) == (there.ino(), there.dev()));
                if is_there {
                    return Ok(Some(Lock { _held: file }));
                }
                continue;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(None)
    }
}
