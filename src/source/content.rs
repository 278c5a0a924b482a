//! The hash of a definition's texts.

use crate::definition::Sources;
use sha2::{Digest, Sha256};

/// Hashes the texts of a definition, wherever they stand.
pub fn content(sources: &Sources) -> String {
    let mut hash = Sha256::new();
    for source in sources.iter() {
        hash.update((source.text.len() as u64).to_le_bytes());
        hash.update(&*source.text);
    }
    hex(&hash.finalize())
}

/// Writes bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
