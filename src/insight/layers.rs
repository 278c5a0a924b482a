//! The whole way of a flow: every layer in order and what it said, the next rule that would have decided otherwise, and
//! what a group that somebody had expected to decide makes of it.

use super::explain::{Answer, Question, QuestionError, explain, opening, place_of};
use crate::definition::Place;
use crate::policy::decide::{matched, matches};
use crate::policy::{
    Action, Binding, Direction, GroupId, Packet, Policy, Protocol, Reason, Rule, SecurityGroup,
    SubnetAcl, Verdict,
};
use serde::Serialize;
use std::sync::Arc;

/// What one layer said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Its name.
    pub layer: &'static str,
    /// The group, where the layer is one of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it decided.
    pub decided: bool,
    /// What it said, in words.
    pub said: String,
    /// Where the rule stands that it decided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// What would have decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Otherwise {
    /// What would have become of the flow.
    pub verdict: Verdict,
    /// The rule; without one it is the end of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Its group.
    #[serde(skip)]
    pub group: Option<GroupId>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The rules before it that would have decided the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// What a group that was expected to decide makes of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExpectedGroup {
    /// The group.
    pub group: String,
    /// Whether it is bound there.
    pub bound: bool,
    /// What its first rule about the flow does, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// That rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Why the flow fares as it does, in words.
    pub said: String,
}

/// A rule that would have decided otherwise, before it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndedBefore {
    /// What would have become of the flow.
    pub verdict: Verdict,
    /// The rule.
    pub rule: String,
    /// When it ended, as RFC 3339 in UTC.
    pub until: String,
    /// Where it stands.
    pub place: Place,
}

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The answer.
    #[serde(flatten)]
    pub answer: Answer,
    /// Every layer, in the order in which they are asked.
    pub layers: Vec<Layer>,
    /// What would have decided otherwise, if anything would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
    /// The rule that would have decided otherwise, if it had not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedBefore>,
    /// What the group says that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedGroup>,
}

/// Judges a flow and says how. `expected` is a group that somebody expects to decide about it.
pub fn explained(
    policy: &Policy,
    question: &Question,
    expected: Option<&str>,
) -> Result<Explanation, QuestionError> {
    let answer = explain(policy, question)?;
    let packet = opening(policy, question)?;
    let binding = policy.binding(&packet.interface);
    let Some(binding) = binding.filter(|_| answer.reason != Reason::Unmanaged) else {
        let names: Vec<String> = policy
            .bindings
            .iter()
            .map(|each| each.interface.to_string())
            .collect();
        let bound = match names.as_slice() {
            [] => "none is".to_owned(),
            names => names.join(", "),
        };
        let said = match answer.verdict {
            Verdict::Allow => {
                format!("the interface is not bound, and left alone (bound: {bound})")
            }
            Verdict::Refuse | Verdict::Observe => {
                format!("the interface is not bound, and unbound ones refuse (bound: {bound})")
            }
        };
        return Ok(Explanation {
            layers: vec![layer("unmanaged", true, said)],
            otherwise: None,
            ended: None,
            expected: expected.map(|group| unbound(group, &packet, &[])),
            answer,
        });
    };
    let decision = policy.decide_by_list(binding, &packet);
    let mut layers = layers(policy, binding, &packet, &decision.reason);
    let by_acl = matches!(answer.reason, Reason::Acl(_));
    if let Some(acl) = &binding.acl {
        let opening = acl_layer(policy, acl, &packet, "acl", &answer.reason);
        let answers = acl_layer(policy, acl, &packet.answer(), "acl answers", &answer.reason);
        // It stands above row 2 inbound, and last outbound.
        let at = match packet.direction {
            Direction::Inbound => 1,
            Direction::Outbound => layers.len(),
        };
        if by_acl {
            layers.iter_mut().for_each(|layer| layer.decided = false);
        }
        layers.insert(at, opening);
        layers.push(answers);
    }
    Ok(Explanation {
        layers,
        otherwise: otherwise(binding, &packet, decision.verdict, &decision.reason),
        ended: ended_before(binding, &packet, decision.verdict, &decision.reason),
        expected: expected.map(|group| expectation(binding, group, &packet, &answer)),
        answer,
    })
}

/// What a network ACL says about a packet of the flow.
fn acl_layer(
    policy: &Policy,
    acl: &SubnetAcl,
    packet: &Packet,
    name: &'static str,
    decided: &Reason,
) -> Layer {
    let Some((action, entry)) = acl.decide(packet) else {
        return layer(name, false, "not asked: both addresses lie in the subnet");
    };
    let reason = Reason::Acl(entry.clone());
    let does = match action {
        Action::Allow => "allows",
        Action::Refuse => "refuses",
    };
    let said = match entry.index {
        Some(_) => format!("{does}: {entry}"),
        None => format!(
            "refuses: none of the {} {} entries of {} matches",
            acl.acl.entries(packet.direction).len(),
            packet.direction,
            entry.acl
        ),
    };
    Layer {
        place: place_of(policy, &reason),
        ..layer(name, reason == *decided, said)
    }
}

fn layer(layer: &'static str, decided: bool, said: impl Into<String>) -> Layer {
    Layer {
        layer,
        group: None,
        decided,
        said: said.into(),
        place: None,
    }
}

const NOT_ASKED: &str = "not asked";
/// The packet that opens a flow is valid where the host sees both its ways.
const INVALID: &str =
    "no; yes where conntrack sees one way of a flow only, and then no rule lets it pass";

fn layers(policy: &Policy, binding: &Binding, packet: &Packet, reason: &Reason) -> Vec<Layer> {
    let mut all = vec![
        layer(
            "essential",
            false,
            "no: neither neighbour discovery nor DHCP",
        ),
        layer("established", false, "no: it opens a flow"),
        layer("invalid", false, INVALID),
    ];
    let inbound = packet.direction == Direction::Inbound;
    let blocked = &policy.platform.blocked_ports;
    let has_ports = matches!(packet.protocol, Protocol::TCP | Protocol::UDP);
    let is_blocked = *reason == Reason::BlockedPorts;
    all.push(layer(
        "blocked-ports",
        is_blocked,
        match (is_blocked, blocked.blocks(packet.direction)) {
            (true, _) => "refuses: the platform blocks this port, and no rule can open it",
            (false, false) => "no: nothing is blocked in this direction",
            (false, true) if !has_ports => "no: the protocol has no ports",
            (false, true) => "no: this port is not blocked",
        },
    ));
    let is_smtp = *reason == Reason::Smtp;
    all.push(layer(
        "smtp",
        is_smtp,
        match is_smtp {
            true => "refuses: TCP 25 to external addresses is blocked",
            false if is_blocked => NOT_ASKED,
            false if inbound => "no: it is about outbound flows",
            false if !policy.smtp_blocked => "no: TCP 25 is not blocked here",
            false => "no: it is about TCP 25 to external addresses",
        },
    ));
    let mut decided = is_blocked || is_smtp;
    all.push(match reason {
        _ if decided => layer("approved-service", false, NOT_ASKED),
        Reason::ApprovedService(name) => {
            decided = true;
            let service = policy.platform.approved_service(name);
            Layer {
                place: service.and_then(|service| service.place.clone()),
                ..layer("approved-service", true, format!("allows: {name}"))
            }
        }
        _ => layer("approved-service", false, "no: none is about it"),
    });
    for group in &binding.groups {
        let group_layer = match reason {
            _ if decided => layer("group", false, NOT_ASKED),
            Reason::Rule(id) if id.group == group.id => {
                decided = true;
                let rule = first(group, packet);
                Layer {
                    place: rule.map(|rule| rule.place.clone()),
                    ..layer("group", true, rule.map_or(String::new(), rule_in_words))
                }
            }
            _ => layer("group", false, none_matches(group, packet.direction)),
        };
        all.push(Layer {
            group: Some(group.id.to_string()),
            ..group_layer
        });
    }
    all.push(match reason {
        _ if decided => layer("default", false, NOT_ASKED),
        _ => layer("default", true, "refuses: no rule matches"),
    });
    all
}

fn none_matches(group: &SecurityGroup, direction: Direction) -> String {
    match group.rules(direction).len() {
        0 => format!("no: it has no {direction} rules"),
        1 => format!("no: its one {direction} rule does not match"),
        rules => format!("no: none of its {rules} {direction} rules matches"),
    }
}

fn first<'g>(group: &'g SecurityGroup, packet: &Packet) -> Option<&'g Rule> {
    let mut rules = group.rules(packet.direction).iter();
    rules.find(|rule| matches(rule, packet))
}

fn does(rule: &Rule) -> Verdict {
    match rule.action {
        Action::Allow => Verdict::Allow,
        Action::Refuse => Verdict::Refuse,
    }
}

fn rule_in_words(rule: &Rule) -> String {
    match does(rule) {
        Verdict::Allow => format!("allows: {}", rule.id),
        Verdict::Refuse | Verdict::Observe => format!("refuses: {}", rule.id),
    }
}

/// The first rule after the one that decided which does the opposite, or the end of the list.
fn otherwise(
    binding: &Binding,
    packet: &Packet,
    verdict: Verdict,
    reason: &Reason,
) -> Option<Otherwise> {
    let rules = binding
        .groups
        .iter()
        .flat_map(|group| group.rules(packet.direction))
        .filter(|rule| matches(rule, packet));
    let mut after = Vec::new();
    for rule in rules {
        if *reason == Reason::Rule(rule.id.clone()) {
            continue;
        }
        // What only observes is asked like what refuses.
        if (does(rule) == Verdict::Allow) != (verdict == Verdict::Allow) {
            return Some(Otherwise {
                verdict: does(rule),
                rule: Some(rule.id.to_string()),
                group: Some(rule.id.group.clone()),
                place: Some(rule.place.clone()),
                after,
            });
        }
        after.push(rule.id.to_string());
    }
    (verdict == Verdict::Allow).then_some(Otherwise {
        verdict: Verdict::Refuse,
        rule: None,
        group: None,
        place: None,
        after,
    })
}

/// The first rule that has ended and would have been asked before the one that decided, if it would have done the
/// opposite.
fn ended_before(
    binding: &Binding,
    packet: &Packet,
    verdict: Verdict,
    reason: &Reason,
) -> Option<EndedBefore> {
    if !matches!(reason, Reason::Rule(_) | Reason::Default) {
        return None;
    }
    let rules = binding
        .groups
        .iter()
        .flat_map(|group| group.rules(packet.direction));
    let mut before = rules.take_while(|rule| *reason != Reason::Rule(rule.id.clone()));
    let rule = before.find(|rule| matched(rule, packet))?;
    let is_other = (does(rule) == Verdict::Allow) != (verdict == Verdict::Allow);
    is_other.then_some(EndedBefore {
        verdict: does(rule),
        rule: rule.id.to_string(),
        until: rule.until?.to_string(),
        place: rule.place.clone(),
    })
}

fn unbound(group: &str, packet: &Packet, groups: &[Arc<SecurityGroup>]) -> ExpectedGroup {
    let bound: Vec<&str> = groups.iter().map(|group| group.id.as_str()).collect();
    let bound = match bound.is_empty() {
        true => String::new(),
        false => format!(" (bound: {})", bound.join(", ")),
    };
    ExpectedGroup {
        group: group.to_owned(),
        bound: false,
        verdict: None,
        rule: None,
        place: None,
        said: format!("{group} is not bound to {}{bound}", packet.interface),
    }
}

fn expectation(binding: &Binding, name: &str, packet: &Packet, answer: &Answer) -> ExpectedGroup {
    let Some(group) = binding
        .groups
        .iter()
        .find(|group| group.id.as_str() == name)
    else {
        let mut expected = unbound(name, packet, &binding.groups);
        expected.said += &decided_by(answer);
        return expected;
    };
    let rule = first(group, packet);
    let (is, own) = match rule {
        Some(rule) => (Some(does(rule)), format!("its rule {}", rule.id)),
        None => (None, "none of its rules matches".to_owned()),
    };
    let decides = rule.is_some_and(|rule| answer.reason == Reason::Rule(rule.id.clone()));
    let said = match (is, decides) {
        (Some(Verdict::Allow), true) => format!("{name} itself allows it: {own}"),
        (Some(Verdict::Refuse | Verdict::Observe), true) => {
            format!("{name} itself refuses it: {own}")
        }
        (Some(verdict), false) => {
            let does = match verdict {
                Verdict::Allow => "allow",
                Verdict::Refuse | Verdict::Observe => "refuse",
            };
            let by = decided_by(answer);
            format!("{name} would {does} it ({own}), but is not asked{by}")
        }
        (None, _) => format!("{name} says nothing about it: {own}{}", decided_by(answer)),
    };
    ExpectedGroup {
        group: name.to_owned(),
        bound: true,
        verdict: is,
        rule: rule.map(|rule| rule.id.to_string()),
        place: rule.map(|rule| rule.place.clone()),
        said,
    }
}

/// `; the group sg-other lets it in by its rule sg-other/in/3 (groups.yaml:14)`
fn decided_by(answer: &Answer) -> String {
    let does = match answer.verdict {
        Verdict::Allow => "lets it pass",
        Verdict::Refuse => "refuses it",
        Verdict::Observe => "would refuse it",
    };
    let at = answer.at();
    match &answer.reason {
        Reason::Rule(id) => format!("; the group {} {does} by its rule {id}{at}", id.group),
        Reason::Default => "; no rule of any bound group matches, which refuses it".to_owned(),
        reason => format!("; {} {does}{at}", reason.words()),
    }
}
