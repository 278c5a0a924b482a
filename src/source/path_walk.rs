//! Walks a path as the kernel does: records every name that it looks up, and follows symbolic links.
//!
//! Who may write a definition, and which directories must be watched for it, depends on this walk and not on the path
//! as written: `/etc/secgroupd/web.yaml` may lead through `..data` and a mount far away.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};

/// As many symbolic links as the kernel follows before it gives up (`ELOOP`).
const LINKS_AT_MOST: usize = 40;

/// One name looked up on the walk.
#[derive(Debug, Clone)]
pub struct Step {
    /// The directory in which the name is looked up; holds no symbolic link.
    pub directory: PathBuf,
    /// The name looked up there.
    pub name: OsString,
    /// What the name is, links not followed; `None` when there is no such name.
    pub metadata: Option<Metadata>,
}

impl Step {
    /// The place of the name itself.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }
}

/// Where a walk ends.
#[derive(Debug)]
pub enum End {
    /// At something that exists, in its place without symbolic links.
    Found(PathBuf, Metadata),
    /// At a name that cannot be looked up: it is missing, or one before it is no directory or a loop of links.
    Stopped(io::Error),
}

/// The walk from `/` to what a path names.
#[derive(Debug)]
pub struct PathWalk {
    /// The names looked up, in order.
    pub steps: Vec<Step>,
    /// Where it ends.
    pub end: End,
}

impl PathWalk {
    /// Walks `path`, which is taken from the working directory when it is relative. Never opens anything.
    pub fn of(path: &Path) -> PathWalk {
        let mut steps = Vec::new();
        let end = walk_into(path, &mut steps).unwrap_or_else(End::Stopped);
        PathWalk { steps, end }
    }

    /// What the path leads to, or `None` when it leads nowhere.
    pub fn found(&self) -> Option<(&Path, &Metadata)> {
        match &self.end {
            End::Found(path, metadata) => Some((path, metadata)),
            End::Stopped(_) => None,
        }
    }
}

fn walk_into(path: &Path, steps: &mut Vec<Step>) -> io::Result<End> {
    let mut left = VecDeque::new();
    prepend(&mut left, &std::path::absolute(path)?);
    let mut at = PathBuf::from("/");
    let mut here = std::fs::symlink_metadata(&at)?;
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        let Part::Name(name) = part else {
            match part {
                Part::Root => at = PathBuf::from("/"),
                _ => {
                    at.pop();
                }
            }
            here = std::fs::symlink_metadata(&at)?;
            continue;
        };
        if !here.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        let next = at.join(&name);
        let found = std::fs::symlink_metadata(&next);
        steps.push(Step {
            directory: at.clone(),
            name,
            metadata: found.as_ref().ok().cloned(),
        });
        let metadata = found?;
        if metadata.is_symlink() {
            links += 1;
            if links > LINKS_AT_MOST {
                return Err(nix::errno::Errno::ELOOP.into());
            }
            prepend(&mut left, &std::fs::read_link(&next)?);
        } else {
            at = next;
            here = metadata;
        }
    }
    Ok(End::Found(at, here))
}

enum Part {
    Root,
    Up,
    Name(OsString),
}

fn prepend(left: &mut VecDeque<Part>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::RootDir => left.push_front(Part::Root),
            Component::ParentDir => left.push_front(Part::Up),
            Component::Normal(name) => left.push_front(Part::Name(name.to_owned())),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(walk: &PathWalk) -> Vec<String> {
        let tail = walk
            .steps
            .iter()
            .map(|step| step.name.to_string_lossy().into_owned());
        tail.filter(|name| !name.starts_with("tmp") && !name.starts_with(".tmp"))
            .collect()
    }

    #[test]
    fn walks_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("..v1")).unwrap();
        std::fs::write(root.join("..v1/a.yaml"), "x").unwrap();
        symlink("..v1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let walk = PathWalk::of(&root.join("a.yaml"));
        assert_eq!(walk.found().unwrap().0, root.join("..v1/a.yaml"));
        assert_eq!(names(&walk), ["a.yaml", "..data", "..v1", "a.yaml"]);
    }

    #[test]
    fn stops_where_a_name_is_missing_or_a_loop() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let walk = PathWalk::of(&root.join("no/such"));
        assert!(matches!(&walk.end, End::Stopped(e) if e.kind() == io::ErrorKind::NotFound));
        assert!(walk.steps.last().unwrap().metadata.is_none());
        symlink("loop", root.join("loop")).unwrap();
        assert!(PathWalk::of(&root.join("loop")).found().is_none());
        std::fs::write(root.join("file"), "").unwrap();
        assert!(PathWalk::of(&root.join("file/below")).found().is_none());
    }

    #[test]
    fn climbs_after_a_link_as_the_kernel_does() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("x/y")).unwrap();
        std::fs::write(root.join("x/f"), "").unwrap();
        symlink("x/y", root.join("l")).unwrap();
        assert_eq!(
            PathWalk::of(&root.join("l/../f")).found().unwrap().0,
            root.join("x/f")
        );
    }
}
