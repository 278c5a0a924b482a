//! The state directory: one file here for each file there, with its name, format and version. See `docs/operations.md`.
//!
//! | file | subject |
//! |---|---|
//! | [`directory`] | the directory and its lock: reads and writes files whole |
//! | [`seal`] | how a binary file begins |
//! | [`boot`] | which start of the machine this is |
//! | [`saved_policy`] | `policy` and `candidate` |
//! | [`in_force`] | `in-force` and `before-change` |
//! | [`flow_labels`] | `flow-labels.json` |
//! | [`hits`] | `hits`, by the arithmetic of [`counts`] |
//! | [`unblocks`] | `unblocks.json` |
//! | [`trial`] | `trial.json` |
//! | [`unconfirmed`] | `unconfirmed.json` |
//! | [`history`] | `history-…`: the definitions that were enforced |
//! | [`author`] | who has changed a definition |
//! | [`latest_time`] | `latest-time` |
//! | [`hold`] | `hold` |
//! | [`refused_batch`] | `refused-batch.nft` |
//! | [`last_enforced`] | the policy that was enforced last |

pub mod author;
pub mod boot;
pub mod counts;
pub mod directory;
pub mod flow_labels;
pub mod history;
pub mod hits;
pub mod hold;
pub mod in_force;
pub mod last_enforced;
pub mod latest_time;
pub mod refused_batch;
pub mod saved_policy;
pub mod seal;
pub mod trial;
pub mod unblocks;
pub mod unconfirmed;
