//! From ordered rules to nearly constant time: a role's list as a diagram of verdict maps with shared nodes.
//!
//! ```text
//! Policy -> clauses (one ordered list of sets) -> plan (parts, each asked service first or address first, or as pairs of both)
//!                                              -> emit (chains and verdict maps)
//! ```
//!
//! What the diagram does not match falls off its end, back to the role's chain, which refuses it.

pub mod classes;
pub mod clause;
pub mod emit;
pub mod family;
pub mod paint;
pub mod pairs;
pub mod plan;
pub mod pool;
