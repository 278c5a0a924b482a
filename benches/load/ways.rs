//! Ways to load the same policy, and what each costs.

use super::memory::{Watch, kernel};
use crate::support::Host;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// The middle one.
pub fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort();
    values[values.len() / 2]
}

/// How long a program takes with this text as its input.
///
/// # Panics
/// When it fails.
pub fn feed(command: &mut Command, text: &str) -> Duration {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let mut input = child.stdin.take().expect("a pipe");
    // A program that does not read is not fed.
    let _ = input.write_all(text.as_bytes());
    drop(input);
    let status = child.wait().expect("ended");
    assert!(status.success(), "{command:?}");
    start.elapsed()
}

/// Runs a program that must succeed.
pub fn undo(host: &Host, words: &[&str]) {
    let mut command = host.command(words[0]);
    let status = command.args(&words[1..]).status().expect("started");
    assert!(status.success(), "{words:?}");
}
