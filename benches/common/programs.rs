//! Other programs at work, and how long they take.

use crate::support::Host;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
