//! A table of another layout in the place of ours, as an older or newer version may leave it: it is replaced, at once where the
//! base chains are the same, and what was refused before stays refused as far as that can be.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use libtest_mimic::Trial;
use secgroupd::netfilter::flows::each_flow;
use secgroupd::netfilter::labels::OURS;
use secgroupd::netfilter::netlink::Reader;

use super::several::{goes_on, is_cut};
use super::site::{SOON, Site, opening, until};
use super::talk::{DNS, SSH, Talk, change, inbound_talks, with_outbound};
use crate::support::{Flood, Port, Side, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("an_upgrade_from_other_chains", &["nft"], other_chains),
        kernel_test("an_upgrade_from_other_base_chains", &["nft"], other_base),
        kernel_test(
            "an_upgrade_from_generation_names_of_another_kind",
            &["nft"],
            odd_names,
        ),
        kernel_test(
            "an_upgrade_under_flows_with_labels_of_another_meaning",
            &["nft"],
            labels_of_another_meaning,
        ),
    ]
}

const REFUSED: Port = Port::Udp(1001);
const ALLOWED: Port = Port::Tcp(2002);

/// The same base chains with rules of their own, in chains, maps and sets of other names.
const CHAINS: &str = "table inet secgroupd {
    map ports { type inet_service : verdict; elements = { 2002 : accept, 1001 : drop }; }
    set friends { type ipv4_addr; flags interval; elements = { 10.9.0.0/16 }; }
    chain judge { ip saddr @friends accept; udp dport 1001 drop; tcp dport vmap @ports; drop; }
    chain other { jump judge; }
    chain inbound { type filter hook prerouting priority -160; policy accept; iifname \"eth0\" jump judge; }
    chain outbound { type filter hook postrouting priority 250; policy accept; }
}";

fn other_chains() {
    let site = Site::quiet();
    site.host.nft(CHAINS);
    site.write("groups.yaml", &opening(&[22, 2002]));
    let flood = Flood {
        rate: 10_000,
        ..Flood::new(Side::Inbound, &[ALLOWED, REFUSED])
    };
    let flood = flood.start(&site.wire);
    let _daemon = site.start();
    until("the old layout is gone", || {
        let list = site.host.nft_list("table inet secgroupd");
        !list.contains("judge")
            && !list.contains("friends")
            && !list.contains("@ports")
            && !list.contains("chain other")
    });
    site.until_at_rest();
    let report = flood.stop();
    let (allowed, refused) = (report.port(ALLOWED), report.port(REFUSED));
    println!(
        "{} refused, {} passed; {} allowed, {} lost",
        refused.seen_before,
        refused.seen_after,
        allowed.seen_before,
        allowed.lost()
    );
    assert!(refused.seen_before > 100 && allowed.seen_before > 100);
    assert_eq!(
        (refused.seen_after, allowed.lost()),
        (0, 0),
        "without a gap"
    );
}

/// A base chain elsewhere: it can only go with the table.
fn other_base() {
    let site = Site::new();
    site.host.nft(
        "table inet secgroupd {
            chain input { type filter hook input priority 0; policy drop; }
            chain inbound { type filter hook prerouting priority -300; policy accept; udp dport 1 drop; }
            chain g1_inbound { drop; }
        }",
    );
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = site.start();
    assert!(site.lets_in(22) && !site.lets_in(443));
    let list = site.host.nft_list("table inet secgroupd");
    assert!(
        !list.contains("hook input") && list.contains("hook prerouting priority mangle - 10"),
        "{list}"
    );
    site.until_at_rest();
}

fn odd_names() {
    let site = Site::new();
    site.host.nft(
        "table inet secgroupd {
            chain g18446744073709551615_inbound { drop; }
            chain g_inbound { drop; }
            chain g99_in_0 { drop; }
            set g4294967296_r { type ipv4_addr; }
        }",
    );
    site.write("groups.yaml", &opening(&[22]));
    let _daemon = site.start();
    assert!(site.lets_in(22) && !site.lets_in(443));
    assert_eq!(site.generations(), [100]);
    let list = site.host.nft_list("table inet secgroupd");
    assert!(
        !list.contains("g184") && !list.contains("g_inbound") && !list.contains("g42949"),
        "{list}"
    );
    site.save("groups.yaml", &opening(&[443]));
    site.until_open(&[443], &[22]);
    site.until_at_rest();
}

/// What the version before left: one label for all interfaces and each direction, 64 and 96 at present, and on flows those of earlier
/// policies too.
const STAMPS: &str = "table inet secgroupd {
    chain passed_in { ct direction original ct label set 64 accept; accept; }
    chain passed_out { ct direction original ct label set 96 accept; accept; }
    chain g7_in_0 {
        ct state established ct direction original ct label 64 accept;
        ct state established ct direction reply ct label 96 accept;
        meta l4proto { tcp, udp } ct direction reply goto passed_out;
        meta l4proto { tcp, udp } goto passed_in;
        meta l4proto icmpv6 accept;
        drop;
    }
    chain g7_out_0 {
        ct state established ct direction original ct label 96 accept;
        ct state established ct direction reply ct label 64 accept;
        meta l4proto { tcp, udp } ct direction reply goto passed_in;
        meta l4proto { tcp, udp } goto passed_out;
        meta l4proto icmpv6 accept;
        drop;
    }
    chain g7_inbound { iifname \"eth0\" goto g7_in_0; ct direction original goto passed_in; }
    chain g7_outbound { oifname \"eth0\" goto g7_out_0; ct direction original goto passed_out; }
    chain inbound { type filter hook prerouting priority -160; policy accept; jump g7_inbound; }
    chain outbound { type filter hook postrouting priority 250; policy accept; jump g7_outbound; }
}";

fn labels_of_another_meaning() {
    let site = Site::quiet();
    site.host.nft(STAMPS);
    let all: Vec<String> = (64..128).map(|label| label.to_string()).collect();
    let set = format!("ct label set {}", all.join(" | "));
    site.host.nft(&format!(
        "table inet older {{ chain pre {{ type filter hook prerouting priority -150; {set}; }}; \
         chain post {{ type filter hook postrouting priority 260; {set}; }}; }}"
    ));
    // A port of its own for each: the refused ones are told by it.
    let (host, peer) = (&site.host, &site.peer);
    let (mut allowed, mut refused) = (Vec::from(inbound_talks(&site)), Vec::new());
    for (own, remote) in [("10.0.0.5", "10.0.0.9"), ("[2001:db8::5]", "[2001:db8::9]")] {
        let at = |address: &str, port: u16| format!("{address}:{port}");
        let out = at(remote, 443);
        allowed.push(Talk::tcp(host, &out, peer, &out));
        for to in [at(own, 8080), at(remote, 8080)] {
            let (client, server) = if to.starts_with(own) {
                (peer, host)
            } else {
                (host, peer)
            };
            refused.push(Talk::tcp(client, &to, server, &to));
        }
        for (client, from, server, to) in [
            (peer, at(remote, 5001), host, at(own, 8081)),
            (host, at(own, 5002), peer, at(remote, 8081)),
        ] {
            refused.push(Talk::udp(client, &from, &to, server, &to));
        }
    }
    site.host.nft("delete table inet older");
    let reader = site.host.enter(|| Reader::netfilter().unwrap());
    // Whether a flow is refused, and its labels.
    let labels = || -> Vec<(bool, u128)> {
        let mut found = Vec::new();
        each_flow(&reader, |flow| match flow {
            None => found.clear(),
            Some(flow) => {
                let refused = matches!(flow.original.ports[1], 8080 | 8081);
                found.push((refused, flow.labels & OURS));
            }
        })
        .unwrap();
        found
    };
    assert!(
        labels()
            .iter()
            .filter(|(_, labels)| *labels == OURS)
            .count()
            >= 14
    );

    let policy = |port: u16| {
        let other = format!("protocol: tcp, port: {port}");
        let outbound = "{ action: allow, protocol: tcp, port: 443, destination: any }";
        with_outbound(&[SSH, DNS, &other], outbound)
    };
    site.write("groups.yaml", &policy(81));
    let over = AtomicBool::new(false);
    let daemon = thread::scope(|scope| {
        for talk in &allowed[2..4] {
            talk.limit(SOON);
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert!(talk.carries(), "a datagram of an allowed flow is lost");
                }
            });
        }
        let daemon = site.start();
        over.store(true, Ordering::Relaxed);
        daemon
    });
    daemon.until_logged("no label is trusted");
    for save in 0..4 {
        if save > 0 {
            change(&site, &daemon, &policy(81 + save), 8 + u32::from(save));
        }
        for talk in &refused {
            assert!(is_cut(talk, &[&site.wire]), "{save}\n{}", daemon.log());
        }
        for talk in &allowed {
            assert!(goes_on(talk), "{save}\n{}", daemon.log());
        }
        until("refused flows have no label", || {
            let mut flows = labels().into_iter();
            flows.all(|(refused, labels)| !refused || labels == 0)
        });
        until(
            "allowed ones have what they crossed, and the present policy's",
            || {
                let mut flows = labels().into_iter();
                flows.all(|(refused, labels)| refused || labels.count_ones() <= 3)
            },
        );
    }
}
