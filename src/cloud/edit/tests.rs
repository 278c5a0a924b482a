//! What the console does, on a definition as a person wrote it.

use super::*;
use crate::cloud::text::RuleText;
use crate::definition::parse;
use crate::definition::patch::patched;
use crate::policy::RuleId;
use crate::policy::id::GroupId;

const TEXT: &str = r##"version: 1
# the shop's groups
security_groups:
  sg-base:
    name: base
    region: ap-guangzhou
    inbound:
      - { action: allow, protocol: tcp, port: 22, source: ipm-office }   # ssh
      - { action: refuse, protocol: tcp, port: 22, source: any }
    outbound:
      - { action: allow, protocol: all, destination: any }

  sg-web:
    inbound:
      - { action: allow, protocol: tcp, port: 443, source: sg-base }

  sg-free: {}

address_templates:
  ipm-office: [203.0.113.0/24]

instances:
  ins-web1:
    interfaces:
      eth0: { addresses: [10.0.0.5], security_groups: [sg-base, sg-web] }
  ins-lb:
    kind: clb
    interfaces:
      eth0: { security_groups: [sg-web] }
  ins-card:
    kind: eni
    interfaces:
      eth0: { security_groups: [ sg-web ] }
      eth1: { security_groups: [] }
  ins-sql:
    kind: database
    interfaces:
      eth0: { security_groups: [sg-web] }
"##;

fn id(text: &str) -> GroupId {
    GroupId::parse(text).unwrap()
}

fn rule(text: &str) -> RuleId {
    RuleId::parse(text).unwrap()
}

fn allow(service: &str, from: &str) -> RuleText {
    RuleText {
        allow: true,
        service: service.parse().unwrap(),
        remotes: vec![from.to_owned()],
        description: None,
        until: None,
    }
}

fn planned(text: &str, change: &Change) -> Result<Edit, Refusal> {
    let definition = parse([("groups.yaml", text)]).definition;
    let tree = FileTree::read(0, text).unwrap();
    edit(&Draft::new(&definition, [&tree]), change)
}

/// The text after the change, which is valid.
fn after(text: &str, change: Change) -> String {
    let edit = planned(text, &change).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let mut text = text.to_owned();
    for (source, patches) in &edit.patches {
        assert_eq!(*source, 0);
        text = patched(&text, patches).unwrap_or_else(|error| panic!("{error:?} {patches:?}"));
    }
    let parsed = parse([("groups.yaml", text.as_str())]);
    let validated = crate::policy::validate(&parsed.definition, parsed.diagnostics);
    assert!(
        validated.account.is_some(),
        "{:?}\n{text}",
        validated.diagnostics
    );
    text
}

/// The lines that are new, with `+`, and those that are gone, with `-`.
fn lines(change: Change) -> String {
    difference(TEXT, &after(TEXT, change))
}

fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let begin = old.iter().zip(&new).take_while(same).count();
    let rest = old[begin..].iter().rev().zip(new[begin..].iter().rev());
    let end = rest.take_while(same).count();
    let gone = old[begin..old.len() - end]
        .iter()
        .map(|line| format!("-{line}\n"));
    let come = new[begin..new.len() - end]
        .iter()
        .map(|line| format!("+{line}\n"));
    gone.chain(come).collect()
}

fn refusal(change: Change) -> Vec<Diagnostic> {
    planned(TEXT, &change).expect_err("refused").reasons
}

#[test]
fn a_port_is_opened_for_an_address() {
    let add = |position: &str| Change::AddRules {
        position: position.parse().unwrap(),
        rules: vec![allow("tcp:8080", "198.51.100.7")],
    };
    let line = "+      - { action: allow, protocol: tcp, port: 8080, source: 198.51.100.7 }\n";
    for position in ["sg-base/in/0", "sg-base/in/1", "sg-base/in", "sg-web/in"] {
        assert_eq!(lines(add(position)), line, "{position}");
    }
    assert_eq!(
        lines(add("sg-free/in")),
        "-  sg-free: {}\n+  sg-free:\n+    inbound:\n+      - { action: allow, protocol: tcp, port: 8080, source: 198.51.100.7 }\n"
    );
    let first_out = Change::AddRules {
        position: "sg-web/out".parse().unwrap(),
        rules: vec![allow("all", "any")],
    };
    assert_eq!(
        lines(first_out),
        "+    outbound:\n+      - { action: allow, protocol: all, destination: any }\n"
    );
    assert_eq!(
        refusal(add("sg-base/in/7"))[0].help.as_deref(),
        Some("sg-base has 2 inbound rules, from sg-base/in/0 to sg-base/in/1")
    );
    assert_eq!(
        refusal(add("sg-bass/in"))[0].help.as_deref(),
        Some("did you mean `sg-base`?")
    );
}

#[test]
fn a_rule_is_replaced_where_it_says_something_else() {
    let replace = |change| Change::ReplaceRule {
        rule: rule("sg-base/in/0"),
        change,
    };
    let line = |rest: &str| {
        format!(
            "-      - {{ action: allow, protocol: tcp, port: 22, source: ipm-office }}   # ssh\n+      - {rest}   # ssh\n"
        )
    };
    let change = RuleChange {
        service: Some("tcp:22,2222".parse().unwrap()),
        description: Some("for us".into()),
        ..RuleChange::default()
    };
    assert_eq!(
        lines(replace(change)),
        line(
            "{ action: allow, protocol: tcp, port: \"22,2222\", source: ipm-office, description: for us }"
        )
    );
    let change = RuleChange {
        allow: Some(false),
        service: Some("all".parse().unwrap()),
        remotes: Some(vec!["10.0.0.0/8".into(), "2001:db8::/32".into()]),
        ..RuleChange::default()
    };
    assert_eq!(
        lines(replace(change)),
        line("{ action: refuse, protocol: all, source: [10.0.0.0/8, \"2001:db8::/32\"] }")
    );
}

#[test]
fn rules_are_moved_and_deleted() {
    let moved = Change::MoveRule {
        rule: rule("sg-base/in/1"),
        to: 0,
    };
    assert!(lines(moved).contains("refuse"));
    let deleted = Change::DeleteRules(vec![rule("sg-base/in/0"), rule("sg-base/in/1")]);
    let new = after(TEXT, deleted);
    assert!(new.contains("    inbound: []\n    outbound:"), "{new}");
    assert_eq!(
        refusal(Change::DeleteRules(vec![rule("sg-web/in/1")]))[0]
            .help
            .as_deref(),
        Some("sg-web has one inbound rule, sg-web/in/0")
    );
}

#[test]
fn groups_are_made_as_the_console_makes_them() {
    for preset in [Preset::OpenAll, Preset::Web, Preset::Custom] {
        let details = Details {
            name: Some("new".into()),
            ..Details::default()
        };
        let new = after(
            TEXT,
            Change::CreateGroup {
                id: id("sg-new"),
                details,
                preset,
            },
        );
        let at = new
            .find("\n\n  sg-new:\n    name: new\n")
            .expect("behind the others, apart as they are");
        assert!(at > new.find("sg-free").unwrap() && at < new.find("address_templates").unwrap());
    }
    let exists = Change::CreateGroup {
        id: id("sg-web"),
        details: Details::default(),
        preset: Preset::Web,
    };
    assert_eq!(refusal(exists)[0].code, "group-exists");
}

#[test]
fn a_clone_has_the_rules_and_no_binding() {
    let clone = |source: &str, region: Option<&str>| Change::CloneGroup {
        source: id(source),
        id: id("sg-clone"),
        details: Details {
            region: region.map(str::to_owned),
            project: Some("p2".into()),
            ..Details::default()
        },
    };
    let new = after(TEXT, clone("sg-base", Some("ap-beijing")));
    let definition = parse([("groups.yaml", new.as_str())]).definition;
    let of = |wanted: &str| {
        definition
            .security_groups
            .iter()
            .find(|group| group.id.text == wanted)
            .unwrap()
    };
    let (source, copy) = (of("sg-base"), of("sg-clone"));
    assert_eq!(
        source.name.as_ref().unwrap().text,
        copy.name.as_ref().unwrap().text,
        "the same name is fine"
    );
    assert_eq!(copy.region.as_ref().unwrap().text, "ap-beijing");
    assert_eq!((copy.inbound.len(), copy.outbound.len()), (2, 1));
    assert!(
        definition
            .instances
            .iter()
            .flat_map(|instance| &instance.interfaces)
            .flat_map(|interface| &interface.security_groups)
            .all(|bound| bound.text != "sg-clone")
    );
    let refused = refusal(clone("sg-web", Some("ap-beijing")));
    assert_eq!(refused[0].code, "cross-region");
    after(TEXT, clone("sg-web", None));
}

#[test]
fn what_is_used_is_not_deleted() {
    let refused = refusal(Change::DeleteGroups(vec![id("sg-web")]));
    assert_eq!(
        refused[0].message,
        "sg-web cannot be deleted: it is bound to the cvm ins-web1, eth0; bound to the clb ins-lb, eth0; bound to the eni ins-card, eth0; bound to the database ins-sql, eth0"
    );
    assert_eq!(refused[0].related.len(), 3);
    let refused = refusal(Change::DeleteGroups(vec![id("sg-base")]));
    assert!(
        refused[0]
            .message
            .ends_with("named by the rule sg-web/in/0"),
        "{}",
        refused[0].message
    );
    assert_eq!(
        lines(Change::DeleteGroups(vec![id("sg-free")])),
        "-  sg-free: {}\n-\n"
    );
}

#[test]
fn groups_are_bound_unbound_and_ordered() {
    let bind = |place: &str, at| Change::Bind {
        place: place.parse().unwrap(),
        groups: vec![id("sg-free")],
        at,
    };
    let bound = |place: &str, at| {
        lines(bind(place, at))
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches(['+', ' '])
            .to_owned()
    };
    assert_eq!(
        bound("ins-web1", None),
        "eth0: { addresses: [10.0.0.5], security_groups: [sg-base, sg-web, sg-free] }"
    );
    assert_eq!(
        bound("ins-web1/eth0", Some(0)),
        "eth0: { addresses: [10.0.0.5], security_groups: [sg-free, sg-base, sg-web] }"
    );
    assert_eq!(
        bound("ins-card/eth1", None),
        "eth1: { security_groups: [sg-free] }"
    );
    assert_eq!(
        bound("ins-card/eth0", None),
        "eth0: { security_groups: [ sg-web, sg-free ] }"
    );
    assert_eq!(refusal(bind("ins-card", None))[0].code, "which-interface");
    assert_eq!(
        refusal(bind("ins-web1/eth7", None))[0].code,
        "unknown-interface"
    );
    assert_eq!(refusal(bind("ins-web1", Some(3)))[0].code, "unknown-place");
    let twice = Change::Bind {
        place: "ins-web1".parse().unwrap(),
        groups: vec![id("sg-web")],
        at: None,
    };
    assert_eq!(refusal(twice)[0].code, "bound-already");

    let unbind = |place: &str, group: &str| Change::Unbind {
        place: place.parse().unwrap(),
        groups: vec![id(group)],
    };
    let last = |change| {
        lines(change)
            .lines()
            .last()
            .unwrap()
            .trim_start_matches(['+', ' '])
            .to_owned()
    };
    assert_eq!(
        last(unbind("ins-web1", "sg-base")),
        "eth0: { addresses: [10.0.0.5], security_groups: [sg-web] }"
    );
    assert_eq!(
        last(unbind("ins-card/eth0", "sg-web")),
        "eth0: { security_groups: [] }"
    );
    assert_eq!(refusal(unbind("ins-web1", "sg-free"))[0].code, "not-bound");

    let order = |groups: &[&str]| Change::Order {
        place: "ins-web1".parse().unwrap(),
        groups: groups.iter().map(|group| id(group)).collect(),
    };
    assert_eq!(
        last(order(&["sg-web", "sg-base"])),
        "eth0: { addresses: [10.0.0.5], security_groups: [sg-web, sg-base] }"
    );
    assert_eq!(lines(order(&["sg-base", "sg-web"])), "");
    assert_eq!(refusal(order(&["sg-web"]))[0].code, "bad-order");
}

#[test]
fn a_reset_is_taken_back() {
    let instance = crate::policy::id::InstanceId::parse("ins-card").unwrap();
    let reset = Change::Reset {
        instance: instance.clone(),
        id: id("sg-x"),
    };
    let open = after(TEXT, reset.clone());
    assert!(
        open.contains(
            "eth0: { security_groups: [sg-all-pass] }   # reset of ins-card/eth0, was: sg-web\n"
        ),
        "{open}"
    );
    assert!(
        open.contains(
            "eth1: { security_groups: [sg-all-pass] }   # reset of ins-card/eth1, was:\n"
        ),
        "{open}"
    );
    assert_eq!(
        planned(&open, &reset).unwrap_err().reasons[0].code,
        "reset-already"
    );
    let back = after(
        &open,
        Change::UndoReset {
            instance: instance.clone(),
        },
    );
    let expected = TEXT.replace("[ sg-web ]", "[sg-web]");
    let (before, all_pass) = back.split_once("\n\n  sg-all-pass:").unwrap();
    assert_eq!(
        format!("{before}\n\n{}", all_pass.split_once("\n\n").unwrap().1),
        expected
    );
    assert_eq!(refusal(Change::UndoReset { instance })[0].code, "no-reset");
}

#[test]
fn a_reset_again_and_again() {
    let text = TEXT.replace(
        "      eth0: { security_groups: [ sg-web ] }\n      eth1: { security_groups: [] }",
        "      { eth0: { security_groups: [sg-web] }, eth1: { security_groups: [sg-base] } }",
    );
    let instance = crate::policy::id::InstanceId::parse("ins-card").unwrap();
    let reset = Change::Reset {
        instance: instance.clone(),
        id: id("sg-x"),
    };
    let undo = Change::UndoReset { instance };
    let once = after(&text, reset.clone());
    // Both comments stand behind one line.
    assert_eq!(
        once.lines()
            .filter(|line| line.matches("# reset of").count() == 2)
            .count(),
        1,
        "{once}"
    );
    let bind = |group: &str| Change::Bind {
        place: "ins-card/eth1".parse().unwrap(),
        groups: vec![id(group)],
        at: None,
    };
    let unbind = |group: &str| Change::Unbind {
        place: "ins-card/eth1".parse().unwrap(),
        groups: vec![id(group)],
    };
    // Bound since by hand: the way back would take that away.
    let bound = after(&once, bind("sg-free"));
    assert_eq!(
        planned(&bound, &undo).unwrap_err().reasons[0].code,
        "bound-since"
    );
    let bound = after(&bound, unbind("sg-all-pass"));
    assert_eq!(
        planned(&bound, &undo).unwrap_err().reasons[0].code,
        "bound-since"
    );
    // A second reset says what was bound then.
    let twice = after(&bound, reset);
    assert!(
        twice.contains("# reset of ins-card/eth1, was: sg-free")
            && !twice.contains("eth1, was: sg-base"),
        "{twice}"
    );
    let back = after(&twice, undo.clone());
    assert!(
        back.contains("eth0: { security_groups: [sg-web] }, eth1: { security_groups: [sg-free] }")
            && !back.contains("# reset"),
        "{back}"
    );
    // A group that was deleted meanwhile is named.
    let gone = after(&twice, Change::DeleteGroups(vec![id("sg-free")]));
    assert_eq!(
        planned(&gone, &undo).unwrap_err().reasons[0].code,
        "unknown-group"
    );
}
