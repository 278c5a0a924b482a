//! Each warning of `check`: a case, its silence, and what gives none.

use crate::boundary::account;
use crate::cases::{cases, expect, judge, judge_texts};
use secgroupd::definition::codes::CODES;
use secgroupd::insight::lint::host::{HostNeeds, Listening, Server, findings};
use secgroupd::insight::lint::lint;
use secgroupd::policy::{Account, Policy};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each folder of `lint/` gives exactly these warnings, and every code that needs no host has a folder.
#[test]
fn every_warning_has_a_case() {
    let mut seen = BTreeSet::new();
    for case in cases("lint") {
        let judged = judge(&case);
        let account = judged
            .account
            .as_ref()
            .unwrap_or_else(|| panic!("{}", judged.rendered()));
        let warnings = lint(&judged.definition, account, Vec::new());
        seen.extend(warnings.iter().map(|warning| warning.code));
        let rendered = warnings.iter().map(|warning| {
            assert!(warning.help.is_some(), "{warning:?}");
            warning.render(&judged.sources, false)
        });
        let rendered: Vec<_> = rendered.collect();
        expect(&case.join("expected.txt"), &(rendered.join("\n\n") + "\n"));
    }
    for code in CODES
        .iter()
        .filter(|code| !OF_THE_HOST.contains(&code.name))
    {
        assert!(seen.contains(code.name), "no case gives {}", code.name);
    }
}

/// Written at the top with a reason, each code is silent, and nothing else is.
#[test]
fn every_warning_can_be_silenced() {
    let mut seen = BTreeSet::new();
    for case in cases("lint") {
        let text = fs::read_to_string(case.join("definition.yaml")).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("silence:"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        if text.contains("silence:") {
            continue;
        }
        let codes_of = |text: &str| -> Vec<String> {
            let (definition, account) = account(text);
            lint(&definition, &account, Vec::new())
                .iter()
                .map(|each| each.code.to_owned())
                .collect()
        };
        let all = codes_of(&text);
        for code in all.iter().collect::<BTreeSet<_>>() {
            let silenced = format!("{text}silence: [{{ code: {code}, reason: known }}]\n");
            let rest: Vec<String> = all.iter().filter(|each| *each != code).cloned().collect();
            assert_eq!(codes_of(&silenced), rest, "{code} of {case:?}");
            seen.insert(code.clone());
        }
    }
    let (definition, account) = account(HOST_DEFINITION);
    for code in OF_THE_HOST {
        let silenced = format!("{HOST_DEFINITION}silence: [{{ code: {code}, reason: known }}]\n");
        let (silent, _) = crate::boundary::account(&silenced);
        let on_host = || findings(&policy_of(&account), &needy_host());
        let has = |definition| {
            lint(definition, &account, on_host())
                .iter()
                .any(|each| each.code == code)
        };
        assert!(has(&definition) && !has(&silent), "{code}");
        seen.insert(code.to_owned());
    }
    assert_eq!(seen.len(), CODES.len(), "{seen:?}");
}

const OF_THE_HOST: [&str; 4] = [
    "resolver-refused",
    "time-server-refused",
    "gateway-refused",
    "port-not-open",
];

/// Lets out DNS to one resolver, NTP to one server and web to everybody, and in SSH from the office.
const HOST_DEFINITION: &str = "version: 1
security_groups:
  sg-a:
    inbound: [{ action: allow, protocol: tcp, port: 22, source: 10.0.0.0/24 }]
    outbound:
      - { action: allow, protocol: udp, port: 53, destination: 10.0.0.53 }
      - { action: allow, protocol: udp, port: 123, destination: 10.0.0.123 }
      - { action: allow, protocol: tcp, port: 443, destination: any }
instances: { ins-a: { interfaces: { eth0: { addresses: [10.0.0.5], security_groups: [sg-a] } } } }
";

fn policy_of(account: &Account) -> Policy {
    account
        .policy(&account.instances[0].id, &BTreeSet::new())
        .unwrap()
}

/// Of each kind one that is allowed and one that is not; what listens for the host alone, or for nobody who is not bound, is left alone.
fn needy_host() -> HostNeeds {
    let server = |address: &str| Server {
        address: Some(address.parse().unwrap()),
        written: address.to_owned(),
        interface: Some("eth0".into()),
    };
    let listening = |local: &str, interface: Option<&str>| Listening {
        tcp: true,
        local: local.parse().unwrap(),
        both: false,
        process: Some("nginx (7)".into()),
        interface: interface.map(str::to_owned),
    };
    HostNeeds {
        resolvers: vec![server("10.0.0.53"), server("192.0.2.53")],
        time_servers: vec![server("10.0.0.123"), server("192.0.2.123")],
        gateways: vec![server("10.0.0.1")],
        listening: vec![
            listening("0.0.0.0:22", None),
            listening("0.0.0.0:8080", None),
            listening("127.0.0.1:8081", None),
            listening("192.168.7.1:8082", Some("docker0")),
        ],
    }
}

#[test]
fn what_a_host_needs_and_does_not_get_is_told() {
    let (_, account) = account(HOST_DEFINITION);
    let told: Vec<_> = findings(&policy_of(&account), &needy_host())
        .into_iter()
        .map(|each| (each.code, each.message))
        .collect();
    let wanted = [
        (
            "resolver-refused",
            "the outbound rules refuse udp 53 to the resolver 192.0.2.53 that this host uses",
        ),
        (
            "time-server-refused",
            "the outbound rules refuse udp 123 to the time server 192.0.2.123 that this host uses",
        ),
        (
            "gateway-refused",
            "the outbound rules refuse a ping to the gateway 10.0.0.1 that this host uses",
        ),
        (
            "port-not-open",
            "a process (nginx (7)) listens on tcp 8080, which no inbound rule opens to anybody",
        ),
    ];
    assert_eq!(
        told,
        wanted.map(|(code, message)| (code, message.to_owned()))
    );
}

/// A rule that hides one from the same flows is needed as long as that stands, though it alone would be refused by default.
#[test]
fn a_rule_that_overrules_changes_something() {
    let text = "version: 1
security_groups:
  sg-base:
    inbound: [{ action: refuse, protocol: tcp, port: 22, source: any }]
  sg-web:
    inbound: [{ action: allow, protocol: tcp, port: 22, source: 203.0.113.0/24 }]
instances: { ins-a: { interfaces: { eth0: { security_groups: [sg-base, sg-web] } } } }
";
    let (definition, account) = account(text);
    let told = lint(&definition, &account, Vec::new());
    let codes: Vec<&str> = told.iter().map(|each| each.code).collect();
    assert_eq!(
        codes,
        ["overruled"],
        "without sg-base/in/0 the other would allow"
    );
}

/// What is shipped as an example raises no warning: each would be a false alarm, or a bad example.
#[test]
fn shipped_definitions_raise_no_warning() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["example.yaml", "lab.yaml"] {
        let text = fs::read_to_string(config.join(name)).unwrap();
        let judged = judge_texts([(name, &*text)], &config);
        let account = judged
            .account
            .as_ref()
            .unwrap_or_else(|| panic!("{}", judged.rendered()));
        let told = lint(&judged.definition, account, Vec::new());
        let rendered: Vec<_> = told
            .iter()
            .map(|each| each.render(&judged.sources, false))
            .collect();
        assert!(rendered.is_empty(), "{}", rendered.join("\n\n"));
    }
}

/// Of a rule that many cover together none can be left out of those that are named.
#[test]
fn what_covers_a_rule_is_named_exactly() {
    let text = "version: 1
platform: { blocked_ports: { profile: none } }
security_groups:
  sg-a:
    inbound:
      - { action: allow, protocol: tcp, port: 80, source: 10.0.0.0/9 }
      - { action: refuse, protocol: tcp, port: 81-90, source: 10.0.0.0/8 }
      - { action: allow, protocol: tcp, port: 70-85, source: 10.128.0.0/10 }
      - { action: allow, protocol: tcp, port: 80, source: 10.64.0.0-10.255.255.255 }
      - { action: allow, protocol: tcp, port: 1-1000, source: 192.0.2.0/24 }
      - { action: refuse, protocol: tcp, port: 80-90, source: 10.0.0.0/8 }
";
    let (definition, account) = account(text);
    let told = lint(&definition, &account, Vec::new());
    let never = told
        .iter()
        .find(|each| each.code == "never-matches")
        .unwrap();
    assert_eq!(
        never.message,
        "this rule can never match: sg-a/in/0, sg-a/in/1 and sg-a/in/3 together decide all of it before"
    );
}
