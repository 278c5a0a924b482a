//! Where watches must be set so that no way of saving escapes them.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;

use super::inbox::Interest;
use super::snapshot::definition_files;
use crate::source::path_walk::PathWalk;

/// Device and inode. The kernel keeps one watch for each, however many paths lead to it.
pub(super) type Identity = (u64, u64);

/// The watches that a definition and its files need.
///
/// Every directory in which a name is looked up on the way is watched, since the name may be given to something else;
/// and the file itself, which may be written through another of its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places {
    /// What to set watches on.
    pub watched: BTreeMap<PathBuf, Identity>,
    /// Which events of them matter.
    pub interest: Interest,
    /// Whether some of it lies where the kernel reports no events.
    pub blind: bool,
    /// Whether the definition is a directory.
    pub definition_is_directory: bool,
}

impl Places {
    pub fn of(definition: &Path, files: &[PathBuf]) -> Places {
        let mut survey = Survey::default();
        if let Some(directory) = survey.follow(definition, true) {
            survey.places.definition_is_directory = true;
            let watched = survey.watch(&directory);
            survey.places.interest.directory = watched;
            for path in definition_files(&directory) {
                survey.follow(&path, true);
            }
        }
        for file in files {
            survey.follow(file, false);
        }
        survey.places
    }

    /// Whether an event of this path concerns the definition rather than only a file that it names.
    pub fn is_of_definition(&self, path: &Path) -> bool {
        let named = self.interest.names.get(path).copied();
        named.unwrap_or(true) || self.in_directory(path)
    }

    /// Whether this is a name in the definition directory.
    pub fn in_directory(&self, path: &Path) -> bool {
        self.interest.in_directory(path)
    }
}

#[derive(Default)]
struct Survey {
    places: Places,
    first: HashMap<Identity, PathBuf>,
}

impl Survey {
    /// Follows the way of `path`; returns the directory when it leads to one.
    fn follow(&mut self, path: &Path, definition: bool) -> Option<PathBuf> {
        let walk = PathWalk::of(path);
        for step in &walk.steps {
            if let Some(watched) = self.watch(&step.directory) {
                let name = watched.join(&step.name);
                *self.places.interest.names.entry(name).or_default() |= definition;
            }
        }
        let (place, metadata) = walk.found()?;
        match metadata.is_dir() {
            true => Some(place.to_owned()),
            false => {
                if metadata.is_file() {
                    self.watch(place);
                }
                None
            }
        }
    }

    /// Notes a watch; returns the path under which its events will come, which is another where a bind mount or a
    /// hard link gives one thing two paths.
    fn watch(&mut self, path: &Path) -> Option<PathBuf> {
        if self.places.watched.contains_key(path) {
            return Some(path.to_owned());
        }
        let metadata = std::fs::symlink_metadata(path).ok()?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(first) = self.first.get(&identity) {
            return Some(first.clone());
        }
        self.first.insert(identity, path.to_owned());
        self.places.watched.insert(path.to_owned(), identity);
        self.places.interest.watched.insert(path.to_owned());
        self.places.blind |= is_blind(path);
        Some(path.to_owned())
    }
}

/// The types of file systems, by their magic numbers in statfs(2), whose files change on another machine, or in
/// another kernel, without an event in this one.
const BLIND: [(u32, &str); 19] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xfe53_4d42, "smb2"),
    (0xff53_4d42, "cifs"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "kafs"),
    (0x7375_7245, "coda"),
    (0x786f_4256, "vboxsf"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x0bd0_0bd0, "lustre"),
    (0x564c, "ncp"),
    (0xbacb_acbc, "vmhgfs"),
    (0xaad7_aaea, "panfs"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
];

fn is_blind(path: &Path) -> bool {
    // The width of the number differs between machines; its lowest 32 bits are the type on all of them.
    statfs(path).is_ok_and(|system| {
        let kind = system.filesystem_type().0 as u32;
        BLIND.iter().any(|(blind, _)| *blind == kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_directory_on_the_way_is_watched_and_only_the_names_on_it_matter() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("..v1")).unwrap();
        std::fs::write(root.join("..v1/a.yaml"), "x").unwrap();
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let places = Places::of(&root.join("a.yaml"), &[root.join("list.txt")]);
        for watched in ["", "..v1", "..v1/a.yaml"] {
            let path = if watched.is_empty() {
                root.clone()
            } else {
                root.join(watched)
            };
            assert!(places.watched.contains_key(&path), "{watched}");
        }
        assert!(places.watched.contains_key(Path::new("/")));
        assert!(places.interest.names[&root.join("..data")]);
        assert!(!places.interest.names[&root.join("list.txt")]);
        assert!(!places.interest.names.contains_key(&root.join("b.yaml")));
        assert!(!places.definition_is_directory && !places.blind);
    }

    #[test]
    fn a_missing_path_is_watched_where_it_would_begin() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let places = Places::of(&root.join("no/such/file"), &[]);
        assert!(places.watched.contains_key(&root));
        assert!(places.interest.names.contains_key(&root.join("no")));
    }

    #[test]
    fn two_names_of_one_file_share_a_watch() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::write(root.join("a"), "x").unwrap();
        std::fs::hard_link(root.join("a"), root.join("b")).unwrap();
        let places = Places::of(&root.join("a"), &[root.join("b")]);
        assert!(
            places.watched.contains_key(&root.join("a"))
                && !places.watched.contains_key(&root.join("b"))
        );
    }
}
