//! The state directory and its lock: what outlives the daemon and the machine.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::source::path_walk::PathWalk;
use crate::source::read::ReadError;
use crate::source::read::trust::{Trusted, check, check_itself};
use crate::source::shown::shown;

/// Where the state lives when `--state` does not say otherwise.
pub const DEFAULT_DIRECTORY: &str = "/var/lib/secgroupd";

/// The most that a file of the state may hold: the largest definition that is judged, with its ruleset, is smaller.
const BYTES_AT_MOST: u64 = 256_000_000;

/// The file whose lock only one daemon or `apply` holds.
const LOCK: &str = "lock";
/// How long to wait for a lock whose holder has ended: a program that it was starting when it was killed holds the lock
/// until it runs.
const LEFT_OVER: Duration = Duration::from_secs(1);

/// What cannot be done with the state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Its parent is missing: a wrong path rather than a first start.
    #[error("{} does not exist, nor does its parent: create it, or name another with --state", shown(.path))]
    NoParent {
        /// The state directory.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("{} is not a directory: take it away, or name another with --state", shown(.path))]
    NotADirectory {
        /// The state directory.
        path: PathBuf,
    },
    /// Others could replace the last good policy.
    #[error("the state is not used: {0}, or name another directory with --state")]
    Untrusted(ReadError),
    /// More than [`BYTES_AT_MOST`].
    #[error("{} is larger than {} MB: take it away", shown(.path), BYTES_AT_MOST / 1_000_000)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Another daemon or `apply` is at work.
    #[error(
        "another secgroupd ({}) uses {}: wait for it, or end it",
        .pid.map_or("of unknown pid".to_owned(), |pid| format!("pid {pid}")), shown(.path)
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// Who holds it, when the holder has said so.
        pid: Option<u32>,
    },
    /// A name that is no plain file name of ours.
    #[error("\"{name}\" is no name for a state file")]
    Name {
        /// The name.
        name: String,
    },
    /// Anything the system refuses.
    #[error("cannot {what} {}: {source}{}", shown(.path), way_out(.source))]
    Failed {
        /// What was tried, as in "write".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a user without rights can do, and nothing where it is not about them.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ": run it as root, or name another with --state",
        _ => "",
    }
}

impl StateError {
    /// Whether the disk has no room.
    pub fn is_full(&self) -> bool {
        let kind = match self {
            StateError::Failed { source, .. } => source.kind(),
            _ => return false,
        };
        matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Failed { what, path, source }
}

/// The state directory.
#[derive(Debug, Clone)]
pub struct State {
    directory: PathBuf,
}

/// Keeps all other processes from enforcing while it lives. The kernel releases it when the process ends, however it
/// ends.
#[derive(Debug)]
pub struct Lock(File);

impl Drop for Lock {
    /// Unlocks at once: a program that another thread starts just now holds a copy of the file, and would hold the lock
    /// until it runs.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl State {
    /// Takes `directory` as the state directory; creates it, for us alone, when only its last name is missing.
    ///
    /// # Errors
    /// When it cannot be created, is no directory, or others than root, the user of this process and that of the service
    /// may write to it or to a directory on the way.
    pub fn open(directory: &Path) -> Result<State, StateError> {
        let path = || directory.to_owned();
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StateError::NoParent { path: path() });
            }
            // On a file system that is read-only or not ours, an existing directory may still serve for reading.
            Err(_) if directory.is_dir() => {}
            Err(error) => return Err(failed("create", directory)(error)),
        }
        let gone = || failed("look at", directory)(io::ErrorKind::NotFound.into());
        State::look(directory)?.ok_or_else(gone)
    }

    /// The same for whoever only reads, and leaves no trace: `None` when there is no such directory.
    ///
    /// # Errors
    /// When it is no directory, or others may write to it, see [`Self::open`].
    pub fn look(directory: &Path) -> Result<Option<State>, StateError> {
        let metadata = match std::fs::metadata(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(failed("look at", directory))?,
        };
        let path = || directory.to_owned();
        if !metadata.is_dir() {
            return Err(StateError::NotADirectory { path: path() });
        }
        let trusted = Trusted::with_service();
        check(directory, &PathWalk::of(directory), &trusted)
            .and_then(|()| check_itself(directory, &metadata, &trusted))
            .map_err(StateError::Untrusted)?;
        Ok(Some(State { directory: path() }))
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes this process the only one that enforces, until the lock is dropped. Does not wait for a holder that lives.
    ///
    /// # Errors
    /// [`StateError::Locked`] with the holder's pid, or what the system refuses.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let path = self.directory.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path)
            .map_err(failed("open", &path))?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(std::fs::TryLockError::WouldBlock) => {
                    let pid = holder(&file);
                    if begin.elapsed() < LEFT_OVER && pid.is_some_and(has_ended) {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    let path = self.directory.clone();
                    return Err(StateError::Locked { path, pid });
                }
                Err(std::fs::TryLockError::Error(error)) => {
                    return Err(failed("lock", &path)(error));
                }
            }
        }
        self.give_to_owner(&file)
            .map_err(failed("hand over", &path))?;
        // For a message of others, and so nothing that a full disk keeps us from. It may have been read.
        let _ = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        self.sweep();
        Ok(Lock(file))
    }

    /// Writes `bytes` as the file `name`: after a crash at any moment it holds either what it held or all of them.
    ///
    /// # Errors
    /// What the system refuses; the file then holds what it held.
    pub fn write_atomically(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.write_as(name, bytes, true)?;
        self.sync().map_err(failed("write", &self.file(name)?))
    }

    /// New names are on disk, and old ones are not, only when the directory is.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// The same for what means nothing after a crash of the machine: withstands a crash of this process alone, and does
    /// not wait for the disk.
    ///
    /// # Errors
    /// What the system refuses; the file then holds what it held.
    pub fn write_for_now(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.write_as(name, bytes, false)
    }

    fn write_as(&self, name: &str, bytes: &[u8], sync: bool) -> Result<(), StateError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = self.file(name)?;
        if bytes.len() as u64 > BYTES_AT_MOST {
            return Err(StateError::TooLarge { path });
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let new = self
            .directory
            .join(format!(".{name}.{}-{count}.new", std::process::id()));
        let written = self
            .write_new(&new, bytes, sync)
            .and_then(|()| std::fs::rename(&new, &path));
        written.map_err(|error| {
            let _ = std::fs::remove_file(&new);
            failed("write", &path)(error)
        })
    }

    fn write_new(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        #[cfg(test)]
        if full::is_full() {
            return Err(Errno::ENOSPC.into());
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        self.give_to_owner(&file)?;
        file.write_all(bytes)?;
        match sync {
            true => file.sync_all(),
            false => Ok(()),
        }
    }

    /// What `apply` writes as root must stay the daemon's, which runs as its own user and owns the directory.
    fn give_to_owner(&self, file: &File) -> io::Result<()> {
        let owner = std::fs::metadata(&self.directory)?;
        let (uid, gid) = (owner.uid(), owner.gid());
        match nix::unistd::geteuid().is_root() && file.metadata()?.uid() != uid {
            true => std::os::unix::fs::fchown(file, Some(uid), Some(gid)),
            false => Ok(()),
        }
    }

    /// Reads the file `name`; `None` when there is none.
    ///
    /// # Errors
    /// That others may write it, that it is larger than any that we write, or what the system refuses.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.file(name)?;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let metadata = file.metadata().map_err(failed("read", &path))?;
        // A file that came with the directory from elsewhere.
        check_itself(&path, &metadata, &Trusted::with_service()).map_err(StateError::Untrusted)?;
        if metadata.len() > BYTES_AT_MOST {
            return Err(StateError::TooLarge { path });
        }
        let mut bytes = Vec::new();
        file.take(BYTES_AT_MOST)
            .read_to_end(&mut bytes)
            .map_err(failed("read", &path))?;
        Ok(Some(bytes))
    }

    /// Removes the file `name`, also for the time after a crash of the machine; none is as good.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn remove(&self, name: &str) -> Result<(), StateError> {
        match self.remove_as(name)? {
            true => self.sync().map_err(failed("remove", &self.file(name)?)),
            false => Ok(()),
        }
    }

    /// The same for what means nothing after a crash of the machine, see [`Self::write_for_now`].
    ///
    /// # Errors
    /// What the system refuses.
    pub fn remove_for_now(&self, name: &str) -> Result<(), StateError> {
        self.remove_as(name).map(|_| ())
    }

    /// Returns whether there was one.
    fn remove_as(&self, name: &str) -> Result<bool, StateError> {
        let path = self.file(name)?;
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("remove", &path)(error)),
        }
    }

    /// The names of the files that begin so, in no order.
    pub fn names(&self, begin: &str) -> Vec<String> {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with(begin)).collect()
    }

    /// Renames a file; replaces one of that name. A missing file is no failure.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn rename(&self, name: &str, to: &str) -> Result<(), StateError> {
        let path = self.file(name)?;
        match std::fs::rename(&path, self.file(to)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("rename", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn file(&self, name: &str) -> Result<PathBuf, StateError> {
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && !name.contains(['/', '\0'])
            && name != LOCK;
        match plain {
            true => Ok(self.directory.join(name)),
            false => Err(StateError::Name {
                name: name.to_owned(),
            }),
        }
    }

    /// Takes away what a writer that was killed left; only under the lock, which says that none is alive.
    fn sweep(&self) {
        let left = |name: &OsString| {
            let name = name.as_encoded_bytes();
            name.starts_with(b".") && name.ends_with(b".new")
        };
        for entry in std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if left(&entry.file_name()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// A full disk, for the tests of a thread.
#[cfg(test)]
pub mod full {
    use std::cell::Cell;

    thread_local!(static FULL: Cell<bool> = const { Cell::new(false) });

    /// From now on this thread's writes fail, or not.
    pub fn set_full(full: bool) {
        FULL.set(full);
    }

    pub(super) fn is_full() -> bool {
        FULL.get()
    }
}

#[cfg(test)]
mod tests;

/// The process that a lock's file names.
fn holder(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn has_ended(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}
