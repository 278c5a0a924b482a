//! The beginning of every binary file of the state directory, which shows whether each byte is as it was written.
//!
//! ```text
//! "secgroup" | format, 4 bytes | SHA-256 of all that follows | what is sealed
//! ```
//!
//! Numbers are little-endian.

use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"secgroup";
const FORMAT: u32 = 1;
const DIGEST: usize = 32;
/// Where what is sealed begins.
pub const BODY: usize = MAGIC.len() + 4 + DIGEST;

/// Why a sealed file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is no such file, or not all of it.
    #[error("it is damaged ({0})")]
    Damaged(&'static str),
    /// A later program wrote it.
    #[error("it is of format {0}, which this version of secgroupd does not know")]
    Format(u32),
}

/// Begins a sealed file: leaves room for the seal.
pub fn sealed_begin() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.resize(BODY, 0);
    bytes
}

/// Seals what [`sealed_begin`] began.
pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some((begin, body)) = bytes.split_at_mut_checked(BODY) {
        begin[BODY - DIGEST..].copy_from_slice(&Sha256::digest(body));
    }
    bytes
}

/// Returns what was sealed, if every byte is as it was.
///
/// # Errors
///
/// See [`SealError`].
pub fn unseal(bytes: &[u8]) -> Result<&[u8], SealError> {
    let damaged = SealError::Damaged;
    let begin = bytes.get(..BODY).ok_or(damaged("it is cut short"))?;
    let rest = begin
        .strip_prefix(MAGIC)
        .ok_or(damaged("it is something else"))?;
    let (format, seal) = rest
        .split_first_chunk::<4>()
        .ok_or(damaged("it is cut short"))?;
    match u32::from_le_bytes(*format) {
        FORMAT => {}
        other => return Err(SealError::Format(other)),
    }
    let body = bytes.get(BODY..).unwrap_or_default();
    match *seal == *Sha256::digest(body) {
        true => Ok(body),
        false => Err(damaged("its checksum is wrong")),
    }
}
