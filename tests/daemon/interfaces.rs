//! A packet of a flow that lives on one interface is a stranger's on another, whichever list that one is bound to.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use libtest_mimic::Trial;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};

use super::several::{
    ALL, BOTH, FAMILIES, Family, arrived, at, definition, enforce, far_by, for_each_interface, say,
    settle, several,
};
use super::site::{SOON, Site};
use super::talk::{Talk, change};
use crate::support::{Host, Injector, Probe, kernel_test};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for established in BOTH {
        for (name, outbound) in [("nothing_out", &[][..]), ("all_out", ALL)] {
            for rp_filter in ["0", "2"] {
                tests.push(kernel_test(
                    &format!("interfaces_spoofed_{established}_{name}_rp_filter_{rp_filter}"),
                    &["nft"],
                    move || spoofed(established, outbound, rp_filter),
                ));
            }
        }
        for (name, outbound) in [("one_out", ONE), ("all_out", ALL)] {
            tests.push(kernel_test(
                &format!("interfaces_chosen_by_the_sender_{established}_{name}"),
                &["nft"],
                move || chosen(established, outbound),
            ));
        }
    }
    tests
}

/// A flow and the packets that someone on `eth0` sends in its name.
struct Flow {
    name: String,
    talk: Talk,
    spoofs: Vec<Probe>,
}

/// UDP on `lo`, on `eth1` and on `eth2`, opened by the host and by the peer.
fn flows(site: &Site, family: &Family) -> Vec<Flow> {
    let (host, peer) = (&site.host, &site.peer);
    let talk = |(client, from): (&Host, &str), (server, to): (&Host, &str)| {
        Talk::udp(client, from, to, server, to)
    };
    let mut flows = Vec::new();
    let (a, b) = (at(family.host[0], 1100), at(family.host[0], 1200));
    flows.push(Flow {
        name: format!("lo {a} {b}"),
        talk: talk((host, &a), (host, &b)),
        spoofs: vec![Probe::udp(&*a, &*b), Probe::udp(&*b, &*a)],
    });
    for number in [1, 2] {
        for (opener, port) in [("host", 1300), ("peer", 1400)] {
            let (own, remote) = (
                at(family.host[number], port),
                at(family.peer[number], port + 1),
            );
            let talk = match opener {
                "host" => talk((host, &own), (peer, &remote)),
                _ => talk((peer, &remote), (host, &own)),
            };
            flows.push(Flow {
                name: format!("eth{number}, opened by the {opener}: {own} {remote}"),
                talk,
                spoofs: vec![Probe::udp(&*remote, &*own)],
            });
        }
    }
    flows
}

/// `eth1` is unbound, `eth2` lets everything pass, `eth0` nothing in.
fn spoofed(established: &str, outbound: &[&str], rp_filter: &str) {
    let (site, wires) = several(&["eth0", "eth1", "eth2"]);
    let wires: Vec<_> = wires.iter().collect();
    for_each_interface(&site.host, "rp_filter", rp_filter);
    // What is sent in the name of a flow on `lo` has an own address as its source.
    for_each_interface(&site.host, "accept_local", "1");
    let injector = Injector::new(&site.wire.b, &site.wire.a);
    let flows: Vec<Flow> = FAMILIES
        .iter()
        .flat_map(|family| flows(&site, family))
        .collect();
    let heard = |flow: &Flow| -> usize {
        settle(&wires);
        arrived(&flow.talk);
        flow.spoofs.iter().for_each(|probe| injector.send(probe));
        injector.wait();
        arrived(&flow.talk).iter().sum()
    };
    for flow in &flows {
        let wanted = flow.spoofs.len();
        assert_eq!(heard(flow), wanted, "without a policy: {}", flow.name);
    }
    let policy = |more: &[&str]| {
        let inner = [ALL, more].concat();
        let groups = [("sg-none", &[][..], outbound), ("sg-all", &inner, ALL)];
        let bound = [("eth0", "sg-none"), ("eth2", "sg-all")];
        definition(&groups, &bound, established)
    };
    let daemon = enforce(&site, &policy(&[]));
    let mut passed = Vec::new();
    let mut all_refused = |when: &str| {
        for flow in &flows {
            match heard(flow) {
                0 => {}
                count => passed.push(format!("{when}, {count} of {}", flow.name)),
            }
            assert!(flow.talk.carries(), "{}\n{}", flow.name, daemon.log());
        }
    };
    for flow in &flows {
        assert!(flow.talk.carries(), "{}\n{}", flow.name, daemon.log());
    }
    all_refused("at first");
    // The first packet after a save is a stranger's.
    change(&site, &daemon, &policy(&["protocol: gre"]), 2);
    all_refused("after a save");
    assert!(passed.is_empty(), "passed by eth0: {passed:#?}");
}

/// All that `eth0` lets out.
const ONE: &[&str] = &["protocol: udp, port: 4000"];

/// Sends out of an interface, whatever the routes say, as `IP_PKTINFO` lets every user do.
fn send_by(socket: &UdpSocket, from: &str, to: SocketAddr, index: u32) {
    let parts = [std::io::IoSlice::new(b"word")];
    let to_storage = SockaddrStorage::from(to);
    let send = |message| {
        let none = MsgFlags::empty();
        sendmsg(
            socket.as_raw_fd(),
            &parts,
            &[message],
            none,
            Some(&to_storage),
        )
    };
    let sent = match from.parse().unwrap() {
        std::net::IpAddr::V4(address) => send(ControlMessage::Ipv4PacketInfo(&libc::in_pktinfo {
            ipi_ifindex: index.try_into().unwrap(),
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from(address).to_be(),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        })),
        std::net::IpAddr::V6(address) => send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: address.octets(),
            },
            ipi6_ifindex: index,
        })),
    };
    assert_eq!(sent, Ok(4), "from {from} to {to}");
}

/// A helper behind the unbound `eth1` answers one datagram; what follows leaves by `eth0`, and so does TCP whose route
/// moves.
fn chosen(established: &str, outbound: &[&str]) {
    let (site, wires) = several(&["eth0", "eth1"]);
    far_by(&site, 0, &wires[0]);
    site.host.ip(
        "route add 203.0.113.0/24 via 10.1.0.9 dev eth1 metric 4000\n\
         route add 2001:db8:f::/64 via 2001:db8:1::9 dev eth1 src 2001:db8::5 metric 4000",
    );
    // The helper's answers.
    site.peer.ip(
        "route add 10.0.0.5/32 via 10.1.0.5 dev wire1\nroute add 2001:db8::5/128 via 2001:db8:1::5 dev wire1",
    );
    let groups = [("sg-a", &[][..], outbound)];
    let daemon = enforce(
        &site,
        &definition(&groups, &[("eth0", "sg-a")], established),
    );
    let mut wrong = Vec::new();
    for family in FAMILIES {
        let from = family.host[0];
        // IPv6 asks the interface alone only where the source is left to it.
        // It binds other ports: a program that another test starts holds a closed socket until it is executed.
        let (bound, ports) = match from.contains(':') {
            true => ("::", 25_000),
            false => (from, 20_000),
        };
        // 135 is blocked, whatever the rules say.
        for (port, allowed) in [(4000, true), (5353, outbound == ALL), (135, false)] {
            let socket = |host: &Host, at: &str| {
                let socket = host.enter(|| UdpSocket::bind(at).unwrap());
                socket.set_read_timeout(Some(SOON)).unwrap();
                socket
            };
            let to = at(family.far[0], port);
            let server = socket(&site.peer, &to);
            let client = socket(&site.host, &at(bound, ports + port));
            send_by(&client, bound, to.parse().unwrap(), wires[1].a.index);
            let (_, client_address) = server.recv_from(&mut [0; 8]).unwrap();
            server.send_to(b"word", client_address).unwrap();
            client.recv_from(&mut [0; 8]).unwrap();
            let talk = Talk::Udp(client, server);
            let Talk::Udp(client, _) = &talk else {
                unreachable!("it is UDP");
            };
            let sent = (0..3)
                .filter(|_| client.send_to(b"word", &to).is_ok())
                .count();
            settle(&[&wires[0]]);
            let heard = arrived(&talk)[1];
            let wanted = if allowed { 3 } else { 0 };
            if (sent, heard) != (wanted, wanted) {
                wrong.push(format!("{sent} sent and {heard} heard of 3 to {to}"));
            }
        }
    }
    // TCP with the route.
    site.peer.nft(
        "table inet came { counter p25 { }; counter p80 { }; chain pre { type filter hook prerouting priority -400; \
         iifname wire tcp dport 25 counter name p25; iifname wire tcp dport 80 counter name p80; }; }",
    );
    let mut talks = Vec::new();
    far_by(&site, 1, &wires[1]);
    for family in FAMILIES {
        for port in [25, 80] {
            let to = at(family.far[0], port);
            talks.push(Talk::tcp(&site.host, &to, &site.peer, &to));
        }
    }
    settle(&[&wires[0]]);
    far_by(&site, 0, &wires[0]);
    talks.iter().for_each(|talk| say(talk, true));
    settle(&[&wires[0]]);
    let came = site.peer.counters("inet came");
    if came["p25"] > 0 || (came["p80"] > 0) != (outbound == ALL) {
        wrong.push(format!("by eth0 left of TCP: {came:?}"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", daemon.log());
}
