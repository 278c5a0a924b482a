//! Records the files of a definition at one moment, so that two moments can be compared.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::source::path_walk::PathWalk;
use crate::source::read::is_definition_name;

/// Device, inode, size in bytes, and time of modification.
type Content = (u64, u64, u64, i64, i64);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    /// Where the file really lies, links followed.
    place: PathBuf,
    content: Content,
    /// When anything about the inode last changed.
    changed: (i64, i64),
}

/// The files of a definition that exist, and who may write what lies on the way to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, Print>,
    access: BTreeMap<PathBuf, (u32, u32, u32)>,
}

impl Snapshot {
    pub fn at(definition: &Path, files: &[PathBuf]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        if let Some(directory) = snapshot.add(definition) {
            for path in definition_files(&directory) {
                snapshot.add(&path);
            }
        }
        for file in files {
            snapshot.add(file);
        }
        snapshot
    }

    /// Adds a file; a directory is returned instead.
    fn add(&mut self, path: &Path) -> Option<PathBuf> {
        let walk = PathWalk::of(path);
        for step in &walk.steps {
            if let Some(metadata) = &step.metadata {
                let mode = if metadata.is_symlink() {
                    0
                } else {
                    metadata.mode()
                };
                let access = (mode, metadata.uid(), metadata.gid());
                self.access.insert(step.path(), access);
            }
        }
        let (place, metadata) = walk.found()?;
        if metadata.is_dir() {
            return Some(place.to_owned());
        }
        self.files.insert(path.to_owned(), print(place, metadata));
        None
    }

    pub fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Takes over what `now` says of a file that was not known; leaves it unknown when it was changed after `since`.
    pub fn meet(&mut self, path: &Path, now: &Snapshot, since: SystemTime) {
        for (path, access) in &now.access {
            self.access.entry(path.clone()).or_insert(*access);
        }
        let Some(print) = now.files.get(path) else {
            return;
        };
        // A clock that was set back since says nothing about before and after.
        if SystemTime::now() < since {
            return;
        }
        // The kernel stamps files with a clock that may lag behind by some milliseconds.
        let since = since - Duration::from_millis(20);
        let (seconds, nanos) = (print.changed.0.max(0) as u64, print.changed.1.max(0) as u64);
        let changed =
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanos);
        if changed < since {
            self.files.insert(path.to_owned(), print.clone());
        }
    }

    /// Forgets a file that is not asked for any more.
    pub fn forget(&mut self, path: &Path) {
        self.files.remove(path);
    }

    /// A file that existed in `known` and is missing.
    pub fn missing_since(&self, known: &Snapshot) -> Option<PathBuf> {
        known
            .files
            .keys()
            .find(|path| !self.files.contains_key(*path))
            .cloned()
    }

    /// A file that is not the one of `known`, or holds something else, and is not `unfinished`.
    pub fn saved_since(
        &self,
        known: &Snapshot,
        unfinished: impl Fn(&Path) -> bool,
    ) -> Option<PathBuf> {
        let differs = |path: &Path, print: &Print| {
            known
                .files
                .get(path)
                .is_none_or(|other| other.content != print.content)
        };
        let mut files = self.files.iter();
        let found = files.find(|(path, print)| differs(path, print) && !unfinished(&print.place));
        found.map(|(path, _)| path.clone())
    }

    pub fn same_content(&self, other: &Snapshot) -> bool {
        let contents = |snapshot: &Snapshot| -> Vec<_> {
            snapshot
                .files
                .iter()
                .map(|(path, print)| (path.clone(), print.content))
                .collect()
        };
        contents(self) == contents(other)
    }

    /// Something whose owner or permissions differ from `known`, while all files hold what they held. A file that is
    /// being written may well have them set before it is closed, and is not to be read yet.
    pub fn access_changed(&self, known: &Snapshot) -> Option<PathBuf> {
        if !self.same_content(known) {
            return None;
        }
        let differs = |path: &PathBuf, access: &(u32, u32, u32)| {
            known.access.get(path).is_some_and(|other| other != access)
        };
        let mut access = self.access.iter();
        access
            .find(|(path, access)| differs(path, access))
            .map(|(path, _)| path.clone())
    }

    /// Anything at all that differs from `known`, and where it lies.
    pub fn differs_from(&self, known: &Snapshot) -> Option<PathBuf> {
        let mut files = self.files.iter();
        let changed = files.find(|(path, print)| known.files.get(*path) != Some(print));
        changed
            .map(|(_, print)| print.place.clone())
            .or_else(|| self.missing_since(known))
            .or_else(|| self.access_changed(known))
    }
}

fn print(place: &Path, metadata: &Metadata) -> Print {
    let m = metadata;
    Print {
        place: place.to_owned(),
        content: (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()),
        changed: (m.ctime(), m.ctime_nsec()),
    }
}

/// The definition files of a directory, in the order of their names; none when it cannot be read.
pub(super) fn definition_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter(|entry| is_definition_name(&entry.file_name()));
    let mut paths: Vec<_> = names.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Whether a name that has just come to be leads to something that was there before: a symbolic or a hard link.
pub(super) fn is_second_name(path: &Path) -> bool {
    let named = std::fs::symlink_metadata(path);
    named.is_ok_and(|file| file.is_symlink() || (file.is_file() && file.nlink() > 1))
}
