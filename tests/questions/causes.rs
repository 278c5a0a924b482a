//! "I opened a port in the security group, but the CVM is still not accessible": each cause alone and in pairs, with each of the
//! firewalls that a host may have.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use libtest_mimic::Trial;
use nix::mount::{MsFlags, mount};
use tempfile::TempDir;

use super::answers::{causes, listen};
use crate::site::{Ran, Site};
use crate::support::namespace::run;
use crate::support::{Host, Iptables, Probe, Skip, TcpFlags, join, kernel_test};

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
        kernel_test(&format!("{NAME}_firewalld"), &["nft"], firewalld),
        kernel_test("what_cannot_be_copied_is_named", &[], not_copied),
        kernel_test("a_slow_nft_makes_no_false_cause", &["nft"], slow_nft),
        kernel_test("what_conntrack_calls_invalid_is_counted", &[], invalid),
        kernel_test(
            &format!("{NAME}_redirected"),
            &["nft", "iptables-nft"],
            redirected,
        ),
        kernel_test(
            &format!("{NAME}_published_by_docker"),
            &["nft", "iptables-nft"],
            published,
        ),
    ]
}

/// Ports by what the groups make of them: the platform is asked about some of each.
const DEFINITION: &str = "version: 1
security_groups:
  sg-base:
    inbound:
      - { action: refuse, protocol: tcp, port: \"7000-7099,4444\", source: any }
  sg-web:
    inbound:
      - { action: refuse, protocol: tcp, port: \"7200-7299,5900\", source: any }
      - { action: allow, protocol: tcp, port: \"1-5799,5801-65000\", source: any }
instances: { ins-web1: { interfaces: { eth0: { addresses: [10.0.0.5], security_groups: [sg-base, sg-web] } } } }
";

/// What the groups make of a port, beginning with this one, and the blocked one among them.
const GROUPS: [(Option<&str>, u16, u16); 4] = [
    (None, 8000, 3127),
    (Some("overruled"), 7000, 4444),
    (Some("refused"), 7200, 5900),
    (Some("not-opened"), 65_100, 5800),
];

/// Who listens: on every address, nobody, on loopback, on IPv6 alone, on another address; or nobody, and somebody on a port that no
/// group opens.
const LISTENS: [(&str, &[&str]); 6] = [
    ("0.0.0.0", &[]),
    ("", &["not-listening"]),
    ("127.0.0.1", &["only-loopback"]),
    ("[2001:db8::5]", &["one-family"]),
    ("10.0.0.6", &["other-address"]),
    ("moved", &["not-listening", "moved"]),
];

/// A port that no group opens.
const UNOPENED: u16 = 65_200;

fn site() -> Site {
    let site = Site::quiet();
    site.write("groups.yaml", DEFINITION);
    site.host.ip("link set lo up");
    site.host.ip("address add 10.0.0.6/24 dev eth0");
    site
}

/// What listens.
fn service(site: &Site, place: &str, port: u16) -> Option<TcpListener> {
    match place {
        "" => None,
        "moved" => Some(listen(&site.host, &format!("10.0.0.5:{UNOPENED}"))),
        address => Some(listen(&site.host, &format!("{address}:{port}"))),
    }
}

/// Every cause alone and every two of them, beside a firewall that refuses everything, or none. Three at once say no more than two.
fn all_ways(site: &Site, firewall: Option<&str>) {
    let mut seen = 0;
    for (group, open, blocked) in GROUPS {
        for (port, platform) in [(open, None), (blocked, Some("blocked-port"))] {
            for (place, missing) in LISTENS {
                let causes_at_once = [group, platform, firewall].iter().flatten().count()
                    + usize::from(!missing.is_empty());
                if causes_at_once > 2 {
                    continue;
                }
                let _service = service(site, place, port);
                let of_host = [group, platform, firewall].into_iter().flatten();
                let wanted: Vec<&str> = of_host.chain(missing.iter().copied()).collect();
                let found = causes(site, &format!("{port} --from 10.0.0.9"));
                assert_eq!(found, wanted, "{port}, listening: {place:?}");
                seen += 1;
            }
        }
    }
    // None, each alone and each two of different kinds: three of the groups, the platform, five of the service, the firewall.
    let (groups, platform, services) = (3, 1, 5);
    let others = groups + platform + services;
    let wanted = match firewall {
        Some(_) => 1 + others,
        None => 1 + others + groups * platform + groups * services + platform * services,
    };
    assert_eq!(seen, wanted);
}

fn without() {
    let site = site();
    all_ways(&site, None);
    let page = site.run("diagnose 7000 --from 10.0.0.9").out;
    for words in [
        "1. overruled: tcp 7000 from 10.0.0.9 at eth0 is refused by sg-base/in/0",
        "groups.yaml:5",
        "which has a higher priority than sg-web, whose sg-web/in/1",
        "mend: bind sg-web before sg-base",
    ] {
        assert!(page.contains(words), "{words:?} is not in {page}");
    }
    // Both families, where nobody is named: IPv6 has a listener of its own.
    let _six = service(&site, "[2001:db8::5]", 8003);
    assert_eq!(causes(&site, "8003"), ["one-family"]);
}

#[track_caller]
fn names(site: &Site, words: &[&str]) {
    let _service = service(site, "0.0.0.0", 8000);
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
            "mend: iptables-legacy -t filter -I own -p tcp --dport 8000 -j ACCEPT",
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

/// nft listens to the trace a while after it was started: the rule is named all the same.
fn slow_nft() {
    let site = site();
    site.host.nft(
        "table inet fw { chain input { type filter hook input priority 10; tcp dport 8000 drop; }; }",
    );
    let folder = TempDir::new().unwrap();
    let nft = folder.path().join("nft");
    let script = "#!/bin/sh\nPATH=/usr/sbin:/sbin:/usr/bin:/bin\n[ \"$1\" = monitor ] && sleep 1\nexec nft \"$@\"\n";
    fs::write(&nft, script).unwrap();
    fs::set_permissions(&nft, fs::Permissions::from_mode(0o755)).unwrap();
    let _service = service(&site, "0.0.0.0", 8000);
    let mut command = site.command("diagnose 8000 --from 10.0.0.9");
    command.env("PATH", folder.path());
    let page = Ran::of(&mut command);
    assert_eq!(page.code, 1, "{page:?}");
    let words = "1. system-firewall: nftables refuses it: the rule `tcp dport 8000 drop`";
    assert!(page.out.contains(words), "{page:?}");
    assert!(!page.out.contains("2. "), "{page:?}");
}

/// An answer whose opening this host has not seen, as on a router beside the way there.
fn invalid() {
    let site = site();
    assert_eq!(site.run("apply").code, 0);
    let _service = service(&site, "0.0.0.0", 8000);
    let words = "not known: whether this flow is among those whose packets conntrack calls invalid";
    let page = site.run("diagnose 8000 --from 10.0.0.9");
    assert!(page.code == 0 && !page.out.contains(words), "{page:?}");
    let answer = Probe::tcp_with(TcpFlags::SynAck, "10.0.0.9:443", "10.0.0.5:40000");
    site.inject(&answer);
    let page = site.run("diagnose 8000 --from 10.0.0.9");
    assert!(page.code == 0 && page.out.contains(words), "{page:?}");
    assert!(page.out.contains("1 packet so far"), "{page:?}");
    let page = site.run("explain inbound tcp 10.0.0.9 8000").out;
    assert!(
        page.contains("yes where conntrack sees one way of a flow only"),
        "{page}"
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
    let _service = service(&site, "0.0.0.0", 8000);
    let page = site.run("diagnose 8000 --from 10.0.0.9").out;
    assert!(
        page.contains("(ufw) refuses it: the policy of the chain INPUT in the table filter")
            && page.contains("mend: ufw allow 8000/tcp"),
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

/// firewalld's table, cut to what a host with one zone has.
const FIREWALLD: &str = "table inet firewalld {
    chain mangle_PREROUTING { type filter hook prerouting priority mangle + 10; policy accept; }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        jump filter_INPUT_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_INPUT_ZONES {
        iifname \"eth0\" goto filter_IN_public
        goto filter_IN_public
    }
    chain filter_IN_public {
        jump filter_IN_public_allow
        meta l4proto { icmp, ipv6-icmp } accept
    }
    chain filter_IN_public_allow {
        tcp dport 22 accept
    }
}";

fn firewalld() {
    let site = site();
    site.host.nft(FIREWALLD);
    all_ways(&site, Some("system-firewall"));
    names(
        &site,
        &[
            "nftables refuses it: the rule `reject with icmpx admin-prohibited` of the chain filter_INPUT in the table inet firewalld",
            "mend: firewall-cmd --permanent --add-port=8000/tcp && firewall-cmd --reload",
        ],
    );
    let _ssh = service(&site, "0.0.0.0", 22);
    assert_eq!(causes(&site, "22 --from 10.0.0.9"), [""; 0]);
}

const NFT: Iptables = Iptables {
    program: "iptables",
    variant: "nft",
};

/// What is sent on to another port of the host is looked for there.
fn redirected() {
    for by_iptables in [true, false] {
        let site = site();
        match by_iptables {
            true => NFT.restore(
                &site.host,
                "*nat\n-A PREROUTING -p tcp --dport 8000 -j REDIRECT --to-ports 9000\nCOMMIT\n",
            ),
            false => site.host.nft(
                "table ip own { chain pre { type nat hook prerouting priority dstnat; tcp dport 8000 redirect to :9000; }; }",
            ),
        }
        let page = site.run("diagnose 8000 --from 10.0.0.9");
        assert_eq!(page.code, 1, "{page:?}");
        let rule = match by_iptables {
            true => "`-A PREROUTING -p tcp -m tcp --dport 8000 -j REDIRECT --to-ports 9000`",
            false => "`tcp dport 8000 redirect to :9000`",
        };
        for word in [
            "it is sent on to 10.0.0.5:9000, which is what ",
            rule,
            "no process listens on tcp 9000",
        ] {
            assert!(page.out.contains(word), "{word:?} is not in {page:?}");
        }
        let _service = service(&site, "0.0.0.0", 9000);
        assert_eq!(causes(&site, "8000 --from 10.0.0.9"), [""; 0]);
        site.host.nft("table inet fw { chain input { type filter hook input priority 10; tcp dport 9000 drop; }; }");
        assert_eq!(causes(&site, "8000 --from 10.0.0.9"), ["system-firewall"]);
    }
}

/// Docker's rules for a container that publishes its port 80 as 8000: whether it is let through is tried on the copy.
fn published() {
    let site = site();
    let container = Host::new("container");
    join(
        &site.host,
        "docker0",
        &["172.17.0.1/16"],
        &container,
        "eth0",
        &["172.17.0.2/16"],
    );
    let rules = |user: &str| {
        format!(
            "*nat\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
             -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n-A DOCKER -i docker0 -j RETURN\n\
             -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8000 -j DNAT --to-destination 172.17.0.2:80\nCOMMIT\n\
             *filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
             -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A FORWARD -o docker0 -j DOCKER\n\
             -A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n\
             -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\n\
             {user}-A DOCKER-USER -j RETURN\nCOMMIT\n"
        )
    };
    NFT.restore(&site.host, &rules(""));
    assert_eq!(causes(&site, "8000 --from 10.0.0.9"), ["not-forwarding"]);
    site.host.forwards();
    assert_eq!(causes(&site, "8000 --from 10.0.0.9"), [""; 0]);
    let page = site.run("diagnose 8000 --from 10.0.0.9").out;
    for word in [
        "it is sent on to 172.17.0.2:80 by docker0, which is what `-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8000 -j DNAT",
        "the host's own firewall lets 10.0.0.9 in",
        "not known: whether something answers at 172.17.0.2:80, behind docker0",
    ] {
        assert!(page.contains(word), "{word:?} is not in {page}");
    }
    NFT.restore(
        &site.host,
        &rules("-A DOCKER-USER -s 10.0.0.0/24 -j DROP\n"),
    );
    assert_eq!(causes(&site, "8000 --from 10.0.0.9"), ["system-firewall"]);
    let page = site.run("diagnose 8000 --from 10.0.0.9").out;
    let mend =
        "mend: iptables-nft -t filter -I DOCKER-USER -d 172.17.0.2 -p tcp --dport 80 -j ACCEPT";
    assert!(
        page.contains("chain DOCKER-USER") && page.contains(mend),
        "{page}"
    );
    // The groups of the interface by which it leaves have a say too, and nothing allows it there.
    NFT.restore(&site.host, &rules(""));
    let bound = DEFINITION.replace(
        "security_groups: [sg-base, sg-web] }",
        "security_groups: [sg-base, sg-web] }, docker0: { security_groups: [sg-base] }",
    );
    site.write("groups.yaml", &bound);
    assert_eq!(
        causes(&site, "8000 --from 10.0.0.9"),
        ["refused-on-the-way"]
    );
}

/// A program that fails says why, and the answer does not pretend to know.
fn not_copied() {
    let site = site();
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("ipset");
    fs::write(
        &program,
        "#!/bin/sh\necho 'Kernel and userspace incompatible' >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let _service = service(&site, "0.0.0.0", 8000);
    let mut command = site.command("diagnose 8000 --from 10.0.0.9 --to 10.0.0.5");
    let path = std::env::var("PATH").unwrap();
    let ran = Ran::of(command.env("PATH", format!("{}:{path}", folder.path().display())));
    assert_eq!(ran.code, 0, "{ran:?}");
    let word = "not known: could not be copied: ipset: Kernel and userspace incompatible";
    assert!(ran.out.contains(word), "{ran:?}");
    // The other address of the host has nobody who listens there alone.
    let _other = service(&site, "10.0.0.6", 8001);
    let to = |address: &str| causes(&site, &format!("8001 --from 10.0.0.9 --to {address}"));
    assert_eq!(to("10.0.0.6"), [""; 0]);
    assert_eq!(to("10.0.0.5"), ["other-address"]);
    let wrong = site.run("diagnose 8001 --to 10.0.0.7");
    wrong.failed(2, &["10.0.0.7 is no address of this host"]);
}
