//! One test for each question.

use std::net::{SocketAddr, TcpListener, TcpStream};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::site::{Ran, Site};
use crate::support::{Host, Iptables, SOON, WHILE, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "which_ports_should_i_open_before_logging_in_to_an_instance",
            &[],
            ports_to_open,
        ),
        kernel_test("why_should_i_open_a_port_and_how", &[], open_a_port),
        kernel_test(
            "my_business_is_not_accessible_after_i_modified_the_port",
            &[],
            modified_port,
        ),
        kernel_test("which_ports_are_not_supported", &[], not_supported),
        kernel_test(
            "i_cannot_connect_to_an_external_address_through_tcp_port_25",
            &[],
            port_25,
        ),
        kernel_test(
            "what_if_an_improper_security_group_is_selected",
            &["nft"],
            improper_group,
        ),
        kernel_test(
            "what_do_security_group_direction_and_policy_mean",
            &[],
            direction_and_policy,
        ),
        kernel_test(
            "what_is_the_order_in_which_security_group_policies_go_into_effect",
            &[],
            order,
        ),
        kernel_test(
            "how_come_an_ip_that_is_not_allowed_can_still_access_the_cvm",
            &[],
            not_allowed,
        ),
        kernel_test(
            "can_iptables_be_used_along_with_security_groups",
            &["nft", "iptables-nft"],
            beside_iptables,
        ),
        kernel_test(
            "i_opened_a_port_but_it_is_blocked_by_the_network_acl",
            &[],
            network_acl,
        ),
        kernel_test(
            "what_the_host_needs_and_the_rules_refuse",
            &[],
            needs_of_the_host,
        ),
    ]
}

/// A definition with these inbound rules in `sg-web`, and everything allowed outbound.
pub fn web(rules: &[&str]) -> String {
    let rules: String = rules
        .iter()
        .map(|rule| format!("      - {{ {rule} }}\n"))
        .collect();
    let rules = if rules.is_empty() {
        "      []\n"
    } else {
        &rules
    };
    format!(
        "version: 1\nsecurity_groups:\n  sg-web:\n    inbound:\n{rules}    outbound:\n\
         \x20     - {{ action: allow, protocol: all, destination: any }}\n\
         instances:\n  ins-web1: {{ interfaces: {{ eth0: {{ addresses: [10.0.0.5], security_groups: [sg-web] }} }} }}\n"
    )
}

/// A socket of this host that listens.
pub fn listen(host: &Host, address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    host.enter(|| TcpListener::bind(address))
        .unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// The codes of what `diagnose` finds, in its order; the exit status says whether there are any.
#[track_caller]
pub fn causes(site: &Site, line: &str) -> Vec<String> {
    let ran = site.run(&format!("diagnose --json {line}"));
    let found: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let causes = found["causes"].as_array().unwrap();
    assert_eq!(ran.code, i32::from(!causes.is_empty()), "{ran:?}");
    for cause in causes {
        let has = |key: &str| cause[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(has("seen") && has("mend"), "{cause}");
    }
    causes
        .iter()
        .map(|cause| cause["code"].as_str().unwrap().to_owned())
        .collect()
}

/// The codes of the warnings of `check`, and what they say.
fn warnings(site: &Site) -> Vec<(String, String)> {
    let ran = site.run("check --json");
    let found: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    let all = found["diagnostics"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.map(|each| (text(&each["code"]), text(&each["message"])))
        .collect()
}

fn warned(site: &Site, code: &str) -> Option<String> {
    let found = warnings(site).into_iter().find(|(each, _)| each == code);
    found.map(|(_, message)| message)
}

#[track_caller]
pub fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, code, "{ran:?}");
    for word in words {
        assert!(ran.out.contains(word), "{word:?} is not in {}", ran.out);
    }
}

fn ports_to_open() {
    let site = Site::quiet();
    let _ssh = listen(&site.host, "0.0.0.0:22");
    site.write(
        "groups.yaml",
        &web(&["action: allow, protocol: tcp, port: 443, source: any"]),
    );
    let message = warned(&site, "port-not-open").expect("22 is not open");
    assert!(message.contains("listens on tcp 22"), "{message}");
    assert_eq!(causes(&site, "22 --from 10.0.0.9"), ["not-opened"]);
    site.write(
        "groups.yaml",
        &web(&["action: allow, protocol: tcp, port: 22, source: 10.0.0.0/8"]),
    );
    assert_eq!(warned(&site, "port-not-open"), None);
    assert_eq!(causes(&site, "22 --from 10.0.0.9"), [""; 0]);
    // Somebody whom the groups let in is found without being named.
    assert_eq!(causes(&site, "22"), [""; 0]);
}

/// The command that mends it says the rule that is missing: written into the group, it opens the port, and no other.
fn open_a_port() {
    let site = Site::quiet();
    site.write("groups.yaml", &web(&[]));
    let _service = listen(&site.host, "0.0.0.0:8080");
    says(
        &site.run("explain inbound tcp 10.0.0.9 8080"),
        1,
        &[
            "refuse: no rule of the bound groups matches",
            "no: it has no inbound rules",
        ],
    );
    let page = site.run("diagnose 8080 --from 10.0.0.9");
    says(
        &page,
        1,
        &["1. not-opened: no rule of the groups that are bound to eth0 allows tcp 8080"],
    );
    let rule = page.out.split('`').find_map(|text| {
        let rule = text.strip_prefix("- { ")?.strip_suffix(" }")?;
        Some(rule.to_owned())
    });
    let rule = rule.unwrap_or_else(|| panic!("{page:?}"));
    site.write("groups.yaml", &web(&[&rule]));
    assert_eq!(causes(&site, "8080 --from 10.0.0.9"), [""; 0]);
    says(
        &site.run("explain inbound tcp 10.0.0.9 8080"),
        0,
        &["allow: rule sg-web/in/0"],
    );
    assert_eq!(site.run("explain inbound tcp 10.0.0.9 8081").code, 1);
    assert_eq!(site.run("explain inbound tcp 10.0.0.8 8080").code, 1);
}

fn modified_port() {
    let site = Site::quiet();
    site.write(
        "groups.yaml",
        &web(&["action: allow, protocol: tcp, port: 8080, source: any"]),
    );
    let service = listen(&site.host, "0.0.0.0:8080");
    assert_eq!(causes(&site, "8080 --from 10.0.0.9"), [""; 0]);
    drop(service);
    let _moved = listen(&site.host, "0.0.0.0:8081");
    assert_eq!(
        causes(&site, "8080 --from 10.0.0.9"),
        ["not-listening", "moved"]
    );
    let page = site.run("diagnose 8080 --from 10.0.0.9");
    says(
        &page,
        1,
        &[
            "no process listens on tcp 8080",
            "8081",
            "port: 8081, source: 10.0.0.9",
        ],
    );
    assert!(warned(&site, "port-not-open").is_some_and(|message| message.contains("tcp 8081")));
    let rules = ["action: allow, protocol: tcp, port: \"8080,8081\", source: any"];
    site.write("groups.yaml", &web(&rules));
    assert_eq!(causes(&site, "8080 --from 10.0.0.9"), ["not-listening"]);
    assert_eq!(causes(&site, "8081 --from 10.0.0.9"), [""; 0]);
}

fn not_supported() {
    let site = Site::quiet();
    site.write(
        "groups.yaml",
        &web(&["action: allow, protocol: tcp, port: 445, source: any"]),
    );
    let _samba = listen(&site.host, "0.0.0.0:445");
    let message = warned(&site, "blocked-port").expect("told");
    assert!(
        message.contains("tcp 445") && message.contains("the platform blocks"),
        "{message}"
    );
    says(
        &site.run("explain inbound tcp 10.0.0.9 445"),
        1,
        &["> blocked-ports", "allow by sg-web/in/0"],
    );
    assert_eq!(causes(&site, "445 --from 10.0.0.9"), ["blocked-port"]);
    let unblocked = web(&["action: allow, protocol: tcp, port: 445, source: any"])
        + "platform: { blocked_ports: { remove: { tcp: 445 } } }\n";
    site.write("groups.yaml", &unblocked);
    assert_eq!(causes(&site, "445 --from 10.0.0.9"), [""; 0]);
}

fn port_25() {
    let site = Site::quiet();
    let text = web(&[]).replace(
        "- { action: allow, protocol: all,",
        "- { action: allow, protocol: tcp, port: 25,",
    );
    site.write("groups.yaml", &text);
    let refused = site.run("explain outbound tcp 198.51.100.25 25");
    says(
        &refused,
        1,
        &["the platform blocks TCP 25 to external addresses", "> smtp"],
    );
    says(
        &site.run("explain outbound tcp 10.0.0.9 25"),
        0,
        &["sg-web/out/0"],
    );
    let message = warned(&site, "blocked-port").expect("told");
    assert!(message.contains("tcp 25"), "{message}");
}

/// What the new group would cut is seen before, and how many live flows it would end.
fn improper_group() {
    let site = Site::quiet();
    let rules = [
        "action: allow, protocol: tcp, port: 22, source: any",
        "action: allow, protocol: tcp, port: 443, source: any",
    ];
    site.write("groups.yaml", &web(&rules));
    let _daemon = site.start();
    let sockets = [22, 443].map(|port| listen(&site.host, &format!("10.0.0.5:{port}")));
    let clients: Vec<TcpStream> = [22, 443, 443]
        .into_iter()
        .map(|port| {
            site.peer
                .enter(|| TcpStream::connect(("10.0.0.5", port)))
                .unwrap()
        })
        .collect();
    site.write("same.yaml", &web(&rules));
    let same = site.path("same.yaml").display().to_string();
    says(
        &site.run(&format!("diff {same}")),
        0,
        &["every flow fares the same", "0 of 3"],
    );
    site.write("candidate.yaml", &web(&rules[..1]));
    let candidate = site.path("candidate.yaml").display().to_string();
    let page = site.run(&format!("diff {candidate}"));
    says(
        &page,
        1,
        &[
            "what is enforced",
            "tcp",
            "443",
            "any",
            "2 of 3 tracked flows end: 2 by default",
        ],
    );
    let row = page.out.lines().find(|line| line.contains("443")).unwrap();
    assert!(
        row.trim_start().starts_with("- ") && row.contains("eth0") && row.contains("inbound"),
        "{row}"
    );
    let json = site.run(&format!("diff --json {candidate}"));
    let found: Value = serde_json::from_str(&json.out).unwrap();
    let first = &found["instances"][0];
    assert_eq!(first["live_flows"]["end"], 2, "{found}");
    assert_eq!(first["changes"][0]["change"], "closes", "{found}");
    assert_eq!(first["changes"][0]["ports"], "443", "{found}");
    // File against file asks no daemon, and says the same of the rules.
    let definition = site.definition().display().to_string();
    says(
        &site.run(&format!("diff {definition} {candidate}")),
        1,
        &["443"],
    );
    assert_eq!(site.run(&format!("diff {definition} {same}")).code, 0);
    site.write("wrong.yaml", "version: 2\n");
    let wrong = site.path("wrong.yaml").display().to_string();
    assert_eq!(site.run(&format!("diff {wrong}")).code, 2);
    drop((sockets, clients));
}

fn direction_and_policy() {
    let site = Site::quiet();
    site.write(
        "groups.yaml",
        &web(&["action: refuse, protocol: tcp, port: 80, source: 10.0.0.9"]),
    );
    says(
        &site.run("explain inbound tcp 10.0.0.9 80"),
        1,
        &["refuse: rule sg-web/in/0"],
    );
    says(
        &site.run("explain outbound tcp 10.0.0.9 80"),
        0,
        &["allow: rule sg-web/out/0"],
    );
}

fn order() {
    let site = Site::quiet();
    site.write(
        "groups.yaml",
        &web(&[
            "action: allow, protocol: tcp, port: 80, source: 10.0.0.0/24",
            "action: allow, protocol: tcp, port: 80, source: 10.0.0.0/16",
            "action: refuse, protocol: tcp, port: 80, source: 10.0.0.0/8",
        ]),
    );
    let page = site.run("explain inbound tcp 10.0.0.9 80");
    says(
        &page,
        0,
        &[
            "allow: rule sg-web/in/0",
            "the next to decide otherwise: refuse by sg-web/in/2",
            "after sg-web/in/1 that decide the same",
        ],
    );
    let layers = [
        "essential",
        "established",
        "invalid",
        "blocked-ports",
        "smtp",
        "approved-service",
        "group sg-web",
        "default",
    ];
    let places: Vec<_> = layers
        .iter()
        .map(|layer| {
            page.out
                .find(&format!(" {layer} "))
                .unwrap_or_else(|| panic!("{layer}: {}", page.out))
        })
        .collect();
    assert!(places.is_sorted(), "{}", page.out);
    says(
        &site.run("explain inbound tcp 10.9.0.9 80"),
        1,
        &["refuse: rule sg-web/in/2"],
    );
}

fn not_allowed() {
    let site = Site::quiet();
    let text = "version: 1
security_groups:
  sg-base: { inbound: [{ action: allow, protocol: tcp, port: 443, source: 10.0.0.0/8 }] }
  sg-web: { inbound: [{ action: allow, protocol: tcp, port: 443, source: 192.0.2.0/24 }] }
platform: { approved_services: { health: { direction: inbound, protocol: tcp, port: 80, source: 100.64.0.0/10 } } }
instances: { ins-web1: { interfaces: { eth0: { security_groups: [sg-base, sg-web] } } } }
";
    site.write("groups.yaml", text);
    says(
        &site.run("explain inbound tcp 10.0.0.9 443 --expect-group sg-web"),
        0,
        &[
            "sg-web says nothing about it",
            "the group sg-base lets it pass by its rule sg-base/in/0",
        ],
    );
    says(
        &site.run("explain inbound tcp 100.64.0.9 80 --expect-group sg-web"),
        0,
        &["the approved service health lets it pass"],
    );
    let json = site.run("explain inbound tcp 10.0.0.9 443 --expect-group sg-web --json");
    let found: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(found["rule"], "sg-base/in/0");
    assert_eq!(found["expected"]["bound"], true);
    assert!(found["layers"].as_array().unwrap().len() > 8, "{found}");
}

/// Everything is filtered twice: what the groups allow, iptables may still refuse, and it is named.
fn beside_iptables() {
    let site = Site::quiet();
    site.write(
        "groups.yaml",
        &web(&["action: allow, protocol: tcp, port: 443, source: any"]),
    );
    let _daemon = site.start();
    let _service = listen(&site.host, "10.0.0.5:443");
    let connects = |within| {
        let address: SocketAddr = "10.0.0.5:443".parse().unwrap();
        site.peer
            .enter(|| TcpStream::connect_timeout(&address, within))
            .is_ok()
    };
    assert!(connects(SOON));
    assert_eq!(causes(&site, "443 --from 10.0.0.9"), [""; 0]);
    let iptables = Iptables {
        program: "iptables",
        variant: "nft",
    };
    iptables.restore(
        &site.host,
        "*filter\n-A INPUT -p tcp --dport 443 -j DROP\nCOMMIT\n",
    );
    let before = site.host.output("nft", &["-s", "list", "ruleset"]);
    assert!(!connects(WHILE));
    assert_eq!(causes(&site, "443 --from 10.0.0.9"), ["system-firewall"]);
    let page = site.run("diagnose 443 --from 10.0.0.9");
    says(
        &page,
        1,
        &[
            "iptables-nft refuses it",
            "--dport 443 -j DROP",
            "chain INPUT",
            "fine: security groups",
        ],
    );
    // The host was only looked at.
    assert_eq!(before, site.host.output("nft", &["-s", "list", "ruleset"]));
    // What it says mends it, mends it.
    let mend = page
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix("mend: "))
        .unwrap();
    let words: Vec<&str> = mend.split(' ').collect();
    site.host.output(words[0], &words[1..]);
    assert!(connects(SOON));
    assert_eq!(causes(&site, "443 --from 10.0.0.9"), [""; 0]);
}

/// "The port is blocked by the network ACL or firewall": the ACL on the way in, and on the way of the answers.
fn network_acl() {
    let site = Site::quiet();
    let behind = |entries: &str| {
        let rule = "action: allow, protocol: tcp, port: 8080, source: any";
        format!(
            "{}subnets: {{ subnet-web: {{ cidr: 10.0.0.0/24, network_acl: acl-web }} }}\nnetwork_acls:\n  acl-web:\n{entries}",
            web(&[rule])
        )
    };
    let _service = listen(&site.host, "0.0.0.0:8080");
    let far = "198.51.100.7";
    let asks = format!("8080 --from {far}");

    site.write("groups.yaml", &behind("    inbound: []\n"));
    assert_eq!(causes(&site, &asks), ["network-acl"]);
    says(
        &site.run(&format!("diagnose {asks}")),
        1,
        &[
            "1. network-acl: tcp 8080 from 198.51.100.7 at eth0 is refused in front of the subnet",
            "the network ACL acl-web: none of its inbound entries matches (",
            "add `- { action: allow, protocol: tcp, port: 8080, source: 198.51.100.7 }` to the inbound entries of acl-web",
        ],
    );
    says(
        &site.run(&format!("explain inbound tcp {far} 8080")),
        1,
        &["refuse: network ACL acl-web: none of its inbound entries matches"],
    );
    // Inside the subnet no ACL is asked.
    assert_eq!(causes(&site, "8080 --from 10.0.0.9"), [""; 0]);

    // It is let in now, and its answers do not leave.
    let inbound = "    inbound: [{ action: allow, protocol: tcp, port: 8080, source: any }]\n";
    site.write("groups.yaml", &behind(inbound));
    assert_eq!(causes(&site, &asks), ["network-acl"]);
    says(
        &site.run(&format!("diagnose {asks}")),
        1,
        &[
            "1. network-acl: the answers to tcp 8080 from 198.51.100.7 at eth0 do not leave the subnet",
            "a network ACL is stateless: add `- { action: allow, protocol: tcp, source_port: 8080, port: 1024-65535, destination: 198.51.100.7 }`",
        ],
    );
    says(
        &site.run("check"),
        0,
        &["warning[acl-no-answer]: the network ACL acl-web lets this pass, and no answer to it"],
    );

    let outbound = "    outbound: [{ action: allow, protocol: tcp, source_port: 8080, port: 1024-65535, destination: any }]\n";
    site.write("groups.yaml", &behind(&format!("{inbound}{outbound}")));
    assert_eq!(causes(&site, &asks), [""; 0]);
    says(
        &site.run(&format!("explain inbound tcp {far} 8080")),
        0,
        &[
            "allow: rule sg-web/in/0",
            "allows: acl-web/in/0",
            "allows: acl-web/out/0",
        ],
    );
}

/// A gateway that the outbound rules refuse is told on the host, and not of another host.
fn needs_of_the_host() {
    let site = Site::quiet();
    let text = web(&[]).replace(
        "protocol: all, destination: any",
        "protocol: tcp, port: 443, destination: any",
    );
    site.write("groups.yaml", &text);
    let message = warned(&site, "gateway-refused").expect("told");
    assert!(
        message.contains("a ping to the gateway 10.0.0.9"),
        "{message}"
    );
    let silenced =
        text.clone() + "silence: [{ code: gateway-refused, reason: it answers nobody }]\n";
    site.write("groups.yaml", &silenced);
    assert_eq!(warned(&site, "gateway-refused"), None);
    let other = text.replace("ins-web1: {", "ins-web1: { hostname: elsewhere,");
    site.write("groups.yaml", &other);
    assert_eq!(warned(&site, "gateway-refused"), None);
}
