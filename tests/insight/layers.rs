//! Explain: the whole way of a flow, and why it fares otherwise than somebody expected.

use crate::boundary::account;
use secgroupd::insight::explain::Question;
use secgroupd::insight::layers::{Explanation, explained};
use secgroupd::policy::{Direction, Policy, Verdict};

const TEXT: &str = "version: 1
security_groups:
  sg-base:
    inbound:
      - { action: allow, protocol: tcp, port: 22, source: 203.0.113.0/24 }
      - { action: refuse, protocol: tcp, port: 22, source: any }
      - { action: allow, protocol: all, source: 10.0.0.0/8 }
  sg-web:
    inbound:
      - { action: refuse, protocol: tcp, port: 80, source: 192.0.2.0/24 }
      - { action: allow, protocol: tcp, port: \"22,80\", source: any }
      - { action: allow, protocol: tcp, port: 80, source: 0.0.0.0/0 }
  sg-idle: {}
platform: { approved_services: { health: { direction: inbound, protocol: tcp, port: 8080, source: 100.64.0.0/10 } } }
instances:
  ins-a: { interfaces: { eth0: { security_groups: [sg-base, sg-web, sg-idle] } } }
";

fn policy() -> Policy {
    let (_, account) = account(TEXT);
    let id = &account.instances[0].id;
    account.policy(id, &Default::default()).unwrap()
}

fn of(flow: &str, expected: Option<&str>) -> Explanation {
    let words: Vec<&str> = flow.split(' ').collect();
    let question = Question {
        direction: match words[0] {
            "inbound" => Direction::Inbound,
            _ => Direction::Outbound,
        },
        interface: words.get(4).map(|name| (*name).to_owned()),
        protocol: words[1].to_owned(),
        remote: words[2].parse().unwrap(),
        port: words.get(3).and_then(|port| port.parse().ok()),
        local: None,
    };
    explained(&policy(), &question, expected).unwrap()
}

/// `layer`, `layer sg-x` of what decided, and of what was not asked any more.
fn way(explanation: &Explanation) -> (String, Vec<String>) {
    let name = |layer: &secgroupd::insight::layers::Layer| match &layer.group {
        Some(group) => format!("{} {group}", layer.layer),
        None => layer.layer.to_owned(),
    };
    let decided: Vec<_> = explanation
        .layers
        .iter()
        .filter(|each| each.decided)
        .map(name)
        .collect();
    let silent = explanation
        .layers
        .iter()
        .filter(|each| each.said == "not asked");
    assert_eq!(decided.len(), 1, "{explanation:?}");
    (decided[0].clone(), silent.map(name).collect())
}

#[test]
fn every_layer_is_told_in_order() {
    let names = |flow: &str| way(&of(flow, None));
    let all: Vec<_> = of("inbound tcp 198.51.100.7 80", None)
        .layers
        .iter()
        .map(|layer| layer.layer)
        .collect();
    assert_eq!(
        all,
        [
            "essential",
            "established",
            "invalid",
            "blocked-ports",
            "smtp",
            "approved-service",
            "group",
            "group",
            "group",
            "default"
        ]
    );
    assert_eq!(
        names("inbound tcp 198.51.100.7 22"),
        (
            "group sg-base".into(),
            ["group sg-web", "group sg-idle", "default"]
                .map(String::from)
                .to_vec()
        )
    );
    assert_eq!(
        names("inbound tcp 198.51.100.7 80"),
        (
            "group sg-web".into(),
            ["group sg-idle", "default"].map(String::from).to_vec()
        )
    );
    assert_eq!(
        names("inbound tcp 198.51.100.7 81"),
        ("default".into(), vec![])
    );
    assert_eq!(names("inbound tcp 10.0.0.1 445").0, "blocked-ports");
    assert_eq!(names("outbound tcp 198.51.100.7 25").0, "smtp");
    assert_eq!(names("inbound tcp 100.64.0.1 8080").0, "approved-service");
    assert_eq!(names("inbound tcp 10.0.0.1 1 eth1").0, "unmanaged");
}

#[test]
fn the_next_rule_that_would_have_decided_otherwise() {
    let next = |flow: &str| {
        of(flow, None).otherwise.map(|other| {
            let line = other.place.map(|place| place.line);
            (
                other.verdict,
                other.rule.unwrap_or_default(),
                line,
                other.after,
            )
        })
    };
    use Verdict::{Allow, Refuse};
    assert_eq!(
        next("inbound tcp 198.51.100.7 22"),
        Some((Allow, "sg-web/in/1".into(), Some(11), vec![]))
    );
    assert_eq!(
        next("inbound tcp 203.0.113.9 22"),
        Some((Refuse, "sg-base/in/1".into(), Some(6), vec![]))
    );
    assert_eq!(
        next("inbound tcp 198.51.100.7 80"),
        Some((Refuse, String::new(), None, vec!["sg-web/in/2".into()]))
    );
    assert_eq!(next("inbound tcp 198.51.100.7 81"), None);
    // What a block of the platform stands before.
    assert_eq!(
        next("inbound tcp 10.0.0.1 445"),
        Some((Allow, "sg-base/in/2".into(), Some(7), vec![]))
    );
}

#[test]
fn what_was_expected_and_what_lets_it_in() {
    let said = |flow: &str, group: &str| of(flow, Some(group)).expected.unwrap().said;
    assert_eq!(
        said("inbound tcp 10.0.0.1 443", "sg-web"),
        "sg-web says nothing about it: none of its rules matches; the group sg-base lets it pass by its rule sg-base/in/2 (test.yaml:7)"
    );
    assert_eq!(
        said("inbound tcp 100.64.0.1 8080", "sg-web"),
        "sg-web says nothing about it: none of its rules matches; the approved service health lets it pass (test.yaml:14)"
    );
    assert_eq!(
        said("inbound tcp 198.51.100.7 22", "sg-web"),
        "sg-web would allow it (its rule sg-web/in/1), but is not asked; the group sg-base refuses it by its rule sg-base/in/1 (test.yaml:6)"
    );
    assert_eq!(
        said("inbound tcp 198.51.100.7 80", "sg-web"),
        "sg-web itself allows it: its rule sg-web/in/1"
    );
    assert_eq!(
        said("inbound tcp 10.0.0.1 443", "sg-other"),
        "sg-other is not bound to eth0 (bound: sg-base, sg-web, sg-idle); the group sg-base lets it pass by its rule sg-base/in/2 (test.yaml:7)"
    );
}

/// A rule that has ended is named where it would have decided otherwise, and only there.
#[test]
fn the_rule_that_has_ended_and_would_have_decided_otherwise() {
    let (_, account) = account(
        "version: 1
security_groups:
  sg-a:
    inbound:
      - { action: refuse, protocol: tcp, port: 443, source: any, until: 2026-11-30T18:00Z }
      - { action: allow, protocol: tcp, port: \"22,443\", source: 203.0.113.0/24, until: 2026-11-30T18:00Z }
      - { action: allow, protocol: tcp, port: 443, source: 203.0.113.9 }
      - { action: allow, protocol: tcp, port: 80, source: any, until: 2099-11-30T18:00Z }
instances: { ins-a: { interfaces: { eth0: { security_groups: [sg-a] } } } }
",
    );
    let policy = account.policy(&account.instances[0].id, &Default::default());
    let policy = policy.unwrap();
    let ended = |remote: &str, port: u16| {
        let question = Question {
            direction: Direction::Inbound,
            interface: None,
            protocol: "tcp".into(),
            remote: remote.parse().unwrap(),
            port: Some(port),
            local: None,
        };
        let explanation = explained(&policy, &question, None).unwrap();
        let verdict = explanation.answer.verdict;
        let ended = explanation.ended.map(|ended| (ended.rule, ended.verdict));
        (verdict, ended)
    };
    let rule = |index, verdict| Some((format!("sg-a/in/{index}"), verdict));
    let (allow, refuse) = (Verdict::Allow, Verdict::Refuse);
    assert_eq!(ended("203.0.113.9", 22), (refuse, rule(1, allow)));
    assert_eq!(ended("203.0.113.9", 443), (allow, rule(0, refuse)));
    // The first that matched then would have refused it as well.
    assert_eq!(ended("203.0.113.7", 443), (refuse, None));
    assert_eq!(ended("198.51.100.7", 22), (refuse, None));
    assert_eq!(ended("198.51.100.7", 80), (allow, None));
}
