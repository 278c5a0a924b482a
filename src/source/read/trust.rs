//! Refuses what others may write: a definition decides who reaches the host, so only root and this process's user may
//! write it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::ReadError;
use crate::source::path_walk::PathWalk;
use crate::source::shown::shown;

/// Whether it matters who else may write what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A file, or a directory or link on the way to it, that others may write is refused: for what gets enforced.
    Checked,
    /// Anything is read: for `check` and `compile`, which change nothing.
    Any,
}

/// Users and groups that may write.
struct Trusted {
    uid: u32,
    /// The uid and gid that stand for all those a user namespace does not know, when we live in such a one.
    unknown: Option<(u32, u32)>,
}

impl Trusted {
    fn ourselves() -> Trusted {
        Trusted {
            uid: nix::unistd::geteuid().as_raw(),
            unknown: unknown_ids(),
        }
    }

    fn user(&self, uid: u32) -> bool {
        uid == 0 || uid == self.uid || self.unknown.is_some_and(|(unknown, _)| uid == unknown)
    }

    /// Not the daemon's own group: its members may ask, and only root may change.
    fn group(&self, gid: u32) -> bool {
        gid == 0 || self.unknown.is_some_and(|(_, unknown)| gid == unknown)
    }
}

/// In a user namespace that does not map everybody, the kernel shows all it does not map, the host's root among them,
/// as one overflow id: they cannot be told apart, and refusing them would refuse `/` itself.
fn unknown_ids() -> Option<(u32, u32)> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let full = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let id = |name: &str| -> Option<u32> {
        let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).ok()?;
        text.trim().parse().ok()
    };
    match full {
        true => None,
        false => Some((id("overflowuid")?, id("overflowgid")?)),
    }
}

/// Refuses a walk to `path` that others may change: everything looked up on it, and where it ends.
pub(super) fn check(path: &Path, walk: &PathWalk) -> Result<(), ReadError> {
    let trusted = Trusted::ourselves();
    let root = std::fs::symlink_metadata("/").map_err(|error| ReadError::from_io(path, error))?;
    let steps = walk
        .steps
        .iter()
        .filter_map(|step| Some((step.path(), step.metadata.as_ref()?)));
    for (at, metadata) in std::iter::once((PathBuf::from("/"), &root)).chain(steps) {
        if let Some((fault, mend)) = fault(&at, metadata, &trusted) {
            let path = path.to_owned();
            return Err(ReadError::Untrusted {
                path,
                at,
                fault,
                mend,
            });
        }
    }
    Ok(())
}

/// What lets others write, and the command that mends it.
fn fault(at: &Path, metadata: &Metadata, trusted: &Trusted) -> Option<(String, String)> {
    let quoted = quoted(at);
    let link = metadata.is_symlink();
    if !trusted.user(metadata.uid()) {
        let dash = if link { "-h " } else { "" };
        return Some((
            format!("belongs to user {}, who may change it", metadata.uid()),
            format!("chown {dash}root {quoted}"),
        ));
    }
    // The mode of a link says nothing; a sticky directory lets nobody replace what belongs to somebody else.
    let mode = metadata.mode() & 0o7777;
    if link || (metadata.is_dir() && mode & 0o1000 != 0) {
        return None;
    }
    if mode & 0o002 != 0 {
        return Some((
            format!("may be written by everybody (mode {mode:04o})"),
            format!("chmod o-w {quoted}"),
        ));
    }
    if mode & 0o020 != 0 && !trusted.group(metadata.gid()) {
        return Some((
            format!(
                "may be written by group {} (mode {mode:04o})",
                metadata.gid()
            ),
            format!("chmod g-w {quoted}"),
        ));
    }
    None
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = shown(path);
    let plain = |c: char| c.is_alphanumeric() || "/._-+@:,".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Trust, definition_files, template_file};
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn message(path: &Path) -> String {
        template_file(path, Trust::Checked).unwrap_err().to_string()
    }

    #[test]
    fn what_everybody_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        let file = sub.join("a.yaml");
        std::fs::create_dir(&sub).unwrap();
        std::fs::write(&file, "x").unwrap();
        mode(&file, 0o644);
        assert_eq!(template_file(&file, Trust::Checked).unwrap(), "x");
        mode(&file, 0o666);
        let said = message(&file);
        let shown = file.display();
        assert_eq!(
            said,
            format!("{shown} may be written by everybody (mode 0666): chmod o-w {shown}")
        );
        assert_eq!(template_file(&file, Trust::Any).unwrap(), "x");
        mode(&file, 0o644);
        mode(&sub, 0o777);
        assert!(message(&file).contains(&format!(
            "sub (on the way to {shown}) may be written by everybody"
        )));
        assert!(definition_files(&sub, Trust::Checked).is_err());
        mode(&sub, 0o1777);
        assert!(template_file(&file, Trust::Checked).is_ok());
    }

    #[test]
    fn what_another_user_or_group_may_write_is_refused() {
        if !nix::unistd::geteuid().is_root() || unknown_ids().is_some() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        std::fs::write(&file, "x").unwrap();
        mode(&file, 0o664);
        assert!(
            template_file(&file, Trust::Checked).is_ok(),
            "our own group may write"
        );
        chown(&file, None, Some(12345)).unwrap();
        assert!(message(&file).contains("may be written by group 12345 (mode 0664): chmod g-w "));
        chown(&file, Some(12345), None).unwrap();
        assert!(message(&file).contains("belongs to user 12345, who may change it: chown root "));
        chown(&file, Some(0), Some(0)).unwrap();
        let link = dir.path().join("link");
        symlink("a.yaml", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        assert!(message(&link).contains("chown -h root "));
    }

    #[test]
    fn a_foreign_directory_that_a_link_leads_through_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        std::fs::create_dir_all(open.join("deep")).unwrap();
        std::fs::write(open.join("deep/a.yaml"), "x").unwrap();
        mode(&open, 0o777);
        let link = dir.path().join("link.yaml");
        symlink("open/deep/a.yaml", &link).unwrap();
        assert!(message(&link).contains("/open (on the way to "));
    }

    #[test]
    fn unknown_owners_count_only_in_a_user_namespace() {
        let trusted = |unknown| Trusted { uid: 7, unknown };
        assert!(!trusted(None).user(65534) && !trusted(None).group(65534));
        let inside = trusted(Some((65534, 65533)));
        assert!(inside.user(65534) && inside.group(65533) && !inside.user(65533));
        assert!(inside.user(0) && inside.user(7) && inside.group(0) && !inside.group(8));
    }

    #[test]
    fn commands_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
