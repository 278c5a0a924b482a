//! A definition that has been validated: the groups and instances of one account.

use super::host::{Binding, HostFacts, Policy};
use super::id::{AclId, SubnetId};
use super::id::{GroupId, InstanceId};
use super::interface::InterfaceName;
use super::network_acl::{NetworkAcl, Subnet, SubnetAcl};
use super::platform::Platform;
use super::rule::SecurityGroup;
use crate::definition::Place;
use crate::definition::model::InstanceKind;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use thiserror::Error;

/// All groups and instances of a valid definition. Only [`super::validate`] makes one.
#[allow(
    clippy::manual_non_exhaustive,
    reason = "nothing in this crate may make one either"
)]
#[derive(Debug, Clone)]
pub struct Account {
    /// The groups, by id.
    pub groups: BTreeMap<GroupId, Arc<SecurityGroup>>,
    /// The instances, in the order of the definition.
    pub instances: Vec<Instance>,
    /// The subnets, by id.
    pub subnets: BTreeMap<SubnetId, Subnet>,
    /// The network ACLs, by id.
    pub network_acls: BTreeMap<AclId, Arc<NetworkAcl>>,
    /// What the cloud does by itself.
    pub platform: Arc<Platform>,
    pub(super) _validated: (),
}

/// A host of the account.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Which host it is, if written.
    pub hostname: Option<Arc<str>>,
    /// What it is.
    pub kind: InstanceKind,
    /// Whether it asks for TCP 25 to be unblocked.
    pub smtp_request: bool,
    /// Its interfaces, the most specific name first.
    pub interfaces: Vec<Interface>,
    /// Where it stands.
    pub place: Place,
}

impl Instance {
    /// The name of the host that it is.
    pub fn host(&self) -> &str {
        self.hostname.as_deref().unwrap_or(self.id.as_str())
    }
}

/// An interface of an instance.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Its name or glob.
    pub name: InterfaceName,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// The bound groups, highest priority first.
    pub groups: Vec<GroupId>,
    /// The subnet in which its addresses lie.
    pub subnet: Option<SubnetId>,
}

/// Why it is not clear which instance this host is.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ChooseError {
    /// The instance asked for is not there.
    #[error("the definition has no instance `{asked}`; it has {}", list(.known))]
    Unknown {
        /// As asked.
        asked: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No instance has this host's name.
    #[error("no instance has the hostname `{hostname}`; name one with --instance, or give one of them this `hostname`: {}", list(.known))]
    NoMatch {
        /// The host's name.
        hostname: String,
        /// What there is.
        known: Vec<String>,
    },
    /// More than one instance has this host's name.
    #[error("the hostname `{hostname}` fits more than one instance: {}; name one with --instance", list(.fitting))]
    Ambiguous {
        /// The host's name.
        hostname: String,
        /// Those that fit.
        fitting: Vec<String>,
    },
}

/// As many as a person reads.
fn list(names: &[String]) -> String {
    const MOST: usize = 50;
    match names.len() {
        0 => "none".to_owned(),
        1..=MOST => names.join(", "),
        many => format!("{} and {} more", names[..MOST].join(", "), many - MOST),
    }
}

impl Account {
    /// The instance with this id.
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.id == *id)
    }

    /// Which instance this host is: the one asked for; else the one of its name; else the only one, if
    /// that has no `hostname`.
    pub fn choose(&self, asked: Option<&str>, hostname: &str) -> Result<&Instance, ChooseError> {
        let describe = |instance: &Instance| match &instance.hostname {
            Some(name) => format!("{} (hostname {name})", instance.id),
            None => instance.id.to_string(),
        };
        let known = || self.instances.iter().map(describe).collect::<Vec<_>>();
        if let Some(asked) = asked {
            let found = self
                .instances
                .iter()
                .find(|instance| instance.id.as_str() == asked);
            return found.ok_or_else(|| ChooseError::Unknown {
                asked: asked.into(),
                known: known(),
            });
        }
        let instances = self.instances.iter();
        let fitting: Vec<_> = instances
            .filter(|instance| same_host(instance.host(), hostname))
            .collect();
        match (fitting.as_slice(), self.instances.as_slice()) {
            ([one], _) => Ok(one),
            ([], [only]) if only.hostname.is_none() => Ok(only),
            ([], _) => Err(ChooseError::NoMatch {
                hostname: hostname.into(),
                known: known(),
            }),
            (fitting, _) => {
                let fitting = fitting.iter().map(|instance| describe(instance)).collect();
                Err(ChooseError::Ambiguous {
                    hostname: hostname.into(),
                    fitting,
                })
            }
        }
    }

    /// The network ACL of the subnet in which an interface is.
    pub fn acl_of(&self, interface: &Interface) -> Option<SubnetAcl> {
        let subnet = self.subnets.get(interface.subnet.as_ref()?)?;
        Some(SubnetAcl {
            acl: subnet.acl.clone()?,
            networks: subnet.networks.clone(),
        })
    }

    /// What this instance enforces. Its TCP 25 is open if it is among the unblocked (see the unblock ledger).
    ///
    /// Returns `None` if the account has no such instance.
    pub fn policy(&self, id: &InstanceId, unblocked: &BTreeSet<InstanceId>) -> Option<Policy> {
        let instance = self.instance(id)?;
        let bindings = instance.interfaces.iter().map(|interface| Binding {
            interface: interface.name.clone(),
            groups: interface
                .groups
                .iter()
                .filter_map(|id| self.groups.get(id).cloned())
                .collect(),
            addresses: interface.addresses.clone(),
            acl: self.acl_of(interface),
        });
        Some(Policy {
            instance: id.clone(),
            platform: self.platform.clone(),
            smtp_blocked: self.platform.smtp_block
                && instance.kind == InstanceKind::Cvm
                && !unblocked.contains(id),
            bindings: bindings.collect(),
            host: HostFacts::default(),
            _validated: (),
        })
    }
}

/// Whether two names can mean one host: equal without regard to case, or equal in their first label where
/// one of them is a short name.
pub fn same_host(a: &str, b: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or(name).to_lowercase();
    let one_is_short = !a.contains('.') || !b.contains('.');
    a.eq_ignore_ascii_case(b) || (one_is_short && short(a) == short(b))
}

#[cfg(test)]
mod tests {
    use super::same_host;

    #[test]
    fn full_and_short_names() {
        assert!(same_host("web1", "WEB1"));
        assert!(same_host("web1", "web1.example.com"));
        assert!(same_host("Web1.Example.com", "web1"));
        assert!(!same_host("web1.example.com", "web1.example.org"));
        assert!(!same_host("web1", "web10"));
    }
}
