//! Whether two policies enforce the same. What is only for people may differ: names of groups, and the lines in which rules stand.

use super::host::{Binding, Policy};
use super::network_acl::{AclEntry, NetworkAcl, SubnetAcl};
use super::platform::{ApprovedService, Platform};
use super::rule::{Rule, SecurityGroup};
use std::sync::Arc;

impl Policy {
    /// Whether a host that enforces the one enforces the other. This costs a comparison, not a compilation.
    pub fn enforces_like(&self, other: &Policy) -> bool {
        // Without `..`: whoever adds a field must say whether it counts.
        let Policy {
            instance: _,
            platform,
            smtp_blocked,
            bindings,
            host,
            _validated: (),
        } = self;
        *smtp_blocked == other.smtp_blocked
            && *host == other.host
            && all(bindings, &other.bindings, Binding::is_like)
            && (Arc::ptr_eq(platform, &other.platform)
                || platform.is_like(&other.platform, *smtp_blocked))
    }
}

/// Whether two lists are as long, and each of the one like that of the other.
fn all<T>(a: &[T], b: &[T], is_like: impl Fn(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_like(a, b))
}

impl Binding {
    fn is_like(&self, other: &Self) -> bool {
        let Binding {
            interface,
            groups,
            addresses: _,
            acl,
        } = self;
        let same_acl = match (acl, &other.acl) {
            (Some(acl), Some(other)) => acl.is_like(other),
            (None, None) => true,
            _ => false,
        };
        *interface == other.interface
            && same_acl
            && all(groups, &other.groups, |a, b| {
                Arc::ptr_eq(a, b) || a.is_like(b)
            })
    }
}

impl SubnetAcl {
    fn is_like(&self, other: &Self) -> bool {
        let SubnetAcl { acl, networks } = self;
        *networks == other.networks && (Arc::ptr_eq(acl, &other.acl) || acl.is_like(&other.acl))
    }
}

impl NetworkAcl {
    fn is_like(&self, other: &Self) -> bool {
        let NetworkAcl {
            id,
            inbound,
            outbound,
            place: _,
        } = self;
        *id == other.id
            && all(inbound, &other.inbound, AclEntry::is_like)
            && all(outbound, &other.outbound, AclEntry::is_like)
    }
}

impl AclEntry {
    fn is_like(&self, other: &Self) -> bool {
        let AclEntry {
            id,
            action,
            service,
            source_ports,
            source,
            destination,
            place: _,
        } = self;
        *id == other.id
            && *action == other.action
            && *service == other.service
            && *source_ports == other.source_ports
            && *source == other.source
            && *destination == other.destination
    }
}

impl SecurityGroup {
    fn is_like(&self, other: &Self) -> bool {
        let SecurityGroup {
            id,
            name: _,
            inbound,
            outbound,
            observe,
        } = self;
        *id == other.id
            && *observe == other.observe
            && all(inbound, &other.inbound, Rule::is_like)
            && all(outbound, &other.outbound, Rule::is_like)
    }
}

impl Rule {
    fn is_like(&self, other: &Self) -> bool {
        let Rule {
            id,
            action,
            services,
            remote,
            // What has ended has no remote.
            until: _,
            ended: _,
            place: _,
        } = self;
        *action == other.action
            && *id == other.id
            && *services == other.services
            && *remote == other.remote
    }
}

impl Platform {
    fn is_like(&self, other: &Self, smtp_blocked: bool) -> bool {
        let Platform {
            internal,
            blocked_ports,
            // What these two come to is the policy's `smtp_blocked`.
            smtp_block: _,
            unblocks_per_account: _,
            approved_services,
            unbound_refuse,
            recheck,
            events,
            observe,
        } = self;
        *unbound_refuse == other.unbound_refuse
            && *recheck == other.recheck
            && *events == other.events
            && *observe == other.observe
            && *blocked_ports == other.blocked_ports
            && all(
                approved_services,
                &other.approved_services,
                ApprovedService::is_like,
            )
            // Nothing else asks what is internal.
            && (!(smtp_blocked || blocked_ports.external_only) || *internal == other.internal)
    }
}

impl ApprovedService {
    fn is_like(&self, other: &Self) -> bool {
        let ApprovedService {
            name,
            direction,
            services,
            remote,
            place: _,
        } = self;
        *name == other.name
            && *direction == other.direction
            && *services == other.services
            && *remote == other.remote
    }
}

#[cfg(test)]
mod tests {
    use crate::definition::parse;
    use crate::policy::{InstanceId, Policy, validate};
    use crate::ruleset::compile;
    use std::collections::BTreeSet;

    const TEXT: &str = r#"version: 1
security_groups:
  sg-a:
    name: one
    inbound:
      - { action: allow, protocol: tcp, port: 80, source: any, description: web }
      - { action: refuse, protocol: udp, port: "53,54", source: 192.0.2.0/24 }
    outbound: [{ action: allow, protocol: all, destination: sg-a }]
  sg-b: { inbound: [{ action: allow, protocol: icmp, source: any }] }
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.1], security_groups: [sg-a, sg-b] } } }
  ins-b: { interfaces: { eth0: { addresses: [10.0.0.2], security_groups: [sg-b] } } }
platform:
  unbound_interfaces: ignore
  approved_services: { probe: { direction: inbound, protocol: tcp, port: 7, source: 100.64.0.0/10 } }
"#;

    /// The same, of an instance that nobody's public address matters to.
    #[test]
    fn what_is_internal_counts_where_it_is_asked() {
        let public = TEXT.replace("[10.0.0.2]", "[203.0.113.2]");
        assert!(!policy(TEXT).enforces_like(&policy(&public)));
        for (old, new) in [
            (
                "interfaces: { eth0: { addresses: [10.0.0.1]",
                "kind: database, interfaces: { eth0: { addresses: [10.0.0.1]",
            ),
            ("platform:\n", "platform:\n  smtp: { block: false }\n"),
        ] {
            let [one, two] = [TEXT, &public].map(|text| policy(&text.replace(old, new)));
            assert!(one.enforces_like(&two), "{new}");
            assert_eq!(compiled(&one), compiled(&two), "{new}");
        }
    }

    fn policy(text: &str) -> Policy {
        let parsed = parse([("x.yaml", text)]);
        let account = validate(&parsed.definition, parsed.diagnostics).account;
        let id = InstanceId::parse("ins-a").unwrap();
        let policy = account.unwrap_or_else(|| panic!("not valid: {text}"));
        policy.policy(&id, &BTreeSet::new()).unwrap()
    }

    fn compiled(policy: &Policy) -> Vec<u8> {
        postcard::to_stdvec(&compile(policy)).unwrap()
    }

    #[test]
    fn words_and_lines_do_not_count() {
        let before = policy(TEXT);
        for (old, new) in [
            ("name: one", "name: another"),
            ("description: web", "description: other words"),
            ("version: 1\n", "version: 1\n# a line more\n\n"),
            // What nobody who is here is about.
            (
                "addresses: [10.0.0.2], security_groups: [sg-b]",
                "addresses: [10.0.0.3], security_groups: []",
            ),
            (
                "platform:\n",
                "platform:\n  smtp: { unblocks_per_account: 2 }\n",
            ),
        ] {
            let after = policy(&TEXT.replace(old, new));
            assert_ne!(TEXT.replace(old, new), TEXT, "{old}");
            assert!(before.enforces_like(&after), "{old} -> {new}");
            assert_eq!(compiled(&before), compiled(&after), "{old} -> {new}");
        }
    }

    #[test]
    fn whatever_is_enforced_counts() {
        let before = policy(TEXT);
        for (old, new) in [
            ("port: 80,", "port: 81,"),
            ("action: refuse", "action: allow"),
            ("192.0.2.0/24", "192.0.3.0/24"),
            ("protocol: udp, port", "protocol: tcp, port"),
            ("[sg-a, sg-b]", "[sg-b, sg-a]"),
            ("[sg-a, sg-b]", "[sg-a]"),
            (
                "eth0: { addresses: [10.0.0.1]",
                "eth1: { addresses: [10.0.0.1]",
            ),
            // A group as a remote, whose member is another now.
            ("[10.0.0.1]", "[10.0.0.9]"),
            ("    name: one\n", "    name: one\n    mode: observe\n"),
            ("unbound_interfaces: ignore", "unbound_interfaces: refuse"),
            ("port: 7,", "port: 9,"),
            ("platform:\n", "platform:\n  established: keep\n"),
            ("platform:\n", "platform:\n  events: refusals\n"),
            ("platform:\n", "platform:\n  smtp: { block: false }\n"),
            (
                "platform:\n",
                "platform:\n  internal_networks: [10.0.0.0/8]\n",
            ),
            (
                "platform:\n",
                "platform:\n  blocked_ports: { profile: none }\n",
            ),
        ] {
            let text = TEXT.replacen(old, new, 1);
            assert_ne!(text, TEXT, "{old}");
            let after = policy(&text);
            assert!(!before.enforces_like(&after), "{old} -> {new}");
            assert_ne!(compiled(&before), compiled(&after), "{old} -> {new}");
        }
    }
}
