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

const fn key(
    path: &'static str,
    values: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> KeyInfo {
    KeyInfo {
        path,
        values,
        default,
        meaning,
    }
}

/// The table, in the order in which a person would read it.
pub const KEYS: &[KeyInfo] = &[
    key(
        "version",
        "1",
        "required",
        "The version of this format, in every file.",
    ),
    key("security_groups", "mapping", "none", "The groups, by id."),
    key(
        "security_groups.<sg-id>",
        "mapping",
        "",
        "One group. The id is its identity: `sg-`, then letters, digits and `-`; 64 bytes at most.",
    ),
    key(
        "security_groups.<sg-id>.name",
        "text",
        "none",
        "Free text; two groups may share a name.",
    ),
    key(
        "security_groups.<sg-id>.region",
        "text",
        "none",
        "The cloud's region, for people.",
    ),
    key(
        "security_groups.<sg-id>.project",
        "text",
        "none",
        "The cloud's project, for people.",
    ),
    key(
        "security_groups.<sg-id>.mode",
        "enforce, observe",
        "enforce",
        "`observe`: the refusing rules of this group count and let pass. What no rule matches passes where all groups of the interface observe.",
    ),
    key(
        "security_groups.<sg-id>.silence",
        "list of mappings",
        "none",
        "Warnings of `check` that are right, but meant so, about this group and its rules.",
    ),
    key(
        "security_groups.<sg-id>.silence[].code",
        "a code of `check`'s warnings",
        "required",
        "Which warning.",
    ),
    key(
        "security_groups.<sg-id>.silence[].reason",
        "text",
        "required",
        "Why it is meant so, for people.",
    ),
    key(
        "security_groups.<sg-id>.inbound",
        "list of rules",
        "no rule",
        "What may come in. The first rule that matches decides.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].action",
        "allow, refuse",
        "required",
        "What happens. Refuse is a silent drop.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].protocol",
        "tcp, udp, icmp, icmpv6, gre, all",
        "required, or service",
        "icmp is IPv4 only, icmpv6 IPv6 only.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].port",
        "a port, `a-b`, `a,b-c`, a list of these, all",
        "all",
        "Destination port, with tcp and udp.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].service",
        "ppm- or ppmg- id",
        "none",
        "A service template instead of protocol and port.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].source",
        "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these",
        "required",
        "Where the packet comes from. A group means the addresses of its members.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].description",
        "text",
        "none",
        "For people.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].silence",
        "list of mappings",
        "none",
        "Warnings of `check` that are right, but meant so, about this rule.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].silence[].code",
        "a code of `check`'s warnings",
        "required",
        "Which warning.",
    ),
    key(
        "security_groups.<sg-id>.inbound[].silence[].reason",
        "text",
        "required",
        "Why it is meant so, for people.",
    ),
    key(
        "security_groups.<sg-id>.outbound",
        "list of rules",
        "no rule",
        "What may go out. The first rule that matches decides.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].action",
        "allow, refuse",
        "required",
        "What happens. Refuse is a silent drop.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].protocol",
        "tcp, udp, icmp, icmpv6, gre, all",
        "required, or service",
        "icmp is IPv4 only, icmpv6 IPv6 only.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].port",
        "a port, `a-b`, `a,b-c`, a list of these, all",
        "all",
        "Destination port, with tcp and udp.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].service",
        "ppm- or ppmg- id",
        "none",
        "A service template instead of protocol and port.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].destination",
        "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these",
        "required",
        "Where the packet goes to. A group means the addresses of its members.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].description",
        "text",
        "none",
        "For people.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].silence",
        "list of mappings",
        "none",
        "Warnings of `check` that are right, but meant so, about this rule.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].silence[].code",
        "a code of `check`'s warnings",
        "required",
        "Which warning.",
    ),
    key(
        "security_groups.<sg-id>.outbound[].silence[].reason",
        "text",
        "required",
        "Why it is meant so, for people.",
    ),
    key(
        "address_templates",
        "mapping",
        "none",
        "Address templates and groups of them, by id.",
    ),
    key(
        "address_templates.<ipm-id>",
        "list of addresses, CIDRs and ranges, or a mapping",
        "",
        "A template.",
    ),
    key(
        "address_templates.<ipm-id>.file",
        "path",
        "none",
        "A file with one address, CIDR or range a line and `#` comments; relative to the file that names it.",
    ),
    key(
        "address_templates.<ipmg-id>",
        "list of ipm- ids",
        "",
        "A group of templates.",
    ),
    key(
        "service_templates",
        "mapping",
        "none",
        "Service templates and groups of them, by id.",
    ),
    key(
        "service_templates.<ppm-id>",
        "list of `tcp:80,443`, `udp:53`, `icmp`, `icmpv6`, `gre`",
        "",
        "A template.",
    ),
    key(
        "service_templates.<ppmg-id>",
        "list of ppm- ids",
        "",
        "A group of templates.",
    ),
    key("instances", "mapping", "none", "The hosts, by id."),
    key("instances.<ins-id>", "mapping", "", "One instance."),
    key(
        "instances.<ins-id>.hostname",
        "text",
        "the id",
        "Which host this is, as full or short name, without regard to case.",
    ),
    key(
        "instances.<ins-id>.kind",
        "cvm, clb, eni, database",
        "cvm",
        "What it is. Only a CVM's TCP 25 is blocked.",
    ),
    key(
        "instances.<ins-id>.billing",
        "prepaid, pay-as-you-go",
        "pay-as-you-go",
        "How it is paid. Only prepaid instances can be unblocked.",
    ),
    key(
        "instances.<ins-id>.smtp",
        "blocked, unblocked",
        "blocked",
        "Whether TCP 25 to external addresses stays blocked. A change to unblocked spends one of the account's unblocks.",
    ),
    key(
        "instances.<ins-id>.interfaces",
        "mapping",
        "required",
        "The network interfaces, by name.",
    ),
    key(
        "instances.<ins-id>.interfaces.<name>",
        "mapping",
        "",
        "One interface. The name may end in `*`; an exact name beats a glob, a longer glob a shorter one.",
    ),
    key(
        "instances.<ins-id>.interfaces.<name>.addresses",
        "list of addresses",
        "none",
        "The interface's own addresses: what a group as a remote means. Not under a glob.",
    ),
    key(
        "instances.<ins-id>.interfaces.<name>.security_groups",
        "list of sg- ids",
        "required",
        "The bound groups, highest priority first. An empty list refuses everything.",
    ),
    key("platform", "mapping", "", "What the cloud does by itself."),
    key(
        "platform.internal_networks",
        "list of addresses, CIDRs and ranges",
        "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 169.254.0.0/16, fc00::/7, fe80::/10",
        "What is internal, beside the addresses of the interfaces.",
    ),
    key(
        "platform.blocked_ports",
        "mapping",
        "",
        "The ports that no rule of a group can open.",
    ),
    key(
        "platform.blocked_ports.profile",
        "tencent, none",
        "tencent",
        "The list to begin with.",
    ),
    key(
        "platform.blocked_ports.direction",
        "inbound, outbound, both",
        "both",
        "Which way they are blocked.",
    ),
    key(
        "platform.blocked_ports.peers",
        "any, external",
        "any",
        "`external` blocks them only to and from external addresses, as carriers do.",
    ),
    key(
        "platform.blocked_ports.add",
        "mapping",
        "none",
        "Ports to block besides.",
    ),
    key(
        "platform.blocked_ports.add.tcp",
        "ports",
        "none",
        "TCP ports to block besides.",
    ),
    key(
        "platform.blocked_ports.add.udp",
        "ports",
        "none",
        "UDP ports to block besides.",
    ),
    key(
        "platform.blocked_ports.remove",
        "mapping",
        "none",
        "Ports of the profile not to block.",
    ),
    key(
        "platform.blocked_ports.remove.tcp",
        "ports",
        "none",
        "TCP ports not to block.",
    ),
    key(
        "platform.blocked_ports.remove.udp",
        "ports",
        "none",
        "UDP ports not to block.",
    ),
    key(
        "platform.smtp",
        "mapping",
        "",
        "TCP 25 from CVMs to external addresses.",
    ),
    key(
        "platform.smtp.block",
        "true, false",
        "true",
        "Whether it is blocked.",
    ),
    key(
        "platform.smtp.unblocks_per_account",
        "0 to 1000",
        "5",
        "How many changes to unblocked the account has, for good.",
    ),
    key(
        "platform.approved_services",
        "mapping",
        "vpc-dns and metadata, both outbound",
        "Services that pass before any group is asked. What is written here is added; a name given again replaces that service.",
    ),
    key(
        "platform.approved_services.<name>",
        "mapping",
        "",
        "One service.",
    ),
    key(
        "platform.approved_services.<name>.direction",
        "inbound, outbound",
        "required",
        "Who opens the flow.",
    ),
    key(
        "platform.approved_services.<name>.protocol",
        "tcp, udp, icmp, icmpv6, gre, all, or a list of these",
        "required",
        "Its protocols.",
    ),
    key(
        "platform.approved_services.<name>.port",
        "a port, `a-b`, `a,b-c`, a list of these, all",
        "all",
        "Destination port, with tcp and udp.",
    ),
    key(
        "platform.approved_services.<name>.source",
        "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these",
        "required when inbound",
        "Who may open the flow.",
    ),
    key(
        "platform.approved_services.<name>.destination",
        "address, CIDR, `a-b`, any, sg-, ipm-, ipmg- id, or a list of these",
        "required when outbound",
        "Where the flow goes.",
    ),
    key(
        "platform.unbound_interfaces",
        "ignore, refuse",
        "ignore",
        "What happens on an interface that the instance does not name; `refuse` refuses new inbound flows on every one but lo.",
    ),
    key(
        "platform.established",
        "recheck, keep",
        "recheck",
        "Whether a changed rule holds for live flows too. `keep`: what an interface let pass goes on across it.",
    ),
    key(
        "platform.events",
        "none, refusals",
        "none",
        "`refusals`: each refused packet is told to the daemon, for the log and `secgroupd events`.",
    ),
    key(
        "platform.mode",
        "enforce, observe",
        "enforce",
        "`observe` refuses nothing on the whole host: what would be refused is counted and reported, and passes.",
    ),
    key(
        "lab",
        "mapping",
        "none",
        "What `secgroupd lab` adds to the instances. On a VM it means nothing.",
    ),
    key(
        "lab.hosts",
        "mapping",
        "none",
        "Hosts outside, by name. `internet` is always there, with 203.0.113.10 and 2001:db8:ffff::10.",
    ),
    key(
        "lab.hosts.<name>",
        "list of addresses",
        "",
        "The host's addresses, which are not internal.",
    ),
    key(
        "lab.services",
        "mapping",
        "none",
        "What listens where in the lab, by instance or host.",
    ),
    key(
        "lab.services.<name>",
        "list of `tcp:80,443`, `udp:53`",
        "",
        "Ports that a program listens on there.",
    ),
    key(
        "tests",
        "list of mappings",
        "none",
        "Promises about the rules: a definition that breaks one is refused.",
    ),
    key(
        "tests[].from",
        "an address or an ins- id",
        "required",
        "Who opens the flow. An instance means each of its addresses.",
    ),
    key(
        "tests[].to",
        "an address or an ins- id",
        "required",
        "To whom. Where both ends are instances, what leaves the first and what enters the second are judged.",
    ),
    key(
        "tests[].protocol",
        "tcp, udp, icmp, icmpv6, gre",
        "required",
        "The protocol of the flow.",
    ),
    key(
        "tests[].port",
        "a port",
        "required with tcp and udp",
        "The destination port.",
    ),
    key(
        "tests[].expect",
        "allow, refuse",
        "required",
        "What must become of it.",
    ),
    key(
        "silence",
        "list of mappings",
        "none",
        "Warnings of `check` that are right, but meant so, about anything.",
    ),
    key(
        "silence[].code",
        "a code of `check`'s warnings",
        "required",
        "Which warning.",
    ),
    key(
        "silence[].reason",
        "text",
        "required",
        "Why it is meant so, for people.",
    ),
];

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
