//! Time that this thread had a processor: what others do on the machine meanwhile does not count.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// So far.
pub fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("the thread's clock")
        .into()
}
