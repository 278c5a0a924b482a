//! What is asked, and what was seen of it.

use super::blame::Blame;
use std::net::{IpAddr, SocketAddr};

/// A flow to the host.
#[derive(Debug, Clone)]
pub struct AskedFlow {
    /// The interface that it enters by.
    pub interface: String,
    /// The host's address.
    pub local: IpAddr,
    /// Who opens it.
    pub remote: IpAddr,
    /// `true` for TCP, `false` for UDP.
    pub tcp: bool,
    /// The destination port.
    pub port: u16,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It arrived, and so did the answer.
    Passed,
    /// These refused it.
    Refused(Vec<Blame>),
    /// It did not arrive, and no rule can be named.
    Lost,
}

/// Where a flow is sent instead of where it was meant to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// There.
    pub to: SocketAddr,
    /// The interface by which it leaves this host; `None` where it stays.
    pub leaves_by: Option<String>,
    /// The rule that does it, if it is known.
    pub by: Option<Blame>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct FirewallSeen {
    /// What became of the flow.
    pub fate: Fate,
    /// Where it was sent instead; what became of it is what became of it there.
    pub turned: Option<Turned>,
    /// The rulesets that were copied.
    pub copied: Vec<String>,
    /// Those that were not, each with the reason.
    pub not_copied: Vec<String>,
    /// Whether some of it is ufw's.
    pub ufw: bool,
}

/// Why nothing could be seen.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// Only root can make the namespaces.
    #[error("no scratch network namespace can be made: {0}")]
    Namespace(nix::Error),
    /// A program that is needed failed.
    #[error("{0}")]
    Program(String),
    /// The packet did not reach the copy of the host, so that nobody judged it.
    #[error(
        "the copy could not be tried: no packet crossed its cable within a minute; try again when this machine is less busy"
    )]
    NotTried,
    /// A socket in the namespace failed.
    #[error("the flow could not be opened in the scratch namespace: {0}")]
    Socket(std::io::Error),
}
