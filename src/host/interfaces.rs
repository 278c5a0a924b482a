//! The interfaces that a policy binds, on this host.

use super::base::Host;
use crate::netfilter::{interfaces, links};
use crate::policy::Policy;

impl Host {
    /// Doubts about the interfaces that the policy binds.
    pub fn interface_warnings(&self) -> Vec<String> {
        let Some(enforced) = &self.enforced else {
            return Vec::new();
        };
        let names = enforced.summary.interfaces.iter();
        warnings_about(&names.map(|interface| &*interface.name).collect::<Vec<_>>())
    }
}

/// Doubts about the interfaces that a policy binds, on this host.
pub fn interface_warnings(policy: &Policy) -> Vec<String> {
    let names: Vec<String> = policy
        .bindings
        .iter()
        .map(|binding| binding.interface.to_string())
        .collect();
    warnings_about(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn warnings_about(names: &[&str]) -> Vec<String> {
    let found = links::links().and_then(|links| Ok((links, links::default_route_links()?)));
    match found {
        Ok((links, default_route)) => interfaces::interface_warnings(names, &links, &default_route),
        Err(error) => vec![format!("the interfaces cannot be checked: {error}")],
    }
}
