//! ICMP errors pass where the interface lets packets of the flow that they are about pass now; else they are judged
//! like any ICMP.

use libtest_mimic::Trial;

use super::asymmetric::direct_return;
use super::several::{ALL, BOTH, FAMILIES, Family, at, definition, enforce, several};
use super::site::Site;
use super::talk::{Talk, change};
use crate::support::{Injector, Link, Probe, kernel_test};

pub fn tests() -> Vec<Trial> {
    let mut tests = vec![kernel_test(
        "icmp_about_flows_whose_rule_has_gone",
        &["nft"],
        rule_has_gone,
    )];
    for established in BOTH {
        tests.push(kernel_test(
            &format!("icmp_about_flows_of_another_interface_{established}"),
            &["nft"],
            move || another_interface(established),
        ));
        tests.push(kernel_test(
            &format!("icmp_about_answers_of_direct_return_{established}"),
            &["nft"],
            move || of_direct_return(established),
        ));
    }
    tests
}

/// Counts the errors that our inbound chain has let pass.
fn count_errors(site: &Site) {
    site.host.nft(
        "table inet errors { counter passed { }; chain pre { type filter hook prerouting priority -150; \
         icmp type { destination-unreachable, time-exceeded } counter name passed; \
         icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } counter name passed; }; }",
    );
}

/// How many of three errors pass that a machine on this cable sends about a packet of the host's: port unreachable,
/// too big, time exceeded, each with more behind the packet that it quotes.
fn passed(site: &Site, wire: &Link, from: &str, about: (&str, &str)) -> u64 {
    let injector = Injector::new(&wire.b, &wire.a);
    let before = site.host.counters("inet errors")["passed"];
    let about = Probe::udp(about.0, about.1);
    let kinds = match about.source.is_ipv4() {
        true => [(3, 3), (3, 4), (11, 0)],
        false => [(1, 4), (2, 0), (3, 0)],
    };
    for (kind, code) in kinds {
        let mut error = Probe::icmp_error(from, about.source, kind, code, &about);
        error.payload.extend([0x5a; 64]);
        injector.send(&error);
    }
    injector.wait();
    site.host.counters("inet errors")["passed"] - before
}

/// What the host sends in a flow that it has opened, and in one that the peer has.
fn flows(site: &Site, family: &Family) -> ([(String, String); 2], [Talk; 2]) {
    let (own, remote) = (family.host[0], family.peer[0]);
    let out = (at(own, 5000), at(remote, 123));
    let answers = (at(own, 53), at(remote, 5001));
    let talks = [
        Talk::udp(&site.host, &out.0, &out.1, &site.peer, &out.1),
        Talk::udp(&site.peer, &answers.1, &answers.0, &site.host, &answers.0),
    ];
    ([out, answers], talks)
}

fn rule_has_gone() {
    let (site, wires) = several(&["eth0"]);
    count_errors(&site);
    let policy = |inbound: &[&str], outbound: &[&str]| {
        definition(
            &[("sg-a", inbound, outbound)],
            &[("eth0", "sg-a")],
            "recheck",
        )
    };
    let (dns, ntp) = ("protocol: udp, port: 53", "protocol: udp, port: 123");
    let daemon = enforce(&site, &policy(&[dns], &[ntp]));
    let flows = FAMILIES.map(|family| (family, flows(&site, family)));
    let each = |wanted: u64, when: &str| {
        for (family, (flows, _)) in &flows {
            for (own, remote) in flows {
                let passed = passed(&site, &wires[0], family.peer[0], (own, remote));
                let log = daemon.log();
                assert_eq!(passed, wanted, "{when}: about {own} to {remote}\n{log}");
            }
        }
    };
    each(3, "allowed flows");
    let other = "protocol: tcp, port: 81";
    change(&site, &daemon, &policy(&[other], &[other]), 2);
    each(0, "the rules have gone");
    let icmp = [other, "protocol: icmp", "protocol: icmpv6"];
    change(&site, &daemon, &policy(&icmp, &[other]), 3);
    each(3, "ICMP is allowed");
}

/// `eth1` is unbound, `eth2` lets everything pass; `eth0` lets nothing pass.
fn another_interface(established: &str) {
    let (site, wires) = several(&["eth0", "eth1", "eth2"]);
    count_errors(&site);
    let groups: [(&str, &[&str], &[&str]); 2] = [("sg-none", &[], &[]), ("sg-all", ALL, ALL)];
    let bound = [("eth0", "sg-none"), ("eth2", "sg-all")];
    let daemon = enforce(&site, &definition(&groups, &bound, established));
    let mut wrong = Vec::new();
    for family in FAMILIES {
        for number in [1, 2] {
            let (own, remote) = (at(family.host[number], 5000), at(family.peer[number], 123));
            let talk = Talk::udp(&site.host, &own, &remote, &site.peer, &remote);
            assert!(talk.carries(), "{}", daemon.log());
            // Any router may send one.
            for (by, wanted) in [(0, 0), (number, 3)] {
                let passed = passed(&site, &wires[by], family.peer[by], (&own, &remote));
                if passed != wanted {
                    wrong.push(format!(
                        "by eth{by} {passed} errors about {own} to {remote}, a flow of eth{number}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", daemon.log());
}

/// The answers leave by `eth0` as if they opened a flow; a too-big about them comes in there.
fn of_direct_return(established: &str) {
    let (site, wires) = direct_return();
    count_errors(&site);
    let groups: [(&str, &[&str], &[&str]); 1] = [("sg-web", &["protocol: tcp, port: 22"], ALL)];
    let bound = [("eth0", "sg-web")];
    let daemon = enforce(&site, &definition(&groups, &bound, established));
    for family in FAMILIES {
        let (own, remote) = (at(family.service, 53), at(family.far[0], 5000));
        let talk = Talk::udp(&site.peer, &remote, &own, &site.host, &own);
        assert!(talk.carries(), "{}", daemon.log());
        let passed = passed(&site, &wires[0], family.peer[0], (&own, &remote));
        assert_eq!(passed, 3, "about {own} to {remote}\n{}", daemon.log());
    }
}
