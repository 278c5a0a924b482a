//! The policy read as a function.

pub mod explain;
