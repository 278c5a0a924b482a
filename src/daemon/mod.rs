//! Waits for events and runs the arrow from the definition to the kernel.
//!
//! | file | subject |
//! |---|---|
//! | [`run`] | the loop: a saved file, a signal, a request |
//! | [`tell`] | what it tells the service manager |
//! | [`start`] | what holds before the definition is read |
//! | `answer` | what it does when it is asked |
//! | [`host`] | the reconcile step, which a single `apply` runs too |
//! | `checked` | what is done beside the load and before the switch |
//! | [`save`], `saver` | the last good policy is saved |
//! | [`resume`] | it is enforced at start and at boot |
//! | `held` | when saves are not followed |
//! | [`hits`] | what the rules have met, read from the kernel, saved and reported |
//! | [`trial`] | a candidate that must be confirmed in time |
//! | `protect` | who may change what is enforced |
//! | [`guard`] | what other programs change in our table is noticed, and when it is answered: at the [`pace`] that a fight allows |
//! | `restore` | it is put right |
//! | [`first`] | which flows the first enforcement must know |
//! | `slots` | which labels say where a flow was opened |
//! | [`store`] | what the service manager keeps for the next daemon |
//! | [`control`] | the socket on which the command asks |
//! | [`metrics`] | where Prometheus asks |
//! | [`report`] | what it answers |
//! | [`refusals`] | what the kernel tells of refused packets, as events |
//! | [`logging`] | the log |

mod answer;
mod checked;
pub mod control;
pub mod first;
pub mod guard;
mod held;
pub mod hits;
pub mod host;
pub mod logging;
pub mod metrics;
pub mod pace;
mod protect;
pub mod refusals;
pub mod report;
mod restore;
pub mod resume;
pub mod run;
pub mod save;
mod saver;
mod slots;
pub mod start;
pub mod store;
pub mod tell;
pub mod trial;
