//! "I opened a port in the security group, but the CVM is still not accessible": each cause alone and in pairs, with each of the
//! firewalls that a host may have.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use libtest_mimic::Trial;
use nix::mount::{MsFlags, mount};
use tempfile::TempDir;

use super::answers::{causes, listen};
use crate::site::Site;
use crate::support::namespace::run;
use crate::support::{Iptables, Skip, kernel_test};

pub fn tests() -> Vec<Trial> {
    const NAME: &str = "i_opened_a_port_but_the_cvm_is_still_not_accessible";
    vec![
        kernel_test(&format!("{NAME}_groups_platform_and_service"), &[], without),
        kernel_test(
            &format!("{NAME}_iptables_legacy"),
            &["iptables-legacy"],
            legacy,
        ),
        kernel_test(
            &format!("{NAME}_iptables_nft"),
            &["iptables-nft"],
            nft_variant,
        ),
        kernel_test(&format!("{NAME}_nft"), &["nft"], plain_nft),
        kernel_test(&format!("{NAME}_ufw"), &["ufw"], ufw),
    ]
}

/// Ports by what stands in the way of them: the groups, the platform, both, or neither; and what listens there.
const DEFINITION: &str = "version: 1
security_groups:
  sg-base:
    inbound:
      - { action: refuse, protocol: tcp, port: \"7000-7099,4444\", source: any }
  sg-web:
    inbound:
      - { action: allow, protocol: tcp, port: 1-65534, source: any }
      - { action: refuse, protocol: tcp, port: 65535, source: any }
instances: { ins-web1: { interfaces: { eth0: { addresses: [10.0.0.5], security_groups: [sg-base, sg-web] } } } }
";

/// Ports of each way, in the order: listened to, by nobody, on loopback, on IPv6 alone.
const OPEN: [u16; 4] = [8000, 8001, 8002, 8003];
const OVERRULED: [u16; 4] = [7000, 7001, 7002, 7003];
const BLOCKED: [u16; 4] = [3127, 3128, 3129, 3130];
const BOTH: u16 = 4444;

const SERVICE: [Option<&str>; 4] = [
    None,
    Some("not-listening"),
    Some("only-loopback"),
    Some("one-family"),
];

fn site() -> Site {
    let site = Site::quiet();
    site.write("groups.yaml", DEFINITION);
    site.host.ip("link set lo up");
    site
}

/// What listens on a port of this place in its list.
fn service(site: &Site, at: usize, port: u16) -> Option<TcpListener> {
    let address = ["0.0.0.0", "", "127.0.0.1", "[2001:db8::5]"][at];
    (!address.is_empty()).then(|| listen(&site.host, &format!("{address}:{port}")))
}

/// Every situation of the ports above, beside a firewall that refuses all of them, or none.
fn all_ways(site: &Site, firewall: Option<&str>) {
    for (ports, way) in [
        (OPEN, None),
        (OVERRULED, Some("overruled")),
        (BLOCKED, Some("blocked-port")),
    ] {
        for (at, (port, missing)) in ports.into_iter().zip(SERVICE).enumerate() {
            // Three at once say no more than two.
            if firewall.is_some() && way.is_some() && missing.is_some() {
                continue;
            }
            let _service = service(site, at, port);
            let wanted: Vec<&str> = [way, firewall, missing].into_iter().flatten().collect();
            assert_eq!(
                causes(site, &format!("{port} --from 10.0.0.9")),
                wanted,
                "{port}"
            );
        }
    }
}

fn without() {
    let site = site();
    all_ways(&site, None);
    let both = listen(&site.host, &format!("0.0.0.0:{BOTH}"));
    assert_eq!(
        causes(&site, &format!("{BOTH} --from 10.0.0.9")),
        ["overruled", "blocked-port"]
    );
    drop(both);
    assert_eq!(
        causes(&site, "65535 --from 10.0.0.9"),
        ["refused", "not-listening"]
    );
    // Nobody is let in from somewhere else than the wire leads.
    let page = site.run("diagnose 7000 --from 10.0.0.9").out;
    for words in [
        "1. overruled: tcp 7000 from 10.0.0.9 at eth0 is refused by sg-base/in/0",
        "groups.yaml:5",
        "which has a higher priority than sg-web, whose sg-web/in/0",
        "mend: bind sg-web before sg-base",
    ] {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
    // A service that has moved to a port which no group opens.
    let _moved = listen(&site.host, "10.0.0.5:65535");
    assert_eq!(
        causes(&site, "8001 --from 10.0.0.9"),
        ["not-listening", "moved"]
    );
    // Both families, where nobody is named: IPv6 has a listener of its own.
    let _six = service(&site, 3, 8003);
    assert_eq!(causes(&site, "8003"), ["one-family"]);
}

#[track_caller]
fn names(site: &Site, words: &[&str]) {
    let _service = service(site, 0, 8000);
    let page = site.run("diagnose 8000 --from 10.0.0.9").out;
    for word in words {
        assert!(page.contains(word), "{word:?} is not in {page}");
    }
    assert!(!page.contains("not known:"), "{page}");
}

fn legacy() -> Result<(), Skip> {
    let site = site();
    let is_there = site
        .host
        .enter(|| fs::read("/proc/thread-self/net/ip_tables_names"));
    if let Err(error) = is_there {
        return Err(Skip(format!(
            "iptables-legacy cannot be read here: {error}"
        )));
    }
    let iptables = Iptables {
        program: "iptables",
        variant: "legacy",
    };
    iptables.restore(
        &site.host,
        "*filter\n:own - [0:0]\n-A INPUT -i eth0 -p tcp -j own\n-A own -s 10.0.0.0/24 -p tcp -j DROP\nCOMMIT\n",
    );
    all_ways(&site, Some("system-firewall"));
    names(
        &site,
        &[
            "iptables-legacy refuses it",
            "`-A own -s 10.0.0.0/24 -p tcp -j DROP`",
            "chain own",
            "mend: iptables-legacy -t filter -I INPUT -p tcp --dport 8000 -j ACCEPT",
        ],
    );
    Ok(())
}

fn nft_variant() {
    let site = site();
    let iptables = Iptables {
        program: "iptables",
        variant: "nft",
    };
    iptables.restore(
        &site.host,
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n",
    );
    all_ways(&site, Some("system-firewall"));
    names(
        &site,
        &["iptables-nft refuses it: the policy of the chain INPUT"],
    );
}

/// A table with interfaces, sets and maps, which all have to be there in the copy.
fn plain_nft() {
    let site = site();
    site.host.nft(
        "table inet fw {
            set peers { type ipv4_addr; flags interval; elements = { 10.0.0.0/24 }; }
            chain input {
                type filter hook input priority 10; policy accept
                iif eth0 ip saddr @peers jump peers
            }
            chain peers {
                tcp dport 1-65534 counter reject
            }
        }",
    );
    all_ways(&site, Some("system-firewall"));
    names(
        &site,
        &[
            "nftables refuses it: the rule `tcp dport 1-65534 counter packets",
            "chain peers in the table inet fw",
            "mend: nft insert rule inet fw peers tcp dport 8000 accept",
        ],
    );
}

/// ufw as it is after `ufw enable`: what nobody allowed is refused. Its folder is a copy that only these tests see.
fn ufw() {
    let site = site();
    let copy = TempDir::new().unwrap();
    let from = "/etc/ufw";
    run(Command::new("cp")
        .args(["-a", &format!("{from}/.")])
        .arg(copy.path()))
    .unwrap();
    let none = None::<&str>;
    mount(Some(copy.path()), from, none, MsFlags::MS_BIND, none).unwrap();
    fs::write(format!("{from}/ufw.conf"), "ENABLED=yes\nLOGLEVEL=off\n").unwrap();
    site.host.output("ufw", &["reload"]);
    all_ways(&site, Some("system-firewall"));
    let _service = service(&site, 0, 8000);
    let page = site.run("diagnose 8000 --from 10.0.0.9").out;
    assert!(
        page.contains("refuses it: the policy of the chain INPUT in the table filter"),
        "{page}"
    );
    site.host.output("ufw", &["allow", "8000/tcp"]);
    assert_eq!(causes(&site, "8000 --from 10.0.0.9"), [""; 0]);
    site.host.output("ufw", &["deny", "8100/tcp"]);
    let page = site.run("diagnose 8100 --from 10.0.0.9").out;
    assert!(
        page.contains("(ufw) refuses it") && page.contains("mend: ufw allow 8100/tcp"),
        "{page}"
    );
}
