//! The policy read as a function.
//!
//! | file | subject |
//! |---|---|
//! | [`explain`], [`layers`] | what decides about one flow, and what every layer says |
//! | [`diagnose`] | why a port is not reached |
//! | [`open`] | to whom a port is open |
//! | [`diff`] | which flows a new policy changes |
//! | [`lint`] | what is right, and probably not meant |
//! | [`space`], [`listed`] | the algebra of flows that these stand on |

pub mod diagnose;
pub mod diff;
pub mod explain;
pub mod layers;
pub mod lint;
pub mod listed;
pub mod open;
pub mod space;
