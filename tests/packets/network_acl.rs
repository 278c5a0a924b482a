//! The network ACL in front of a subnet: stateless, both ways, for every packet that is not exempt.

use crate::support::{Probe, Scene, TcpFlags};

/// The groups let in more than the ACL does, and let out everything.
fn policy(established: &str, acl: &str) -> String {
    format!(
        "
version: 1
platform: {{ established: {established} }}
security_groups:
  sg-a:
    inbound:
      - {{ action: allow, protocol: tcp, port: '80,443,8443', source: any }}
      - {{ action: allow, protocol: udp, port: 53, source: any }}
    outbound:
      - {{ action: allow, protocol: tcp, port: 443, destination: any }}
      - {{ action: allow, protocol: udp, port: 5300-5301, destination: any }}
subnets:
  subnet-a: {{ cidr: [10.0.0.0/24, '2001:db8::/64'], network_acl: acl-a }}
network_acls:
  acl-a:
{acl}
instances:
  ins-a: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-a] }} }} }}
"
    )
}

const WEB: &str = "
    inbound:
      - { action: refuse, protocol: tcp, port: 443, source: [198.51.100.66, '2001:db8:77::66'] }
      - { action: allow, protocol: tcp, port: '80,443', source: any }
      - { action: allow, protocol: tcp, port: 1024-65535, source: any, source_port: 443 }
    outbound:
      - { action: allow, protocol: tcp, port: 1024-65535, destination: any, source_port: 443 }
      - { action: refuse, protocol: udp, port: 53, destination: 183.60.83.19 }
      - { action: allow, protocol: udp, port: '53,5300', destination: any }
      - { action: allow, protocol: tcp, port: 443, destination: any }
";

const NOTHING: &str = "    inbound: []";

/// The host, a machine outside the subnet, one that the ACL refuses, and a neighbour.
const FAMILIES: [[&str; 4]; 2] = [
    ["10.0.0.5", "198.51.100.7", "198.51.100.66", "10.0.0.9"],
    [
        "[2001:db8::5]",
        "[2001:db8:77::7]",
        "[2001:db8:77::66]",
        "[2001:db8::9]",
    ],
];

/// Everywhere is by the world, and the host itself says nothing.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.host.ip("route replace ::/0 via 2001:db8::9 dev eth0");
    scene.host.nft(
        "table inet quiet { chain c { type filter hook output priority -300; tcp flags rst drop; icmp type 3 drop; icmpv6 type 1 drop; }; }",
    );
    scene
}

fn at(address: &str, port: u16) -> String {
    format!("{address}:{port}")
}

fn tcp(flags: TcpFlags, from: (&str, u16), to: (&str, u16)) -> Probe {
    let (from, to) = (at(from.0, from.1), at(to.0, to.1));
    Probe::tcp_with(flags, from.as_str(), to.as_str())
}

fn udp(from: (&str, u16), to: (&str, u16)) -> Probe {
    let (from, to) = (at(from.0, from.1), at(to.0, to.1));
    Probe::udp(from.as_str(), to.as_str())
}

/// An answer is judged by its own ports, and so is every later packet of the flow.
pub fn answers() {
    for [host, far, refused, _] in FAMILIES {
        let scene = scene();
        scene.host.enforce(&policy("recheck", WEB));
        let syn = |from, port, to| tcp(TcpFlags::Syn, (from, port), (host, to));
        assert_eq!(
            scene.inbound(&syn(far, 40_000, 443)),
            "pass acl-a/in/1 and sg-a/in/0"
        );
        let answer = tcp(TcpFlags::SynAck, (host, 443), (far, 40_000));
        assert_eq!(scene.outbound(&answer), "pass acl-a/out/0");
        let later = tcp(TcpFlags::Ack, (far, 40_000), (host, 443));
        assert_eq!(scene.inbound(&later), "pass acl-a/in/1", "it is tracked");

        // Port 80 is let in, and no entry lets its answers out.
        assert_eq!(
            scene.inbound(&syn(far, 40_001, 80)),
            "pass acl-a/in/1 and sg-a/in/0"
        );
        let answer = tcp(TcpFlags::SynAck, (host, 80), (far, 40_001));
        assert_eq!(scene.outbound(&answer), "drop acl-a/out/default");

        // The groups are not asked about what the ACL refuses.
        assert_eq!(scene.inbound(&syn(refused, 40_002, 443)), "drop acl-a/in/0");
        assert_eq!(
            scene.inbound(&syn(far, 40_003, 8443)),
            "drop acl-a/in/default"
        );

        // What the host opens: the answers come from port 443.
        let syn = tcp(TcpFlags::Syn, (host, 40_004), (far, 443));
        assert_eq!(scene.outbound(&syn), "pass acl-a/out/3 and sg-a/out/0");
        let answer = tcp(TcpFlags::SynAck, (far, 443), (host, 40_004));
        assert_eq!(scene.inbound(&answer), "pass acl-a/in/2");
        let open = udp((host, 40_005), (far, 5300));
        assert_eq!(scene.outbound(&open), "pass acl-a/out/2 and sg-a/out/1");
        let answer = udp((far, 5300), (host, 40_005));
        assert_eq!(scene.inbound(&answer), "drop acl-a/in/default");
        // The groups come first on the way out.
        let open = udp((host, 40_006), (far, 5301));
        assert_eq!(
            scene.outbound(&open),
            "drop acl-a/out/default and sg-a/out/1"
        );
        assert_eq!(
            scene.outbound(&udp((host, 40_007), (far, 7))),
            "drop default"
        );
    }
}

/// Packets between two addresses of the subnet, and essential traffic, meet no ACL. Fragments are one datagram.
pub fn exempt() {
    for [host, far, _, neighbour] in FAMILIES {
        let scene = scene();
        scene.host.enforce(&policy("recheck", NOTHING));
        let syn = |from, port, to| tcp(TcpFlags::Syn, (from, port), (host, to));
        assert_eq!(
            scene.inbound(&syn(neighbour, 41_000, 8443)),
            "pass sg-a/in/0"
        );
        let answer = tcp(TcpFlags::SynAck, (host, 8443), (neighbour, 41_000));
        assert_eq!(scene.outbound(&answer), "pass unjudged");
        assert_eq!(
            scene.inbound(&syn(far, 41_000, 8443)),
            "drop acl-a/in/default"
        );
        let open = tcp(TcpFlags::Syn, (host, 41_001), (far, 443));
        assert_eq!(
            scene.outbound(&open),
            "drop acl-a/out/default and sg-a/out/0"
        );

        scene.host.enforce(&policy("recheck", WEB));
        let mut whole = syn(far, 41_002, 443).in_fragments(3);
        whole.identification = 41_002;
        assert_eq!(scene.inbound(&whole), "pass acl-a/in/1 and sg-a/in/0");
    }
    let scene = scene();
    scene.host.enforce(&policy("recheck", NOTHING));
    let solicitation = Probe::icmp("fe80::77", "2001:db8::5", 135, 0).hop_limit(255);
    assert_eq!(scene.inbound(&solicitation), "pass essential");
    let routed = Probe::icmp("2001:db8:77::7", "2001:db8::5", 135, 0).hop_limit(254);
    assert_eq!(scene.inbound(&routed), "drop acl-a/in/default");
    let dhcp = Probe::udp("10.9.9.1:67", "10.0.0.5:68");
    assert_eq!(scene.inbound(&dhcp), "pass essential");
}

/// An approved service passes the groups unasked, and not the ACL.
pub fn approved_service() {
    let scene = scene();
    scene.host.enforce(&policy("recheck", WEB));
    let ask = |resolver: &str, port: u16| udp(("10.0.0.5", port), (resolver, 53));
    assert_eq!(
        scene.outbound(&ask("183.60.83.19", 42_000)),
        "drop acl-a/out/1 and approved-service/vpc-dns"
    );
    assert_eq!(
        scene.outbound(&ask("183.60.82.98", 42_001)),
        "pass acl-a/out/2 and approved-service/vpc-dns"
    );
}

/// An error about a flow that passes is an ICMP packet to the ACL, like any.
pub fn errors() {
    let scene = scene();
    let errors = |action: &str| {
        let entry = format!("      - {{ action: {action}, protocol: icmp, source: any }}\n");
        policy(
            "recheck",
            &WEB.replace("    outbound:", &format!("{entry}    outbound:")),
        )
    };
    for (action, port, verdict) in [
        ("allow", 43_000, "pass acl-a/in/3"),
        ("refuse", 43_001, "drop acl-a/in/3"),
    ] {
        scene.host.enforce(&errors(action));
        let open = udp(("10.0.0.5", port), ("198.51.100.7", 5300));
        assert_eq!(scene.outbound(&open), "pass acl-a/out/2 and sg-a/out/1");
        let error = Probe::icmp_error("198.51.100.1", "10.0.0.5", 3, 3, &open);
        assert_eq!(scene.inbound(&error), verdict);
    }
}

/// A new ACL holds for the next packet of a live flow, both ways, whatever `established` says.
pub fn live_flows() {
    for established in ["recheck", "keep"] {
        for [host, far, ..] in FAMILIES {
            let scene = scene();
            scene.host.enforce(&policy(established, WEB));
            let open = tcp(TcpFlags::Syn, (far, 44_000), (host, 443));
            assert_eq!(scene.inbound(&open), "pass acl-a/in/1 and sg-a/in/0");
            let answer = tcp(TcpFlags::SynAck, (host, 443), (far, 44_000));
            let later = tcp(TcpFlags::Ack, (far, 44_000), (host, 443));
            assert_eq!(scene.outbound(&answer), "pass acl-a/out/0");
            assert_eq!(scene.inbound(&later), "pass acl-a/in/1");

            scene.host.enforce(&policy(established, NOTHING));
            assert_eq!(scene.inbound(&later), "drop acl-a/in/default");
            let answer = tcp(TcpFlags::Ack, (host, 443), (far, 44_000));
            assert_eq!(scene.outbound(&answer), "drop acl-a/out/default");

            scene.host.enforce(&policy(established, WEB));
            assert_eq!(scene.inbound(&later), "pass acl-a/in/1", "it goes on");
            assert_eq!(scene.outbound(&answer), "pass acl-a/out/0");
        }
    }
}
