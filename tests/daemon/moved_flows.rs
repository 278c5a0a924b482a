//! Flows whose route or whose interface's name moves: the list that they cross from then on judges them, whatever let
//! them pass before.

use libtest_mimic::Trial;

use super::several::{
    ALL, BOTH, FAMILIES, arrived, at, definition, enforce, far_by, goes_on, is_cut, say, settle,
    several,
};
use super::talk::{Talk, change};
use crate::support::{Host, join, kernel_test};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for established in BOTH {
        tests.push(kernel_test(
            &format!("moved_flows_of_a_route_{established}"),
            &["nft"],
            move || route(established),
        ));
        for from in ["spare", "eth1"] {
            tests.push(kernel_test(
                &format!("moved_flows_of_{from}_renamed_{established}"),
                &["nft"],
                move || renamed(from, established),
            ));
        }
    }
    tests
}

/// `eth2` lets one port of UDP out, everything else lets everything pass. A guest sits behind `eth3`.
fn route(established: &str) {
    let (site, wires) = several(&["eth0", "eth1", "eth2"]);
    let guest = Host::new("guest");
    let inner = join(
        &site.host,
        "eth3",
        &["10.3.0.5/24", "2001:db8:3::5/64"],
        &guest,
        "wire",
        &["10.3.0.9/24", "2001:db8:3::9/64"],
    );
    guest.ip("route add default via 10.3.0.5\nroute add default via 2001:db8:3::5");
    site.host.forwards();
    // Where the host sends to, and where the answers come from.
    let moves_to = |number: usize| {
        far_by(&site, number, &wires[number]);
        let dev = &wires[number].b.interface;
        for (family, inner, host) in [
            (0, "10.3.0.0/24", "10.1.0.5/32"),
            (1, "2001:db8:3::/64", "2001:db8:1::5/128"),
        ] {
            let via = FAMILIES[family].host[number];
            let lines = format!("route replace {inner} via {via} dev {dev}");
            site.peer.ip(&lines);
            match number {
                2 => site
                    .peer
                    .ip(&format!("route add {host} via {via} dev {dev}")),
                // It is on the cable itself.
                _ => drop(
                    site.peer
                        .command("ip")
                        .args([["-4", "-6"][family], "route", "flush", host])
                        .output(),
                ),
            }
        }
    };
    moves_to(1);
    let policy = |other: &str| {
        let groups: [(&str, &[&str], &[&str]); 2] = [
            ("sg-all", ALL, ALL),
            ("sg-one", &[other], &["protocol: udp, port: 4000"]),
        ];
        let bound = ["eth0", "eth1", "eth3"].map(|name| (name, "sg-all"));
        let bound = [&bound[..], &[("eth2", "sg-one")]].concat();
        definition(&groups, &bound, established)
    };
    let daemon = enforce(&site, &policy("protocol: tcp, port: 81"));
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for family in FAMILIES {
        let clients = [
            (&site.host, family.host[1], family.far[0]),
            (&guest, guest_address(family.far[0]), family.far[1]),
        ];
        for (client, from, far) in clients {
            let udp = |port| {
                let (from, to) = (at(from, 5000 + port), at(far, port));
                Talk::udp(client, &from, &to, &site.peer, &to)
            };
            let to = at(far, 443);
            refused.push(Talk::tcp(client, &to, &site.peer, &to));
            refused.push(udp(123));
            allowed.push(udp(4000));
        }
    }
    site.peer.nft(
        "table inet came { counter allowed { }; counter refused { }; \
         chain pre { type filter hook prerouting priority -400; \
         iifname wire2 udp dport 4000 counter name allowed accept; \
         iifname wire2 meta l4proto { tcp, udp } counter name refused; }; }",
    );
    let all_wires: Vec<_> = wires.iter().chain([&inner]).collect();
    moves_to(2);
    // A verdict does not depend on whether a save happened.
    for generation in [1, 2] {
        if generation == 2 {
            change(&site, &daemon, &policy("protocol: tcp, port: 82"), 2);
        }
        for _ in 0..5 {
            let talks = refused.iter().chain(&allowed);
            talks.for_each(|talk| say(talk, true));
        }
        settle(&all_wires);
        let came = site.peer.counters("inet came");
        assert_eq!(
            came["refused"],
            0,
            "left by eth2 of {came:?}\n{}",
            daemon.log()
        );
        assert!(came["allowed"] > 0, "{came:?}");
        for talk in &allowed {
            say(talk, true);
            assert!(goes_on(talk), "{}", daemon.log());
        }
    }
    for talk in refused.iter().chain(&allowed) {
        arrived(talk);
    }
    // Back where it is allowed, nothing was lost.
    moves_to(1);
    for talk in refused.iter().chain(&allowed) {
        talk.limit(super::site::SOON);
        assert!(talk.carries(), "{}", daemon.log());
    }
}

/// The guest's address of the family of another.
fn guest_address(of: &str) -> &'static str {
    match of.contains(':') {
        true => "2001:db8:3::9",
        false => "10.3.0.9",
    }
}

/// An interface that lets everything pass is called `eth2` now, whose list lets little pass.
fn renamed(from: &str, established: &str) {
    let (site, mut wires) = several(&["eth0", from]);
    let policy = |other: &str| {
        let groups: [(&str, &[&str], &[&str]); 2] = [
            ("sg-all", ALL, ALL),
            (
                "sg-few",
                &["protocol: tcp, port: 22", other],
                &["protocol: udp, port: 4000"],
            ),
        ];
        let bound = [("eth0", "sg-all"), ("eth1", "sg-all"), ("eth2", "sg-few")];
        definition(&groups, &bound, established)
    };
    let daemon = enforce(&site, &policy("protocol: tcp, port: 81"));
    let (host, peer) = (&site.host, &site.peer);
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for family in FAMILIES {
        let (own, remote) = (family.host[1], family.peer[1]);
        let tcp = |client, server, to: &str| Talk::tcp(client, to, server, to);
        let udp = |client, from: &str, server, to: &str| Talk::udp(client, from, to, server, to);
        allowed.push(tcp(peer, host, &at(own, 22)));
        allowed.push(udp(host, &at(own, 5001), peer, &at(remote, 4000)));
        refused.push(tcp(peer, host, &at(own, 8080)));
        refused.push(udp(peer, &at(remote, 5002), host, &at(own, 53)));
        refused.push(tcp(host, peer, &at(remote, 443)));
        refused.push(udp(host, &at(own, 5003), peer, &at(remote, 123)));
    }
    site.host.ip(&format!("link set {from} name eth2"));
    wires[1].a.interface = "eth2".into();
    let wires = [&wires[1]];
    for generation in [1, 2] {
        if generation == 2 {
            change(&site, &daemon, &policy("protocol: tcp, port: 82"), 2);
        }
        let refused = refused.iter().enumerate();
        let alive: Vec<usize> = refused
            .filter(|(_, talk)| !is_cut(talk, &wires))
            .map(|(number, _)| number)
            .collect();
        assert!(
            alive.is_empty(),
            "refused flows live on in generation {generation}: {alive:?}\n{}",
            daemon.log()
        );
        // The client first: whom this name's list lets open may be answered.
        for talk in &allowed {
            talk.limit(super::site::SOON);
            assert!(talk.carries() && goes_on(talk), "{}", daemon.log());
        }
    }
}
