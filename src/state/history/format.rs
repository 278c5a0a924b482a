//! An entry as the bytes of its file, and back.

use super::entry::{Entry, Head, MOST_TEXT};
use crate::state::seal::{SealError, seal, sealed_begin, unseal};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use std::io::{Read, Write};

/// The whole file.
pub(super) fn written(entry: &Entry) -> Vec<u8> {
    // Names and numbers can always be said, and a vector takes all.
    let head = serde_json::to_vec(&entry.head).unwrap_or_default();
    let mut bytes = sealed_begin();
    bytes.extend((head.len() as u32).to_le_bytes());
    bytes.extend(head);
    let mut encoder = ZlibEncoder::new(bytes, Compression::default());
    let written = encoder.write_all(entry.text.as_bytes());
    let bytes = written.and_then(|()| encoder.finish()).unwrap_or_default();
    seal(bytes)
}

/// Reads what [`written`] wrote.
pub(super) fn read(bytes: &[u8]) -> Result<Entry, SealError> {
    const SHORT: SealError = SealError::Damaged("it is cut short");
    let body = unseal(bytes)?;
    let (length, rest) = body.split_first_chunk::<4>().ok_or(SHORT)?;
    let (head, texts) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or(SHORT)?;
    let head: Head = serde_json::from_slice(head)
        .map_err(|_| SealError::Damaged("its header cannot be read"))?;
    let lengths = head.files.iter().map(|(_, length)| *length);
    let whole = lengths.fold(0usize, usize::saturating_add);
    if whole > MOST_TEXT {
        return Err(SealError::Damaged("its texts are too long"));
    }
    let mut text = String::new();
    let mut texts = ZlibDecoder::new(texts).take(whole as u64 + 1);
    let read = texts.read_to_string(&mut text);
    match read.is_ok() && text.len() == whole {
        true => Ok(Entry { head, text }),
        false => Err(SealError::Damaged("its texts cannot be read")),
    }
}
