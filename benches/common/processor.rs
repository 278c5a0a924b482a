//! Time that this program had a processor, its threads together: what others do on the machine meanwhile does not count.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// So far.
pub fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)
        .expect("the process's clock")
        .into()
}
