//! POSIX ACLs: who may write beside the owner, the group and the others of the mode.

use rustix::io::Errno;
use std::io;
use std::path::Path;

/// The attribute that holds the ACL of a file, see `acl(5)`.
const ATTRIBUTE: &str = "system.posix_acl_access";
/// As much as an attribute can hold.
const BYTES_AT_MOST: usize = 64 << 10;
/// The one version of its format: a head of 4 bytes, then 8 bytes an entry.
const VERSION: u32 = 2;

const USER: u16 = 0x02;
const GROUP_OF_FILE: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
/// The permission to write.
const WRITE: u16 = 0x02;

/// Whom an ACL lets write, the owner and everybody aside: these stand in the mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Writers {
    pub users: Vec<u32>,
    pub groups: Vec<u32>,
    /// Whether the file's own group is one of them.
    pub group_of_file: bool,
}

/// Whom the ACL of this file lets write; `None` where it has none. Follows links.
///
/// # Errors
/// What the system refuses, or that the ACL is of an unknown format.
pub(super) fn writers(path: &Path) -> io::Result<Option<Writers>> {
    let mut bytes = vec![0; BYTES_AT_MOST];
    let length = match rustix::fs::getxattr(path, ATTRIBUTE, &mut bytes[..]) {
        Ok(length) => length,
        // None, or a file system without ACLs.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let entries = bytes.get(..length).and_then(entries);
    let unknown = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "its ACL is of an unknown format",
        )
    };
    entries
        .ok_or_else(unknown)
        .map(|entries| Some(of(&entries)))
}

/// Tag, permissions and id of each entry.
fn entries(bytes: &[u8]) -> Option<Vec<(u16, u16, u32)>> {
    let (version, rest) = bytes.split_first_chunk::<4>()?;
    let (entries, left) = rest.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !left.is_empty() {
        return None;
    }
    let entry = |[a, b, c, d, id @ ..]: &[u8; 8]| {
        let (tag, permissions) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        (tag, permissions, u32::from_le_bytes(*id))
    };
    Some(entries.iter().map(entry).collect())
}

fn of(entries: &[(u16, u16, u32)]) -> Writers {
    let mut writers = Writers::default();
    let mask = entries.iter().find(|(tag, ..)| *tag == MASK);
    if mask.is_some_and(|(_, permissions, _)| permissions & WRITE == 0) {
        return writers;
    }
    for (tag, permissions, id) in entries {
        match *tag {
            _ if permissions & WRITE == 0 => {}
            USER => writers.users.push(*id),
            GROUP => writers.groups.push(*id),
            GROUP_OF_FILE => writers.group_of_file = true,
            _ => {}
        }
    }
    writers
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Sets an ACL of these entries; false where the file system takes none.
    pub(crate) fn set(path: &Path, entries: &[(u16, u16, u32)]) -> bool {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        let set = rustix::fs::setxattr(path, ATTRIBUTE, &bytes, rustix::fs::XattrFlags::empty());
        set.inspect_err(|error| eprintln!("skipped: no ACLs here: {error}"))
            .is_ok()
    }

    /// An ACL that lets this user read and write, as `setfacl -m u:ID:rw`.
    pub(crate) fn with_user(id: u32) -> Vec<(u16, u16, u32)> {
        acl((USER, 6, id), 6)
    }

    /// An ACL of a file that its owner alone may write, with one more entry and this mask.
    fn acl(entry: (u16, u16, u32), mask: u16) -> Vec<(u16, u16, u32)> {
        let none = u32::MAX;
        let mut entries = vec![
            (0x01, 6, none),
            (GROUP_OF_FILE, 4, none),
            entry,
            (MASK, mask, none),
            (0x20, 4, none),
        ];
        entries.sort();
        entries
    }

    #[test]
    fn who_may_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(writers(file.path()).unwrap(), None);
        let found = |entry, mask| {
            set(file.path(), &acl(entry, mask)).then(|| writers(file.path()).unwrap().unwrap())
        };
        let Some(named) = found((USER, 6, 12345), 6) else {
            return;
        };
        assert_eq!((named.users, named.groups), (vec![12345], vec![]));
        let group = found((GROUP, 6, 23456), 7).unwrap();
        assert_eq!((group.users, group.groups), (vec![], vec![23456]));
        let nobody = Writers::default();
        assert_eq!(found((USER, 6, 12345), 5).unwrap(), nobody, "masked");
        assert_eq!(found((USER, 5, 12345), 7).unwrap(), nobody, "only reads");
    }

    #[test]
    fn damaged_ones_are_no_acl() {
        assert_eq!(entries(&[]), None);
        assert_eq!(entries(&[3, 0, 0, 0]), None);
        assert_eq!(entries(&[2, 0, 0, 0, 1]), None);
        assert_eq!(entries(&[2, 0, 0, 0]), Some(vec![]));
    }
}
