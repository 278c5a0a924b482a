//! Answers that leave by another interface than the one that let the flow in go on, saves about other ports included.

use libtest_mimic::Trial;

use super::several::{
    ALL, BOTH, FAMILIES, arrived, at, definition, enforce, far_by, from_far_by, goes_on, is_cut,
    say, settle, several,
};
use super::site::{Daemon, Site};
use super::talk::{Talk, change};
use crate::support::{Link, kernel_test};

/// When the flows were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opened {
    UnderThePolicy,
    /// By a host whose connection tracking knew them.
    Before,
    /// By one that tracked nothing.
    BeforeUntracked,
}

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for established in BOTH {
        for (name, opened) in [
            ("", Opened::UnderThePolicy),
            ("_from_before", Opened::Before),
            ("_from_before_untracked", Opened::BeforeUntracked),
        ] {
            tests.push(kernel_test(
                &format!("asymmetric_answers{name}_{established}"),
                &["nft"],
                move || answers(established, opened),
            ));
            tests.push(kernel_test(
                &format!("asymmetric_direct_return{name}_{established}"),
                &["nft"],
                move || direct(established, opened),
            ));
        }
    }
    tests
}

/// Starts the daemon, and opens the flows before or after.
fn begin(
    site: &Site,
    opened: Opened,
    definition: &str,
    open: impl FnOnce() -> Vec<Talk>,
) -> (Daemon, Vec<Talk>) {
    if opened == Opened::Before {
        site.host.nft("table inet tracking { chain in { type filter hook input priority 0; ct state new counter; }; }");
    }
    match opened {
        Opened::UnderThePolicy => {
            let daemon = enforce(site, definition);
            (daemon, open())
        }
        Opened::Before | Opened::BeforeUntracked => {
            let talks = open();
            (enforce(site, definition), talks)
        }
    }
}

/// TCP to this port and UDP to 53, of both families, from the peer's far address.
fn talks(site: &Site, to: [&str; 2], tcp: u16) -> Vec<Talk> {
    let mut talks = Vec::new();
    for (to, family) in to.into_iter().zip(FAMILIES) {
        let (web, dns) = (at(to, tcp), at(to, 53));
        let from = at(family.far[0], 5000);
        talks.push(Talk::tcp(&site.peer, &web, &site.host, &web));
        talks.push(Talk::udp(&site.peer, &from, &dns, &site.host, &dns));
    }
    talks
}

#[track_caller]
fn all_go_on(talks: &[Talk], daemon: &Daemon, when: &str) {
    let cut: Vec<usize> = (0..talks.len())
        .filter(|&number| !goes_on(&talks[number]))
        .collect();
    assert!(cut.is_empty(), "{when} cut: {cut:?}\n{}", daemon.log());
}

/// In by `eth0`, whose list allows the port, out by `eth1`, whose list allows another one in and everything out.
fn answers(established: &str, opened: Opened) {
    let (site, wires) = several(&["eth0", "eth1"]);
    far_by(&site, 1, &wires[1]);
    from_far_by(&site, ["10.0.0.5", "2001:db8::5"], 0, &wires[0]);
    let policy = |inbound: &[&str], other: &str| {
        let groups: [(&str, &[&str], &[&str]); 2] =
            [("sg-in", inbound, &[]), ("sg-out", &[other], ALL)];
        let bound = [("eth0", "sg-in"), ("eth1", "sg-out")];
        definition(&groups, &bound, established)
    };
    let (ssh, dns) = ("protocol: tcp, port: 22", "protocol: udp, port: 53");
    let other = "protocol: tcp, port: 2200";
    let (daemon, talks) = begin(&site, opened, &policy(&[ssh, dns], other), || {
        talks(&site, FAMILIES.map(|family| family.host[0]), 22)
    });
    all_go_on(&talks, &daemon, "before a save");
    let more = [ssh, dns, "protocol: tcp, port: 81"];
    change(&site, &daemon, &policy(&more, other), 2);
    all_go_on(&talks, &daemon, "after a save about eth0");
    let another = "protocol: tcp, port: 2201";
    change(&site, &daemon, &policy(&more, another), 3);
    all_go_on(&talks, &daemon, "after a save about eth1");
    if established == "recheck" && opened == Opened::UnderThePolicy {
        // The present rules of the interface that let it in must still do so.
        change(
            &site,
            &daemon,
            &policy(&["protocol: tcp, port: 81"], another),
            4,
        );
        let wires: Vec<_> = wires.iter().collect();
        for (number, talk) in talks.iter().enumerate() {
            assert!(is_cut(talk, &wires), "{number} lives on\n{}", daemon.log());
        }
    }
}

/// A host that answers by `eth0` what comes in by the unbound `tun0`, to an address of its own on `lo`.
pub fn direct_return() -> (Site, Vec<Link>) {
    let (site, wires) = several(&["eth0", "tun0"]);
    far_by(&site, 0, &wires[0]);
    let services = FAMILIES.map(|family| family.service);
    from_far_by(&site, services, 1, &wires[1]);
    (site, wires)
}

fn direct(established: &str, opened: Opened) {
    let (site, wires) = direct_return();
    let policy = |inbound: &[&str], outbound: &[&str]| {
        definition(
            &[("sg-web", inbound, outbound)],
            &[("eth0", "sg-web")],
            established,
        )
    };
    let (ssh, web) = ("protocol: tcp, port: 22", "protocol: tcp, port: 81");
    let (daemon, talks) = begin(&site, opened, &policy(&[ssh], ALL), || {
        talks(&site, FAMILIES.map(|family| family.service), 80)
    });
    all_go_on(&talks, &daemon, "before a save");
    change(&site, &daemon, &policy(&[ssh, web], ALL), 2);
    all_go_on(&talks, &daemon, "after a save");
    if established == "recheck" {
        // Neither rule allows the answers.
        let one = ["protocol: udp, port: 4000"];
        change(&site, &daemon, &policy(&[ssh, web], &one), 3);
        for (number, talk) in talks.iter().enumerate() {
            arrived(talk);
            say(talk, false);
            settle(&wires.iter().collect::<Vec<_>>());
            assert_eq!(arrived(talk)[0], 0, "{number}\n{}", daemon.log());
        }
    }
}
