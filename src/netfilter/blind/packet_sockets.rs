//! Packet sockets of this network namespace, and who holds them.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::BlindSpot;

/// Of the calling thread's network namespace, which `/proc/net` is not when a thread has gone elsewhere.
const LIST: &str = "/proc/thread-self/net/packet";

/// One entry if any is open, or if the list cannot be read.
pub(super) fn find() -> Vec<BlindSpot> {
    let text = match fs::read_to_string(LIST) {
        Ok(text) => text,
        // A kernel without packet sockets has no such list.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            return vec![BlindSpot::Unknown {
                what: "the open packet sockets",
                why: format!("{LIST}: {error}"),
            }];
        }
    };
    let inodes = inodes(&text);
    if inodes.is_empty() {
        return Vec::new();
    }
    vec![BlindSpot::PacketSockets {
        count: inodes.len(),
        processes: holders(&inodes),
    }]
}

/// The last column of each line but the first.
fn inodes(list: &str) -> HashSet<String> {
    let links = list
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next_back());
    links.map(|inode| format!("socket:[{inode}]")).collect()
}

/// The processes that have one of these sockets open, as far as this process may look: by name, then number.
fn holders(inodes: &HashSet<String>) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<(String, u32)> = processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            holds(&entry.path(), inodes).then(|| (name(&entry.path()), pid))
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .map(|(name, pid)| format!("{name} ({pid})"))
        .collect()
}

fn holds(process: &Path, inodes: &HashSet<String>) -> bool {
    let descriptors = fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| {
            target
                .to_str()
                .is_some_and(|target| inodes.contains(target))
        })
}

fn name(process: &Path) -> String {
    fs::read_to_string(process.join("comm"))
        .map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::inodes;

    #[test]
    fn the_last_column() {
        let list = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                    00000000a1b2c3d4 3      3    0003   2     1 0      0      18231\n";
        assert_eq!(inodes(list), ["socket:[18231]".to_owned()].into());
        assert!(inodes(list.lines().next().unwrap_or_default()).is_empty());
    }
}
