//! Packets of an unusual shape or way: in fragments, behind extension headers, without state, looped back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::support::Extension::{DestinationOptions, Fragment, HopByHop};
use crate::support::{Host, Probe, SOON, Scene, Side, Skip};

/// TCP 80 and UDP 53 are open in, TCP 80 and UDP 5300 out.
const POLICY: &str = "
version: 1
security_groups:
  sg-a:
    inbound:
      - { action: allow, protocol: tcp, port: 80, source: any }
      - { action: allow, protocol: udp, port: '53,4444', source: any }
      - { action: refuse, protocol: udp, port: 54, source: any }
    outbound:
      - { action: allow, protocol: tcp, port: 80, destination: any }
      - { action: allow, protocol: udp, port: 5300, destination: any }
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5], security_groups: [sg-a] } } }
";

/// What no group's rule is asked about may not depend on them.
const REFUSE_ALL: &str = "
version: 1
platform: { unbound_interfaces: refuse }
security_groups:
  sg-out: { outbound: [{ action: allow, protocol: all, destination: any }] }
instances:
  ins-a: { interfaces: { 'e*': { security_groups: [sg-out] }, 'l*': { security_groups: [] } } }
";

/// Host and world, ready for a port.
const FAMILIES: [(&str, &str); 2] = [("10.0.0.5", "10.0.0.9"), ("[2001:db8::5]", "[2001:db8::9]")];

type Make = fn(&str, &str) -> Probe;

fn tcp(from: &str, to: &str) -> Probe {
    Probe::tcp(from, to)
}

fn udp(from: &str, to: &str) -> Probe {
    Probe::udp(from, to)
}

pub fn fragments() {
    let scene = Scene::new();
    scene.host.enforce(POLICY);
    for (host, world) in FAMILIES {
        let inbound: [(Make, u16, &str); 6] = [
            (tcp, 80, "pass sg-a/in/0"),
            (tcp, 81, "drop default"),
            (tcp, 4444, "drop blocked-ports"),
            (udp, 53, "pass sg-a/in/1"),
            (udp, 54, "drop sg-a/in/2"),
            (udp, 1434, "drop blocked-ports"),
        ];
        for (source, (make, port, verdict)) in (40_000..).zip(inbound) {
            for pieces in [2, 3] {
                // Each opens a flow: the next packet of one that passes is not judged.
                let source = source + pieces as u16 * 1000;
                let probe = make(&format!("{world}:{source}"), &format!("{host}:{port}"));
                let mut probe = probe.in_fragments(pieces);
                probe.identification = source;
                assert_eq!(scene.inbound(&probe), verdict, "{port} in {pieces}");
            }
        }
        let outbound: [(Make, u16, &str); 4] = [
            (tcp, 80, "pass sg-a/out/0"),
            (udp, 5300, "pass sg-a/out/1"),
            (udp, 5301, "drop default"),
            (tcp, 4444, "drop blocked-ports"),
        ];
        for (source, (make, port, verdict)) in (41_000..).zip(outbound) {
            let probe = make(&format!("{host}:{source}"), &format!("{world}:{port}"));
            let mut probe = probe.in_fragments(3);
            probe.identification = source;
            assert_eq!(scene.outbound(&probe), verdict, "{port}");
        }
    }
}

pub fn extension_headers() {
    let scene = Scene::new();
    scene.host.enforce(POLICY);
    let (host, world) = FAMILIES[1];
    let mut source = 40_000;
    for headers in [
        &[HopByHop][..],
        &[DestinationOptions],
        &[Fragment],
        &[HopByHop, DestinationOptions],
        &[HopByHop, Fragment, DestinationOptions],
    ] {
        let inbound: [(Make, u16, &str); 4] = [
            (udp, 53, "pass sg-a/in/1"),
            (udp, 54, "drop sg-a/in/2"),
            (tcp, 80, "pass sg-a/in/0"),
            (tcp, 4444, "drop blocked-ports"),
        ];
        for (make, port, verdict) in inbound {
            source += 1;
            let probe = make(&format!("{world}:{source}"), &format!("{host}:{port}"));
            assert_eq!(
                scene.inbound(&probe.behind(headers)),
                verdict,
                "{port} behind {headers:?}"
            );
        }
        for (port, verdict) in [(5300, "pass sg-a/out/1"), (5301, "drop default")] {
            source += 1;
            let probe = udp(&format!("{host}:{source}"), &format!("{world}:{port}"));
            assert_eq!(
                scene.outbound(&probe.behind(headers)),
                verdict,
                "{port} behind {headers:?}"
            );
        }
    }
}

/// Each packet is judged by its own port, also the answer and the second of a flow.
pub fn untracked(variant: &str) {
    let scene = Scene::new();
    for program in ["iptables", "ip6tables"] {
        for chain in ["PREROUTING", "OUTPUT"] {
            scene.host.output(
                &format!("{program}-{variant}"),
                &["-t", "raw", "-A", chain, "-j", "CT", "--notrack"],
            );
        }
    }
    scene.host.enforce(POLICY);
    for (host, world) in FAMILIES {
        for (make, port, verdict) in [
            (udp as Make, 53, "pass sg-a/in/1"),
            (udp, 54, "drop sg-a/in/2"),
            (udp, 1434, "drop blocked-ports"),
            (tcp, 80, "pass sg-a/in/0"),
            (tcp, 81, "drop default"),
            (tcp, 4444, "drop blocked-ports"),
        ] {
            let probe = make(&format!("{world}:5300"), &format!("{host}:{port}"));
            for _ in 0..2 {
                assert_eq!(scene.inbound(&probe), verdict, "{port}");
            }
        }
        // The answer to what came from port 5300 is allowed by its own port, the one to 5301 is not.
        for (port, verdict) in [(5300, "pass sg-a/out/1"), (5301, "drop default")] {
            let answer = udp(&format!("{host}:53"), &format!("{world}:{port}"));
            assert_eq!(scene.outbound(&answer), verdict, "{port}");
        }
    }
    let flows = scene.host.get("net/netfilter/nf_conntrack_count");
    assert_eq!(flows, "0", "nothing was tracked");
}

/// What the host sends to a group it has joined comes back by the interface, and passes; the same from outside does not.
pub fn own_multicast() {
    let scene = Scene::new();
    let host = &scene.host;
    host.ip("route add 239.0.0.0/8 dev eth0");
    host.enforce(REFUSE_ALL);
    let index = scene.outer.a.index;
    let group = Ipv4Addr::new(239, 1, 1, 1);
    let group6: Ipv6Addr = "ff02::1234".parse().unwrap();
    let (four, six) = host.enter(|| {
        let four = UdpSocket::bind("0.0.0.0:5000").unwrap();
        four.join_multicast_v4(&group, &Ipv4Addr::new(10, 0, 0, 5))
            .unwrap();
        let six = UdpSocket::bind("[::]:5001").unwrap();
        six.join_multicast_v6(&group6, index).unwrap();
        (four, six)
    });
    let heard = |socket: &UdpSocket| {
        let mut bytes = [0; 100];
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        socket.recv(&mut bytes).is_ok()
    };
    four.send_to(b"own", (group, 5000)).unwrap();
    assert!(heard(&four), "the host's own multicast");
    six.send_to(b"own", SocketAddrV6::new(group6, 5001, 0, index))
        .unwrap();
    assert!(heard(&six), "the host's own multicast, IPv6");

    let near = scene.outer.a.link_local;
    for (probe, socket) in [
        (Probe::udp("10.0.0.9:5000", "239.1.1.1:5000"), &four),
        (Probe::udp("[2001:db8::9]:5001", "[ff02::1234]:5001"), &six),
        // Claiming to be the host's own does not help.
        (Probe::udp("10.0.0.5:5002", "239.1.1.1:5000"), &four),
        (
            Probe::udp(format!("[{near}]:5002").as_str(), "[ff02::1234]:5001"),
            &six,
        ),
    ] {
        assert_eq!(scene.inbound(&probe), "drop default", "{probe:?}");
        assert!(!heard(socket), "{probe:?}");
    }
}

/// A packet that arrives through a tunnel device with `external` carries what could be taken for the route of a looped-back one.
pub fn own_multicast_through_a_tunnel() -> Result<(), Skip> {
    const TUNNEL: &str = "
version: 1
security_groups:
  sg-out: { outbound: [{ action: allow, protocol: all, destination: any }] }
instances:
  ins-a: { interfaces: { vx0: { security_groups: [sg-out] } } }
";
    let scene = Scene::new();
    let host = &scene.host;
    let add = "link add vx0 address 02:00:00:00:00:77 type vxlan external dstport 4789";
    let added = host.command("ip").args(add.split(' ')).status();
    if !added.is_ok_and(|status| status.success()) {
        return Err(Skip("the kernel has no vxlan".into()));
    }
    host.ip("addr add 10.7.0.5/24 dev vx0
addr add 2001:db8:7::5/64 dev vx0 nodad
link set vx0 up
route add 239.0.0.0/8 dev vx0");
    host.enforce(TUNNEL);
    let refused = || {
        let hits = host.hits(Side::Inbound);
        hits.get("default").copied().unwrap_or(0)
    };
    for (inner, kind) in [
        (
            Probe::udp("[2001:db8:7::5]:5000", "[ff02::1]:5000"),
            0x86dd_u16,
        ),
        (Probe::udp("10.7.0.5:5000", "224.0.0.1:5000"), 0x0800),
        (Probe::udp("10.7.0.5:5000", "10.7.0.255:5000"), 0x0800),
    ] {
        let mut outer = Probe::udp("10.0.0.9:5555", "10.0.0.5:4789");
        // The VXLAN header with network 77, and the Ethernet header of a broadcast.
        outer.payload = [0x0800_0000_u32, 77 << 8].map(u32::to_be_bytes).concat();
        outer.payload.extend([0xff; 6]);
        outer.payload.extend([2, 0, 0, 0, 0, 1]);
        outer.payload.extend(kind.to_be_bytes());
        outer.payload.extend(inner.packets().swap_remove(0));
        let before = refused();
        scene.inbound(&outer);
        assert_eq!(refused() - before, 1, "{inner:?}");
    }
    // What the host itself sends there comes back to it.
    let group = Ipv4Addr::new(239, 1, 1, 1);
    let socket = host.enter(|| UdpSocket::bind("0.0.0.0:5000").unwrap());
    socket
        .join_multicast_v4(&group, &Ipv4Addr::new(10, 7, 0, 5))
        .unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.send_to(b"own", (group, 5000)).unwrap();
    let heard = socket.recv(&mut [0; 10]);
    assert_eq!(heard.ok(), Some(3), "the host's own multicast");
    Ok(())
}

/// Not by a glob that would fit `lo`, nor by `unbound_interfaces: refuse`, nor to the host's other addresses.
pub fn loopback() {
    let scene = Scene::new();
    scene.host.enforce(REFUSE_ALL);
    for address in ["127.0.0.1", "10.0.0.5", "[::1]", "[2001:db8::5]"] {
        assert!(talks_to_itself(&scene.host, address), "{address}");
    }
    let from_outside = Probe::tcp("10.0.0.9:4000", "10.0.0.5:80");
    assert_eq!(scene.inbound(&from_outside), "drop default");
}

fn talks_to_itself(host: &Host, address: &str) -> bool {
    host.enter(|| {
        let listener = TcpListener::bind(format!("{address}:0")).unwrap();
        let to = listener.local_addr().unwrap();
        TcpStream::connect_timeout(&to, SOON).is_ok()
    })
}
