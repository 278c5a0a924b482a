//! What a host answers, as data: what is enforced, what the rules have met, why something is not enforced.

use crate::definition::{Diagnostic, Sources};
use crate::policy::{Binding, Direction, Policy, Rule};
use crate::source::load::{Loaded, in_one_line};
use crate::words::count;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;

pub use crate::source::clock::now;

/// What is enforced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Its generation.
    pub generation: u64,
    /// The definition it was made from.
    pub definition: PathBuf,
    /// The instance that this host is.
    pub instance: String,
    /// The name of the host that the instance is, where this host was chosen by its name.
    #[serde(default)]
    pub host: Option<String>,
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
    /// The rules of the bound groups that have an end, those that have ended included.
    #[serde(default)]
    pub ending: Vec<RuleEnd>,
}

/// The end of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleEnd {
    /// `sg-web/in/3`.
    pub rule: String,
    /// When it ends, as RFC 3339 in UTC.
    pub until: String,
    /// Whether it has ended.
    pub ended: bool,
}

impl RuleEnd {
    /// Of the rules of a policy.
    pub fn of(policy: &Policy) -> Vec<Self> {
        let rules = policy.rules_that_end();
        let end = |rule: &Rule| {
            Some(RuleEnd {
                rule: rule.id.to_string(),
                until: rule.until?.to_string(),
                ended: rule.ended.is_some(),
            })
        };
        rules.filter_map(end).collect()
    }
}

/// A bound interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InterfaceSummary {
    /// Its name or glob.
    pub name: String,
    /// Its own addresses, as the definition lists them.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The groups, highest priority first.
    pub groups: Vec<GroupSummary>,
    /// The network ACL of its subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_acl: Option<String>,
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
    /// `allow`, `refuse` or `observe`, for a rule; `observe`, for a layer of a host that observes: it would be refused,
    /// and passes.
    pub action: Option<String>,
    /// Where the rule stands.
    pub place: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// When it was last seen to meet a packet, in seconds since 1970; it is looked at every 10 s, and whenever this is
    /// asked.
    #[serde(default)]
    pub last: Option<u64>,
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

impl Summary {
    /// What a policy itself says. The rest is empty.
    pub fn of(policy: &Policy) -> Self {
        Summary {
            instance: policy.instance.to_string(),
            interfaces: policy.bindings.iter().map(InterfaceSummary::of).collect(),
            rules: [Direction::Inbound, Direction::Outbound]
                .map(|direction| policy.rule_count(direction)),
            smtp_blocked: policy.smtp_blocked,
            observe: policy.platform.observe,
            ending: RuleEnd::of(policy),
            ..Summary::default()
        }
    }
}

impl InterfaceSummary {
    /// What is said of a binding.
    pub fn of(binding: &Binding) -> Self {
        let groups = binding.groups.iter().map(|group| GroupSummary {
            id: group.id.to_string(),
            name: group.name.as_deref().map(str::to_owned),
            observe: group.observe,
        });
        InterfaceSummary {
            name: binding.interface.to_string(),
            addresses: binding.addresses.clone(),
            groups: groups.collect(),
            network_acl: binding.acl.as_ref().map(|acl| acl.acl.id.to_string()),
        }
    }
}

impl Failure {
    /// A definition with errors.
    pub fn of_loaded(loaded: &Loaded) -> Self {
        let errors = count(loaded.counts().0, "error");
        let message = format!("the definition is refused: {errors}");
        Failure::of_definition(message, &loaded.diagnostics, &loaded.sources)
    }

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
