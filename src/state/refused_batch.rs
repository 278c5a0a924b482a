//! `refused-batch.nft`: what the kernel refused last, for whoever looks into it.

use super::directory::{State, StateError};
use std::path::PathBuf;

/// The file's name in the state directory.
const FILE: &str = "refused-batch.nft";

/// Writes the batch; returns the file's path.
///
/// # Errors
///
/// What the system refuses.
pub fn write(state: &State, batch: &str) -> Result<PathBuf, StateError> {
    state.write_atomically(FILE, batch.as_bytes())?;
    Ok(state.directory().join(FILE))
}
