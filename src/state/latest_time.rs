//! `latest-time`: the latest time that this host has seen. A rule that has ended does not come back because the clock
//! went back, or because a machine without one starts in 1970.

use super::directory::State;

/// The file's name in the state directory. It holds seconds since 1970, as a decimal number.
const FILE: &str = "latest-time";

/// The latest time that was written, in seconds since 1970; 0 where there is none.
///
/// # Errors
///
/// Why the file cannot be read.
pub fn read(state: &State) -> Result<u64, String> {
    let bytes = state.read(FILE).map_err(|error| error.to_string())?;
    let Some(bytes) = bytes else {
        return Ok(0);
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    text.trim().parse().map_err(|_| {
        let path = state.directory().join(FILE);
        format!(
            "{} is damaged: write the time into it, in seconds since 1970, or take it away",
            path.display()
        )
    })
}

/// Writes it.
///
/// # Errors
///
/// What the system refuses.
pub fn write(state: &State, seconds: u64) -> Result<(), String> {
    let text = format!("{seconds}\n");
    let written = state.write_atomically(FILE, text.as_bytes());
    written.map_err(|error| error.to_string())
}
