//! Whether what is enforced is about this host: its name, and the interfaces that a policy binds.

use super::base::Host;
use super::instance::hostname;
use super::report::{InterfaceSummary, Summary};
use crate::netfilter::interfaces::{Bound, Doubt, doubts};
use crate::netfilter::links;
use crate::policy::{Policy, same_host};

impl Host {
    /// Doubts about what is enforced.
    pub fn doubts(&self) -> Vec<Doubt> {
        let Some(enforced) = &self.enforced else {
            return Vec::new();
        };
        let summary = &enforced.summary;
        let renamed = is_of_another_host(summary).map(Doubt::degrading);
        renamed
            .into_iter()
            .chain(doubts_about(&summary.interfaces))
            .collect()
    }
}

/// A sentence where this host was chosen by a name that it has no more.
pub fn is_of_another_host(enforced: &Summary) -> Option<String> {
    let (host, name) = (enforced.host.as_ref()?, hostname());
    let message = format!(
        "this host is named {name} now, and {} is enforced, which is the host {host}",
        enforced.instance
    );
    (!same_host(host, &name)).then_some(message)
}

/// Doubts about the interfaces that a policy binds, on this host.
pub fn interface_doubts(policy: &Policy) -> Vec<Doubt> {
    let bound = policy.bindings.iter().map(InterfaceSummary::of);
    doubts_about(&bound.collect::<Vec<_>>())
}

fn doubts_about(interfaces: &[InterfaceSummary]) -> Vec<Doubt> {
    let bound = interfaces.iter().map(|interface| Bound {
        name: &interface.name,
        addresses: &interface.addresses,
    });
    let found = links::links().and_then(|links| Ok((links, links::default_route_links()?)));
    match found {
        Ok((links, default_route)) => doubts(&bound.collect::<Vec<_>>(), &links, &default_route),
        Err(error) => vec![Doubt::degrading(format!(
            "the interfaces cannot be checked: {error}"
        ))],
    }
}
