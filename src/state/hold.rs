//! `hold`: saves of the definition are not followed, until the machine is started again.

use super::boot::boot_id;
use super::directory::{State, StateError};

/// The file's name in the state directory. It holds the start of the machine that it is of.
const FILE: &str = "hold";

/// Writes the file.
///
/// # Errors
///
/// What the system refuses.
pub fn write(state: &State) -> Result<(), StateError> {
    state.write_atomically(FILE, boot_id().as_bytes())
}

/// Removes the file.
///
/// # Errors
///
/// What the system refuses.
pub fn remove(state: &State) -> Result<(), StateError> {
    state.remove(FILE)
}

/// Whether saves are held back since this start of the machine.
pub fn is_set(state: &State) -> bool {
    let boot = state.read(FILE).ok().flatten();
    boot.is_some_and(|boot| boot == boot_id().as_bytes())
}
