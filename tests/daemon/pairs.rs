//! Rules that are asked as pairs of network and port: live flows obey them as they obey others, and their hits are those of others.

use std::fmt::Write;

use libtest_mimic::Trial;

use super::hits::packets;
use super::talk::{change, inbound_talks, start};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![kernel_test(
        "pairs_judge_live_flows",
        &["nft"],
        judge_live_flows,
    )]
}

/// Many rules of a network and a port each, of both families, behind one of SSH and one of DNS. `more` is another port.
fn definition(ssh: &str, dns: &str, more: u16) -> String {
    let own = "source: [10.0.0.0/24, \"2001:db8::/64\"]";
    let mut text = format!(
        "version: 1\nsecurity_groups:\n  sg-a:\n    outbound: [{{ action: allow, protocol: all, destination: any }}]\n    inbound:\n      \
         - {{ action: {ssh}, protocol: tcp, port: 22, {own} }}\n      - {{ action: {dns}, protocol: udp, port: 53, {own} }}\n"
    );
    for at in 0..200 {
        let _ = writeln!(
            text,
            "      - {{ action: allow, protocol: tcp, port: {}, source: [10.9.{at}.0/24, \"2001:db8:9:{at}::/64\"] }}",
            more + at
        );
    }
    text + "instances:\n  ins-web1: { interfaces: { eth0: { security_groups: [sg-a] } } }\n"
}

fn judge_live_flows() {
    let (site, daemon) = start(&definition("allow", "allow", 3000));
    let listing = site.listing();
    assert!(
        listing.contains("ip saddr & 255.255.255.0 . tcp dport vmap"),
        "no pairs: {listing}"
    );
    let [ssh, ssh6, dns, dns6] = inbound_talks(&site);
    let opened = ["sg-a/in/0", "sg-a/in/1"].map(|rule| packets(&site, rule));
    assert!(opened.iter().all(|packets| *packets >= 2), "{opened:?}");
    // Another rule changes: the flows are judged again, go on, and are not counted again.
    change(&site, &daemon, &definition("allow", "allow", 4000), 2);
    for talk in [&ssh, &ssh6, &dns, &dns6] {
        assert!(talk.carries(), "{}", daemon.log());
    }
    let again = ["sg-a/in/0", "sg-a/in/1"].map(|rule| packets(&site, rule));
    assert_eq!(again, opened, "{}", daemon.log());
    // Their own changes.
    change(&site, &daemon, &definition("refuse", "allow", 4000), 3);
    assert!(ssh.has_ended() && ssh6.has_ended());
    assert!(dns.carries() && dns6.carries());
    let [refused, unchanged] = ["sg-a/in/0", "sg-a/in/1"].map(|rule| packets(&site, rule));
    assert!(refused > again[0], "what is refused of a flow is counted");
    assert_eq!(unchanged, again[1]);
}
