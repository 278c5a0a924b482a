//! What each key takes and what it does not.

/// For each key with values of its own: lines that are accepted and lines that are refused.
pub const VALUES: &[(&str, &[&str], &[&str])] = &[
    (
        "version",
        &["version: 1", "version: \"1\""],
        &["version: 2", "version: 1.0", "version: [1]"],
    ),
    (
        "security_groups.<sg-id>.name",
        &["name: any text", "name: 7"],
        &["name: [a]", "name:"],
    ),
    (
        "security_groups.<sg-id>.region",
        &["region: ap-guangzhou"],
        &["region: { a: b }"],
    ),
    (
        "security_groups.<sg-id>.project",
        &["project: default"],
        &["project: []"],
    ),
    (
        "security_groups.<sg-id>.mode",
        &["mode: enforce", "mode: observe"],
        &["mode: disabled"],
    ),
    (
        "security_groups.<sg-id>.inbound[].action",
        &[
            "action: allow, protocol: all, source: any",
            "action: refuse, protocol: all, source: any",
        ],
        &[
            "action: accept, protocol: all, source: any",
            "protocol: all, source: any",
        ],
    ),
    (
        "security_groups.<sg-id>.inbound[].protocol",
        &[
            "action: allow, source: any, protocol: tcp",
            "action: allow, source: any, protocol: udp",
            "action: allow, source: any, protocol: icmp",
            "action: allow, source: any, protocol: icmpv6",
            "action: allow, source: any, protocol: gre",
            "action: allow, source: any, protocol: all",
        ],
        &[
            "action: allow, source: any, protocol: esp",
            "action: allow, source: any",
        ],
    ),
    (
        "security_groups.<sg-id>.inbound[].port",
        &[
            "action: allow, source: any, protocol: tcp, port: 1",
            "action: allow, source: any, protocol: tcp, port: 65535",
            "action: allow, source: any, protocol: udp, port: 1-65535",
            "action: allow, source: any, protocol: tcp, port: \"22,80-90\"",
            "action: allow, source: any, protocol: tcp, port: [22, 80-90, \"1,2\", all]",
            "action: allow, source: any, protocol: gre, port: all",
            "action: allow, source: any, protocol: icmp, port: [all]",
            "action: allow, source: any, protocol: all, port: all",
        ],
        &[
            "action: allow, source: any, protocol: tcp, port: 0",
            "action: allow, source: any, protocol: tcp, port: 65536",
            "action: allow, source: any, protocol: tcp, port: 5-4",
            "action: allow, source: any, protocol: tcp, port: []",
            "action: allow, source: any, protocol: icmp, port: 22",
            "action: allow, source: any, service: ppm-a, port: all",
        ],
    ),
    (
        "security_groups.<sg-id>.inbound[].service",
        &[
            "action: allow, source: any, service: ppm-a",
            "action: allow, source: any, service: ppmg-a",
        ],
        &[
            "action: allow, source: any, service: ipm-a",
            "action: allow, source: any, service: [ppm-a]",
        ],
    ),
    (
        "security_groups.<sg-id>.inbound[].source",
        &[
            "action: allow, protocol: all, source: 10.0.0.1",
            "action: allow, protocol: all, source: 10.0.0.0/8",
            "action: allow, protocol: all, source: 10.0.0.1 - 10.0.0.9",
            "action: allow, protocol: all, source: \"::/0\"",
            "action: allow, protocol: all, source: [any, sg-a, ipm-a, ipmg-a, \"::1\"]",
        ],
        &[
            "action: allow, protocol: all, source: 10.0.0.1/8",
            "action: allow, protocol: all, source: ppm-a",
            "action: allow, protocol: all, source: ins-a",
            "action: allow, protocol: all, destination: any",
            "action: allow, protocol: all, source: []",
        ],
    ),
    (
        "security_groups.<sg-id>.inbound[].description",
        &["action: allow, protocol: all, source: any, description: text"],
        &["action: allow, protocol: all, source: any, description: [text]"],
    ),
    (
        "security_groups.<sg-id>.inbound[].until",
        &[
            "action: allow, protocol: all, source: any, until: 2026-12-31T18:00Z",
            "action: refuse, protocol: all, source: any, until: \"2026-12-31T18:00:00+08:00\"",
        ],
        &[
            "action: allow, protocol: all, source: any, until: 2026-12-31T18:00",
            "action: allow, protocol: all, source: any, until: 2026-12-31",
            "action: allow, protocol: all, source: any, until: tomorrow",
            "action: allow, protocol: all, source: any, until: \"\"",
            "action: allow, protocol: all, source: any, until: [2026-12-31T18:00Z]",
        ],
    ),
    (
        "subnets.<subnet-id>.cidr",
        &[
            "version: 1\nsubnets: { subnet-a: { cidr: 10.0.0.0/24 } }",
            "version: 1\nsubnets: { subnet-a: { cidr: [10.0.0.0/24, 10.9.0.0/16, \"2001:db8::/64\"] } }",
        ],
        &[
            "version: 1\nsubnets: { subnet-a: { cidr: 10.0.0.1/24 } }",
            "version: 1\nsubnets: { subnet-a: { cidr: 10.0.0.0-10.0.0.9 } }",
            "version: 1\nsubnets: { subnet-a: { cidr: any } }",
            "version: 1\nsubnets: { subnet-a: { cidr: [] } }",
            "version: 1\nsubnets: { subnet-a: {} }",
            "version: 1\nsubnets: { a: { cidr: 10.0.0.0/24 } }",
        ],
    ),
    (
        "subnets.<subnet-id>.network_acl",
        &[
            "version: 1\nsubnets: { subnet-a: { cidr: 10.0.0.0/24, network_acl: acl-a } }\nnetwork_acls: { acl-a: {} }",
        ],
        &[
            "version: 1\nsubnets: { subnet-a: { cidr: 10.0.0.0/24, network_acl: acl-b } }\nnetwork_acls: { acl-a: {} }",
            "version: 1\nsubnets: { subnet-a: { cidr: 10.0.0.0/24, network_acl: sg-a } }",
            "version: 1\nsubnets: { subnet-a: { cidr: 10.0.0.0/24, network_acl: [acl-a] } }\nnetwork_acls: { acl-a: {} }",
        ],
    ),
    (
        "network_acls.<acl-id>.inbound[].action",
        &[
            "action: allow, protocol: all, source: any",
            "action: refuse, protocol: all, source: any",
        ],
        &[
            "action: deny, protocol: all, source: any",
            "protocol: all, source: any",
        ],
    ),
    (
        "network_acls.<acl-id>.inbound[].protocol",
        &[
            "action: allow, source: any, protocol: tcp",
            "action: allow, source: any, protocol: udp",
            "action: allow, source: any, protocol: icmp",
            "action: allow, source: any, protocol: icmpv6",
            "action: allow, source: any, protocol: gre",
            "action: allow, source: any, protocol: all",
        ],
        &[
            "action: allow, source: any, protocol: esp",
            "action: allow, source: any, service: ppm-a",
            "action: allow, source: any",
        ],
    ),
    (
        "network_acls.<acl-id>.inbound[].port",
        &[
            "action: allow, source: any, protocol: tcp, port: 1",
            "action: allow, source: any, protocol: udp, port: [22, \"80-90,443\"]",
            "action: allow, source: any, protocol: icmp, port: all",
        ],
        &[
            "action: allow, source: any, protocol: tcp, port: 0",
            "action: allow, source: any, protocol: all, port: 22",
        ],
    ),
    (
        "network_acls.<acl-id>.inbound[].source_port",
        &[
            "action: allow, source: any, protocol: tcp, source_port: 443",
            "action: allow, source: any, protocol: udp, port: 53, source_port: \"53,1024-65535\"",
            "action: allow, source: any, protocol: all, source_port: all",
        ],
        &[
            "action: allow, source: any, protocol: tcp, source_port: 65536",
            "action: allow, source: any, protocol: icmp, source_port: 22",
            "action: allow, source: any, protocol: all, source_port: 22",
        ],
    ),
    (
        "network_acls.<acl-id>.inbound[].source",
        &[
            "action: allow, protocol: all, source: 10.0.0.1",
            "action: allow, protocol: all, source: [10.0.0.0/8, \"2001:db8::/32\", 192.0.2.1-192.0.2.9]",
            "action: allow, protocol: icmp, source: 0.0.0.0/0",
        ],
        &[
            "action: allow, protocol: all, source: sg-a",
            "action: allow, protocol: all, source: ipm-a",
            "action: allow, protocol: all, source: 10.0.0.1/8",
            "action: allow, protocol: icmp, source: \"::/0\"",
            "action: allow, protocol: all, destination: any",
        ],
    ),
    (
        "network_acls.<acl-id>.inbound[].destination",
        &["action: allow, protocol: all, source: any, destination: 10.0.0.0/24"],
        &[
            "action: allow, protocol: all, source: 10.0.0.0/8, destination: \"2001:db8::/64\"",
            "action: allow, protocol: all, source: any, destination: []",
        ],
    ),
    (
        "network_acls.<acl-id>.inbound[].description",
        &["action: allow, protocol: all, source: any, description: text"],
        &["action: allow, protocol: all, source: any, description: [text]"],
    ),
    (
        "instances.<ins-id>.hostname",
        &["hostname: web1", "hostname: Web1.example.com"],
        &["hostname: web 1", "hostname: \"\""],
    ),
    (
        "instances.<ins-id>.kind",
        &["kind: cvm", "kind: clb", "kind: eni", "kind: database"],
        &["kind: vm", "kind: [cvm]"],
    ),
    (
        "instances.<ins-id>.billing",
        &["billing: prepaid", "billing: pay-as-you-go"],
        &["billing: postpaid"],
    ),
    (
        "instances.<ins-id>.smtp",
        &["smtp: blocked", "{ smtp: unblocked, billing: prepaid }"],
        &["smtp: true", "smtp: unblocked"],
    ),
    (
        "instances.<ins-id>.interfaces.<name>.addresses",
        &["security_groups: [], addresses: [10.0.0.5, \"2001:db8::5\"]"],
        &[
            "security_groups: [], addresses: [10.0.0.5/24]",
            "security_groups: [], addresses: 10.0.0.5",
        ],
    ),
    (
        "instances.<ins-id>.interfaces.<name>.security_groups",
        &["security_groups: []", "security_groups: [sg-a]"],
        &[
            "security_groups: [sg-b]",
            "security_groups: sg-a",
            "addresses: []",
        ],
    ),
    (
        "platform.internal_networks",
        &["internal_networks: [10.0.0.0/8, 10.0.0.1-10.0.0.2]"],
        &[
            "internal_networks: any",
            "internal_networks: []",
            "internal_networks: [sg-a]",
        ],
    ),
    (
        "platform.blocked_ports.profile",
        &[
            "blocked_ports: { profile: tencent }",
            "blocked_ports: { profile: none }",
        ],
        &["blocked_ports: { profile: aws }"],
    ),
    (
        "platform.blocked_ports.direction",
        &[
            "blocked_ports: { direction: inbound }",
            "blocked_ports: { direction: outbound }",
            "blocked_ports: { direction: both }",
        ],
        &["blocked_ports: { direction: any }"],
    ),
    (
        "platform.blocked_ports.peers",
        &[
            "blocked_ports: { peers: any }",
            "blocked_ports: { peers: external }",
        ],
        &["blocked_ports: { peers: internal }"],
    ),
    (
        "platform.blocked_ports.add.tcp",
        &["blocked_ports: { add: { tcp: [1, 2-3, \"4,5\"] } }"],
        &["blocked_ports: { add: { tcp: [] } }"],
    ),
    (
        "platform.blocked_ports.add.udp",
        &["blocked_ports: { add: { udp: 19 } }"],
        &["blocked_ports: { add: { udp: x } }"],
    ),
    (
        "platform.blocked_ports.remove.tcp",
        &["blocked_ports: { remove: { tcp: 445 } }"],
        &["blocked_ports: { remove: { tcp: 0 } }"],
    ),
    (
        "platform.blocked_ports.remove.udp",
        &["blocked_ports: { remove: { udp: 135-139 } }"],
        &["blocked_ports: { remove: 135 }"],
    ),
    (
        "platform.smtp.block",
        &["smtp: { block: true }", "smtp: { block: false }"],
        &["smtp: { block: yes }", "smtp: false"],
    ),
    (
        "platform.smtp.unblocks_per_account",
        &[
            "smtp: { unblocks_per_account: 0 }",
            "smtp: { unblocks_per_account: 1000 }",
        ],
        &[
            "smtp: { unblocks_per_account: 1001 }",
            "smtp: { unblocks_per_account: -1 }",
            "smtp: { unblocks_per_account: +5 }",
        ],
    ),
    (
        "platform.approved_services.<name>.direction",
        &[
            "approved_services: { a: { direction: inbound, protocol: tcp, source: any } }",
            "approved_services: { a: { direction: outbound, protocol: tcp, destination: any } }",
        ],
        &[
            "approved_services: { a: { direction: both, protocol: tcp, source: any } }",
            "approved_services: { a: { protocol: tcp, source: any } }",
        ],
    ),
    (
        "platform.approved_services.<name>.protocol",
        &[
            "approved_services: { a: { direction: inbound, protocol: [tcp, udp, icmp, icmpv6, gre, all], source: any } }",
        ],
        &[
            "approved_services: { a: { direction: inbound, source: any } }",
            "approved_services: { a: { direction: inbound, protocol: [], source: any } }",
        ],
    ),
    (
        "platform.approved_services.<name>.port",
        &[
            "approved_services: { a: { direction: inbound, protocol: [tcp, udp], port: [1, 2-3], source: any } }",
        ],
        &[
            "approved_services: { a: { direction: inbound, protocol: [tcp, icmp], port: 1, source: any } }",
        ],
    ),
    (
        "platform.approved_services.<name>.source",
        &[
            "approved_services: { a: { direction: inbound, protocol: tcp, source: [10.0.0.0/8, sg-a, ipm-a, ipmg-a] } }",
        ],
        &["approved_services: { a: { direction: outbound, protocol: tcp, source: any } }"],
    ),
    (
        "platform.approved_services.<name>.destination",
        &[
            "approved_services: { a: { direction: outbound, protocol: tcp, destination: [any, 10.0.0.1-10.0.0.2] } }",
        ],
        &["approved_services: { a: { direction: inbound, protocol: tcp, destination: any } }"],
    ),
    (
        "platform.unbound_interfaces",
        &["unbound_interfaces: ignore", "unbound_interfaces: refuse"],
        &["unbound_interfaces: allow"],
    ),
    (
        "platform.established",
        &["established: recheck", "established: keep"],
        &["established: drop"],
    ),
    (
        "platform.events",
        &["events: none", "events: refusals"],
        &["events: all"],
    ),
    (
        "platform.mode",
        &["mode: enforce", "mode: observe"],
        &["mode: off"],
    ),
    (
        "platform.quotas",
        &["quotas: none", "quotas: tencent"],
        &["quotas: 5", "quotas: aws"],
    ),
    (
        "lab.hosts.<name>",
        &[
            "version: 1\nlab: { hosts: { office: [198.51.100.7, \"2001:db8:1::7\"] } }",
            "version: 1\nlab: { hosts: { office: 198.51.100.7 } }",
            // On a VM the values mean nothing.
            "version: 1\nlab: { hosts: { office: [10.0.0.5] } }",
        ],
        &[
            "version: 1\nlab: { hosts: { office: [] } }",
            "version: 1\nlab: { hosts: { office: { a: b } } }",
            "version: 1\nlab: { hosts: [198.51.100.7] }",
            "version: 1\nlab: { host: { office: [198.51.100.7] } }",
        ],
    ),
    (
        "lab.services.<name>",
        &[
            "version: 1\nlab: { services: { ins-a: [\"tcp:80,443\", \"udp:53\"], internet: tcp:25 } }",
        ],
        &[
            "version: 1\nlab: { services: { ins-a: [] } }",
            "version: 1\nlab: { services: [tcp:80] }",
            "version: 1\nlab: []",
        ],
    ),
    (
        "tests[].from",
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, port: 443, expect: allow }]",
            "version: 1\ntests: [{ from: ins-a, to: 198.51.100.7, protocol: tcp, port: 443, expect: refuse }]",
        ],
        &[
            "version: 1\ntests: [{ to: ins-a, protocol: tcp, port: 443, expect: allow }]",
            "version: 1\ntests: [{ from: 198.51.100.0/24, to: ins-a, protocol: tcp, port: 443, expect: allow }]",
            "version: 1\ntests: [{ from: ins-b, to: ins-a, protocol: tcp, port: 443, expect: allow }]",
        ],
    ),
    (
        "tests[].to",
        &[
            "version: 1\ntests: [{ from: \"2001:db8::7\", to: ins-a, protocol: tcp, port: 443, expect: allow }]",
        ],
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, protocol: tcp, port: 443, expect: allow }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: any, protocol: tcp, port: 443, expect: allow }]",
        ],
    ),
    (
        "tests[].protocol",
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, port: 1, expect: allow }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: udp, port: 1, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: icmp, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: gre, expect: refuse }]",
            "version: 1\ntests: [{ from: \"2001:db8::7\", to: ins-a, protocol: icmpv6, expect: refuse }]",
        ],
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: all, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: icmpv6, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, expect: refuse }]",
        ],
    ),
    (
        "tests[].port",
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, port: 65535, expect: allow }]",
        ],
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: udp, port: 0, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: udp, port: 1-2, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: udp, port: all, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: gre, port: 1, expect: refuse }]",
        ],
    ),
    (
        "tests[].expect",
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, port: 1, expect: allow }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: udp, port: 1, expect: refuse }]",
        ],
        &[
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, port: 1, expect: refuse }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, port: 1, expect: drop }]",
            "version: 1\ntests: [{ from: 198.51.100.7, to: ins-a, protocol: tcp, port: 1 }]",
        ],
    ),
    (
        "silence[].code",
        &[
            "version: 1\nsilence: [{ code: never-matches, reason: so it is }]",
            "version: 1\nsilence: [{ code: port-not-open, reason: so it is }]",
        ],
        &[
            "version: 1\nsilence: [{ code: never, reason: so it is }]",
            "version: 1\nsilence: [{ reason: so it is }]",
        ],
    ),
    (
        "silence[].reason",
        &["version: 1\nsilence: [{ code: admin-port, reason: a jump host }]"],
        &[
            "version: 1\nsilence: [{ code: admin-port }]",
            "version: 1\nsilence: [{ code: admin-port, reason: ' ' }]",
            "version: 1\nsilence: [{ code: admin-port, reason: [] }]",
        ],
    ),
    (
        "security_groups.<sg-id>.silence[].code",
        &[
            "silence: [{ code: never-matches, reason: so it is }]",
            "silence: [{ code: port-not-open, reason: so it is }]",
        ],
        &[
            "silence: [{ code: never, reason: so it is }]",
            "silence: [{ reason: so it is }]",
        ],
    ),
    (
        "security_groups.<sg-id>.silence[].reason",
        &["silence: [{ code: admin-port, reason: a jump host }]"],
        &[
            "silence: [{ code: admin-port }]",
            "silence: [{ code: admin-port, reason: ' ' }]",
            "silence: [{ code: admin-port, reason: [] }]",
        ],
    ),
    (
        "security_groups.<sg-id>.inbound[].silence[].code",
        &[
            "action: allow, protocol: tcp, source: any, silence: [{ code: never-matches, reason: so it is }]",
            "action: allow, protocol: tcp, source: any, silence: [{ code: port-not-open, reason: so it is }]",
        ],
        &[
            "action: allow, protocol: tcp, source: any, silence: [{ code: never, reason: so it is }]",
            "action: allow, protocol: tcp, source: any, silence: [{ reason: so it is }]",
        ],
    ),
    (
        "security_groups.<sg-id>.inbound[].silence[].reason",
        &[
            "action: allow, protocol: tcp, source: any, silence: [{ code: admin-port, reason: a jump host }]",
        ],
        &[
            "action: allow, protocol: tcp, source: any, silence: [{ code: admin-port }]",
            "action: allow, protocol: tcp, source: any, silence: [{ code: admin-port, reason: ' ' }]",
            "action: allow, protocol: tcp, source: any, silence: [{ code: admin-port, reason: [] }]",
        ],
    ),
];
