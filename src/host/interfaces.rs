//! The interfaces that a policy binds, on this host.

use super::base::Host;
use super::report::InterfaceSummary;
use crate::netfilter::interfaces::{Bound, Doubt, doubts};
use crate::netfilter::links;
use crate::policy::Policy;

impl Host {
    /// Doubts about the interfaces that the enforced policy binds.
    pub fn doubts(&self) -> Vec<Doubt> {
        let enforced = self.enforced.iter();
        enforced
            .flat_map(|enforced| doubts_about(&enforced.summary.interfaces))
            .collect()
    }
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
