//! Processor time of this program, all its threads together. Other programs on the machine do not count.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// So far.
pub fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .expect("the process's clock")
        .into()
}
