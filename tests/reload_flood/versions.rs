//! Definitions that differ in every other rule, or in some addresses of long lists.

use std::fmt::Write;

use secgroupd::ruleset::Ruleset;

use super::TRANSFERRED;
use super::support::ruleset;

/// So many rules: half of them inbound, half outbound, with lists of ports and of addresses and long templates. The flooded ports keep
/// their verdict in every version, behind all the others; `version` changes every other rule. With `beside` another interface is bound
/// to other groups in the other order, so that each list is asked behind its interface's name.
fn definition(rules: u16, version: u16, beside: bool) -> String {
    let mut text = String::from("version: 1\nsecurity_groups:\n  sg-flood:\n");
    for (direction, remote) in [("inbound", "source"), ("outbound", "destination")] {
        writeln!(text, "    {direction}:").unwrap();
        for number in 0..rules / 2 - 2 {
            let (action, protocol) = match number % 2 {
                0 => ("allow", "tcp"),
                _ => ("refuse", "udp"),
            };
            let port = 10_000 + number * 20 + version * 3;
            let (ports, peers) = match number % 4 {
                0 => (format!("{port}"), "ipm-many".to_owned()),
                1 => (
                    format!("'{port},{}-{}'", port + 2, port + 9),
                    "any".to_owned(),
                ),
                2 => (
                    format!("'{port}-{}'", port + 9),
                    format!("[10.{number}.0.0/16, '2001:db8:{number}::/48']"),
                ),
                _ => (
                    format!("'{port},{}'", port + 4),
                    format!("[172.16.{number}.0/24, 192.0.2.{}]", number % 250),
                ),
            };
            writeln!(text, "      - {{ action: {action}, protocol: {protocol}, port: {ports}, {remote}: {peers} }}").unwrap();
        }
        writeln!(
            text,
            "      - {{ action: refuse, protocol: udp, port: 1001, {remote}: any }}"
        )
        .unwrap();
        writeln!(
            text,
            "      - {{ action: allow, protocol: tcp, port: [2002, {TRANSFERRED}], {remote}: ipm-flood }}"
        )
        .unwrap();
    }
    // More than sixteen addresses make a named set. The flood's own address is one of them: a set that misses is a lost packet.
    let many = |base: u16| {
        (0..40).map(move |n| format!("198.51.100.{}, '2001:db8:{base:x}:{:x}::/64'", n * 2, n * 2))
    };
    let many = |base| many(base).collect::<Vec<_>>().join(", ");
    writeln!(
        text,
        "address_templates:\n  ipm-many: [{}]",
        many(0x100 + version)
    )
    .unwrap();
    writeln!(
        text,
        "  ipm-flood: [10.0.0.9, '2001:db8::9', {}]",
        many(0x200 + version)
    )
    .unwrap();
    let mut eth1 = "";
    if beside {
        let port = 9000 + version;
        text = text.replacen(
            "address_templates:",
            &format!("  sg-other:\n    inbound: [{{ action: allow, protocol: udp, port: {port}, source: any }}]\naddress_templates:"),
            1,
        );
        eth1 = ", eth1: { security_groups: [sg-other, sg-flood] }";
    }
    text + &format!(
        "instances:\n  ins-a: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-flood] }}{eth1} }} }}\n"
    )
}

/// Two that differ.
pub fn versions(rules: u16) -> [Ruleset; 2] {
    both_versions(rules, false)
}

/// Two that differ, each with a list for either of two interfaces.
pub fn versions_of_two_interfaces(rules: u16) -> [Ruleset; 2] {
    both_versions(rules, true)
}

fn both_versions(rules: u16, beside: bool) -> [Ruleset; 2] {
    let versions = [0, 1].map(|version| ruleset(&definition(rules, version, beside)));
    // What is created and used in one transaction is what loses packets: sets, or maps of both families.
    let [sets, maps] = [versions[0].sets.len(), versions[0].maps.len()];
    assert!(sets + maps >= 4, "{sets} named sets and {maps} maps");
    versions
}

/// Long lists of addresses. Each version differs from the one before, and the first from the last, in some addresses of one
/// direction: who may answer depends on both directions, so that a change of both is a switch.
pub fn long_lists() -> [Ruleset; 4] {
    [[0, 0], [1, 0], [1, 1], [0, 1]].map(of_long_lists)
}

fn of_long_lists([inbound, outbound]: [u32; 2]) -> Ruleset {
    // Equal lists would be one set.
    let others = |net: u32, version: u32| {
        (0..700).map(move |n| {
            let n = n * 2 + if n % 50 == 0 { version * 100_000 } else { 0 };
            format!(
                "{net}.{}.{}.{}, '2001:db8:{net}:{:x}::{:x}'",
                n >> 16,
                (n >> 8) & 255,
                n & 255,
                n >> 16,
                n & 0xffff
            )
        })
    };
    let list = |net, version| others(net, version).collect::<Vec<_>>().join(", ");
    let mut text = String::from(
        "version: 1\nplatform: { blocked_ports: { profile: none } }\nsecurity_groups:\n  sg-flood:\n",
    );
    for (direction, remote) in [("inbound", "source"), ("outbound", "destination")] {
        write!(
            text,
            "    {direction}:\n      - {{ action: allow, protocol: tcp, port: [1500, 1600, 2002, 2100], {remote}: ipm-{direction} }}\n      - {{ action: allow, protocol: tcp, port: [2002, {TRANSFERRED}], {remote}: [10.0.0.9, '2001:db8::9'] }}\n"
        )
        .unwrap();
    }
    writeln!(
        text,
        "address_templates:\n  ipm-inbound: [{}]\n  ipm-outbound: [{}]",
        list(20, inbound),
        list(21, outbound)
    )
    .unwrap();
    ruleset(
        &(text
            + "instances:\n  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-flood] } } }\n"),
    )
}
