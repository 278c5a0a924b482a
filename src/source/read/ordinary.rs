//! File systems that hold files, and those in which the kernel makes up what is read.

use super::error::ReadError;
use rustix::fs::StatFs;
use rustix::io::Errno;
use std::path::Path;

/// File systems whose files are not files: reading one may take what another program waits for, as of `/proc/kmsg`, or
/// show what only its reader may see. By `f_type`, see `statfs(2)`.
const MADE_UP: [(u64, &str); 15] = [
    (0x9fa0, "a file of procfs"),
    (0x6265_6572, "a file of sysfs"),
    (0x6462_6720, "a file of debugfs"),
    (0x7472_6163, "a file of tracefs"),
    (0x7363_6673, "a file of securityfs"),
    (0x6265_6570, "a file of configfs"),
    (0x0027_e0eb, "a file of cgroup"),
    (0x6367_7270, "a file of cgroup2"),
    (0xcafe_4a11, "a file of bpf"),
    (0xf97c_ff8c, "a file of selinuxfs"),
    (0xde5e_81e4, "a file of efivarfs"),
    (0x6165_676c, "a file of pstore"),
    (0x1980_0202, "a message queue"),
    (0x6573_5543, "a file of fusectl"),
    (0x6e73_6673, "a namespace"),
];

/// Refuses what lies on such a file system.
pub(super) fn check(path: &Path, found: Result<StatFs, Errno>) -> Result<(), ReadError> {
    let found = found.map_err(|error| ReadError::from_io(path, error.into()))?;
    let kind = found.f_type as u64 & 0xffff_ffff;
    match MADE_UP.iter().find(|(number, _)| *number == kind) {
        None => Ok(()),
        Some((_, kind)) => Err(ReadError::NotAFile {
            path: path.to_owned(),
            kind,
        }),
    }
}
