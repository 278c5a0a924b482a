//! What is found wrong.

use std::fmt;

/// A packet about which policy and ruleset disagree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Difference {
    /// The packet, in words.
    pub packet: String,
    /// What the policy says.
    pub policy: String,
    /// What the ruleset says.
    pub ruleset: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the compiled ruleset is wrong about {}: the policy says {}, the ruleset {}",
            self.packet, self.policy, self.ruleset
        )
    }
}
