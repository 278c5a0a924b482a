//! Ways to load the same policy, and what each costs.

use super::memory::{Watch, kernel};
use crate::programs::median;
use std::time::Duration;

/// What a load costs.
pub struct Cost {
    /// From the start of the program to its end.
    pub time: Duration,
    /// What the kernel holds for it, in bytes.
    pub kernel: i64,
    /// The most that the program, or one that it started, had resident.
    pub peak: u64,
}

/// Loads so often, after once to warm up and to see the peak; `undo` runs after each, unmeasured.
pub fn measure(runs: usize, mut load: impl FnMut() -> Duration, mut undo: impl FnMut()) -> Cost {
    let watch = Watch::below(std::process::id());
    load();
    let peak = watch.peak();
    undo();
    let (mut times, mut held) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let before = kernel();
        times.push(load());
        let loaded = kernel();
        undo();
        // A drift of the machine's own goes out by the mean.
        held.push(loaded - (before + kernel()) / 2);
    }
    Cost {
        time: median(&mut times),
        kernel: median(&mut held),
        peak,
    }
}
