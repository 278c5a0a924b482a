//! How a decision is written down: its layer, its rule, and the one word that counters carry.

use super::decide::{Decision, Reason, Verdict};
use std::fmt;

/// The layers, as the commands name them.
impl Reason {
    /// The layer that decided.
    pub fn layer(&self) -> &'static str {
        match self {
            Reason::Essential => "essential",
            Reason::Established => "established",
            Reason::Invalid => "invalid",
            Reason::BlockedPorts => "blocked-ports",
            Reason::Smtp => "smtp",
            Reason::ApprovedService(_) => "approved-service",
            Reason::Rule(_) => "group",
            Reason::Default => "default",
            Reason::Unmanaged => "unmanaged",
            Reason::Acl(_) => "acl",
        }
    }

    /// What decided, for people: `the rule sg-web/in/3`.
    pub fn words(&self) -> String {
        match self {
            Reason::Rule(id) => format!("the rule {id}"),
            Reason::ApprovedService(name) => format!("the approved service {name}"),
            Reason::Acl(entry) if entry.index.is_none() => format!(
                "the network ACL {}: none of its {} entries matches",
                entry.acl, entry.direction
            ),
            Reason::Acl(entry) => format!("the entry {entry} of a network ACL"),
            Reason::BlockedPorts => "the platform's block of ports".to_owned(),
            Reason::Smtp => "the platform's block of TCP 25 to external addresses".to_owned(),
            Reason::Default => "default: no rule of the bound groups matches".to_owned(),
            Reason::Essential | Reason::Established | Reason::Invalid | Reason::Unmanaged => {
                self.layer().to_owned()
            }
        }
    }

    /// Whether the layer with this name refuses what it counts. A rule's action says that instead.
    pub fn is_refusing_layer(layer: &str) -> bool {
        const REFUSING: [Reason; 5] = [
            Reason::Invalid,
            Reason::BlockedPorts,
            Reason::Smtp,
            Reason::Default,
            Reason::Unmanaged,
        ];
        REFUSING.iter().any(|reason| reason.layer() == layer)
    }
}

/// `sg-web/in/3` for a rule, `acl-app/in/1` for an entry of a network ACL, `approved-service/vpc-dns`, or the layer: the comment of an nft rule.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rule(id) => id.fmt(f),
            Reason::Acl(entry) => entry.fmt(f),
            Reason::ApprovedService(name) => write!(f, "{}/{name}", self.layer()),
            _ => f.write_str(self.layer()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Allow => "allow",
            Verdict::Refuse => "refuse",
            Verdict::Observe => "allow, would be refused",
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.verdict, self.reason)
    }
}
