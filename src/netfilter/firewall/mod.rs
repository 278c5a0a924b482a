//! What the host's own firewall makes of a flow: seen on a copy of all its rulesets, in a network namespace that nobody
//! else sees, with interfaces of the same names and addresses, into which one connection is opened. The host itself is
//! only read. A flow that turns out to be sent elsewhere (a redirect, a container's published port) is opened once
//! more, with somebody who answers there.
//!
//! ```text
//! copy     what the host's programs list: iptables of both kinds, ipset, nftables' tables but ours
//! scratch  namespaces joined by cables: the host again, whoever opens the flow, and whoever it is sent on to
//! monitor  nft listening to the kernel's trace, until it has printed all of it
//! blame    which rule or chain refused it or sent it elsewhere: by its counter, or by nftables' own trace
//! ```

mod blame;
mod copy;
mod fate;
mod monitor;
pub(super) mod program;
mod scratch;

pub use blame::Blame;
pub use fate::{AskedFlow, Fate, FirewallError, FirewallSeen, Turned};

use super::links::Link;
use super::programs::LEGACY;
use super::ways::Ways;
use copy::Copy;
use std::collections::BTreeMap;

/// What iptables-legacy has refused so far in the network namespace of the calling thread. No trace shows its rules,
/// but each counts.
pub fn refused_by_legacy() -> Result<BTreeMap<Blame, u64>, FirewallError> {
    let mut refused = BTreeMap::new();
    for (program, tables) in LEGACY {
        let in_use = std::fs::read_to_string(tables).unwrap_or_default();
        if !in_use.trim().is_empty() {
            let saved = program::run(&format!("{program}-save"), &["-c"], "")?;
            refused.extend(blame::of_targets(program, &saved, blame::REFUSING));
        }
    }
    Ok(refused)
}

/// Opens the flow against a copy of the host's rulesets.
pub fn look(asked: &AskedFlow) -> Result<FirewallSeen, FirewallError> {
    let copy = Copy::of_this_host();
    let mut seen = attempt(asked, &copy, None)?;
    if let Some(turned) = &mut seen.turned {
        let stays = |link: &Link| link.addresses.contains(&turned.to.ip());
        let here = turned.to.ip().is_loopback() || copy.links.iter().any(stays);
        if !here {
            let mut ways = Ways::look().ok();
            let way = ways.as_mut().and_then(|ways| ways.to(turned.to.ip()));
            turned.leaves_by = way.map(str::to_owned);
        }
        // Back by where it came from, or by no known way: that is not tried.
        let known = turned.leaves_by.as_ref() != Some(&asked.interface);
        if here || (known && turned.leaves_by.is_some()) {
            seen.fate = attempt(asked, &copy, Some(turned))?.fate;
        }
    }
    Ok(seen)
}

/// In namespaces that belong to a thread, and go with it.
fn attempt(
    asked: &AskedFlow,
    copy: &Copy,
    turned: Option<&Turned>,
) -> Result<FirewallSeen, FirewallError> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| scratch::run(asked, copy, turned));
        let gone =
            |_| FirewallError::Program("the thread of the scratch namespace panicked".into());
        thread.join().map_err(gone)?
    })
}
