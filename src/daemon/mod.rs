//! The daemon: waits for events, decides, and has the host enforce.
//!
//! ```text
//! saves, requests, signals, timers -> run -> machine (pure) -> actions -> enforcer, the one thread that owns the Host
//! ```
//!
//! | file | subject |
//! |---|---|
//! | [`run`] | the loop: one event after the other |
//! | [`machine`] | what is decided, without any effect |
//! | `actions` | does what the machine returns |
//! | [`enforcer`] | the thread that owns the host |
//! | `saver` | saves what is enforced and counted while the daemon goes on |
//! | `status` | what is answered without a decision |
//! | [`control`] | the socket on which the command asks |
//! | [`metrics`] | where Prometheus asks |
//! | `socket` | what both have in common |
//! | [`packet_log`] | what the kernel reports of refused packets, as events |
//! | [`store`], `notify` | the service manager |
//! | [`report`] | the answers, as data |
//! | [`logging`] | the log |
//! | [`host`] | the reconcile step, which a single `apply` runs too |
//! | `checked` | what is done beside the load and before the switch |
//! | [`save`] | the last good policy is saved |
//! | [`resume`], [`start`] | it is enforced at start and at boot |
//! | [`hits`] | what the rules have met, read from the kernel, saved and reported |
//! | [`trial`] | a candidate that must be confirmed in time |
//! | `protect` | who may change what is enforced |
//! | [`first`] | which flows the first enforcement must know |
//! | `slots` | which labels say where a flow was opened |

mod actions;
mod checked;
pub mod control;
pub mod enforcer;
pub mod first;
pub mod hits;
pub mod host;
pub mod logging;
pub mod machine;
pub mod metrics;
mod notify;
pub mod packet_log;
mod protect;
pub mod report;
pub mod resume;
pub mod run;
pub mod save;
mod saver;
mod slots;
mod socket;
pub mod start;
mod status;
pub mod store;
pub mod trial;
