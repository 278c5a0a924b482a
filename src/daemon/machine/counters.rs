//! What the daemon has done since it was started, in numbers.

/// How long definitions took to be enforced or refused.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    /// How many were enforced or refused.
    pub count: u64,
    /// All together, in seconds.
    pub sum: f64,
    /// The last, in seconds.
    pub last: f64,
}

/// Since the daemon was started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// Definitions that were enforced.
    pub reloads: u64,
    /// Definitions that were refused, and restorations that failed.
    pub failures: u64,
    /// Changes of other programs that were put right.
    pub restorations: u64,
    /// From the end of reading a definition on.
    pub durations: Durations,
}

impl Durations {
    /// One more.
    pub fn add(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        self.last = seconds;
    }
}
