//! A table of another layout in the place of ours, as an older or newer version may leave it: it is replaced, at once where the
//! base chains are the same, and what was refused before stays refused as far as that can be.

use libtest_mimic::Trial;

use super::site::{Site, opening, until};
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
