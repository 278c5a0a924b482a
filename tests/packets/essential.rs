//! Essential traffic, to the letter of spec 2: each type with the right and with wrong hop limits, the ports of DHCP.

use std::net::IpAddr;

use crate::support::{Probe, Scene};

/// Nothing is allowed but what is essential.
const POLICY: &str = "
version: 1
platform: { blocked_ports: { profile: none }, approved_services: {} }
security_groups: {}
instances:
  ins-a: { interfaces: { eth0: { security_groups: [] }, eth1: { security_groups: [] } } }
";

/// Only the side where forwarded packets leave is bound.
const INNER_ONLY: &str = "
version: 1
security_groups: {}
instances:
  ins-a: { interfaces: { eth1: { security_groups: [] } } }
";

const HOPS: [u8; 5] = [255, 254, 64, 2, 1];

fn udp(from: impl ToString, from_port: u16, to: impl ToString, to_port: u16) -> Probe {
    let socket = |address: String, port| match address.parse().expect("an address") {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    };
    Probe::udp(
        socket(from.to_string(), from_port).as_str(),
        socket(to.to_string(), to_port).as_str(),
    )
}

fn igmp(from: &str, to: &str, time_to_live: u8) -> Probe {
    Probe::other(from, to, 2).hop_limit(time_to_live)
}

fn verdict(essential: bool) -> &'static str {
    if essential {
        "pass essential"
    } else {
        "drop default"
    }
}

/// The ICMPv6 types around the essential ones, and with which hop limit each is essential.
fn each_type(
    wanted: fn(u8) -> Option<u8>,
    mut decide: impl FnMut(Probe) -> String,
    probe: impl Fn(u8) -> Vec<Probe>,
) {
    for kind in (127..=144).filter(|kind| !matches!(kind, 128 | 129)) {
        for hops in HOPS {
            for each in probe(kind) {
                let what = format!("type {kind} with hop limit {hops} to {}", each.destination);
                let decided = decide(each.hop_limit(hops));
                match wanted(kind) {
                    Some(right) => assert_eq!(decided, verdict(hops == right), "{what}"),
                    // Some types are invalid to connection tracking.
                    None => assert!(decided.starts_with("drop"), "{what}: {decided}"),
                }
            }
        }
    }
}

pub fn inbound() {
    let scene = Scene::new();
    scene.host.enforce(POLICY);
    let (near, far) = (scene.outer.a.link_local, scene.outer.b.link_local);
    let all_nodes: IpAddr = "ff02::1".parse().unwrap();
    let wanted = |kind| match kind {
        134..=136 => Some(255),
        130..=132 | 143 => Some(1),
        _ => None,
    };
    each_type(
        wanted,
        |probe| scene.inbound(&probe),
        |kind| {
            let own = Probe::icmp(IpAddr::V6(far), IpAddr::V6(near), kind, 0);
            let all = Probe::icmp(IpAddr::V6(far), all_nodes, kind, 0);
            vec![own, all]
        },
    );
    for (probe, essential) in [
        (udp("10.0.0.9", 67, "10.0.0.5", 68), true),
        (udp("10.0.0.9", 67, "255.255.255.255", 68), true),
        (udp("10.0.0.9", 67, "10.0.0.255", 68), true),
        (udp("10.0.0.9", 67, "224.0.0.1", 68), false),
        (udp("10.0.0.9", 68, "10.0.0.5", 67), false),
        (udp("10.0.0.9", 67, "10.0.0.5", 67), false),
        (udp("10.0.0.9", 66, "10.0.0.5", 68), false),
        (udp("10.0.0.9", 67, "10.0.0.5", 69), false),
        (udp(far, 67, near, 68), false),
        (udp(far, 547, near, 546), true),
        (udp(far, 546, near, 547), false),
        (udp(far, 547, near, 547), false),
        (udp(far, 1024, near, 546), true),
        (udp("2001:db8::9", 547, near, 546), true),
        (udp("2001:db8::9", 547, "2001:db8::5", 546), false),
        (udp(far, 547, "ff02::1", 546), false),
        (udp(far, 547, "fe80::77", 546), false),
        (udp("fec0::1", 547, near, 546), true),
        (udp("10.0.0.9", 547, "10.0.0.5", 546), false),
        (Probe::tcp("10.0.0.9:67", "10.0.0.5:68"), false),
        (igmp("10.0.0.9", "224.0.0.1", 1), true),
        (igmp("0.0.0.0", "224.0.0.1", 1), true),
        (igmp("10.0.0.9", "239.255.255.255", 1), true),
        (igmp("10.0.0.9", "224.0.0.1", 2), false),
        (igmp("10.0.0.9", "240.0.0.1", 1), false),
        (igmp("10.0.0.9", "10.0.0.5", 1), false),
        (
            Probe::other("10.0.0.9", "224.0.0.1", 103).hop_limit(1),
            false,
        ),
    ] {
        assert_eq!(scene.inbound(&probe), verdict(essential), "{probe:?}");
    }
}

pub fn outbound() {
    let scene = Scene::new();
    scene.host.enforce(POLICY);
    let (near, far) = (scene.outer.a.link_local, scene.outer.b.link_local);
    let wanted = |kind| match kind {
        133 | 135 | 136 => Some(255),
        131 | 132 | 143 => Some(1),
        _ => None,
    };
    each_type(
        wanted,
        |probe| scene.outbound(&probe),
        |kind| {
            let one = Probe::icmp(IpAddr::V6(near), IpAddr::V6(far), kind, 0);
            let all = Probe::icmp(
                IpAddr::V6(near),
                "ff02::2".parse::<IpAddr>().unwrap(),
                kind,
                0,
            );
            vec![one, all]
        },
    );
    for (probe, essential) in [
        (udp("10.0.0.5", 68, "10.0.0.9", 67), true),
        (udp("10.0.0.5", 68, "255.255.255.255", 67), true),
        (udp("10.0.0.5", 67, "10.0.0.9", 68), false),
        (udp("10.0.0.5", 68, "10.0.0.9", 68), false),
        (udp("10.0.0.5", 69, "10.0.0.9", 67), false),
        (udp("10.0.0.77", 68, "10.0.0.9", 67), false),
        (igmp("10.0.0.5", "224.0.0.22", 1), true),
        (igmp("10.0.0.5", "239.1.1.1", 1), true),
        (igmp("10.0.0.5", "224.0.0.22", 2), false),
        (igmp("10.0.0.5", "10.0.0.9", 1), false),
        (igmp("10.0.0.77", "224.0.0.22", 1), false),
        (udp(near, 68, far, 67), false),
        (udp(near, 546, "ff02::1:2", 547), true),
        (udp(near, 546, far, 547), true),
        (udp(near, 546, "ff02::1:3", 547), false),
        (udp(near, 547, far, 546), false),
        (udp("2001:db8::5", 546, "2001:db8::9", 547), false),
        (udp("fe80::77", 546, "ff02::1:2", 547), false),
        (udp(near, 545, "ff02::1:2", 547), false),
    ] {
        assert_eq!(scene.outbound(&probe), verdict(essential), "{probe:?}");
    }
}

pub fn never_forwarded() {
    let scene = Scene::new();
    let dhcp = udp("10.0.0.9", 67, "10.1.0.9", 68);
    let mld = |kind, hops| Probe::icmp("2001:db8::9", "2001:db8:1::9", kind, 0).hop_limit(hops);
    scene.host.enforce(POLICY);
    assert_eq!(scene.inbound(&dhcp), "drop default");
    for kind in [130, 131, 132, 133, 134, 135, 136, 143] {
        for hops in [255, 2, 1] {
            // Discovery with 255 would die at its receiver, and passes for the sake of bridges.
            let passes = matches!((kind, hops), (134..=136, 255));
            assert_eq!(
                scene.inbound(&mld(kind, hops)),
                verdict(passes),
                "type {kind} with hop limit {hops}"
            );
        }
    }
    scene.host.enforce(INNER_ONLY);
    assert_eq!(
        scene.forwarded(&udp("10.0.0.9", 68, "10.1.0.9", 67)),
        "drop default"
    );
    // Forwarding takes one hop away.
    for kind in [131, 132, 143] {
        assert_eq!(
            scene.forwarded(&mld(kind, 2)),
            "drop default",
            "type {kind}"
        );
    }
}
