//! Packet sockets of this network namespace, and who holds them.

use std::collections::HashSet;
use std::fs;

use super::spot::BlindSpot;
use crate::netfilter::listeners::holders;

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
        processes: processes(&inodes),
    }]
}

/// The last column of each line but the first.
fn inodes(list: &str) -> HashSet<u32> {
    let last = |line: &str| line.split_whitespace().next_back()?.parse().ok();
    list.lines().skip(1).filter_map(last).collect()
}

/// The processes that have one of these sockets open, as far as this process may look: by name, then number.
fn processes(inodes: &HashSet<u32>) -> Vec<String> {
    let holds = |sockets: &[u32]| sockets.iter().any(|socket| inodes.contains(socket));
    let holding = holders().filter(|(.., sockets)| holds(sockets));
    let mut found: Vec<(String, u32)> = holding.map(|(name, pid, _)| (name, pid)).collect();
    found.sort();
    let found = found.into_iter();
    found.map(|(name, pid)| format!("{name} ({pid})")).collect()
}

#[cfg(test)]
mod tests {
    use super::inodes;

    #[test]
    fn the_last_column() {
        let list = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                    00000000a1b2c3d4 3      3    0003   2     1 0      0      18231\n";
        assert_eq!(inodes(list), [18231].into());
        assert!(inodes(list.lines().next().unwrap_or_default()).is_empty());
    }
}
