//! Refuses what others may write: a definition decides who reaches the host, so only root and this process's user may
//! write it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::acl;
use super::error::ReadError;
use crate::source::path_walk::PathWalk;
use crate::source::shown::shown;

/// Whether it matters who else may write what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A file, or a directory or link on the way to it, that others may write is refused: for what gets enforced.
    Checked,
    /// What anybody wrote is read, but no link of theirs to what they may not read: for `check` and `compile`, which
    /// change nothing and show lines of what they read.
    Any,
}

/// The user that the service runs as.
const SERVICE_USER: &str = "secgroupd";

/// Users and groups that may write.
#[derive(Debug)]
pub struct Trusted {
    uid: u32,
    /// The user of the service, for its own state.
    service: Option<u32>,
    /// The uid and gid that stand for all those a user namespace does not know, when we live in such a one.
    unknown: Option<(u32, u32)>,
}

impl Trusted {
    /// Root and the user of this process.
    pub fn ourselves() -> Trusted {
        Trusted {
            uid: nix::unistd::geteuid().as_raw(),
            service: None,
            unknown: unknown_ids(),
        }
    }

    /// The same and the user of the service: `apply` as root reads and writes the state that the daemon owns.
    pub fn with_service() -> Trusted {
        // Not by the name service, which may ask a network that is not up yet.
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Trusted {
            service: uid_of(SERVICE_USER, &users),
            ..Trusted::ourselves()
        }
    }

    fn user(&self, uid: u32) -> bool {
        [Some(0), Some(self.uid), self.service].contains(&Some(uid))
            || self.unknown.is_some_and(|(unknown, _)| uid == unknown)
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

/// The number of a user in the text of `/etc/passwd`.
fn uid_of(name: &str, users: &str) -> Option<u32> {
    let mut lines = users.lines().map(|line| line.split(':'));
    let mut fields =
        lines.find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?;
    fields.nth(1)?.parse().ok()
}

/// Refuses a walk to `path` that others than the trusted may change: everything looked up on it, and where it ends.
///
/// # Errors
/// [`ReadError::Untrusted`], or what the system refuses.
pub fn check(path: &Path, walk: &PathWalk, trusted: &Trusted) -> Result<(), ReadError> {
    let failed = |error| ReadError::from_io(path, error);
    let root = std::fs::symlink_metadata("/").map_err(failed)?;
    let steps = walk
        .steps
        .iter()
        .filter_map(|step| Some((step.path(), step.metadata.as_ref()?)));
    for (at, metadata) in std::iter::once((PathBuf::from("/"), &root)).chain(steps) {
        // A sticky directory lets nobody replace what belongs to somebody else.
        let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
        let fault = match owner(&at, metadata, trusted) {
            None if !sticky => writers(&at, metadata, trusted).map_err(failed)?,
            fault => fault,
        };
        refuse(path, at, fault)?;
    }
    Ok(())
}

/// Refuses the file or directory at `path` itself where others than the trusted may write it, sticky or not.
///
/// # Errors
/// [`ReadError::Untrusted`], or what the system refuses.
pub fn check_itself(path: &Path, metadata: &Metadata, trusted: &Trusted) -> Result<(), ReadError> {
    let failed = |error| ReadError::from_io(path, error);
    let fault = match owner(path, metadata, trusted) {
        None => writers(path, metadata, trusted).map_err(failed)?,
        fault => fault,
    };
    refuse(path, path.to_owned(), fault)
}

/// Refuses a walk along a link of somebody else to a file that not everybody may read: whoever made the link may not
/// read it either.
pub(super) fn check_links(path: &Path, walk: &PathWalk) -> Result<(), ReadError> {
    let Some((_, end)) = walk.found() else {
        return Ok(());
    };
    let trusted = Trusted::ourselves();
    let found = walk
        .steps
        .iter()
        .filter_map(|step| Some((step.path(), step.metadata.as_ref()?)));
    let private = |metadata: &Metadata| match metadata.is_dir() {
        true => metadata.mode() & 0o001 == 0,
        false => !metadata.is_symlink() && metadata.mode() & 0o004 == 0,
    };
    if end.is_dir() || !found.clone().any(|(_, metadata)| private(metadata)) {
        return Ok(());
    }
    for (at, metadata) in found {
        let uid = metadata.uid();
        if metadata.is_symlink() && uid != end.uid() && !trusted.user(uid) {
            let what = format!("is a link of user {uid} to a file that not everybody may read");
            let fault = Some((what, "name the file itself".to_owned()));
            refuse(path, at, fault)?;
        }
    }
    Ok(())
}

/// What is wrong, and what mends it.
type Fault = (String, String);

fn refuse(path: &Path, at: PathBuf, fault: Option<Fault>) -> Result<(), ReadError> {
    let Some((fault, mend)) = fault else {
        return Ok(());
    };
    let path = path.to_owned();
    Err(ReadError::Untrusted {
        path,
        at,
        fault,
        mend,
    })
}

fn owner(at: &Path, metadata: &Metadata, trusted: &Trusted) -> Option<Fault> {
    let dash = if metadata.is_symlink() { "-h " } else { "" };
    (!trusted.user(metadata.uid())).then(|| {
        (
            format!("belongs to user {}, who may change it", metadata.uid()),
            format!("chown {dash}root {}", quoted(at)),
        )
    })
}

/// Who may write beside the owner, by mode and by ACL. The mode of a link says nothing.
fn writers(at: &Path, metadata: &Metadata, trusted: &Trusted) -> std::io::Result<Option<Fault>> {
    if metadata.is_symlink() {
        return Ok(None);
    }
    let quoted = quoted(at);
    let (mode, gid) = (metadata.mode() & 0o7777, metadata.gid());
    if mode & 0o002 != 0 {
        return Ok(Some((
            format!("may be written by everybody (mode {mode:04o})"),
            format!("chmod o-w {quoted}"),
        )));
    }
    // With an ACL these bits of the mode are its mask: without them it lets nobody write.
    if mode & 0o020 == 0 {
        return Ok(None);
    }
    let Some(acl) = acl::writers(at)? else {
        return Ok((!trusted.group(gid)).then(|| {
            (
                format!("may be written by group {gid} (mode {mode:04o})"),
                format!("chmod g-w {quoted}"),
            )
        }));
    };
    let user = acl.users.iter().find(|uid| !trusted.user(**uid));
    let of_file = acl.group_of_file.then_some(&gid);
    let mut groups = acl.groups.iter().chain(of_file);
    let who = match (user, groups.find(|gid| !trusted.group(**gid))) {
        (Some(uid), _) => format!("user {uid}"),
        (None, Some(gid)) => format!("group {gid}"),
        (None, None) => return Ok(None),
    };
    Ok(Some((
        format!("may be written by {who} (its ACL)"),
        format!("setfacl -b {quoted}"),
    )))
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

    /// The mode alone shows a mask, and a group that may not write.
    #[test]
    fn what_an_acl_lets_others_write_is_refused() {
        use super::super::acl::tests::{set, with_user};
        let dir = tempfile::tempdir().unwrap();
        let sub = dir.path().join("sub");
        let file = sub.join("a.yaml");
        std::fs::create_dir(&sub).unwrap();
        std::fs::write(&file, "x").unwrap();
        if !set(&file, &with_user(12345)) {
            return;
        }
        let shown = file.display();
        let words = "may be written by user 12345 (its ACL): setfacl -b ";
        assert_eq!(message(&file), format!("{shown} {words}{shown}"));
        assert_eq!(template_file(&file, Trust::Any).unwrap(), "x");
        let ours = nix::unistd::geteuid().as_raw();
        assert!(set(&file, &with_user(ours)));
        assert_eq!(template_file(&file, Trust::Checked).unwrap(), "x");
        // A directory on the way, and of the definition.
        assert!(set(&sub, &with_user(12345)));
        assert!(message(&file).contains(&format!("/sub (on the way to {shown}) {words}")));
        let of_directory = definition_files(&sub, Trust::Checked).unwrap_err();
        assert!(of_directory[0].to_string().contains(words));
    }

    #[test]
    fn a_link_of_others_leads_to_no_secret() {
        if !nix::unistd::geteuid().is_root() || unknown_ids().is_some() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        mode(dir.path(), 0o755);
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        let link = dir.path().join("link.yaml");
        symlink("secret", &link).unwrap();
        mode(&secret, 0o600);
        assert!(template_file(&link, Trust::Any).is_ok(), "our own link");
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        let errors = definition_files(&link, Trust::Any).unwrap_err();
        let said = errors[0].to_string();
        assert!(said.contains("is a link of user 12345"), "{said}");
        mode(&secret, 0o644);
        assert!(
            template_file(&link, Trust::Any).is_ok(),
            "everybody's to read"
        );
        mode(dir.path(), 0o700);
        assert!(
            template_file(&link, Trust::Any).is_err(),
            "nobody's to find"
        );
        chown(&secret, Some(12345), None).unwrap();
        assert!(template_file(&link, Trust::Any).is_ok(), "their own file");
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
        let trusted = |unknown| Trusted {
            uid: 7,
            service: None,
            unknown,
        };
        assert!(!trusted(None).user(65534) && !trusted(None).group(65534));
        let inside = trusted(Some((65534, 65533)));
        assert!(inside.user(65534) && inside.group(65533) && !inside.user(65533));
        assert!(inside.user(0) && inside.user(7) && inside.group(0) && !inside.group(8));
    }

    #[test]
    fn the_user_of_the_service() {
        let users = "root:x:0:0::/root:/bin/sh\nsecgroupd2:x:7:7:::\nsecgroupd:!:998:997:::\n";
        assert_eq!(uid_of(SERVICE_USER, users), Some(998));
        assert_eq!(uid_of("nobody", users), None);
        assert_eq!(uid_of("x", "x\nx:y"), None);
        let service = Trusted {
            uid: 7,
            service: Some(998),
            unknown: None,
        };
        assert!(service.user(998) && !service.user(997) && !service.group(998));
    }

    #[test]
    fn commands_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
