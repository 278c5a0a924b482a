//! The best that somebody who knows the rule set, nft and ipset well could write for it. Nobody has to keep the deciding
//! rule counted and named here, as secgroupd does, nor IPv6: the verdict about IPv4 alone must be the same.

use super::grouped::{Class, classes};
use crate::lists::{ipset, iptables_source, iptables_table, rules, texts, verdict};
use secgroupd::policy::{Action, AddressRange, Policy, Service};
use std::fmt::Write;

/// What is loaded, and how it works in a line.
pub struct ByHand {
    /// How it works.
    pub says: &'static str,
    /// For `ipset restore`, then for `iptables-legacy-restore`; or for `nft -f`.
    pub texts: Vec<String>,
}

/// With nft's sets and maps.
pub fn nft(workload: &str, policy: &Policy) -> ByHand {
    let (says, objects, body) = match workload {
        "W1" => web_server(),
        "W2" => by_port(policy),
        "W3" => masked(policy),
        "W4" => listed(policy),
        _ => staircase(policy),
    };
    let text = format!(
        "table inet hand {{\n{objects}chain c {{\ntype filter hook prerouting priority -160; policy accept;\n\
         ct state established accept\n{body}drop\n}}\n}}\n"
    );
    ByHand {
        says,
        texts: vec![text],
    }
}

/// With ipset, through iptables-legacy.
pub fn with_ipset(workload: &str, policy: &Policy) -> Option<ByHand> {
    let (says, sets, chains, rules) = match workload {
        "W1" => web_server_ipset(),
        "W2" => by_port_ipset(policy),
        "W3" => masked_ipset(policy),
        "W4" => listed_ipset(policy),
        // No set of ipset holds a range of ports: each would become up to 40,000 elements.
        _ => return None,
    };
    Some(ByHand {
        says,
        texts: vec![sets, iptables_table(&chains, &rules)],
    })
}

fn web_server() -> (&'static str, String, String) {
    let objects = "chain ssh { ip saddr 203.0.113.0/24 accept; drop; }\n\
                   chain app { ip saddr { 10.1.0.0/16, 172.16.0.0/12, 192.168.0.0/16 } accept; drop; }\n\
                   chain metrics { ip saddr 10.0.0.0/8 accept; drop; }\n";
    let body = "tcp dport vmap { 22 : goto ssh, 80 : accept, 443 : accept, 9100 : goto metrics, 8000-8100 : goto app }\n\
                ip saddr 10.1.0.0/16 accept\nudp dport 443 accept\nip protocol icmp accept\nip6 nexthdr icmpv6 accept\n";
    (
        "one verdict map of ports, a chain for each",
        objects.into(),
        body.into(),
    )
}

fn web_server_ipset() -> (&'static str, String, String, String) {
    let halves = ["0.0.0.0/1", "128.0.0.0/1"];
    let open = ["tcp:80", "tcp:443", "udp:443"];
    let elements = open
        .iter()
        .flat_map(|port| halves.iter().map(move |half| format!("{half},{port}")))
        .chain(["203.0.113.0/24,tcp:22".into(), "10.0.0.0/8,tcp:9100".into()])
        .chain(
            ["172.16.0.0/12", "192.168.0.0/16"].map(|network| format!("{network},tcp:8000-8100")),
        );
    (
        "one hash:net,port of all that is allowed",
        ipset("open", "hash:net,port", elements),
        String::new(),
        "-A PREROUTING -m set --match-set open src,dst -j ACCEPT\n-A PREROUTING -p tcp --dport 22 -j DROP\n\
         -A PREROUTING -s 10.1.0.0/16 -j ACCEPT\n-A PREROUTING -p icmp -j ACCEPT\n"
            .into(),
    )
}

/// A verdict map of ports; behind each the sources in order, neighbours with the same verdict in one set.
fn by_port(policy: &Policy) -> (&'static str, String, String) {
    let (mut chains, mut body) = (String::new(), String::new());
    for protocol in ["tcp", "udp"] {
        let mut elements = Vec::new();
        for class in classes(policy, protocol) {
            let Class { first, last, .. } = class;
            elements.push(format!("{first}-{last} : goto {protocol}_{first}"));
            let _ = writeln!(chains, "chain {protocol}_{first} {{");
            for (action, sources) in &class.runs {
                let ranges = texts(sources, true);
                let source = match ranges.as_slice() {
                    [all] if all == "0.0.0.0/0" => String::new(),
                    [one] => format!("ip saddr {one} "),
                    many => format!("ip saddr {{ {} }} ", many.join(", ")),
                };
                let _ = writeln!(chains, "{source}{}", verdict(*action));
            }
            let _ = writeln!(chains, "drop\n}}");
        }
        let _ = writeln!(
            body,
            "{protocol} dport vmap {{ {} }}",
            elements.join(", ").replace("all", "0-65535")
        );
    }
    (
        "verdict maps of ports, behind each port sets of sources in order",
        chains,
        body,
    )
}

fn by_port_ipset(policy: &Policy) -> (&'static str, String, String, String) {
    /// Fewer addresses than that are faster one by one.
    const FEW: usize = 4;
    let (mut sets, mut chains) = (String::new(), String::new());
    let (mut dispatch, mut lines) = (String::new(), String::new());
    for protocol in ["tcp", "udp"] {
        for class in classes(policy, protocol) {
            let Class { first, last, .. } = class;
            let chain = format!("{protocol}_{first}");
            let _ = writeln!(chains, ":{chain} - [0:0]");
            let _ = writeln!(
                dispatch,
                "-A PREROUTING -p {protocol} --dport {first}:{last} -g {chain}"
            );
            for (number, (action, sources)) in class.runs.iter().enumerate() {
                let target = verdict(*action).to_uppercase();
                let ranges = texts(sources, true);
                if ranges.len() > FEW {
                    let name = format!("{chain}_{number}");
                    sets += &ipset(&name, "hash:net", ranges.into_iter());
                    let _ = writeln!(
                        lines,
                        "-A {chain} -m set --match-set {name} src -j {target}"
                    );
                    continue;
                }
                for range in &ranges {
                    let _ = writeln!(lines, "-A {chain} {} -j {target}", iptables_source(range));
                }
            }
            let _ = writeln!(lines, "-A {chain} -j DROP");
        }
    }
    (
        "a chain for each port, in it hash:net sets in order",
        sets,
        chains,
        lines + &dispatch,
    )
}

/// Each network and its port; only what is allowed, or both.
fn pairs(policy: &Policy) -> impl Iterator<Item = (String, String, Action)> {
    rules(policy).map(|rule| {
        let Service::Tcp(ports) = &rule.services[0] else {
            panic!("W3 is TCP alone")
        };
        let remote = rule.remote.as_ref().expect("a network");
        (
            texts(remote, true).remove(0),
            ports.to_string(),
            rule.action,
        )
    })
}

fn masked(policy: &Policy) -> (&'static str, String, String) {
    let elements: Vec<String> = pairs(policy)
        .map(|(network, port, action)| {
            let address = network.trim_end_matches("/24");
            format!("{address} . {port} : {}", verdict(action))
        })
        .collect();
    let objects = format!(
        "map rules {{ type ipv4_addr . inet_service : verdict; elements = {{ {} }}; }}\n",
        elements.join(", ")
    );
    (
        "one hash: all networks are /24, so `ip saddr & 255.255.255.0 . tcp dport vmap @rules`",
        objects,
        "ip saddr & 255.255.255.0 . tcp dport vmap @rules\n".into(),
    )
}

fn masked_ipset(policy: &Policy) -> (&'static str, String, String, String) {
    let allowed = pairs(policy).filter(|(_, _, action)| *action == Action::Allow);
    let elements = allowed.map(|(network, port, _)| format!("{network},tcp:{port}"));
    (
        "one hash:net,port of all that is allowed",
        ipset("open", "hash:net,port", elements),
        String::new(),
        "-A PREROUTING -m set --match-set open src,dst -j ACCEPT\n".into(),
    )
}

/// The addresses that all rules share, and the ports that are allowed.
fn list_and_ports(policy: &Policy) -> (Vec<String>, Vec<String>) {
    let all: Vec<_> = rules(policy).collect();
    let ports = all
        .iter()
        .filter(|rule| rule.action == Action::Allow)
        .map(|rule| match &rule.services[0] {
            Service::Tcp(ports) => ports.to_string(),
            _ => panic!("W4 is TCP alone"),
        });
    let remote = all[0].remote.as_ref().expect("the list");
    (texts(remote, true), ports.collect())
}

fn listed(policy: &Policy) -> (&'static str, String, String) {
    let (list, ports) = list_and_ports(policy);
    (
        "one rule: the allowed ports, then a hash of single addresses",
        format!(
            "set listed {{ type ipv4_addr; elements = {{ {} }}; }}\n",
            list.join(", ")
        ),
        format!(
            "tcp dport {{ {} }} ip saddr @listed accept\n",
            ports.join(", ")
        ),
    )
}

fn listed_ipset(policy: &Policy) -> (&'static str, String, String, String) {
    let (list, ports) = list_and_ports(policy);
    (
        "one rule: multiport, then a hash:ip",
        ipset("list", "hash:ip", list.into_iter()),
        String::new(),
        format!(
            "-A PREROUTING -p tcp -m multiport --dports {} -m set --match-set list src -j ACCEPT\n",
            ports.join(",")
        ),
    )
}

/// The networks of their own by a masked hash; the nested ones as the rectangles that each adds to the one before,
/// in one concatenated set with ranges. Only what is allowed.
fn staircase(policy: &Policy) -> (&'static str, String, String) {
    let (mut chains, mut networks, mut boxes) = (String::new(), Vec::new(), Vec::new());
    let mut inner: Option<[u32; 4]> = None;
    for rule in rules(policy) {
        let Service::Tcp(ports) = &rule.services[0] else {
            panic!("W5 is TCP alone")
        };
        let ports = ports.intervals()[0];
        let remote = rule.remote.as_ref().expect("a network");
        let range = remote.ranges().next().expect("a range");
        let text = range.to_string();
        if let Some(network) = text.strip_suffix("/24") {
            if rule.action == Action::Allow {
                let index = rule.id.index;
                networks.push(format!("{network} : goto n{index}"));
                let _ = writeln!(
                    chains,
                    "chain n{index} {{ tcp dport {}-{} accept; drop; }}",
                    ports.first, ports.last
                );
            }
            continue;
        }
        let AddressRange::V4(addresses) = range else {
            panic!("W5 is IPv4 alone")
        };
        let outer = [
            addresses.first,
            addresses.last,
            u32::from(ports.first),
            u32::from(ports.last),
        ];
        if rule.action == Action::Allow {
            boxes.extend(added(outer, inner));
        }
        inner = Some(outer);
    }
    let objects = format!(
        "{chains}map nets {{ type ipv4_addr : verdict; elements = {{ {} }}; }}\n\
         set boxes {{ type ipv4_addr . inet_service; flags interval; elements = {{ {} }}; }}\n",
        networks.join(", "),
        boxes.join(", ")
    );
    (
        "a hash of the /24 networks, a concatenated set of the rectangles that each nested rule adds",
        objects,
        "ip saddr & 255.255.255.0 vmap @nets\nip saddr . tcp dport @boxes accept\n".into(),
    )
}

/// What a rectangle of addresses and ports adds to one inside it, as elements.
fn added(outer: [u32; 4], inner: Option<[u32; 4]>) -> Vec<String> {
    let [a, b, p, q] = outer;
    let rectangles = match inner {
        None => vec![outer],
        Some([c, d, r, s]) => vec![
            [a, c - 1, p, q],
            [d + 1, b, p, q],
            [c, d, p, r - 1],
            [c, d, s + 1, q],
        ],
    };
    let element = |[a, b, p, q]: [u32; 4]| {
        let ip = std::net::Ipv4Addr::from;
        format!("{}-{} . {p}-{q}", ip(a), ip(b))
    };
    rectangles.into_iter().map(element).collect()
}
