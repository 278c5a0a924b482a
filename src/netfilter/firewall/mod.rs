//! What the host's own firewall makes of a flow: seen on a copy of all its rulesets, in a network namespace that nobody else sees,
//! with interfaces of the same names and addresses, into which one connection is opened. The host itself is only read.
//!
//! ```text
//! copy     what the host's programs list: iptables of both kinds, ipset, nftables' tables but ours
//! scratch  two namespaces joined by cables: the host again, and whoever opens the flow
//! blame    which rule or chain refused it: by its counter, or by nftables' own trace
//! ```

mod blame;
mod copy;
mod program;
mod scratch;

pub use blame::Blame;

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A flow to the host.
#[derive(Debug, Clone)]
pub struct Asked {
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
    /// It did not arrive, and no rule can be named: it may have been sent elsewhere (DNAT, a redirect).
    Lost,
}

/// What was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What became of the flow.
    pub fate: Fate,
    /// The rulesets that were copied.
    pub copied: Vec<String>,
    /// Those that were not, each with the reason.
    pub not_copied: Vec<String>,
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
    /// A socket in the namespace failed.
    #[error("the flow could not be opened in the scratch namespace: {0}")]
    Socket(std::io::Error),
}

/// What iptables-legacy has refused so far in the network namespace of the calling thread. No trace shows its rules, but each counts.
///
/// # Errors
///
/// When its program is not installed, or fails.
pub fn refused_by_legacy() -> Result<BTreeMap<Blame, u64>, FirewallError> {
    let mut refused = BTreeMap::new();
    for (program, tables) in copy::LEGACY {
        let in_use = std::fs::read_to_string(tables).unwrap_or_default();
        if !in_use.trim().is_empty() {
            let program = format!("{program}-legacy");
            let saved = program::run(&format!("{program}-save"), &["-c"], "")?;
            refused.extend(blame::refusing(&program, &saved));
        }
    }
    Ok(refused)
}

/// Opens the flow against a copy of the host's rulesets.
///
/// # Errors
///
/// See [`FirewallError`].
pub fn look(asked: &Asked) -> Result<Seen, FirewallError> {
    let copy = copy::Copy::of_this_host();
    // The namespaces belong to a thread, and go with it.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| scratch::run(asked, copy));
        let gone =
            |_| FirewallError::Program("the thread of the scratch namespace panicked".into());
        thread.join().map_err(gone)?
    })
}
