//! Every key of a definition: the table that the reader checks against and the manual prints.

use std::collections::HashMap;
use std::sync::LazyLock;

/// One key of the definition.
#[derive(Debug)]
pub struct KeyInfo {
    /// Where it stands: `<…>` is a name of the operator's choice, `[]` an item of a list.
    pub path: &'static str,
    /// Its type and values.
    pub values: &'static str,
    /// What holds when it is not written.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// The names of a definition's protocols, for texts that the compiler puts together. `Protocol::NAMES` of the
/// policy has their numbers.
macro_rules! protocol_names {
    () => {
        "tcp, udp, icmp, icmpv6, gre"
    };
}
pub(crate) use protocol_names;

macro_rules! keys {
    ($($path:literal: $values:expr, $default:literal, $meaning:literal;)*) => {
        /// The table, in the order in which a person would read it.
        pub const KEYS: &[KeyInfo] = &[$(KeyInfo {
            path: $path,
            values: $values,
            default: $default,
            meaning: $meaning,
        }),*];
    };
}

keys! {
    "version": "1", "required",
        "The version of this format, in every file.";
    "security_groups": "mapping", "none",
        "The groups, by id.";
    "security_groups.<sg-id>": "mapping", "",
        "One group. The id is its identity: `sg-`, then letters, digits and `-`; 64 bytes at most.";
    "security_groups.<sg-id>.name": "text", "none",
        "Free text; two groups may share a name.";
    "security_groups.<sg-id>.region": "text", "none",
        "The cloud's region, for people.";
    "security_groups.<sg-id>.project": "text", "none",
        "The cloud's project, for people.";
    "security_groups.<sg-id>.mode": "enforce, observe", "enforce",
        "`observe`: the refusing rules of this group count and let pass. What no rule matches passes where all groups of the interface observe.";
    "security_groups.<sg-id>.silence": "list of mappings", "none",
        "Warnings of `check` that are right, but meant so, about this group and its rules.";
    "security_groups.<sg-id>.silence[].code": "a code of `check`'s warnings", "required",
        "Which warning.";
    "security_groups.<sg-id>.silence[].reason": "text", "required",
        "Why it is meant so, for people.";
    "security_groups.<sg-id>.inbound": "list of rules", "no rule",
        "What may come in. The first rule that matches decides.";
    "security_groups.<sg-id>.inbound[].action": "allow, refuse", "required",
        "What happens. Refuse is a silent drop.";
    "security_groups.<sg-id>.inbound[].protocol": concat!(protocol_names!(), ", all"), "required, or service",
        "icmp is IPv4 only, icmpv6 IPv6 only.";
    "security_groups.<sg-id>.inbound[].port": "a port, `a-b`, `a,b-c`, a list of these, all", "all",
        "Destination port, with tcp and udp.";
    "security_groups.<sg-id>.inbound[].service": "ppm- or ppmg- id", "none",
        "A service template instead of protocol and port.";
    "security_groups.<sg-id>.inbound[].source": "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these", "required",
        "Where the packet comes from. A group means the addresses of its members.";
    "security_groups.<sg-id>.inbound[].description": "text", "none",
        "For people.";
    "security_groups.<sg-id>.inbound[].until": "time with zone, `2026-12-31T18:00Z`", "never",
        "When the rule ends: from then on it matches nothing, and the others keep their numbers.";
    "security_groups.<sg-id>.inbound[].silence": "list of mappings", "none",
        "Warnings of `check` that are right, but meant so, about this rule.";
    "security_groups.<sg-id>.inbound[].silence[].code": "a code of `check`'s warnings", "required",
        "Which warning.";
    "security_groups.<sg-id>.inbound[].silence[].reason": "text", "required",
        "Why it is meant so, for people.";
    "security_groups.<sg-id>.outbound": "list of rules", "no rule",
        "What may go out. The first rule that matches decides.";
    "security_groups.<sg-id>.outbound[].action": "allow, refuse", "required",
        "What happens. Refuse is a silent drop.";
    "security_groups.<sg-id>.outbound[].protocol": concat!(protocol_names!(), ", all"), "required, or service",
        "icmp is IPv4 only, icmpv6 IPv6 only.";
    "security_groups.<sg-id>.outbound[].port": "a port, `a-b`, `a,b-c`, a list of these, all", "all",
        "Destination port, with tcp and udp.";
    "security_groups.<sg-id>.outbound[].service": "ppm- or ppmg- id", "none",
        "A service template instead of protocol and port.";
    "security_groups.<sg-id>.outbound[].destination": "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these", "required",
        "Where the packet goes to. A group means the addresses of its members.";
    "security_groups.<sg-id>.outbound[].description": "text", "none",
        "For people.";
    "security_groups.<sg-id>.outbound[].until": "time with zone, `2026-12-31T18:00Z`", "never",
        "When the rule ends: from then on it matches nothing, and the others keep their numbers.";
    "security_groups.<sg-id>.outbound[].silence": "list of mappings", "none",
        "Warnings of `check` that are right, but meant so, about this rule.";
    "security_groups.<sg-id>.outbound[].silence[].code": "a code of `check`'s warnings", "required",
        "Which warning.";
    "security_groups.<sg-id>.outbound[].silence[].reason": "text", "required",
        "Why it is meant so, for people.";
    "address_templates": "mapping", "none",
        "Address templates and groups of them, by id.";
    "address_templates.<ipm-id>": "list of addresses, CIDRs and ranges, or a mapping", "",
        "A template.";
    "address_templates.<ipm-id>.file": "path", "none",
        "A file with one address, CIDR or range a line with comments behind `#` or `;`; relative to the file that names it.";
    "address_templates.<ipmg-id>": "list of ipm- ids", "",
        "A group of templates.";
    "service_templates": "mapping", "none",
        "Service templates and groups of them, by id.";
    "service_templates.<ppm-id>": "list of `tcp:80,443`, `udp:53`, or protocols without ports", "",
        "A template.";
    "service_templates.<ppmg-id>": "list of ppm- ids", "",
        "A group of templates.";
    "instances": "mapping", "none",
        "The hosts, by id.";
    "instances.<ins-id>": "mapping", "",
        "One instance.";
    "instances.<ins-id>.hostname": "text", "the id",
        "Which host this is, as full or short name, without regard to case. The only instance of a definition, without it, is taken on any host.";
    "instances.<ins-id>.kind": "cvm, clb, eni, database", "cvm",
        "What it is. Only a CVM's TCP 25 is blocked.";
    "instances.<ins-id>.billing": "prepaid, pay-as-you-go", "pay-as-you-go",
        "How it is paid. Only prepaid instances can be unblocked.";
    "instances.<ins-id>.smtp": "blocked, unblocked", "blocked",
        "Whether TCP 25 to external addresses stays blocked. A change to unblocked spends one of the account's unblocks.";
    "instances.<ins-id>.interfaces": "mapping", "required",
        "The network interfaces, by name.";
    "instances.<ins-id>.interfaces.<name>": "mapping", "",
        "One interface. The name may end in `*`; an exact name beats a glob, a longer glob a shorter one.";
    "instances.<ins-id>.interfaces.<name>.addresses": "list of addresses", "none",
        "The interface's own addresses: what a group as a remote means, and what says in which subnet it is. Not under a glob.";
    "instances.<ins-id>.interfaces.<name>.security_groups": "list of sg- ids", "required",
        "The bound groups, highest priority first. An empty list refuses everything.";
    "subnets": "mapping", "none",
        "The subnets, by id.";
    "subnets.<subnet-id>": "mapping", "",
        "One subnet: `subnet-`, then letters, digits and `-`; 64 bytes at most. An interface is in the subnet in which its `addresses` lie.";
    "subnets.<subnet-id>.cidr": "a CIDR, or a list of these", "required",
        "Its networks, which no other subnet shares. Packets inside them meet no network ACL.";
    "subnets.<subnet-id>.network_acl": "acl- id", "none",
        "The network ACL that judges what enters and leaves the subnet.";
    "network_acls": "mapping", "none",
        "The network ACLs, by id.";
    "network_acls.<acl-id>": "mapping", "",
        "One network ACL: `acl-`, then letters, digits and `-`; 64 bytes at most. It is stateless: answers are judged too, by their own ports. What no entry matches is refused.";
    "network_acls.<acl-id>.inbound": "list of entries", "no entry",
        "What may come in from outside the subnet. The first entry that matches decides.";
    "network_acls.<acl-id>.inbound[].action": "allow, refuse", "required",
        "What happens. Refuse is a silent drop.";
    "network_acls.<acl-id>.inbound[].protocol": concat!(protocol_names!(), ", all"), "required",
        "icmp is IPv4 only, icmpv6 IPv6 only.";
    "network_acls.<acl-id>.inbound[].port": "a port, `a-b`, `a,b-c`, a list of these, all", "all",
        "Destination port of the packet itself, with tcp and udp.";
    "network_acls.<acl-id>.inbound[].source_port": "a port, `a-b`, `a,b-c`, a list of these, all", "all",
        "Source port of the packet itself, with tcp and udp.";
    "network_acls.<acl-id>.inbound[].source": "address, CIDR, `a-b`, any, or a list of these", "required",
        "Where the packet comes from.";
    "network_acls.<acl-id>.inbound[].destination": "address, CIDR, `a-b`, any, or a list of these", "any",
        "Which of the subnet's addresses it goes to.";
    "network_acls.<acl-id>.inbound[].description": "text", "none",
        "For people.";
    "network_acls.<acl-id>.outbound": "list of entries", "no entry",
        "What may leave the subnet. The first entry that matches decides.";
    "network_acls.<acl-id>.outbound[].action": "allow, refuse", "required",
        "What happens. Refuse is a silent drop.";
    "network_acls.<acl-id>.outbound[].protocol": concat!(protocol_names!(), ", all"), "required",
        "icmp is IPv4 only, icmpv6 IPv6 only.";
    "network_acls.<acl-id>.outbound[].port": "a port, `a-b`, `a,b-c`, a list of these, all", "all",
        "Destination port of the packet itself, with tcp and udp.";
    "network_acls.<acl-id>.outbound[].source_port": "a port, `a-b`, `a,b-c`, a list of these, all", "all",
        "Source port of the packet itself, with tcp and udp.";
    "network_acls.<acl-id>.outbound[].source": "address, CIDR, `a-b`, any, or a list of these", "any",
        "Which of the subnet's addresses it comes from.";
    "network_acls.<acl-id>.outbound[].destination": "address, CIDR, `a-b`, any, or a list of these", "required",
        "Where the packet goes to.";
    "network_acls.<acl-id>.outbound[].description": "text", "none",
        "For people.";
    "platform": "mapping", "",
        "What the cloud does by itself.";
    "platform.internal_networks": "list of addresses, CIDRs and ranges", "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 169.254.0.0/16, fc00::/7, fe80::/10",
        "What is internal, beside the addresses of the interfaces.";
    "platform.blocked_ports": "mapping", "",
        "The ports that no rule of a group can open.";
    "platform.blocked_ports.profile": "tencent, none", "tencent",
        "The list to begin with.";
    "platform.blocked_ports.direction": "inbound, outbound, both", "both",
        "Which way they are blocked.";
    "platform.blocked_ports.peers": "any, external", "any",
        "`external` blocks them only to and from external addresses, as carriers do.";
    "platform.blocked_ports.add": "mapping", "none",
        "Ports to block besides.";
    "platform.blocked_ports.add.tcp": "ports", "none",
        "TCP ports to block besides.";
    "platform.blocked_ports.add.udp": "ports", "none",
        "UDP ports to block besides.";
    "platform.blocked_ports.remove": "mapping", "none",
        "Ports of the profile not to block.";
    "platform.blocked_ports.remove.tcp": "ports", "none",
        "TCP ports not to block.";
    "platform.blocked_ports.remove.udp": "ports", "none",
        "UDP ports not to block.";
    "platform.smtp": "mapping", "",
        "TCP 25 from CVMs to external addresses.";
    "platform.smtp.block": "true, false", "true",
        "Whether it is blocked.";
    "platform.smtp.unblocks_per_account": "0 to 1000", "5",
        "How many changes to unblocked the account has, for good.";
    "platform.approved_services": "mapping", "vpc-dns and metadata, both outbound",
        "Services that pass before any group is asked. What is written here is added; a name given again replaces that service.";
    "platform.approved_services.<name>": "mapping", "",
        "One service.";
    "platform.approved_services.<name>.direction": "inbound, outbound", "required",
        "Who opens the flow.";
    "platform.approved_services.<name>.protocol": concat!(protocol_names!(), ", all, or a list of these"), "required",
        "Its protocols.";
    "platform.approved_services.<name>.port": "a port, `a-b`, `a,b-c`, a list of these, all", "all",
        "Destination port, with tcp and udp.";
    "platform.approved_services.<name>.source": "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these", "required when inbound",
        "Who may open the flow.";
    "platform.approved_services.<name>.destination": "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these", "required when outbound",
        "Where the flow goes.";
    "platform.unbound_interfaces": "ignore, refuse", "ignore",
        "What happens on an interface that the instance does not name; `refuse` refuses new inbound flows on every one but lo.";
    "platform.established": "recheck, keep", "recheck",
        "Whether a changed rule holds for live flows too. `keep`: what an interface let pass goes on across it.";
    "platform.events": "none, refusals", "none",
        "`refusals`: each refused packet is told to the daemon, for the log and `secgroupd events`.";
    "platform.mode": "enforce, observe", "enforce",
        "`observe` refuses nothing on the whole host: what would be refused is counted and reported, and passes.";
    "platform.quotas": "none, tencent", "none",
        "`tencent`: more of something than the cloud allows is an error: 50 groups of a region and project, 100 rules a direction, 5 groups an interface, 10 rules that name groups, 2000 instances a group, 512 rules of a group with its templates unfolded. A rule counts as many as the cloud would need: one a remote, two for `any`, one for its single ports and one for each range.";
    "lab": "mapping", "none",
        "What `secgroupd lab` adds to the instances. On a VM it means nothing.";
    "lab.hosts": "mapping", "none",
        "Hosts outside, by name. `internet` is always there, with 203.0.113.10 and 2001:db8:ffff::10.";
    "lab.hosts.<name>": "list of addresses", "",
        "The host's addresses, which are not internal.";
    "lab.services": "mapping", "none",
        "What listens where in the lab, by instance or host.";
    "lab.services.<name>": "list of `tcp:80,443`, `udp:53`", "",
        "Ports that a program listens on there.";
    "tests": "list of mappings", "none",
        "Promises about the rules: a definition that breaks one is refused.";
    "tests[].from": "an address or an ins- id", "required",
        "Who opens the flow. An instance means each of its addresses.";
    "tests[].to": "an address or an ins- id", "required",
        "To whom. Where both ends are instances, what leaves the first and what enters the second are judged.";
    "tests[].protocol": protocol_names!(), "required",
        "The protocol of the flow.";
    "tests[].port": "a port", "required with tcp and udp",
        "The destination port.";
    "tests[].expect": "allow, refuse", "required",
        "What must become of it.";
    "silence": "list of mappings", "none",
        "Warnings of `check` that are right, but meant so, about anything.";
    "silence[].code": "a code of `check`'s warnings", "required",
        "Which warning.";
    "silence[].reason": "text", "required",
        "Why it is meant so, for people.";
}

/// The names of the keys that a mapping at `path` may have.
pub fn names_at(path: &str) -> &'static [&'static str] {
    // Each rule of a definition is asked about.
    static NAMES: LazyLock<HashMap<&str, Vec<&str>>> = LazyLock::new(|| {
        let mut names: HashMap<_, Vec<_>> = HashMap::new();
        for key in KEYS {
            let (path, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
            if !name.contains(['<', '[']) {
                names.entry(path).or_default().push(name);
            }
        }
        names
    });
    NAMES.get(path).map_or(&[], Vec::as_slice)
}

/// Returns the table as Markdown: `config/keys.md`.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Every key of a definition\n\n\
         Made from the table that the program checks a definition against; a test keeps this page equal to it.\n\n\
         | key | type and values | default | meaning |\n|---|---|---|---|\n",
    );
    for key in KEYS {
        out += &format!(
            "| `{}` | {} | {} | {} |\n",
            key.path, key.values, key.default, key.meaning
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_mapping() {
        assert_eq!(
            names_at(""),
            [
                "version",
                "security_groups",
                "address_templates",
                "service_templates",
                "instances",
                "subnets",
                "network_acls",
                "platform",
                "lab",
                "tests",
                "silence"
            ]
        );
        assert!(names_at("security_groups.<sg-id>.inbound[]").contains(&"source"));
        assert!(!names_at("security_groups.<sg-id>.outbound[]").contains(&"source"));
        assert_eq!(names_at("instances.<ins-id>.interfaces").len(), 0);
    }
}
