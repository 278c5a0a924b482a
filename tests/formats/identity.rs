//! definition → tencent → definition and definition → terraform → definition.
//!
//! A definition comes back as it was, after the split that the cloud's form needs: one remote a rule, CIDRs instead of
//! ranges, ports that are a list or one range. So three things are asked of each random definition: the groups,
//! templates, subnets, ACLs and instances are the same; no flow is judged otherwise, by the exact comparison of `diff`; and what
//! comes back is the same to the byte when it goes the same way again.

use crate::cases::{Judged, judge_texts};
use crate::{generate, imported};
use fastrand::Rng;
use secgroupd::cloud::formats::export::{Target, export};
use secgroupd::cloud::formats::{Note, NoteKind};
use secgroupd::insight::diff::diff;
use secgroupd::insight::space::Work;
use secgroupd::policy::{Account, Direction, Packet, Policy, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

fn cases() -> u64 {
    match std::env::var_os("SECGROUPD_FULL") {
        Some(_) => 2000,
        None => 200,
    }
}

/// A random definition of what a cloud has: no platform, no observing group, instances that are CVMs, and no part of
/// 0.0.0.0/8, which the cloud reads as the whole of IPv4.
fn definition(rng: &mut Rng) -> String {
    let text = generate::definition(rng);
    let text = text.split("platform:").next().unwrap_or_default();
    let text = text
        .replace(
            "    mode: observe\n",
            "    region: ap-guangzhou\n    project: default\n",
        )
        .replace("kind: clb", "kind: cvm")
        .replace("    smtp: unblocked\n", "")
        .replace("0.0.0.0/1", "1.0.0.0/8");
    text + &network_acls(rng)
}

/// Two subnets, with an ACL of three-part entries, and one of five-part ones.
fn network_acls(rng: &mut Rng) -> String {
    let mut out = "subnets:\n  subnet-a: { cidr: [10.1.2.0/24, \"2001:db8:1::/64\"], network_acl: acl-a }\n  \
                   subnet-b: { cidr: 10.7.7.0/24, network_acl: acl-b }\nnetwork_acls:\n"
        .to_owned();
    for acl in ["acl-a", "acl-b"] {
        let _ = writeln!(out, "  {acl}:");
        for (list, far, near) in [
            ("inbound", "source", "destination"),
            ("outbound", "destination", "source"),
        ] {
            let _ = writeln!(out, "    {list}:");
            for _ in 0..rng.usize(1..5) {
                let action = ["allow", "refuse"][rng.usize(..2)];
                let protocol = ["tcp", "udp", "icmp", "all"][rng.usize(..4)];
                let v4 = [
                    "192.0.2.0/24",
                    "[198.51.100.7, 203.0.113.0/25]",
                    "192.0.2.3-192.0.2.9",
                ];
                let addresses = match (protocol, rng.u8(..3)) {
                    (_, 0) => "any",
                    ("icmp", _) | (_, 1) => v4[rng.usize(..3)],
                    _ => "[\"2001:db8:9::/48\", 192.0.2.1]",
                };
                let has_ports = matches!(protocol, "tcp" | "udp");
                let port = match has_ports {
                    true => ["", ", port: 443", ", port: \"80,8000-8100\""][rng.usize(..3)],
                    false => "",
                };
                let five = match (acl, has_ports, rng.bool()) {
                    ("acl-b", true, true) => ", source_port: 1024-65535".to_owned(),
                    ("acl-b", _, false) => format!(", {near}: 10.7.7.7"),
                    _ => String::new(),
                };
                let _ = writeln!(
                    out,
                    "      - {{ action: {action}, protocol: {protocol}{port}, {far}: {addresses}{five} }}"
                );
            }
        }
    }
    out
}

/// What goes there and comes back.
struct Trip {
    document: String,
    definition: String,
    out: Vec<Note>,
    back: Vec<Note>,
}

fn trip(judged: &Judged, target: Target) -> Trip {
    // The sources of a case stand apart; places are not what is asked for here.
    let exported = export(&judged.definition, target);
    let document = serde_json::to_string_pretty(&exported.document).unwrap();
    let imported = imported(&[("back.json", &document)], None);
    Trip {
        document,
        definition: imported.definition,
        out: exported.notes,
        back: imported.notes,
    }
}

fn right(text: &str) -> Judged {
    let mut judged = judge_texts([("groups.yaml", text)], Path::new(""));
    assert!(judged.account.is_some(), "{text}\n{}", judged.rendered());
    judged.definition.sources = std::mem::take(&mut judged.sources);
    judged
}

fn account(judged: &Judged) -> &Account {
    judged.account.as_ref().unwrap()
}

fn policies(account: &Account) -> Vec<Policy> {
    let all = account.instances.iter().map(|instance| instance.id.clone());
    let unblocked: BTreeSet<_> = all.collect();
    let instances = account.instances.iter();
    instances
        .map(|instance| account.policy(&instance.id, &unblocked).unwrap())
        .collect()
}

fn lost(notes: &[Note]) -> Vec<&Note> {
    notes
        .iter()
        .filter(|note| note.kind == NoteKind::NotKept)
        .collect()
}

/// Packets on the edges of what the ACLs say, which `diff` does not compare: each is judged the same.
fn judge_the_same(rng: &mut Rng, old: &Policy, new: &Policy, text: &str) {
    let remotes = [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "192.0.2.9",
        "192.0.2.10",
        "198.51.100.7",
        "198.51.100.8",
        "203.0.113.5",
        "203.0.113.200",
        "2001:db8:9::1",
        "2001:db8:a::1",
    ];
    let ports = [80, 443, 1023, 1024, 8000, 8100, 8101, 65535];
    for _ in 0..40 {
        let remote: IpAddr = remotes[rng.usize(..remotes.len())].parse().unwrap();
        let direction = [Direction::Inbound, Direction::Outbound][rng.usize(..2)];
        let protocol =
            [Protocol::TCP, Protocol::UDP, Protocol::ICMP, Protocol::GRE][rng.usize(..4)];
        let port = ports[rng.usize(..ports.len())];
        let mut packet = Packet::opening(direction, "eth0", protocol, remote, port);
        packet.local = match remote {
            IpAddr::V4(_) => ["10.1.2.3", "10.7.7.7", "10.7.7.8"][rng.usize(..3)]
                .parse()
                .unwrap(),
            IpAddr::V6(_) => "2001:db8:1::1".parse().unwrap(),
        };
        packet.source_port = ports[rng.usize(..ports.len())];
        let (before, after) = (old.decide(&packet), new.decide(&packet));
        assert_eq!(
            before.verdict, after.verdict,
            "{packet:?}: {before:?} {after:?}\n{text}"
        );
    }
}

/// What has an id, and what it says beside rules, in one order.
fn objects(judged: &Judged) -> BTreeMap<String, String> {
    let mut objects = BTreeMap::new();
    let definition = &judged.definition;
    let mut texts = |id: &str, text: String| objects.insert(id.to_owned(), text);
    for group in &definition.security_groups {
        let text = |text: &Option<secgroupd::definition::reader::Text>| {
            text.as_ref().map(|text| text.text.clone())
        };
        let all = [text(&group.name), text(&group.region), text(&group.project)];
        texts(&group.id.text, format!("{all:?}"));
    }
    for instance in &definition.instances {
        let name = instance.hostname.as_ref().map(|name| name.text.clone());
        let interfaces: Vec<String> = instance
            .interfaces
            .iter()
            .map(|each| {
                let groups = each.security_groups.iter().map(|id| id.text.as_str());
                let groups: Vec<&str> = groups.collect();
                let addresses = each.addresses.iter().map(|text| text.text.as_str());
                let addresses: BTreeSet<&str> = addresses.collect();
                format!("{} {addresses:?} {groups:?}", each.name.text)
            })
            .collect();
        texts(
            &instance.id.text,
            format!("{name:?} {} {interfaces:?}", instance.prepaid),
        );
    }
    for template in definition.address_templates.iter().map(|each| &each.id) {
        texts(&template.text, String::new());
    }
    for template in definition.service_templates.iter().map(|each| &each.id) {
        texts(&template.text, String::new());
    }
    for acl in &definition.network_acls {
        texts(&acl.id.text, String::new());
    }
    for subnet in &definition.subnets {
        let acl = subnet.network_acl.as_ref().map(|id| id.text.clone());
        let networks = subnet.cidr.iter().flat_map(|cidr| &cidr.items);
        let networks: Vec<&str> = networks.map(|text| text.text.as_str()).collect();
        texts(&subnet.id.text, format!("{networks:?} {acl:?}"));
    }
    objects
}

#[test]
fn definition_to_tencent_to_definition_is_the_identity() {
    for seed in 0..cases() {
        let text = definition(&mut Rng::with_seed(seed));
        let before = right(&text);
        let there = trip(&before, Target::Tencent);
        assert_eq!(lost(&there.out), Vec::<&Note>::new(), "{seed}\n{text}");
        assert_eq!(
            lost(&there.back),
            Vec::<&Note>::new(),
            "{seed}\n{text}\n{}",
            there.document
        );
        let after = right(&there.definition);
        assert_eq!(
            objects(&before),
            objects(&after),
            "{seed}\n{text}\n{}",
            there.definition
        );
        for (old, new) in policies(account(&before))
            .iter()
            .zip(&policies(account(&after)))
        {
            let changes = diff(old, new, &mut Work::default()).unwrap();
            assert!(
                changes.is_empty(),
                "{seed}: {changes:?}\n{text}\n{}",
                there.definition
            );
            judge_the_same(&mut Rng::with_seed(seed), old, new, &text);
        }
        let again = trip(&after, Target::Tencent);
        assert_eq!(again.document, there.document, "{seed}");
        assert_eq!(again.definition, there.definition, "{seed}");
    }
}

#[test]
fn definition_to_terraform_to_definition_is_the_identity() {
    for seed in 0..cases() {
        // Instances are of the configuration's own resources, and its entries of ACLs have three parts.
        let text = definition(&mut Rng::with_seed(seed))
            .replace(", source_port: 1024-65535", "")
            .replace(", destination: 10.7.7.7", "")
            .replace(", source: 10.7.7.7", "")
            .replace(", \"2001:db8:1::/64\"], network_acl", "], network_acl")
            .replace("    region: ap-guangzhou\n", "");
        let text = text.replace("cidr: [10.1.2.0/24]", "cidr: 10.1.2.0/24");
        let instances = text.find("instances:\n").unwrap();
        let end = text.find("subnets:\n").unwrap();
        let without = format!("{}{}", &text[..instances], &text[end..]);
        let there = trip(&right(&without), Target::Terraform);
        assert_eq!(lost(&there.out), Vec::<&Note>::new(), "{seed}\n{text}");
        assert_eq!(
            lost(&there.back),
            Vec::<&Note>::new(),
            "{seed}\n{text}\n{}",
            there.document
        );
        let after = right(&there.definition);
        assert_eq!(
            objects(&right(&without)),
            objects(&after),
            "{seed}\n{text}\n{}",
            there.definition
        );
        // The same instances beside both: flows are judged on hosts.
        let before = right(&text);
        let with = format!("{}{}", there.definition, &text[instances..end]);
        let after = right(&with);
        for (old, new) in policies(account(&before))
            .iter()
            .zip(&policies(account(&after)))
        {
            let changes = diff(old, new, &mut Work::default()).unwrap();
            assert!(changes.is_empty(), "{seed}: {changes:?}\n{text}\n{with}");
            judge_the_same(&mut Rng::with_seed(seed), old, new, &text);
        }
        let again = trip(&right(&there.definition), Target::Terraform);
        assert_eq!(again.document, there.document, "{seed}");
    }
}

/// Rules in the cloud's own form come back as they were, each with its description.
#[test]
fn rules_of_the_cloud_s_form_come_back_to_the_letter() {
    let text = "version: 1

security_groups:
  sg-a:
    name: \"${a} %{b} \\\"c\\\"\"
    project: default
    inbound:
      - { action: allow, protocol: tcp, port: \"80,443\", source: 10.0.0.0/8, description: the shop }
      - { action: refuse, protocol: tcp, port: 8000-8100, source: \"2001:db8::/32\", description: \"${var.x} #1, 'two'\" }
      - { action: allow, service: ppm-a, source: ipm-a }
      - { action: allow, service: ppmg-a, source: ipmg-a }
      - { action: allow, protocol: icmp, source: sg-a }
    outbound:
      - { action: allow, protocol: gre, destination: 192.0.2.1 }
      - { action: allow, protocol: all, destination: \"::/0\" }

address_templates:
  ipm-a: [192.0.2.1, 192.0.2.10-192.0.2.20, \"2001:db8::/32\"]
  ipmg-a: [ipm-a]

service_templates:
  ppm-a: [\"tcp:80,443\", \"udp:53\", \"tcp:all\", icmp, gre]
  ppmg-a: [ppm-a]
";
    for target in [Target::Tencent, Target::Terraform] {
        let there = trip(&right(text), target);
        assert_eq!(there.definition, text, "{}", there.document);
        assert_eq!(lost(&there.out), Vec::<&Note>::new());
        assert_eq!(there.back, []);
    }
}

/// What a cloud does not have is named, each with its place.
#[test]
fn what_a_cloud_has_not_is_named() {
    let text = "version: 1
security_groups:
  sg-a:
    mode: observe
    project: shop
    inbound:
      - { action: allow, protocol: tcp, source: 0.0.0.0/7 }
      - { action: allow, protocol: udp, source: 192.0.2.7, until: 2100-12-31T18:00Z }
instances:
  ins-a: { kind: clb, interfaces: { eth0: { security_groups: [sg-a] } } }
  ins-b: { billing: prepaid, smtp: unblocked, interfaces: { eth0: { security_groups: [sg-a] } } }
platform: { established: keep, events: refusals }
tests:
  - { from: 192.0.2.1, to: ins-a, protocol: udp, port: 80, expect: refuse }
lab:
  hosts: { office: [203.0.113.7] }
silence:
  - { code: admin-port, reason: because }
";
    let judged = judge_texts([("groups.yaml", text)], Path::new(""));
    let mut definition = judged.definition;
    definition.sources = judged.sources;
    let exported = export(&definition, Target::Tencent);
    let notes: Vec<String> = lost(&exported.notes)
        .iter()
        .map(|note| format!("{}: {}", note.place, note.message))
        .collect();
    for (place, word) in [
        ("groups.yaml:3", "mode: observe"),
        ("groups.yaml:7", "0.0.0.0/8 of"),
        ("groups.yaml:8", "until: 2100-12-31T18:00Z"),
        ("sg-a", "project `shop`"),
        ("groups.yaml:10", "ins-a is left out"),
        ("groups.yaml:11", "smtp: unblocked"),
        ("platform", "established"),
        ("platform", "events"),
        ("groups.yaml:14", "tests"),
        ("groups.yaml:16", "office"),
        ("groups.yaml:18", "silence"),
    ] {
        let found = notes
            .iter()
            .any(|note| note.starts_with(place) && note.contains(word));
        assert!(found, "{place} {word}: {notes:#?}");
    }
    assert_eq!(notes.len(), 11, "{notes:#?}");
}
