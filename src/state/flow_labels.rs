//! `flow-labels.json`: which labels say across which interface a flow was opened, over restarts and boots.

use super::directory::{State, StateError};
use crate::netfilter::slots::Slots;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The file's name in the state directory.
const FILE: &str = "flow-labels.json";
/// The version of the file. A file of another version is not read: nobody knows then where live flows were opened.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    /// Each interface, with the label of flows that were opened inbound across it and the label of outbound ones.
    slots: Slots,
}

/// Reads what earlier processes have assigned. Without it nobody knows where live flows were opened, and the log says
/// so.
pub fn read(state: &State) -> Option<Slots> {
    decoded(state).unwrap_or_else(|why| {
        warn!(
            "{FILE} in the state directory cannot be used ({why}): nobody knows across which interfaces live flows were opened"
        );
        None
    })
}

fn decoded(state: &State) -> Result<Option<Slots>, String> {
    let bytes = state.read(FILE).map_err(|error| error.to_string())?;
    let Some(bytes) = bytes else { return Ok(None) };
    let file: File = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    match file.version {
        VERSION if file.slots.is_plain() => Ok(Some(file.slots)),
        VERSION => Err("a label stands in it twice, or is not one of 64 to 127".into()),
        other => Err(format!("it is of version {other}")),
    }
}

/// Writes the file.
///
/// # Errors
///
/// What the system refuses.
pub fn write(state: &State, slots: &Slots) -> Result<(), String> {
    let file = File {
        version: VERSION,
        slots: slots.clone(),
    };
    let bytes = serde_json::to_vec(&file).map_err(|error| error.to_string())?;
    let written = state.write_atomically(FILE, &bytes);
    written.map_err(|error| error.to_string())
}

/// Removes the file.
///
/// # Errors
///
/// What the system refuses.
pub fn remove(state: &State) -> Result<(), StateError> {
    state.remove(FILE)
}
