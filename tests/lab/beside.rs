//! iptables in an instance stands beside the groups as on a VM, and what it does is told from what the groups do.

use libtest_mimic::Trial;

use super::site::{Ran, Site, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "iptables_in_an_instance",
            &["iptables", "ip6tables"],
            iptables,
        ),
        kernel_test("iptables_of_the_sender", &["iptables"], of_the_sender),
        kernel_test(
            "legacy_iptables_in_an_instance",
            &["iptables-legacy"],
            legacy,
        ),
        kernel_test("a_published_container_port", &["iptables"], published),
        kernel_test(
            "what_nothing_explains_is_an_error",
            &["iptables"],
            unexplained,
        ),
        kernel_test("what_came_through_once_is_an_error", &["iptables"], once),
        kernel_test("a_program_that_does_not_answer", &["python3"], no_answer),
        kernel_test(
            "rules_that_are_only_there_explain_nothing",
            &["iptables", "ip6tables", "iptables-legacy"],
            only_there,
        ),
        kernel_test(
            "the_rule_that_has_done_it",
            &["iptables", "nft"],
            which_rule,
        ),
        kernel_test("a_hundred_at_one_instance", &["iptables"], a_hundred),
    ]
}

/// ins-db lets 3306 and 22 in from the web server, which may send anything.
const DB: &str = r#"version: 1
security_groups:
  sg-web: { outbound: [{ action: allow, protocol: all, destination: any }] }
  sg-db: { inbound: [{ action: allow, protocol: tcp, port: "22,3306", source: sg-web }, { action: allow, protocol: udp, port: 53, source: sg-web }] }
instances:
  ins-web: { interfaces: { eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-web] } } }
  ins-db: { interfaces: { eth0: { addresses: [10.0.0.2, "2001:db8::2"], security_groups: [sg-db] } } }
lab: { services: { ins-db: ["tcp:22,3306"] } }
"#;

/// What the matrix says of the web server at the database: for each address and port what was found, and why.
fn found(site: &Site, options: &str) -> (i32, Vec<(String, String, String)>) {
    let ran: Ran = site.lab(&format!(
        "reach --from ins-web --to ins-db --json {options}"
    ));
    let cells = ran.json()["cells"].as_array().unwrap().clone();
    let cells = cells.iter().map(|cell| {
        let text = |key: &str| cell[key].as_str().unwrap().to_owned();
        let why = match &cell["agreement"] {
            serde_json::Value::String(equal) => equal.clone(),
            other => other.to_string(),
        };
        (
            format!("{} {}", text("target"), text("service")),
            text("found"),
            why,
        )
    });
    (ran.code, cells.collect())
}

/// Whether each cell of this target and service is so.
#[track_caller]
fn is(cells: &[(String, String, String)], which: &str, outcome: &str, why: &str) {
    let (_, found, said) = cells.iter().find(|(cell, ..)| cell == which).unwrap();
    assert_eq!(found, outcome, "{which}: {cells:?}");
    assert!(said.contains(why), "{which}: {cells:?}");
}

fn iptables() {
    let site = Site::new(DB);
    let _up = site.up();
    let (code, cells) = found(&site, "");
    assert_eq!(code, 0);
    assert!(
        cells
            .iter()
            .all(|(_, found, why)| found == "reached" && why == "equal")
    );
    // The process's side: dropped behind the groups, and refused with a word.
    site.shell("ins-db", "iptables -A INPUT -p tcp --dport 3306 -j DROP")
        .good();
    site.shell(
        "ins-db",
        "ip6tables -A INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset",
    )
    .good();
    let (code, cells) = found(&site, "");
    assert_eq!(code, 0, "explained: {cells:?}");
    let why = "iptables of ins-db (INPUT of filter) has stopped it";
    is(&cells, "10.0.0.2 tcp:3306", "silent", why);
    let why = "ip6tables of ins-db (INPUT of filter) has stopped it";
    is(&cells, "2001:db8::2 tcp:22", "closed", why);
    is(&cells, "10.0.0.2 tcp:22", "reached", "equal");
    is(&cells, "2001:db8::2 tcp:3306", "reached", "equal");
    let table = site.lab("reach").good();
    assert!(table.out.contains("silent ++*"), "{table:?}");
    assert!(
        table
            .out
            .contains("Not as the groups alone would have it (*):"),
        "{table:?}"
    );
    let probe = site.lab("probe ins-web ins-db tcp 3306");
    assert_eq!(probe.code, 1);
    assert!(
        probe
            .out
            .contains("iptables of ins-db (INPUT of filter) has stopped it"),
        "{probe:?}"
    );
    let left = site.shell("ins-db", "iptables -S INPUT; ip -o link").good();
    assert!(!left.out.contains("secgroupd"), "{left:?}");
    // iptables cannot open what the groups refuse.
    site.shell(
        "ins-db",
        "iptables -F; ip6tables -F; iptables -I INPUT -j ACCEPT",
    )
    .good();
    assert_eq!(site.found("internet ins-db tcp 3306"), "silent");
    assert_eq!(site.found("ins-web ins-db tcp 3306"), "reached");
    // And counts nothing of it: the groups come first.
    let counted = site.shell("ins-db", "iptables -Z; true").good();
    assert_eq!(counted.code, 0);
    assert_eq!(site.found("internet ins-db tcp 22"), "silent");
    let listed = site
        .shell(
            "ins-db",
            "iptables -L INPUT -n -v -x | awk '$3 == \"ACCEPT\" { print $1 }'",
        )
        .good();
    assert_eq!(listed.out.trim(), "0", "{listed:?}");
}

fn of_the_sender() {
    let site = Site::new(DB);
    let _up = site.up();
    site.shell("ins-web", "iptables -A OUTPUT -p tcp --dport 3306 -j DROP")
        .good();
    let (code, cells) = found(&site, "");
    assert_eq!(code, 0, "{cells:?}");
    let why = "iptables of ins-web (OUTPUT of filter) has stopped it";
    is(&cells, "10.0.0.2 tcp:3306", "silent", why);
    is(&cells, "10.0.0.2 tcp:22", "reached", "equal");
}

fn legacy() {
    let site = Site::new(DB);
    let _up = site.up();
    let ran = site.shell(
        "ins-db",
        "iptables-legacy -A INPUT -p tcp --dport 22 -j DROP",
    );
    ran.good();
    let (code, cells) = found(&site, "");
    assert_eq!(code, 0, "{cells:?}");
    is(
        &cells,
        "10.0.0.2 tcp:22",
        "silent",
        "iptables-legacy of ins-db (INPUT of filter) has stopped it",
    );
    is(&cells, "2001:db8::2 tcp:22", "reached", "equal");
}

/// As the help of `lab exec` has it: a second namespace behind the instance, and DNAT to it.
const PUBLISH: &str = "set -e
ip netns add box
ip link add c0 type veth peer name eth0 netns box
ip addr add 172.30.0.1/24 dev c0
ip link set c0 up
echo 1 >/proc/sys/net/ipv4/ip_forward
ip -n box addr add 172.30.0.2/24 dev eth0
ip -n box link set lo up
ip -n box link set eth0 up
ip -n box route add default via 172.30.0.1
iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80
iptables -t nat -A PREROUTING -p tcp --dport 8081 -j DNAT --to-destination 172.30.0.2:80";

fn published() {
    let definition = |ports: &str| DB.replace("\"22,3306\"", &format!("\"{ports}\""));
    let site = Site::new(&definition("22,8080"));
    let up = site.up();
    site.shell("ins-db", PUBLISH).good();
    // Nothing listens in the container, which says so itself: the packet came through to it.
    assert_eq!(site.found("ins-web 10.0.0.2 tcp 8080"), "closed");
    let counted = "iptables -t nat -L PREROUTING -n -v -x | awk '/8080/ { print $1 }'";
    assert_eq!(site.shell("ins-db", counted).good().out.trim(), "1");
    // Published all the same, and refused like any other port.
    assert_eq!(site.found("ins-web 10.0.0.2 tcp 8081"), "silent");
    let counted = counted.replace("8080", "8081");
    assert_eq!(
        site.shell("ins-db", &counted).good().out.trim(),
        "0",
        "DNAT never saw it"
    );
    site.save(&definition("22,8081"));
    up.until_said("another policy: ins-db");
    assert_eq!(site.found("ins-web 10.0.0.2 tcp 8080"), "silent");
    assert_eq!(site.found("ins-web 10.0.0.2 tcp 8081"), "closed");
}

/// A route that leads nowhere: no rule of anybody has dropped it.
fn unexplained() {
    let site = Site::new(DB);
    let _up = site.up();
    site.shell("router", "ip route replace blackhole 10.0.0.2/32")
        .good();
    let ran = site.lab("reach --from ins-web");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.out
            .contains("Not as predicted, and nothing explains it (!):"),
        "{ran:?}"
    );
    assert!(
        ran.out
            .contains("ins-web -> ins-db tcp:22: silent: the receiver's rules have not counted it"),
        "{ran:?}"
    );
    let (code, cells) = found(&site, "");
    assert_eq!(code, 1);
    is(&cells, "10.0.0.2 tcp:22", "silent", "different");
    is(&cells, "2001:db8::2 tcp:22", "reached", "equal");
    // Somebody else's rules do not hide it: they have dropped nothing that is missing there.
    site.shell(
        "ins-db",
        "iptables -A INPUT -p udp -j DROP; iptables -t mangle -L",
    )
    .good();
    let (code, cells) = found(&site, "");
    assert_eq!(code, 1, "{cells:?}");
    is(&cells, "10.0.0.2 tcp:22", "silent", "different");
}

/// The first of a hundred is led to an open port on its way: what is refused is reached, once.
fn once() {
    let site = Site::new(DB);
    let _up = site.up();
    site.shell(
        "router",
        "iptables -t nat -A PREROUTING -p tcp -d 10.0.0.2 --dport 80 -m statistic --mode nth --every 100 --packet 0 \
         -j DNAT --to-destination 10.0.0.2:22",
    )
    .good();
    let (code, cells) = found(&site, "--ports tcp:80");
    assert_eq!(code, 1, "{cells:?}");
    is(&cells, "10.0.0.2 tcp:80", "reached", "different");
    is(&cells, "2001:db8::2 tcp:80", "silent", "equal");
}

fn no_answer() {
    let site = Site::new(DB);
    let _up = site.up();
    assert_eq!(site.found("ins-web 10.0.0.2 udp 53"), "closed");
    let mute = "import socket,time,os
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 53))
os.fork() and os._exit(0)
os.setsid()
for d in range(3): os.close(d)
time.sleep(60)";
    site.write("mute.py", mute);
    site.shell("ins-db", "python3 mute.py").good();
    let (code, cells) = found(&site, "--ports udp:53");
    assert_eq!(code, 0, "{cells:?}");
    is(&cells, "10.0.0.2 udp:53", "silent", "a program on ins-db");
    is(&cells, "2001:db8::2 udp:53", "closed", "equal");
}

/// The answer has no way back, and no rule of anybody has a part in it: not those of another port, and not those that let it pass.
fn only_there() {
    for user in [Site::new(DB), Site::of_ordinary_user(DB)] {
        let site = user;
        let _up = site.up();
        site.shell("ins-db", "ip route add blackhole 10.0.0.1/32")
            .good();
        for rules in [
            "iptables -A INPUT -p udp -j DROP",
            "iptables -I INPUT -p tcp --dport 22 -j ACCEPT; iptables -A OUTPUT -p udp -j DROP",
            "iptables -t nat -A PREROUTING -p tcp --dport 81 -j REDIRECT --to-ports 22",
            "iptables-legacy -A INPUT -p udp -j DROP",
        ] {
            site.shell("ins-db", rules).good();
            let (code, cells) = found(&site, "--ports tcp:22");
            assert_eq!(code, 1, "{rules}: {cells:?}");
            is(&cells, "10.0.0.2 tcp:22", "silent", "different");
            is(&cells, "2001:db8::2 tcp:22", "reached", "equal");
        }
        // And where one of two is explained, the other is not.
        site.shell("ins-db", "iptables -I INPUT -p tcp --dport 3306 -j DROP")
            .good();
        let (code, cells) = found(&site, "");
        assert_eq!(code, 1, "{cells:?}");
        is(&cells, "10.0.0.2 tcp:3306", "silent", "explained");
        is(&cells, "10.0.0.2 tcp:22", "silent", "different");
    }
}

/// Each of what can be in the way is named, on both ends, for the question and the answer.
fn which_rule() {
    let site = Site::new(DB);
    let _up = site.up();
    for (node, rules, outcome, why) in [
        (
            "ins-db",
            "iptables -t raw -A PREROUTING -p tcp --dport 22 -j DROP",
            "silent",
            "iptables of ins-db (PREROUTING of raw) has stopped it",
        ),
        (
            "ins-db",
            "iptables -P INPUT DROP",
            "silent",
            "iptables of ins-db (INPUT of filter) has stopped it",
        ),
        (
            "ins-db",
            "iptables -A INPUT -p tcp -j REJECT --reject-with icmp-host-unreachable",
            "silent",
            "iptables of ins-db (INPUT of filter) has stopped it",
        ),
        (
            "ins-db",
            "iptables -A OUTPUT -p tcp --sport 22 -j DROP",
            "silent",
            "iptables of ins-db (OUTPUT of filter) has stopped it",
        ),
        (
            "ins-web",
            "iptables -A INPUT -p tcp --sport 22 -j DROP",
            "silent",
            "iptables of ins-web (INPUT of filter) has stopped it",
        ),
        (
            "ins-db",
            "iptables -t nat -A PREROUTING -p tcp --dport 22 -j REDIRECT --to-ports 9",
            "closed",
            "iptables of ins-db (PREROUTING of nat) has sent it elsewhere",
        ),
        (
            "ins-web",
            "iptables -t nat -A OUTPUT -p tcp --dport 22 -j DNAT --to-destination 10.0.0.2:9",
            "silent",
            "iptables of ins-web (OUTPUT of nat) has sent it elsewhere",
        ),
        (
            "ins-db",
            "nft 'table inet own { chain in { type filter hook input priority 5; tcp dport 22 drop; }; }'",
            "silent",
            "the nftables table own of ins-db (in) has stopped it",
        ),
    ] {
        site.shell(node, rules).good();
        // On a busy machine the kernel's word of a rule may be late, and the answer is then less exact.
        until(&format!("{rules}: {outcome}, {why}"), || {
            let (code, cells) = found(&site, "--ports tcp:22");
            assert_eq!(code, 0, "{rules}: {cells:?}");
            let is_so = |(cell, found, said): &(String, String, String)| {
                cell == "10.0.0.2 tcp:22" && found == outcome && said.contains(why)
            };
            cells.iter().any(is_so)
        });
        let clean = "iptables -P INPUT ACCEPT; for table in filter nat raw; do iptables -t $table -F; done; nft delete table inet own 2>/dev/null";
        site.shell(node, clean);
        let (code, cells) = found(&site, "--ports tcp:22");
        assert_eq!(code, 0, "{rules}: {cells:?}");
        is(&cells, "10.0.0.2 tcp:22", "reached", "equal");
    }
}

/// More than are traced at once, with as much room as an ordinary user has for what the kernel tells.
fn a_hundred() {
    let text = DB.replace("\"22,3306\"", "\"7000-7149\"");
    let text = text.replace("tcp:22,3306", "tcp:7000-7149");
    let site = Site::of_ordinary_user(&text);
    let _up = site.up();
    site.shell(
        "ins-db",
        "iptables -A INPUT -p tcp --dport 7000:7139 -j DROP",
    )
    .good();
    let (code, cells) = found(&site, "");
    assert_eq!((code, cells.len()), (0, 300), "{cells:?}");
    let explained = cells.iter().filter(|(_, found, why)| {
        found == "silent" && why.contains("iptables of ins-db (INPUT of filter) has stopped it")
    });
    assert_eq!(explained.count(), 140, "{cells:?}");
    assert_eq!(cells.iter().filter(|cell| cell.2 == "equal").count(), 160);
}
