//! Whatever is done to the bindings: no live flow is cut that the policies allow, and none that they refuse comes back.

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::several::{
    ALL, FAMILIES, arrived, at, definition, enforce, goes_on, is_cut, say, settle, several,
};
use super::site::Daemon;
use super::talk::{Talk, change};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        kernel_test(
            "bindings_to_equal_lists_count_as_one",
            &["nft"],
            equal_lists,
        ),
        kernel_test("bindings_of_what_was_unbound_recheck", &["nft"], || {
            was_unbound("recheck")
        }),
        kernel_test("bindings_of_what_was_unbound_keep", &["nft"], || {
            was_unbound("keep")
        }),
    ];
    tests.extend(changes());
    tests
}

fn changes() -> Vec<Trial> {
    [
        ("recheck", false),
        ("recheck", true),
        ("keep", false),
        ("keep", true),
    ]
    .into_iter()
    .map(|(established, restarts)| {
        let name = if restarts { "_and_restarts" } else { "" };
        kernel_test(
            &format!("bindings_change{name}_{established}"),
            &["nft"],
            move || change_all(established, restarts),
        )
    })
    .collect()
}

/// The lists of the interfaces, one step after the other. `sg-b` allows what is refused without it.
const STEPS: &[(&str, &[(&str, &str)])] = &[
    (
        "equal lists",
        &[("eth0", "sg-a, sg-b"), ("eth1", "sg-a, sg-b")],
    ),
    (
        "split by their order",
        &[("eth0", "sg-b, sg-a"), ("eth1", "sg-a, sg-b")],
    ),
    ("eth1 refuses", &[("eth0", "sg-b, sg-a"), ("eth1", "sg-a")]),
    (
        "reordered while eth1 refuses",
        &[("eth0", "sg-a, sg-b"), ("eth1", "sg-a")],
    ),
    (
        "eth1 is split off further",
        &[("eth0", "sg-a, sg-b"), ("eth1", "sg-a, sg-c")],
    ),
    ("both refuse: joined", &[("eth0", "sg-a"), ("eth1", "sg-a")]),
    (
        "one more interface in between",
        &[("eth0", "sg-a"), ("spare", "sg-b"), ("eth1", "sg-a")],
    ),
    (
        "written the other way round",
        &[("eth1", "sg-a"), ("eth0", "sg-a")],
    ),
    ("a glob", &[("eth*", "sg-a")]),
    (
        "a glob and a name",
        &[("eth*", "sg-a"), ("eth1", "sg-a, sg-c")],
    ),
    ("names again", &[("eth0", "sg-a"), ("eth1", "sg-c, sg-a")]),
    ("eth1 is unbound", &[("eth0", "sg-a")]),
    ("eth1 is bound again", &[("eth0", "sg-a"), ("eth1", "sg-a")]),
];

/// Which step's list first refuses the flows that only `sg-b` allows, on each interface.
const REFUSED_FROM: [usize; 2] = [5, 2];
/// Whoever is unbound refuses nothing.
const UNBOUND: [Option<usize>; 2] = [None, Some(11)];

fn change_all(established: &str, restarts: bool) {
    let (site, wires) = several(&["eth0", "eth1"]);
    let policy = |bound: &[(&str, &str)]| {
        let groups: [(&str, &[&str], &[&str]); 3] = [
            (
                "sg-a",
                &["protocol: tcp, port: 22", "protocol: udp, port: 53"],
                ALL,
            ),
            (
                "sg-b",
                &["protocol: tcp, port: 8080", "protocol: udp, port: 5353"],
                &[],
            ),
            ("sg-c", &["protocol: tcp, port: 81"], &[]),
        ];
        definition(&groups, bound, established)
    };
    let mut daemon = enforce(&site, &policy(STEPS[0].1));
    // Of each interface, those that every step allows, and those that some refuse.
    let mut flows = Vec::new();
    for (number, wire) in wires.iter().enumerate() {
        let (mut allowed, mut refused) = (Vec::new(), Vec::new());
        for family in FAMILIES {
            let (own, remote) = (family.host[number], family.peer[number]);
            let tcp = |port| {
                let to = at(own, port);
                Talk::tcp(&site.peer, &to, &site.host, &to)
            };
            let udp = |port| {
                let (from, to) = (at(remote, 1100 + port), at(own, port));
                Talk::udp(&site.peer, &from, &to, &site.host, &to)
            };
            allowed.extend([tcp(22), udp(53)]);
            refused.extend([tcp(8080), udp(5353)]);
            // What the host opens comes back by its own right, not by the inbound rules.
            let (web, ntp) = (at(remote, 443), at(remote, 123));
            allowed.push(Talk::tcp(&site.host, &web, &site.peer, &web));
            let from = at(own, 5001);
            allowed.push(Talk::udp(&site.host, &from, &ntp, &site.peer, &ntp));
        }
        flows.push((wire, allowed, refused));
    }
    for (step, (name, bound)) in STEPS.iter().enumerate() {
        if step > 0 {
            change(&site, &daemon, &policy(bound), last(&daemon) + 1);
        }
        if restarts && step % 2 == 0 {
            daemon.end(Signal::SIGTERM);
            daemon = site.start();
        }
        for (number, (wire, allowed, refused)) in flows.iter().enumerate() {
            for (flow, talk) in allowed.iter().enumerate() {
                let log = daemon.log();
                assert!(
                    goes_on(talk),
                    "{name}: flow {flow} of eth{number} is cut\n{log}"
                );
            }
            let refuses = step >= REFUSED_FROM[number] && UNBOUND[number] != Some(step);
            for (flow, talk) in refused.iter().enumerate() {
                let log = daemon.log();
                match established {
                    "recheck" if refuses => assert!(
                        is_cut(talk, &[wire]),
                        "{name}: flow {flow} of eth{number} lives\n{log}"
                    ),
                    // One that had ended may have been given up meanwhile.
                    "recheck" if step > REFUSED_FROM[number] => {}
                    _ => assert!(
                        goes_on(talk),
                        "{name}: flow {flow} of eth{number} is cut\n{log}"
                    ),
                }
            }
        }
    }
}

/// The number of the last generation that this daemon has enforced.
fn last(daemon: &Daemon) -> u32 {
    let log = daemon.log();
    let (before, _) = log.rsplit_once(" enforced for ").expect("one is enforced");
    let (_, number) = before.rsplit_once(' ').unwrap();
    number.parse().unwrap()
}

/// What leaves by `eth0` is answered by `eth1`, whose inbound rules do not allow that: right while their lists are
/// equal.
fn equal_lists() {
    const BOTH_NAMES: [&str; 2] = ["eth0", "eth1"];
    let (site, wires) = several(&BOTH_NAMES);
    site.peer.ip(
        "route add 10.0.0.5/32 via 10.1.0.5 dev wire1\nroute add 2001:db8::5/128 via 2001:db8:1::5 dev wire1",
    );
    let out: &[&str] = &["protocol: udp, port: 123"];
    let policy = |bound: &[(&str, &str)]| {
        let groups: [(&str, &[&str], &[&str]); 2] = [
            ("sg-a", &[], out),
            ("sg-b", &["protocol: tcp, port: 81"], out),
        ];
        definition(&groups, bound, "recheck")
    };
    let of = |lists: [&'static str; 2]| [(BOTH_NAMES[0], lists[0]), (BOTH_NAMES[1], lists[1])];
    let daemon = enforce(&site, &policy(&of(["sg-a", "sg-a"])));
    let talks = FAMILIES.map(|family| {
        let (own, remote) = (at(family.host[0], 5000), at(family.peer[0], 123));
        Talk::udp(&site.host, &own, &remote, &site.peer, &remote)
    });
    let wires: Vec<_> = wires.iter().collect();
    let steps: [(Vec<(&str, &str)>, bool); 7] = [
        (of(["sg-a", "sg-b"]).into(), false),
        (of(["sg-b", "sg-b"]).into(), true),
        (of(["sg-a, sg-b", "sg-b, sg-a"]).into(), false),
        (of(["sg-b, sg-a", "sg-b, sg-a"]).into(), true),
        (of(["sg-b", "sg-a"]).into(), false),
        (vec![("eth*", "sg-a")], true),
        (of(["sg-b", "sg-a"]).into(), false),
    ];
    for talk in &talks {
        assert!(goes_on(talk), "at first\n{}", daemon.log());
    }
    for (bound, passes) in steps {
        change(&site, &daemon, &policy(&bound), last(&daemon) + 1);
        for talk in &talks {
            arrived(talk);
            say(talk, false);
            settle(&wires);
            let heard = arrived(talk)[0] == 1;
            assert_eq!(heard, passes, "answers with {bound:?}\n{}", daemon.log());
            // What leaves is allowed by each.
            assert!(talk.hears(true), "{bound:?}\n{}", daemon.log());
        }
    }
}

/// Flows that an unbound interface has let pass are its list's to judge when it is bound.
fn was_unbound(established: &str) {
    let (site, wires) = several(&["eth0", "eth1"]);
    let policy = |bound: &[(&str, &str)]| {
        let groups: [(&str, &[&str], &[&str]); 1] = [(
            "sg-a",
            &["protocol: tcp, port: 22", "protocol: udp, port: 53"],
            &["protocol: udp, port: 123"],
        )];
        definition(&groups, bound, established)
    };
    let daemon = enforce(&site, &policy(&[("eth0", "sg-a")]));
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for family in FAMILIES {
        let (own, remote) = (family.host[1], family.peer[1]);
        for (port, talks) in [(22, &mut allowed), (8080, &mut refused)] {
            let to = at(own, port);
            talks.push(Talk::tcp(&site.peer, &to, &site.host, &to));
        }
        for (port, talks) in [(53, &mut allowed), (5353, &mut refused)] {
            let (from, to) = (at(remote, 1100 + port), at(own, port));
            talks.push(Talk::udp(&site.peer, &from, &to, &site.host, &to));
        }
        for (port, talks) in [(123, &mut allowed), (124, &mut refused)] {
            let (from, to) = (at(own, 1100 + port), at(remote, port));
            talks.push(Talk::udp(&site.host, &from, &to, &site.peer, &to));
        }
    }
    let both = [("eth0", "sg-a"), ("eth1", "sg-a")];
    change(&site, &daemon, &policy(&both), 2);
    for (number, talk) in allowed.iter().enumerate() {
        // The client first: an answer alone does not say that the list lets the flow open.
        assert!(
            talk.carries() && goes_on(talk),
            "{number} is cut\n{}",
            daemon.log()
        );
    }
    if established == "recheck" {
        for (number, talk) in refused.iter().enumerate() {
            assert!(
                is_cut(talk, &[&wires[1]]),
                "{number} lives\n{}",
                daemon.log()
            );
        }
    }
}
