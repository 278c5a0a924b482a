//! Waiting, and the times that a test may rest on.
//!
//! A test asserts states and their order. What must happen has [`SOON`], which only what never happens exceeds. A figure is
//! printed in every form of a test and held to its bound in the full form alone: a busy machine is no fault.

use std::{
    env,
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

/// How long what must happen may take.
pub const SOON: Duration = Duration::from_secs(60);
/// How long something must not happen, to count as not happening.
pub const WHILE: Duration = Duration::from_millis(300);
/// The same of a flow that was cut: longer than two retransmissions.
pub const CUT: Duration = Duration::from_millis(700);
/// The pause between two looks.
pub const PAUSE: Duration = Duration::from_millis(10);

/// Waits until something holds.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_or(|| format!("never: {what}"), &mut holds);
}

/// The same with a message that is made when the wait is in vain.
#[track_caller]
pub fn until_or(message: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "{}", message());
        thread::sleep(PAUSE);
    }
}

/// Whether the full form of a test is asked for: more rounds, and figures held to their bounds.
pub fn is_full() -> bool {
    env::var("SECGROUPD_FULL").is_ok_and(|value| value == "1")
}

/// Holds a figure to its bound, in the full form.
#[track_caller]
pub fn bounded<T: PartialOrd + Debug>(what: &str, figure: T, most: T) {
    assert!(
        !is_full() || figure <= most,
        "{what}: {figure:?}, at most {most:?}"
    );
}
