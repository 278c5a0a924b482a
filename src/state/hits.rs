//! `hits`: what the rules and layers have met.
//!
//! The file is small, and written without waiting for the disk. After a crash of the machine it may be damaged, which
//! costs the counts alone.

use super::boot::boot_id;
use super::counts::Counts;
use super::directory::{State, StateError};
use super::seal::{SealError, seal, sealed_begin, unseal};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The file's name in the state directory.
const FILE: &str = "hits";

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
struct Hits {
    /// Since which start of the machine the kernel's counters count.
    boot: String,
    counts: Counts,
}

/// Reads the counts; without any, or with a damaged file, they begin anew. Logs what is damaged.
pub fn read(state: &State) -> Counts {
    let bytes = match state.read(FILE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Counts::default(),
        Err(error) => {
            warn!("the hits of before are not known: {error}");
            return Counts::default();
        }
    };
    let damaged = SealError::Damaged("it cannot be read");
    let hits =
        unseal(&bytes).and_then(|bytes| postcard::from_bytes::<Hits>(bytes).map_err(|_| damaged));
    match hits {
        Ok(Hits { boot, mut counts }) => {
            if boot != boot_id() {
                counts.gone();
            }
            counts
        }
        Err(why) => {
            let path = state.directory().join(FILE);
            warn!(
                "the hits of before in {} cannot be used: {why}; they are counted anew",
                path.display()
            );
            Counts::default()
        }
    }
}

/// Removes the file.
///
/// # Errors
///
/// What the system refuses.
pub fn remove(state: &State) -> Result<(), StateError> {
    state.remove(FILE)
}

/// Hits that are to be written, when nobody waits for it.
#[derive(Debug)]
pub struct Unwritten {
    state: State,
    bytes: Vec<u8>,
}

impl Unwritten {
    /// Encodes the counts.
    pub fn of(state: &State, counts: &Counts) -> Option<Self> {
        let hits = Hits {
            boot: boot_id(),
            counts: counts.clone(),
        };
        // Names and numbers can always be said.
        let bytes = postcard::to_extend(&hits, sealed_begin()).ok()?;
        Some(Unwritten {
            state: state.clone(),
            bytes,
        })
    }

    /// Writes them.
    ///
    /// # Errors
    ///
    /// Why they could not be written; what was saved before still is.
    pub fn write(self) -> Result<(), String> {
        let written = self.state.write_for_now(FILE, &seal(self.bytes));
        written.map_err(|error| error.to_string())
    }
}
