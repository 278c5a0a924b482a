//! Whatever is not ours lists the same to the byte before, during and after our whole life.

use std::fs;

use nix::mount::{MsFlags, mount};

use crate::support::{Host, IPTABLES, Iptables};

/// A policy with named sets, two families and both directions; `port` makes one differ from the next.
fn policy(port: u16) -> String {
    let addresses: Vec<_> = (0..40)
        .flat_map(|n| [format!("192.0.2.{}", n * 2), format!("'2001:db8:{n}::/48'")])
        .collect();
    format!(
        "
version: 1
security_groups:
  sg-a:
    inbound: [{{ action: allow, protocol: tcp, port: {port}, source: ipm-many }}]
    outbound: [{{ action: refuse, protocol: all, destination: ipm-many }}]
address_templates: {{ ipm-many: [{}] }}
instances:
  ins-a: {{ interfaces: {{ 'eth*': {{ security_groups: [sg-a] }} }} }}
",
        addresses.join(", ")
    )
}

/// Everything that nftables and both iptables list, without our table.
fn listing(host: &Host) -> String {
    let mut parts: Vec<String> = IPTABLES.map(|iptables| iptables.save(host, true)).into();
    let ruleset = host.output("nft", &["-a", "list", "ruleset"]);
    let mut ours = false;
    let rest: Vec<_> = ruleset
        .lines()
        .filter(|line| {
            ours |= line.starts_with("table inet secgroupd {");
            let keep = !ours;
            ours &= *line != "}";
            keep
        })
        .collect();
    parts.push(rest.join("\n"));
    parts.join("\n\n")
}

/// What Docker loads, and rules of an administrator in every table.
fn iptables_rules(iptables: Iptables) -> String {
    let (network, address) = match iptables.is_ipv4() {
        true => ("172.17.0.0/16", "172.17.0.2"),
        false => ("2001:db8:17::/64", "[2001:db8:17::2]"),
    };
    let host = address.trim_matches(['[', ']']);
    format!(
        "*raw
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
COMMIT
*mangle
-A PREROUTING -p tcp -j CONNMARK --restore-mark
-A POSTROUTING -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
-A POSTROUTING -s {network} ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination {address}:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A DOCKER -d {host} ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
-A INPUT -p tcp -m tcp --dport 9999 -m comment --comment \"an administrator's\" -j REJECT
COMMIT
"
    )
}

/// Tables of other programs, with names like ours, and counts that must not be lost.
const TABLES: &str = "
table ip secgroupd { chain inbound { type filter hook prerouting priority -160; tcp dport 1 counter packets 7 bytes 420 drop; }; }
table inet secgroupd2 {
    set g1_list { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 }; }
    map ports { type inet_service : verdict; elements = { 22 : accept, 23 : drop }; }
    counter seen { packets 5 bytes 500 }
    chain g1_in { tcp dport vmap @ports; ip saddr @g1_list counter name seen; }
    chain inbound { type filter hook prerouting priority -160; policy accept; jump g1_in; }
}
table inet filter { chain input { type filter hook input priority 0; policy drop; iifname lo accept; ct state vmap { established : accept, related : accept, invalid : drop }; }; }
table bridge b { chain c { type filter hook forward priority 0; counter packets 3 bytes 100; }; }
";

/// ufw with a configuration of its own: the shipped files on a private /etc/ufw.
fn enable_ufw(host: &Host) {
    let private = mount(
        Some("tmpfs"),
        "/etc/ufw",
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    );
    private.expect("a private /etc/ufw");
    fs::create_dir("/etc/ufw/applications.d").unwrap();
    for folder in ["/usr/share/ufw", "/usr/share/ufw/iptables"] {
        for file in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = file.file_name().into_string().unwrap();
            if [".rules", ".conf", ".init"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                fs::copy(file.path(), format!("/etc/ufw/{name}")).unwrap();
            }
        }
    }
    host.output("ufw", &["--force", "enable"]);
    host.output("ufw", &["allow", "80/tcp"]);
    host.output("ufw", &["limit", "22/tcp"]);
    let status = host.output("ufw", &["status"]);
    assert!(status.contains("Status: active"), "{status}");
}

/// The host has no interface but `lo`: without a packet, no count moves by itself.
pub fn others() {
    let host = Host::new("host");
    enable_ufw(&host);
    for iptables in IPTABLES {
        iptables.restore(&host, &iptables_rules(iptables));
    }
    host.nft(TABLES);
    let before = listing(&host);
    for each in [
        "ufw-user-input",
        "DOCKER-USER",
        "table ip secgroupd {",
        "packets 5 bytes 500",
    ] {
        assert!(before.contains(each), "{each} is not in\n{before}");
    }
    for number in 0..=20 {
        host.enforce(&policy(1000 + number));
        assert!(host.nft_list("tables").contains("table inet secgroupd\n"));
        if matches!(number, 0 | 20) {
            assert_eq!(listing(&host), before, "after {number} replacements");
        }
    }
    host.remove();
    assert!(!host.nft_list("tables").contains("table inet secgroupd\n"));
    assert_eq!(listing(&host), before, "after the removal");
}
