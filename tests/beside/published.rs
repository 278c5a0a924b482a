//! A container port published by DNAT, as Docker does it: where other host firewalls are bypassed.

use std::net::TcpListener;

use crate::reaches;
use crate::support::{Host, Iptables, join};

/// A world, a host, and a container behind it that serves port 80.
struct Docker {
    world: Host,
    host: Host,
    container: Host,
    _servers: Vec<TcpListener>,
}

/// World's, host's and container's address in each family.
const FAMILIES: [[&str; 3]; 2] = [
    ["10.0.0.9", "10.0.0.5", "172.17.0.2"],
    ["[2001:db8::9]", "[2001:db8::5]", "[2001:db8:17::2]"],
];

impl Docker {
    fn new(variant: &str) -> Self {
        let [world, host, container] = ["world", "host", "container"].map(Host::new);
        join(
            &host,
            "eth0",
            &["10.0.0.5/24", "2001:db8::5/64"],
            &world,
            "wire",
            &["10.0.0.9/24", "2001:db8::9/64"],
        );
        join(
            &host,
            "docker0",
            &["172.17.0.1/16", "2001:db8:17::1/64"],
            &container,
            "eth0",
            &["172.17.0.2/16", "2001:db8:17::2/64"],
        );
        container.ip("route add default via 172.17.0.1\nroute add default via 2001:db8:17::1");
        host.forwards();
        for (iptables, [_, _, container]) in Iptables::of(variant).zip(FAMILIES) {
            let network = match iptables.is_ipv4() {
                true => "172.17.0.0/16",
                false => "2001:db8:17::/64",
            };
            let address = container.trim_matches(['[', ']']);
            iptables.restore(
                &host,
                &format!(
                    "*nat
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {network} ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination {container}:80
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER -d {address} ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
"
                ),
            );
        }
        let listen =
            |host: &Host, port: u16| host.enter(|| TcpListener::bind(("::", port)).unwrap());
        let _servers = vec![
            listen(&container, 80),
            listen(&world, 9000),
            listen(&world, 9001),
            listen(&host, 80),
        ];
        Self {
            world,
            host,
            container,
            _servers,
        }
    }
}

/// Inbound rules of `eth0`, its outbound rules, and the other interfaces.
fn policy(inbound: &str, outbound: &str, others: &str) -> String {
    format!(
        "
version: 1
security_groups:
  sg-eth0:
    inbound: [{inbound}]
    outbound: [{outbound}]
  sg-open:
    inbound: [{{ action: allow, protocol: all, source: any }}]
    outbound: [{{ action: allow, protocol: all, destination: any }}]
  sg-in:
    inbound: [{{ action: allow, protocol: all, source: any }}]
instances:
  ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-eth0] }} {others} }} }}
"
    )
}

fn tcp(action: &str, port: u16, remote: &str) -> String {
    format!("{{ action: {action}, protocol: tcp, port: {port}, {remote}: any }}")
}

pub fn port(variant: &'static str) {
    let docker = Docker::new(variant);
    let Docker {
        world,
        host,
        container,
        ..
    } = &docker;
    let allow = |port| tcp("allow", port, "source");
    for [far, near, _] in FAMILIES {
        let published = format!("{near}:8080");
        assert!(reaches(world, &published), "without us");
        host.enforce(&policy(&tcp("refuse", 8080, "source"), "", ""));
        assert!(!reaches(world, &published), "refused by its group");
        // The container's own port is not the one that was asked for.
        host.enforce(&policy(&allow(80), "", ""));
        assert!(
            !reaches(world, &published),
            "only the container's port is open"
        );
        assert!(
            reaches(world, &format!("{near}:80")),
            "the host's own port 80"
        );
        host.enforce(&policy(&allow(8080), "", ""));
        assert!(reaches(world, &published), "allowed by its group");
        assert!(!reaches(world, &format!("{near}:80")));

        // Out of the container: the outbound rules of the interface it leaves by.
        host.enforce(&policy("", &tcp("allow", 9000, "destination"), ""));
        assert!(reaches(container, &format!("{far}:9000")), "allowed out");
        assert!(!reaches(container, &format!("{far}:9001")), "refused out");
        assert!(!reaches(world, &published));
        host.remove();
    }
}

/// The inbound rules of the interface it enters by and the outbound rules of the one it leaves by must both allow it.
pub fn both_bound() {
    let docker = Docker::new("nft");
    let Docker {
        world,
        host,
        container,
        ..
    } = &docker;
    let bound = |groups: &str| {
        policy(
            &tcp("allow", 8080, "source"),
            &tcp("allow", 9000, "destination"),
            &format!(", docker0: {{ security_groups: [{groups}] }}"),
        )
    };
    for [far, near, _] in FAMILIES {
        let (published, outside) = (format!("{near}:8080"), format!("{far}:9000"));
        host.enforce(&bound("sg-open"));
        assert!(reaches(world, &published), "both allow");
        assert!(reaches(container, &outside), "both allow, outwards");
        // Nothing may leave by docker0.
        host.enforce(&bound("sg-in"));
        assert!(!reaches(world, &published), "docker0 refuses outbound");
        assert!(reaches(container, &outside), "its answers may");
        host.enforce(&bound(""));
        assert!(!reaches(container, &outside), "docker0 refuses inbound");
        host.remove();
    }
}
