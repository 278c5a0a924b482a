//! How often something may happen: so many times at once, and once more each period.

use std::time::{Duration, Instant};

/// When the times that there were so far are paid for.
#[derive(Debug, Clone, Copy)]
pub struct Bucket(Instant);

impl Bucket {
    /// Nothing happened so far.
    pub fn new(now: Instant) -> Self {
        Bucket(now)
    }

    /// Whether it may happen once more. Counts it then.
    pub fn take(&mut self, now: Instant, burst: u32, each: Duration) -> bool {
        let paid = self.0.max(now) + each;
        let within = paid <= now + each * burst;
        if within {
            self.0 = paid;
        }
        within
    }

    /// Whether all of it is paid for.
    pub fn is_full(&self, now: Instant) -> bool {
        self.0 <= now
    }
}
