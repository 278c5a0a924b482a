//! Waits for events and has the [host](crate::host) do what follows.
//!
//! | file | subject |
//! |---|---|
//! | [`run`] | the loop: a saved file, a signal, a request |
//! | [`tell`] | what it tells the service manager |
//! | [`start`] | what holds before the definition is read |
//! | `answer` | what it does when it is asked |
//! | `saver` | the last good policy is saved meanwhile |
//! | `held` | when saves are not followed |
//! | [`hits`] | when what the rules have met is read and saved |
//! | [`guard`] | what other programs change in our table is noticed, and when it is answered: at the [`pace`] that a fight allows |
//! | `restore` | it is put right |
//! | [`store`] | what the service manager keeps for the next daemon |
//! | [`control`] | the socket on which the command asks |
//! | [`metrics`] | where Prometheus asks |
//! | [`report`] | what it answers |
//! | [`refusals`] | what the kernel tells of refused packets, as events |
//! | [`logging`] | the log |

mod answer;
pub mod control;
pub mod guard;
mod held;
pub mod hits;
pub mod logging;
pub mod metrics;
pub mod pace;
pub mod refusals;
pub mod report;
mod restore;
pub mod run;
mod saver;
pub mod start;
pub mod store;
pub mod tell;
