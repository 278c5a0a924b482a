//! Whatever is done to the bindings: no live flow is cut that the policies allow, and none that one has refused comes back.

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::several::{ALL, FAMILIES, at, definition, enforce, goes_on, is_cut, several};
use super::talk::{Talk, change};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
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

/// The lists of the interfaces, one step after the other. `sg-b` allows what is refused without it, so that each list with it counts
/// as one that lets everything pass.
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
            let generation = u32::try_from(step + 1).unwrap();
            change(&site, &daemon, &policy(bound), generation);
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
