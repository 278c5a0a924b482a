//! This host: what it enforces, and how it comes to. Synchronous: the daemon, a single `apply` and `boot` run the same.
//!
//! ```text
//! plan      a definition -> the policy, its ruleset, its summary     pure
//! enforce   loaded, checked, switched                                netfilter
//! commit    what the kernel has now, recorded                        in memory
//! save      the same for the next start                              state
//! ```
//!
//! | file | subject |
//! |---|---|
//! | [`base`] | [`Host`]: its parts, how it is opened, what it answers |
//! | [`report`] | what a host answers, as data |
//! | `instance` | which instance of a definition this host is |
//! | [`plan`] | what a definition means for this host |
//! | [`reconcile`] | from a definition to what the kernel enforces |
//! | `enforce` | the ways to the kernel: a plan, checked; a saved ruleset |
//! | `commit` | the one record of what the kernel enforces now |
//! | [`save`] | the policy is saved for the next start |
//! | `saved` | the ruleset of a saved policy |
//! | [`resume`] | the saved policy is enforced at start and at boot |
//! | [`restore`] | what another program has changed or deleted is enforced again |
//! | [`ending`] | rules whose time has come are taken out |
//! | `clock` | the time by which rules end |
//! | [`trial`] | a candidate that must be confirmed in time |
//! | [`start`] | a host that has no policy is closed |
//! | [`remove`] | the policy is taken off this host |
//! | [`protection`] | who may change what is enforced |
//! | [`hits`] | what the rules have met |
//! | [`seed`] | which flows the first enforcement must know |
//! | `labels` | which labels say where a flow was opened |
//! | `facts` | what verdicts ask of this host beside the definition |
//! | [`interfaces`] | the interfaces that a policy binds |

pub mod base;
mod clock;
mod commit;
pub mod ending;
mod enforce;
mod facts;
#[cfg(test)]
mod histories;
pub mod hits;
mod instance;
pub mod interfaces;
mod labels;
pub mod plan;
pub mod protection;
pub mod reconcile;
pub mod remove;
pub mod report;
pub mod restore;
pub mod resume;
pub mod save;
mod saved;
pub mod seed;
pub mod start;
pub mod trial;

pub use self::base::Host;
pub use self::facts::ephemeral_ports;
pub use self::instance::{choose, hostname};
pub use self::interfaces::{interface_doubts, is_of_another_host};
pub use self::plan::Attempt;
