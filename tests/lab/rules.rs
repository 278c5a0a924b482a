//! What the groups say holds for real packets: both sides, nested networks, the order of groups, services, interfaces.

use libtest_mimic::Trial;
use serde_json::Value;

use super::site::{Site, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "the_sender_s_outbound_and_the_receiver_s_inbound_are_both_needed",
            &[],
            both_sides,
        ),
        kernel_test("nested_networks_in_both_families", &[], nested_networks),
        kernel_test("two_groups_in_either_order", &[], order_of_groups),
        kernel_test(
            "what_listens_and_what_does_not",
            &["bash", "python3"],
            services,
        ),
        kernel_test("two_interfaces_with_groups_of_their_own", &[], interfaces),
        kernel_test("addresses_that_are_left_out", &[], given_addresses),
        kernel_test("the_platform_s_blocks", &[], platform),
        kernel_test("a_network_acl_between_subnets", &[], network_acl),
    ]
}

/// ins-oo may send and receive, ins-ox may only send, ins-xo may only receive, ins-xx neither; both families.
const SIDES: &str = r#"version: 1
security_groups:
  sg-oo: { inbound: [{ action: allow, protocol: all, source: any }], outbound: [{ action: allow, protocol: all, destination: any }] }
  sg-ox: { outbound: [{ action: allow, protocol: all, destination: any }] }
  sg-xo: { inbound: [{ action: allow, protocol: all, source: any }] }
  sg-xx: {}
instances:
  ins-oo: { interfaces: { eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-oo] } } }
  ins-ox: { interfaces: { eth0: { addresses: [10.0.0.2, "2001:db8::2"], security_groups: [sg-ox] } } }
  ins-xo: { interfaces: { eth0: { addresses: [10.0.0.3, "2001:db8::3"], security_groups: [sg-xo] } } }
  ins-xx: { interfaces: { eth0: { addresses: [10.0.0.4, "2001:db8::4"], security_groups: [sg-xx] } } }
lab: { services: { ins-oo: [tcp:80, udp:53], ins-ox: [tcp:80, udp:53], ins-xo: [tcp:80, udp:53], ins-xx: [tcp:80, udp:53], internet: [tcp:80, udp:53] } }
"#;

fn text<'v>(cell: &'v Value, key: &str) -> &'v str {
    cell[key].as_str().unwrap_or_default()
}

fn both_sides() {
    let site = Site::new(SIDES);
    let _up = site.up();
    let reach = site.reach("--ports tcp:80,udp:53,icmp");
    let cells = reach["cells"].as_array().unwrap();
    // Each pair, both families, three services.
    assert_eq!(cells.len(), 5 * 4 * 2 * 3);
    for cell in cells {
        let (from, to) = (text(cell, "from"), text(cell, "to"));
        let sends = matches!(from, "ins-oo" | "ins-ox" | "internet");
        let receives = matches!(to, "ins-oo" | "ins-xo" | "internet");
        let wanted = match sends && receives {
            true => "reached",
            false => "silent",
        };
        assert_eq!(text(cell, "found"), wanted, "{cell}");
        assert_eq!(cell["agreement"], "equal", "{cell}");
        let allows = |side: &str| cell[side]["allows"].as_bool();
        assert_eq!(
            allows("outbound"),
            (from != "internet").then_some(sends),
            "{cell}"
        );
        assert_eq!(
            allows("inbound"),
            (to != "internet").then_some(receives),
            "{cell}"
        );
    }
    assert!(
        site.lab("reach")
            .good()
            .out
            .contains("Every cell equals its prediction.")
    );
}

/// One address allowed inside a refused network on 22, one refused inside an allowed network on 80.
const NESTED: &str = r#"version: 1
security_groups:
  sg-web:
    inbound:
      - { action: allow,  protocol: tcp, port: 22, source: 192.0.2.7/32 }
      - { action: refuse, protocol: tcp, port: 22, source: 192.0.2.0/24 }
      - { action: allow,  protocol: tcp, port: 22, source: 0.0.0.0/0 }
      - { action: refuse, protocol: tcp, port: 80, source: 192.0.2.7/32 }
      - { action: allow,  protocol: tcp, port: 80, source: 192.0.2.0/24 }
      - { action: allow,  protocol: tcp, port: 22, source: "2001:db8:7::7/128" }
      - { action: refuse, protocol: tcp, port: 22, source: "2001:db8:7::/64" }
      - { action: allow,  protocol: tcp, port: 22, source: "::/0" }
      - { action: refuse, protocol: tcp, port: 80, source: "2001:db8:7::7/128" }
      - { action: allow,  protocol: tcp, port: 80, source: "2001:db8:7::/64" }
instances:
  ins-web: { interfaces: { eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-web] } } }
lab: { services: { ins-web: ["tcp:22,80"] } }
"#;

fn nested_networks() {
    let site = Site::new(NESTED);
    let _up = site.up();
    for (inside, beside, elsewhere, to) in [
        ("192.0.2.7", "192.0.2.8", "198.51.100.1", "10.0.0.1"),
        (
            "2001:db8:7::7",
            "2001:db8:7::8",
            "2001:db8:9::9",
            "2001:db8::1",
        ),
    ] {
        let found = |from: &str, port: u16| site.found(&format!("{from} {to} tcp {port}"));
        assert_eq!(found(inside, 22), "reached");
        assert_eq!(found(beside, 22), "silent");
        assert_eq!(found(elsewhere, 22), "reached");
        assert_eq!(found(inside, 80), "silent");
        assert_eq!(found(beside, 80), "reached");
        assert_eq!(found(elsewhere, 80), "silent");
    }
    // Who was played has gone again.
    let left = site.shell("internet", "ip address").good().out;
    assert!(
        left.contains("203.0.113.10") && !left.contains("192.0.2.") && !left.contains("2001:db8:7"),
        "{left}"
    );
    let routes = site.shell("router", "ip route; ip -6 route; ip neighbour");
    let routes = routes.good().out;
    assert!(
        routes.contains("203.0.113.10")
            && !routes.contains("192.0.2.")
            && !routes.contains("2001:db8:7"),
        "{routes}"
    );
}

fn order_of_groups() {
    let definition = |order: &str| {
        format!(
            "version: 1\nsecurity_groups:\n\
             \x20 sg-no: {{ inbound: [{{ action: refuse, protocol: tcp, port: 22, source: any }}] }}\n\
             \x20 sg-yes: {{ inbound: [{{ action: allow, protocol: tcp, port: \"22,80\", source: any }}] }}\n\
             instances:\n  ins-a: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.1], security_groups: [{order}] }} }} }}\n\
             lab: {{ services: {{ ins-a: [\"tcp:22,80\"] }} }}\n"
        )
    };
    let site = Site::new(&definition("sg-no, sg-yes"));
    let up = site.up();
    assert_eq!(site.found("internet ins-a tcp 22"), "silent");
    assert_eq!(
        site.found("internet ins-a tcp 80"),
        "reached",
        "what the first does not mention"
    );
    site.save(&definition("sg-yes, sg-no"));
    up.until_said("another policy: ins-a");
    assert_eq!(site.found("internet ins-a tcp 22"), "reached");
    assert_eq!(site.found("internet ins-a tcp 80"), "reached");
}

fn services() {
    let site = Site::new(
        r#"version: 1
security_groups: { sg-a: { inbound: [{ action: allow, protocol: all, source: any }] } }
instances: { ins-a: { interfaces: { eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-a] } } } }
lab: { hosts: { office: [198.51.100.7, "2001:db8:1::7"] }, services: { ins-a: ["tcp:80,8000-8002", "udp:53"] } }
"#,
    );
    let _up = site.up();
    for (probe, found) in [
        ("tcp 80", "reached"),
        ("tcp 8002", "reached"),
        ("tcp 81", "closed"),
        ("udp 53", "reached"),
        ("udp 54", "closed"),
        ("icmp", "reached"),
    ] {
        // Both families at once.
        assert_eq!(
            site.found(&format!("office ins-a {probe}")),
            found,
            "{probe}"
        );
    }
    // Who listens says who it is.
    let said = site.shell(
        "office",
        "bash -c 'exec 3<>/dev/tcp/10.0.0.1/80; cat <&3; exec 3<>/dev/udp/10.0.0.1/53; echo >&3; head -1 <&3'",
    );
    assert_eq!(said.good().out, "ins-a tcp:80\nins-a udp:53\n");
    // A program that was started by hand is found like any other.
    site.shell(
        "ins-a",
        "bash -c 'exec -a listener python3 -m http.server 81 >/dev/null 2>&1 </dev/null & disown'",
    )
    .good();
    until("it listens", || {
        site.found("office 10.0.0.1 tcp 81") == "reached"
    });
    let probe = site.lab("probe office ins-a tcp 80");
    assert_eq!(probe.code, 0, "{probe:?}");
    assert!(
        probe
            .out
            .contains("inbound of ins-a: allow: rule sg-a/in/0 (groups.yaml:2)"),
        "{probe:?}"
    );
    assert_eq!(site.lab("probe office ins-a tcp 82").code, 1);
}

fn interfaces() {
    let site = Site::new(
        r#"version: 1
security_groups:
  sg-one: { inbound: [{ action: allow, protocol: tcp, port: 1001, source: any }], outbound: [{ action: allow, protocol: tcp, port: 1001, destination: any }] }
  sg-two: { inbound: [{ action: allow, protocol: tcp, port: 1002, source: any }], outbound: [{ action: allow, protocol: tcp, port: 1002, destination: any }] }
instances:
  ins-a:
    interfaces:
      eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-one] }
      eth1: { addresses: [10.1.0.1, "2001:db8:1::1"], security_groups: [sg-two] }
      docker*: { security_groups: [] }
lab: { services: { ins-a: ["tcp:1001-1002"], internet: ["tcp:1001-1002"] } }
"#,
    );
    let _up = site.up();
    // As a sender, too, it is tried from each.
    let reach = site.reach("--from ins-a");
    let cells = reach["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2 * 2 * 2, "{reach}");
    for cell in cells {
        let first = matches!(text(cell, "source"), "10.0.0.1" | "2001:db8::1");
        let opens = first == (text(cell, "service") == "tcp:1001");
        assert_eq!(text(cell, "found") == "reached", opens, "{cell}");
        assert_eq!(cell["agreement"], "equal", "{cell}");
    }
    let table = site.lab("reach --from ins-a").good().out;
    assert!(
        table.contains("from ins-a 10.1.0.1 at 203.0.113.10"),
        "{table}"
    );
    for (address, port, found) in [
        ("10.0.0.1", 1001, "reached"),
        ("10.0.0.1", 1002, "silent"),
        ("10.1.0.1", 1001, "silent"),
        ("10.1.0.1", 1002, "reached"),
        ("2001:db8:1::1", 1002, "reached"),
        ("2001:db8:1::1", 1001, "silent"),
    ] {
        let probe = format!("internet {address} tcp {port}");
        assert_eq!(site.found(&probe), found, "{probe}");
    }
    let links = site.shell("ins-a", "ip -o link | cut -d' ' -f2").good().out;
    assert!(
        links.contains("eth1@") && !links.contains("docker"),
        "{links}"
    );
}

fn given_addresses() {
    let definition = |more: &str| {
        format!(
            "version: 1\nsecurity_groups:\n\
             \x20 sg-web: {{ outbound: [{{ action: allow, protocol: tcp, port: 3306, destination: sg-db }}] }}\n\
             \x20 sg-db: {{ inbound: [{{ action: allow, protocol: tcp, port: 3306, source: sg-web }}, {{ action: allow, protocol: tcp, port: 81, source: any }}] }}\n\
             instances:\n{more}\
             \x20 ins-web: {{ interfaces: {{ eth*: {{ security_groups: [sg-web] }} }} }}\n\
             \x20 ins-other: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.2], security_groups: [] }} }} }}\n\
             \x20 ins-db: {{ interfaces: {{ eth0: {{ security_groups: [sg-db] }} }} }}\n\
             lab: {{ services: {{ ins-db: [tcp:3306] }} }}\n"
        )
    };
    let site = Site::new(&definition(""));
    // What is not listed is no member of a group, here as on a host.
    let check = site.run("check groups.yaml").good().out;
    let words = "eth0) list no `addresses`, so `sg-db`, `sg-web` match nothing";
    assert!(check.contains(words), "{check}");
    let up = site.up();
    up.until_said("the lab gave them its own");
    assert_eq!(site.found("ins-web ins-db tcp 3306"), "silent");
    assert_eq!(site.found("internet ins-db tcp 81"), "closed");
    let addresses = || {
        let status = site.lab("status --json").good().json();
        let nodes = status["nodes"].as_array().unwrap().clone();
        let of = |name: &str| {
            let node = nodes.iter().find(|node| node["name"] == name).unwrap();
            node["interfaces"][0]["addresses"][0]
                .as_str()
                .unwrap()
                .to_owned()
        };
        (of("ins-web"), of("ins-db"))
    };
    let before = addresses();
    assert_eq!(
        before,
        ("10.0.0.3".to_owned(), "10.0.0.4".to_owned()),
        "10.0.0.2 was taken"
    );
    // Whoever has one keeps it.
    site.save(&definition(
        "  ins-first: { interfaces: { eth0: { security_groups: [sg-web] } } }\n",
    ));
    up.until_said("new: ins-first");
    assert_eq!(addresses(), before);
    assert_eq!(site.found("ins-first ins-db tcp 3306"), "silent");
    // Listed, they are.
    let listed = definition("")
        .replace("eth*: {", "eth0: { addresses: [10.0.0.3],")
        .replace(
            "ins-db: { interfaces: { eth0: {",
            "ins-db: { interfaces: { eth0: { addresses: [10.0.0.4],",
        );
    site.save(&listed);
    up.until_said("gone: ins-first");
    assert_eq!(site.found("ins-web ins-db tcp 3306"), "reached");
}

fn platform() {
    let site = Site::new(
        r#"version: 1
security_groups: { sg-a: { inbound: [{ action: allow, protocol: all, source: any }], outbound: [{ action: allow, protocol: all, destination: any }] } }
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.1], security_groups: [sg-a] } } }
  ins-b: { kind: database, interfaces: { eth0: { addresses: [10.0.0.2], security_groups: [sg-a] } } }
  ins-c: { billing: prepaid, smtp: unblocked, interfaces: { eth0: { addresses: [10.0.0.3], security_groups: [sg-a] } } }
  ins-d: { billing: prepaid, smtp: unblocked, interfaces: { eth0: { addresses: [10.0.0.4], security_groups: [sg-a] } } }
platform: { smtp: { unblocks_per_account: 1 } }
lab: { services: { ins-a: [tcp:445], ins-b: [tcp:25], internet: ["tcp:25,445"] } }
"#,
    );
    let up = site.up();
    up.until_said("TCP 25 of ins-d stays blocked");
    for (probe, found) in [
        ("ins-c internet tcp 25", "reached"),
        ("ins-d internet tcp 25", "silent"),
        ("internet ins-a tcp 445", "silent"),
        ("ins-a internet tcp 445", "silent"),
        ("ins-a internet tcp 25", "silent"),
        ("ins-b internet tcp 25", "reached"),
        ("ins-a ins-b tcp 25", "reached"),
    ] {
        assert_eq!(site.found(probe), found, "{probe}");
    }
    let probe = site.lab("probe ins-a internet tcp 25");
    assert!(
        probe.out.contains("outbound of ins-a: refuse: smtp"),
        "{probe:?}"
    );
}

/// Between subnets the ACL of each is asked, answers included; inside one it is not.
fn network_acl() {
    let site = Site::new(
        r#"version: 1
security_groups:
  sg-all: { inbound: [{ action: allow, protocol: all, source: any }], outbound: [{ action: allow, protocol: all, destination: any }] }
subnets:
  subnet-web: { cidr: [10.0.0.0/24, "2001:db8::/64"] }
  subnet-db: { cidr: [10.0.1.0/24, "2001:db8:1::/64"], network_acl: acl-db }
network_acls:
  acl-db:
    inbound: [{ action: allow, protocol: tcp, port: "3306,3307", source: any }]
    outbound: [{ action: allow, protocol: tcp, port: 1024-65535, source_port: 3306, destination: any }]
instances:
  ins-web: { interfaces: { eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-all] } } }
  ins-db1: { interfaces: { eth0: { addresses: [10.0.1.1, "2001:db8:1::1"], security_groups: [sg-all] } } }
  ins-db2: { interfaces: { eth0: { addresses: [10.0.1.2, "2001:db8:1::2"], security_groups: [sg-all] } } }
lab: { services: { ins-web: [tcp:3306], ins-db1: ["tcp:3306-3308", udp:53], ins-db2: ["tcp:3306-3308", udp:53] } }
"#,
    );
    let _up = site.up();
    let reach = site.reach("--ports tcp:3306,tcp:3307,tcp:3308,udp:53,icmp");
    let cells = reach["cells"].as_array().unwrap();
    let mut silent = 0;
    for cell in cells {
        assert_eq!(cell["agreement"], "equal", "{cell}");
        let (from, to) = (text(cell, "from"), text(cell, "to"));
        let is_db = |name: &str| name.starts_with("ins-db");
        let crosses = is_db(from) != is_db(to);
        // Of what crosses only 3306 of the databases is answered.
        let passes = !crosses || (is_db(to) && text(cell, "service") == "tcp:3306");
        assert_eq!(text(cell, "found") != "silent", passes, "{cell}");
        silent += usize::from(!passes);
    }
    assert!(silent > 20, "{silent}");
    let probe = site.lab("probe ins-web ins-db1 tcp 3307").out;
    assert!(probe.contains("acl-db/out/default"), "{probe}");
}
