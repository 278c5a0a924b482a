//! The daemon: waits for events, decides, and has the [host](crate::host) enforce.
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
//! | `announced` | who has said that a definition is about to be saved |
//! | `saver` | saves what is enforced and counted while the daemon goes on |
//! | `status` | what is answered without a decision |
//! | `host_watch` | what a verdict asks of the host beside the definition, when it changes |
//! | [`control`] | the socket on which the command asks |
//! | [`metrics`] | where Prometheus asks |
//! | `socket`, `connections` | what both have in common: a socket's file, and who is served |
//! | `seldom`, `bucket` | how often a line is logged that outsiders cause |
//! | [`packet_log`] | what the kernel reports of refused packets, as events |
//! | [`store`], `notify` | the service manager |
//! | [`report`] | the answers, as data |
//! | [`logging`] | the log |

mod actions;
mod announced;
mod bucket;
mod connections;
pub mod control;
pub mod enforcer;
mod host_watch;
pub mod logging;
pub mod machine;
pub mod metrics;
mod notify;
pub mod packet_log;
pub mod report;
pub mod run;
mod saver;
mod seldom;
mod socket;
mod status;
pub mod store;
