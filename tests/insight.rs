//! The policy read as a function: lint and diff agree with brute force over every boundary packet of random policies.
//!
//! 100 policies, and 2,000 with `SECGROUPD_FULL=1` (`bash tests/full.sh insight`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "insight/boundary.rs"]
mod boundary;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "definitions/cases.rs"]
mod cases;
#[path = "insight/diff.rs"]
mod diff;
mod generate;
#[path = "insight/layers.rs"]
mod layers;
#[path = "insight/lint.rs"]
mod lint;
#[path = "insight/warnings.rs"]
mod warnings;
mod workloads;

/// The full form looks at more policies and holds times to their bounds.
fn is_full() -> bool {
    std::env::var("SECGROUPD_FULL").is_ok_and(|value| value == "1")
}

/// How many random policies are looked at.
fn policies() -> u64 {
    if is_full() { 2000 } else { 100 }
}
