//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, by this machine's clock; 0 where that is before.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
