//! The policy of one host.

use super::id::{AclId, GroupId, InstanceId};
use super::interface::InterfaceName;
use super::interval::Interval;
use super::network_acl::{AclEntry, AclEntryId, NetworkAcl, SubnetAcl};
use super::packet::unspecified;
use super::platform::Platform;
use super::rule::{Direction, Rule, RuleId, SecurityGroup};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Groups bound to an interface.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The interface, or a glob.
    pub interface: InterfaceName,
    /// The groups, highest priority first.
    pub groups: Vec<Arc<SecurityGroup>>,
    /// The interface's own addresses, as the definition lists them. They are in the sets of its groups; no verdict asks
    /// for them here.
    pub addresses: Vec<IpAddr>,
    /// The network ACL of the subnet in which the interface is.
    pub acl: Option<SubnetAcl>,
}

impl Binding {
    /// Names the list of groups: `sg-base,sg-web`.
    pub fn key(&self) -> Arc<str> {
        let ids: Vec<&str> = self.groups.iter().map(|group| group.id.as_str()).collect();
        ids.join(",").into()
    }

    /// Whether what no rule matches passes here, and is counted: the implicit refusal is that of all bound groups, so each of
    /// them must observe. Where no group is bound, the empty list refuses.
    pub fn observes_the_rest(&self) -> bool {
        !self.groups.is_empty() && self.groups.iter().all(|group| group.observe)
    }
}

/// What verdicts ask of the host itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The ports that the kernel chooses for processes that ask for none: `net.ipv4.ip_local_port_range`.
    pub ephemeral_ports: Interval<u16>,
    /// Interfaces that exist and are not bound, except `lo`. When one is bound later, the flows opened across it are known.
    pub unbound: Vec<InterfaceName>,
    /// Interfaces and globs across which flows that live now may have been opened, whether or not they are bound.
    pub known: Vec<InterfaceName>,
}

/// The kernel's own range.
impl Default for HostFacts {
    fn default() -> Self {
        HostFacts {
            ephemeral_ports: Interval::between(32768, 60999),
            unbound: Vec::new(),
            known: Vec::new(),
        }
    }
}

/// All that one host enforces. It comes only out of [`super::Account::policy`], so it cannot be wrong.
#[allow(
    clippy::manual_non_exhaustive,
    reason = "nothing in this crate may make one either"
)]
#[derive(Debug, Clone)]
pub struct Policy {
    /// The instance that this host is.
    pub instance: InstanceId,
    /// What the cloud does by itself.
    pub platform: Arc<Platform>,
    /// Whether TCP 25 to external addresses is blocked on this instance.
    pub smtp_blocked: bool,
    /// The bound interfaces, the most specific name first: the first that matches holds.
    pub bindings: Vec<Binding>,
    /// What it asks of the host, which does not stand in the definition.
    pub host: HostFacts,
    /// Only this crate makes one.
    pub(super) _validated: (),
}

impl Policy {
    /// The binding of an interface: the most specific name holds.
    pub fn binding(&self, interface: &str) -> Option<&Binding> {
        let mut bindings = self.bindings.iter();
        bindings.find(|binding| binding.interface.matches(interface))
    }

    /// The address of an interface's own that it talks by to a remote: the first of that family that the definition
    /// lists; the unspecified one where it lists none.
    pub fn own_address(&self, interface: &str, remote: IpAddr) -> IpAddr {
        let binding = self.binding(interface);
        let addresses = binding.into_iter().flat_map(|binding| &binding.addresses);
        let mut same_family = addresses.filter(|own| own.is_ipv4() == remote.is_ipv4());
        same_family
            .next()
            .copied()
            .unwrap_or_else(|| unspecified(remote))
    }

    /// The groups bound to any interface, each once, in the order of the bindings.
    pub fn groups(&self) -> Vec<&Arc<SecurityGroup>> {
        let mut seen: HashSet<&GroupId> = HashSet::new();
        let groups = self.bindings.iter().flat_map(|binding| &binding.groups);
        groups.filter(|group| seen.insert(&group.id)).collect()
    }

    /// The rule with this name, if its group is bound here.
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        let mut groups = self.bindings.iter().flat_map(|binding| &binding.groups);
        groups
            .find(|group| group.id == id.group)?
            .rules(id.direction)
            .get(id.index as usize)
    }

    /// The network ACL with this id, if an interface here is behind it.
    pub fn network_acl(&self, id: &AclId) -> Option<&NetworkAcl> {
        let acls = self.bindings.iter().filter_map(|each| each.acl.as_ref());
        let mut found = acls.filter(|each| each.acl.id == *id);
        found.next().map(|each| &*each.acl)
    }

    /// Whether any interface is behind a network ACL.
    pub fn has_acls(&self) -> bool {
        self.bindings.iter().any(|binding| binding.acl.is_some())
    }

    /// The network ACLs in front of any interface, each once, in the order of the bindings.
    pub fn network_acls(&self) -> Vec<&NetworkAcl> {
        let mut seen: HashSet<&AclId> = HashSet::new();
        let acls = self.bindings.iter().filter_map(|each| each.acl.as_ref());
        let acls = acls.map(|each| &*each.acl);
        acls.filter(|acl| seen.insert(&acl.id)).collect()
    }

    /// The same policy without any network ACL: what the groups and the platform alone say.
    pub fn without_acls(&self) -> Policy {
        let mut policy = self.clone();
        policy.bindings.iter_mut().for_each(|each| each.acl = None);
        policy
    }

    /// The entry of a network ACL with this name, if an interface here is behind that.
    pub fn acl_entry(&self, id: &AclEntryId) -> Option<&AclEntry> {
        self.network_acl(&id.acl)?.entry(id)
    }

    /// How many rules the bound groups have in this direction.
    pub fn rule_count(&self, direction: Direction) -> usize {
        self.groups()
            .iter()
            .map(|group| group.rules(direction).len())
            .sum()
    }
}
