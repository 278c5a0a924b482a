//! `unblocks.json`: the unblocks of TCP 25 that were spent, and who is unblocked.

use super::directory::State;
use crate::cloud::Ledger;

/// The file's name in the state directory.
pub const FILE: &str = "unblocks.json";

/// Reads the ledger; that of a new host is empty.
///
/// # Errors
///
/// What the system refuses, or that the file is damaged.
pub fn read(state: &State) -> Result<Ledger, String> {
    let bytes = state.read(FILE).map_err(|error| error.to_string())?;
    Ledger::kept(bytes, &state.directory().join(FILE)).map_err(|error| error.to_string())
}

/// Writes the ledger.
///
/// # Errors
///
/// What the system refuses.
pub fn write(state: &State, ledger: &Ledger) -> Result<(), String> {
    let bytes = serde_json::to_vec(ledger).map_err(|error| error.to_string())?;
    let written = state.write_atomically(FILE, &bytes);
    written.map_err(|error| error.to_string())
}
