//! A flow that connection tracking has lost (`conntrack -F`) is a new one, in the direction of its next packet.

use libtest_mimic::Trial;

use super::site::SOON;
use super::talk::{DNS, SSH, Talk, change, inbound_talks, open, start};
use crate::support::{Host, kernel_test};

pub fn tests() -> Vec<Trial> {
    let needs = &["nft", "conntrack"];
    vec![
        kernel_test("lost_flows_go_on_where_allowed", needs, go_on),
        kernel_test("lost_flows_are_new_ones", needs, are_new),
    ]
}

/// Connection tracking forgets all flows.
fn flush(host: &Host) {
    host.output("conntrack", &["-F"]);
}

/// Whoever speaks first, before and after their rule has come back.
fn go_on() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let talks = inbound_talks(&site);
    let go_on = || {
        for talk in &talks {
            talk.limit(SOON);
            for by_client in [true, false] {
                flush(&site.host);
                assert!(talk.hears(by_client) && talk.carries(), "{}", daemon.log());
            }
        }
    };
    go_on();
    // Of a lost one the server's word would open a new flow.
    flush(&site.host);
    assert!(talks.iter().all(Talk::carries));
    change(&site, &daemon, &open(&[]), 2);
    assert!(talks.iter().all(Talk::has_ended));
    change(&site, &daemon, &open(&[SSH, DNS]), 3);
    go_on();
}

/// Everything may go out of the host, and nothing in.
fn are_new() {
    let (site, daemon) = start(&open(&[SSH, DNS]));
    let talks = inbound_talks(&site);
    change(&site, &daemon, &open(&[]), 2);
    for talk in &talks {
        flush(&site.host);
        talk.limit(SOON / 50);
        assert!(!talk.hears(true), "{}", daemon.log());
    }
    let [_, _, dns, dns6] = &talks;
    for talk in [dns, dns6] {
        flush(&site.host);
        talk.limit(SOON);
        // What the server sends opens a flow, which the client answers.
        assert!(talk.hears(false) && talk.carries(), "{}", daemon.log());
    }
}
