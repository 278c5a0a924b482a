//! The policy read as a function.

pub mod diagnose;
pub mod diff;
pub mod explain;
pub mod layers;
pub mod lint;
pub mod listed;
pub mod open;
pub mod space;
