//! The policy read as a function.
