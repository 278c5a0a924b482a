//! What a daemon answers to `status`, as data. The parts that a host answers are in [`crate::host::report`].

use crate::host::report::{Failure, Hits, Summary};
use crate::netfilter::tracked::TrackedFlows;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is enforced, and how it goes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The daemon's process.
    pub pid: u32,
    /// The definition that is watched.
    pub definition: PathBuf,
    /// The instance that the daemon was told to be; `None` if the definition says which this host is.
    #[serde(default)]
    pub instance: Option<String>,
    /// What is enforced; `None` if nothing is.
    pub enforced: Option<Summary>,
    /// The generation that an earlier daemon left enforced, while this one has enforced nothing.
    #[serde(default)]
    pub inherited: Option<u64>,
    /// Why it is not known whether anything is enforced, while this daemon has enforced nothing.
    #[serde(default)]
    pub unseen: Option<String>,
    /// The candidate that was on trial before the policy that is enforced came back.
    #[serde(default)]
    pub taken_back: Option<PathBuf>,
    /// Whether what is enforced is the policy that an earlier daemon kept, and no definition was enforced since.
    #[serde(default)]
    pub from_kept: bool,
    /// Whether the host is closed for want of a policy.
    #[serde(default)]
    pub closed: bool,
    /// Why the enforced policy will not be there at the next start.
    #[serde(default)]
    pub not_kept: Option<String>,
    /// The candidate that waits for its confirmation.
    #[serde(default)]
    pub trial: Option<TrialStatus>,
    /// Whether saves of the definition are not followed, as asked, until the next reload.
    #[serde(default)]
    pub held: bool,
    /// What keeps other programs from changing what is enforced: begins with `owned`,
    /// `restored` or `none`.
    #[serde(default)]
    pub protection: String,
    /// How often a change that another program has made in our table was put right, since the daemon was started.
    #[serde(default)]
    pub restorations: u64,
    /// The last of them.
    #[serde(default)]
    pub last_restoration: Option<Restoration>,
    /// Hits of every rule and layer that was met, and of every rule of the groups.
    pub hits: Vec<Hits>,
    /// Why the newest definition is not enforced.
    pub last_error: Option<Failure>,
    /// What is not filtered as it is written: while there is one, the service is degraded.
    pub warnings: Vec<String>,
    /// What may not be meant so, and degrades nothing.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What passes this host without meeting our hooks.
    pub blind_spots: Vec<String>,
    /// Whether only root may look for rules of iptables-legacy that take state away; the command does, as root.
    #[serde(default)]
    pub legacy_is_for_root: bool,
    /// Reloads since the daemon was started.
    pub reloads: u64,
    /// Refused definitions since the daemon was started.
    pub failures: u64,
    /// How many live flows changes of the policy have ended since the daemon was started.
    #[serde(default)]
    pub ended_flows: u64,
    /// How many live flows changes of the policy had judged again: none of that is a hit.
    #[serde(default)]
    pub judged_again_flows: u64,
    /// How full the kernel's table of tracked flows is; `None` while it tracks nothing.
    #[serde(default)]
    pub tracked_flows: Option<TrackedFlows>,
}

impl Status {
    /// Whether a policy is enforced and saved, the newest definition was not refused, and nothing about the interfaces
    /// is in doubt.
    pub fn is_well(&self) -> bool {
        self.enforced.is_some()
            && self.not_kept.is_none()
            && self.last_error.is_none()
            && self.warnings.is_empty()
    }
}

/// A candidate that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Where it was read.
    pub candidate: PathBuf,
    /// The hash of its texts.
    pub content: String,
    /// The time that is left, in seconds.
    pub seconds_left: f64,
}

/// Another program's change that was put right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restoration {
    /// When, in seconds since 1970.
    pub at: u64,
    /// `the table was deleted by another program (nft, pid 123)`.
    pub what: String,
}
