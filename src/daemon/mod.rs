//! Waits for events and runs the arrow from the definition to the kernel.
//!
//! | file | subject |
//! |---|---|
//! | [`run`] | the loop: a saved file, a signal, a request |
//! | [`host`] | the reconcile step, which a single `apply` runs too |
//! | [`guard`] | what other programs change in our table is put right, at the [`pace`] that a fight allows |
//! | [`first`] | which flows the first enforcement must know |
//! | [`ended`] | how many live flows a change ends, for the log |
//! | [`load`] | from a path to an account, through [`read`] |
//! | [`read`] | the only place that reads a definition from disk, over [`route`] |
//! | [`watch`] | when to read again |
//! | [`state`] | the state directory and its lock |
//! | [`store`] | what the service manager keeps for the next daemon |
//! | [`control`] | the socket on which the command asks |
//! | [`report`] | what it answers |
//! | [`logging`] | the log |

pub mod control;
pub mod ended;
pub mod first;
pub mod guard;
pub mod host;
pub mod load;
pub mod logging;
pub mod pace;
pub mod read;
pub mod report;
pub mod route;
pub mod run;
pub mod state;
pub mod store;
pub mod watch;
