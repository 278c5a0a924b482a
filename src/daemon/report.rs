//! What a daemon tells: answers to `status`, `reload` and `apply`, as data.

use crate::definition::{Diagnostic, Sources};
use crate::netfilter::tracked::TrackedFlows;
use crate::source::load::in_one_line;
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    /// Doubts about the interfaces: while there is one, the service is degraded.
    pub warnings: Vec<String>,
    /// What passes this host without meeting our hooks.
    pub blind_spots: Vec<String>,
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
    /// Whether a policy is enforced, the newest definition was not refused, and nothing about the interfaces is in doubt.
    pub fn is_well(&self) -> bool {
        self.enforced.is_some() && self.last_error.is_none() && self.warnings.is_empty()
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

/// What is enforced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Its generation.
    pub generation: u64,
    /// The definition it was made from.
    pub definition: PathBuf,
    /// The instance that this host is.
    pub instance: String,
    /// When it was switched in, in seconds since 1970.
    pub since: u64,
    /// The bound interfaces, the most specific name first.
    pub interfaces: Vec<InterfaceSummary>,
    /// Rules of the bound groups, inbound and outbound.
    pub rules: [usize; 2],
    /// Whether TCP 25 to external addresses is blocked.
    pub smtp_blocked: bool,
    /// Whether the whole host observes: nothing is refused.
    #[serde(default)]
    pub observe: bool,
    /// Unblocks spent, and how many the account has.
    pub unblocks: [u32; 2],
    /// From the beginning of the load to the end of the switch, in milliseconds.
    pub switched_after_ms: f64,
    /// What the definition was warned about, and requests that were refused.
    pub remarks: Vec<String>,
}

/// A bound interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InterfaceSummary {
    /// Its name or glob.
    pub name: String,
    /// The groups, highest priority first.
    pub groups: Vec<GroupSummary>,
}

/// A bound group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether its refusing rules only count.
    #[serde(default)]
    pub observe: bool,
}

/// What a rule or a layer has met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hits {
    /// `sg-web/in/3`, `approved-service/vpc-dns`, or a layer.
    pub reason: String,
    /// `allow`, `refuse` or `observe`, for a rule; `observe`, for a layer of a host that observes: it would be refused, and passes.
    pub action: Option<String>,
    /// Where the rule stands.
    pub place: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// When it was last seen to meet a packet, in seconds since 1970; it is looked at every 10 s, and whenever this is asked.
    #[serde(default)]
    pub last: Option<u64>,
}

/// Another program's change that was put right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restoration {
    /// When, in seconds since 1970.
    pub at: u64,
    /// `the table was deleted by another program (nft, pid 123)`.
    pub what: String,
}

/// Why something is not enforced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// When, in seconds since 1970.
    pub at: u64,
    /// One line.
    pub message: String,
    /// The same as a person reads it in full.
    pub text: String,
    /// The diagnostics, where a definition was refused.
    pub diagnostics: Vec<Value>,
}

impl Failure {
    /// A refused definition.
    pub fn of_definition(message: String, diagnostics: &[Diagnostic], sources: &Sources) -> Self {
        let text: Vec<_> = diagnostics
            .iter()
            .map(|d| d.render(sources, false))
            .collect();
        let diagnostics = diagnostics.iter().map(|d| d.to_json(sources)).collect();
        Failure {
            at: now(),
            message,
            text: text.join("\n\n"),
            diagnostics,
        }
    }

    /// One line that names the first error too.
    pub fn headline(&self) -> String {
        let mut errors = self
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic["severity"] == "error");
        match errors.next() {
            Some(first) => format!("{}: {}", self.message, in_one_line(first)),
            None => self.message.clone(),
        }
    }

    /// Anything else.
    pub fn other(message: String) -> Self {
        Failure {
            at: now(),
            text: message.clone(),
            message,
            diagnostics: Vec::new(),
        }
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
