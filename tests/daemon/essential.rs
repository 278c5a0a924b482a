//! What is exempt from all rules is exempt for the host itself, and no further: essential traffic and looped-back
//! multicast.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libtest_mimic::Trial;
use nix::errno::Errno;
use nix::libc;

use super::several::{ALL, definition, enforce, settle, several};
use super::site::{Site, until};
use crate::support::{Host, Injector, Outbound, Probe, Sent, Skip, join, kernel_test};

pub fn tests() -> Vec<Trial> {
    let nft = &["nft"];
    vec![
        kernel_test("essential_multicast_by_a_tunnel", nft, by_a_tunnel),
        kernel_test(
            "essential_dhcp_and_multicast_routing",
            nft,
            multicast_routing,
        ),
        kernel_test("essential_igmp", nft, igmp),
        kernel_test("essential_dhcpv6_answers", nft, dhcpv6),
        kernel_test("essential_neighbours_across_a_bridge", nft, neighbours),
    ]
}

/// Interfaces with their lists: `sg-none` has no rule.
fn refusing(more: &[(&str, &str)]) -> String {
    let groups: [(&str, &[&str], &[&str]); 2] = [
        ("sg-none", &[], &[]),
        ("sg-vxlan", &["protocol: udp, port: 4789"], ALL),
    ];
    definition(&groups, more, "recheck")
}

/// Counts what our inbound chain has let pass of this.
fn count(host: &Host, what: &str) {
    host.nft(&format!(
        "table inet passed {{ counter passed {{ }}; chain pre {{ type filter hook prerouting priority -150; \
         {what} counter name passed; }}; }}"
    ));
}

fn counted(host: &Host) -> u64 {
    host.counters("inet passed")["passed"]
}

/// The host's own source and a multicast address, in a packet that came through a tunnel device that collects metadata.
fn by_a_tunnel() -> Result<(), Skip> {
    let site = Site::quiet();
    let device = "link add vx0 type vxlan external dstport 4789";
    let words = device.split(' ').collect::<Vec<_>>();
    let made = site.host.command("ip").args(&words).output().unwrap();
    if !made.status.success() {
        return Err(Skip("the kernel has no vxlan".into()));
    }
    site.host.ip(
        "link set vx0 up\naddr add 10.9.0.5/24 dev vx0\naddr add 2001:db8:9::5/64 dev vx0 nodad",
    );
    count(&site.host, "iifname vx0 udp dport 9999");
    let socket = site.host.enter(|| UdpSocket::bind("[::]:9999").unwrap());
    socket.set_nonblocking(true).unwrap();
    let injector = Injector::new(&site.wire.b, &site.wire.a);
    // Flags and the number of a virtual network, then a frame.
    let through = |inner: &Probe, kind: u16, to: [u8; 6]| {
        let mut outer = Probe::udp("10.0.0.9:50000", "10.0.0.5:4789");
        outer.payload = [&[8, 0, 0, 0, 0, 0, 5, 0][..], &to, &[2, 0, 0, 0, 9, 9]].concat();
        outer.payload.extend(kind.to_be_bytes());
        outer.payload.extend(&inner.packets()[0]);
        injector.send(&outer);
        injector.wait();
    };
    let four = Probe::udp("10.9.0.5:1000", "224.0.0.1:9999");
    let six = Probe::udp("[2001:db8:9::5]:1000", "[ff02::1]:9999");
    let came = || {
        let before = counted(&site.host);
        through(&four, 0x0800, [1, 0, 0x5e, 0, 0, 1]);
        let four = counted(&site.host) - before;
        through(&six, 0x86dd, [0x33, 0x33, 0, 0, 0, 1]);
        let six = counted(&site.host) - before - four;
        let heard = std::iter::from_fn(|| socket.recv(&mut [0; 64]).ok()).count();
        (four, six, heard)
    };
    // IPv4's own source is refused by the host's routes.
    assert_eq!(came(), (1, 1, 1), "without a policy");
    let daemon = enforce(
        &site,
        &refusing(&[("eth0", "sg-vxlan"), ("vx0", "sg-none")]),
    );
    assert_eq!(came(), (0, 0, 0), "{}", daemon.log());
    Ok(())
}

/// Makes the host a router of IPv4 multicast between two of its interfaces, for as long as the descriptor is open.
fn route_multicast(host: &Host, interfaces: [u32; 2], ways: &[(usize, &str, &str)]) -> OwnedFd {
    const IPPROTO_IGMP: libc::c_int = 2;
    const MRT_INIT: libc::c_int = 200;
    const MRT_ADD_VIF: libc::c_int = 202;
    const MRT_ADD_MFC: libc::c_int = 204;
    const VIFF_USE_IFINDEX: u8 = 8;
    // SAFETY: a system call without pointers; its result is a descriptor that nobody else has. nix does not name IGMP.
    #[allow(unsafe_code)]
    let router = host.enter(|| unsafe {
        let number = libc::socket(
            libc::AF_INET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            IPPROTO_IGMP,
        );
        OwnedFd::from_raw_fd(Errno::result(number).expect("a raw socket"))
    });
    let set = |option, value: &[u8]| {
        let length = u32::try_from(value.len()).unwrap();
        // SAFETY: the kernel reads as many bytes as the slice has.
        #[allow(unsafe_code)]
        let set = unsafe {
            libc::setsockopt(
                router.as_raw_fd(),
                libc::IPPROTO_IP,
                option,
                value.as_ptr().cast(),
                length,
            )
        };
        Errno::result(set).unwrap_or_else(|error| panic!("option {option}: {error}"));
    };
    set(MRT_INIT, &1_i32.to_ne_bytes());
    for (number, index) in interfaces.into_iter().enumerate() {
        // struct vifctl: number, flags, threshold, rate, interface, remote.
        let mut vif = u16::try_from(number).unwrap().to_ne_bytes().to_vec();
        vif.extend([VIFF_USE_IFINDEX, 1, 0, 0, 0, 0]);
        vif.extend(index.to_ne_bytes());
        vif.extend([0; 4]);
        set(MRT_ADD_VIF, &vif);
    }
    for (from, source, group) in ways {
        // struct mfcctl: source, group, where it comes in, the least TTL by which it goes out of each of 32 (0 is
        // never), and counts.
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
        let mut way = [address(source), address(group)].concat();
        way.extend(u16::try_from(*from).unwrap().to_ne_bytes());
        let mut least = [0; 32];
        least[1 - from] = 1;
        way.extend(least);
        // Padding, three counts, a time.
        way.extend([0; 2 + 16]);
        set(MRT_ADD_MFC, &way);
    }
    router
}

/// DHCP's ports in packets to a group, forwarded from the unbound `eth1` to `eth0` and the other way.
fn multicast_routing() {
    const GROUP: &str = "239.1.2.3";
    let (site, wires) = several(&["eth0", "eth1"]);
    let interfaces = [wires[0].a.index, wires[1].a.index];
    let _router = route_multicast(
        &site.host,
        interfaces,
        &[(0, "10.0.0.9", GROUP), (1, "10.1.0.9", GROUP)],
    );
    site.peer.nft(
        "table inet came { counter wire { }; counter wire1 { }; chain pre { type filter hook prerouting priority -400; \
         iifname wire ip daddr 239.1.2.3 counter name wire; iifname wire1 ip daddr 239.1.2.3 counter name wire1; }; }",
    );
    let came = || {
        for (from, to) in [(68, 67), (67, 68)] {
            for (wire, source) in wires.iter().zip(["10.0.0.9", "10.1.0.9"]) {
                let (source, group) = (format!("{source}:{from}"), format!("{GROUP}:{to}"));
                Injector::new(&wire.b, &wire.a).send(&Probe::udp(&*source, &*group));
            }
        }
        settle(&[&wires[0], &wires[1]]);
        let came = site.peer.counters("inet came");
        (came["wire"], came["wire1"])
    };
    assert_eq!(came(), (2, 2), "without a policy");
    let daemon = enforce(&site, &refusing(&[("eth0", "sg-none")]));
    assert_eq!(came(), (2, 2), "nothing more has come\n{}", daemon.log());
}

/// TTL 1 to a group, in and out, and what the kernel itself reports.
fn igmp() {
    let site = Site::quiet();
    count(&site.host, "ip protocol igmp");
    let daemon = enforce(&site, &refusing(&[("eth0", "sg-none")]));
    let injector = Injector::new(&site.wire.b, &site.wire.a);
    let outbound = Outbound::new(&site.wire.a);
    let message = |from: &str, to: &str, kind: u8, hops| {
        let mut probe = Probe::other(from, to, 2).hop_limit(hops);
        // The checksum of a message without a group.
        probe.payload = vec![kind, 0, 0xff - kind, 0xff, 0, 0, 0, 0];
        probe
    };
    let mut wrong = Vec::new();
    for kind in [0x11, 0x16, 0x22] {
        for (group, hops, essential) in [
            ("224.0.0.1", 1, true),
            ("224.0.0.22", 1, true),
            ("239.1.2.3", 1, true),
            ("224.0.0.1", 2, false),
            ("", 1, false),
        ] {
            let to = |unicast: &'static str| if group.is_empty() { unicast } else { group };
            let before = counted(&site.host);
            injector.send(&message("10.0.0.9", to("10.0.0.5"), kind, hops));
            injector.wait();
            let came_in = counted(&site.host) > before;
            let sent = outbound.send(&message("10.0.0.5", to("10.0.0.9"), kind, hops));
            let went_out = sent == Sent::Passed;
            if (came_in, went_out) != (essential, essential) {
                wrong.push(format!(
                    "type {kind:#x} to {group:?} with TTL {hops}: in {came_in}, out {went_out}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", daemon.log());
    count(&site.peer, "ip protocol igmp ip saddr 10.0.0.5");
    let member = site.host.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let (group, own) = ("239.7.7.7".parse().unwrap(), "10.0.0.5".parse().unwrap());
    member.join_multicast_v4(&group, &own).unwrap();
    until("the peer hears of a membership", || counted(&site.peer) > 0);
}

/// To 546 at a link-local address of the host, whoever answers.
fn dhcpv6() {
    let site = Site::quiet();
    count(&site.host, "udp dport 546");
    let daemon = enforce(&site, &refusing(&[("eth0", "sg-none")]));
    let injector = Injector::new(&site.wire.b, &site.wire.a);
    let (near, far) = (site.wire.a.link_local, site.wire.b.link_local);
    let [near, far] = [near, far].map(|address: Ipv6Addr| address.to_string());
    let mut wrong = Vec::new();
    for (from, from_port, to, port, essential) in [
        (&*far, 547, &*near, 546, true),
        (&*far, 12_345, &*near, 546, true),
        ("2001:db8::9", 547, &*near, 546, true),
        ("2001:db8:77::1", 40_000, &*near, 546, true),
        (&*far, 547, "2001:db8::5", 546, false),
        ("2001:db8::9", 547, "2001:db8::5", 546, false),
        (&*far, 547, "fe80::dead", 546, false),
        (&*far, 547, "ff02::1", 546, false),
    ] {
        let probe = Probe::udp(
            &*super::several::at(from, from_port),
            &*super::several::at(to, port),
        );
        let before = counted(&site.host);
        injector.send(&probe);
        injector.wait();
        if (counted(&site.host) > before) != essential {
            wrong.push(format!(
                "{from} {from_port} to {to} {port}, right is {essential}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", daemon.log());
}

/// Two guests on a bound bridge whose frames pass the hooks find each other, with hop limit 255 alone.
fn neighbours() -> Result<(), Skip> {
    let site = Site::quiet();
    let (host, one, two) = (&site.host, Host::new("one"), Host::new("two"));
    let knob = "net/bridge/bridge-nf-call-ip6tables";
    if host.enter(|| std::fs::write(format!("/proc/sys/{knob}"), "1").is_err()) {
        return Err(Skip("br_netfilter is not loaded".into()));
    }
    let of =
        |guest: &Host, port: &str, address: &str| join(host, port, &[], guest, "wire", &[address]);
    let one_wire = of(&one, "p1", "2001:db8:b::1/64");
    let two_wire = of(&two, "p2", "2001:db8:b::2/64");
    host.ip(
        "link add br0 type bridge\nlink set br0 up\nlink set p1 master br0\nlink set p2 master br0",
    );
    count(
        &two,
        "icmpv6 type { 135, 136 } icmpv6 code 0 ip6 saddr 2001:db8:b::77",
    );
    let injector = Injector::new(&one_wire.b, &two_wire.b);
    let came = |hops| {
        let before = counted(&two);
        for kind in [135, 136] {
            for to in ["2001:db8:b::2", "ff02::1:ff00:2"] {
                injector.send(&Probe::icmp("2001:db8:b::77", to, kind, 0).hop_limit(hops));
            }
        }
        injector.wait();
        counted(&two) - before
    };
    until("the ports forward", || came(255) == 4);
    assert_eq!(came(254), 4, "without a policy");
    let daemon = enforce(&site, &refusing(&[("br0", "sg-none")]));
    assert_eq!(
        (came(255), came(254)),
        (4, 0),
        "let through with hop limit 255 and 254\n{}",
        daemon.log()
    );
    Ok(())
}
