//! Lines of the log that outsiders cause: few, however many there are.

use super::bucket::Bucket;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Lines at once, and the time after which there is one more.
const BURST: u32 = 5;
const EACH: Duration = Duration::from_secs(60);

/// Lines of one kind. Counts those that are left out.
#[derive(Debug)]
pub struct Seldom(Mutex<(Bucket, u64)>);

impl Seldom {
    /// No line was logged so far.
    pub fn new() -> Self {
        Seldom(Mutex::new((Bucket::new(Instant::now()), 0)))
    }

    /// Calls `log` with the number of lines that were left out before, if any, or leaves this one out.
    pub fn log(&self, log: impl FnOnce(Option<u64>)) {
        let mut this = self.0.lock();
        let (bucket, left_out) = &mut *this;
        match bucket.take(Instant::now(), BURST, EACH) {
            true => log(Some(std::mem::take(left_out)).filter(|count| *count > 0)),
            false => *left_out += 1,
        }
    }
}
