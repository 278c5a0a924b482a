//! Diff against brute force, and its speed.

use crate::boundary::{Edges, account};
use crate::generate::definition;
use crate::{policies, workloads};
use fastrand::Rng;
use secgroupd::insight::diff::{FlowChange, diff};
use secgroupd::insight::listed::FlowKind;
use secgroupd::insight::space::Work;
use secgroupd::policy::interval::contains;
use secgroupd::policy::{AddressSet, Packet, Policy};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn policy(text: &str) -> Policy {
    let (_, account) = account(text);
    let first = &account.instances[0];
    let unblocked: BTreeSet<_> = first
        .smtp_request
        .then(|| first.id.clone())
        .into_iter()
        .collect();
    account.policy(&first.id, &unblocked).unwrap()
}

/// The same definition with a rule more, less, or the other way round; or its groups in another order.
fn changed(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let rules: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].contains("- { action:"))
        .collect();
    if rules.is_empty() {
        return text.to_owned();
    }
    let at = rules[rng.usize(..rules.len())];
    match rng.u8(0..4) {
        0 => {
            let comment = lines[at].replacen("- {", "# {", 1);
            // A list that becomes empty is written so.
            let alone = !lines[at - 1].contains("- { action:")
                && lines
                    .get(at + 1)
                    .is_none_or(|next| !next.contains("- { action:"));
            if !alone {
                lines[at] = comment;
            }
        }
        1 => {
            let line = lines[at].clone();
            lines[at] = match line.contains("allow") {
                true => line.replace("allow", "refuse"),
                false => line.replace("refuse", "allow"),
            };
        }
        2 => {
            let other = rules[rng.usize(..rules.len())];
            let inbound = |at: usize| lines[at].contains("source:");
            if inbound(at) == inbound(other) {
                lines.swap(at, other);
            }
        }
        _ => {
            for line in &mut lines {
                *line = line.replace("profile: tencent", "profile: none");
                *line = line.replace("unbound_interfaces: ignore", "unbound_interfaces: refuse");
            }
        }
    }
    lines.join("\n") + "\n"
}

/// A change, to be asked quickly.
struct Asked<'c> {
    change: &'c FlowChange,
    remotes: AddressSet,
}

impl Asked<'_> {
    fn holds(&self, class: &str, kind: FlowKind, packet: &Packet) -> bool {
        let change = self.change;
        change.direction == packet.direction
            && change.kinds.contains(&kind)
            && change.interfaces.iter().any(|name| name == class)
            && contains(&change.ports, packet.destination_port)
            && self.remotes.contains(packet.remote)
    }
}

#[test]
fn diff_agrees_with_brute_force() {
    let (mut packets, mut rows, mut differ, mut same) = (0, 0, 0, 0);
    for seed in 0..policies() {
        let mut rng = Rng::with_seed(seed + 200_000);
        let old_text = definition(&mut rng);
        let new_text = match seed % 3 {
            0 => definition(&mut rng),
            _ => changed(&old_text, &mut rng),
        };
        let (old, new) = (policy(&old_text), policy(&new_text));
        let changes = diff(&old, &new, &mut Work::default()).unwrap();
        let asked: Vec<Asked> = changes
            .iter()
            .map(|change| Asked {
                change,
                remotes: AddressSet::new(change.remotes.iter().copied()).expect("some"),
            })
            .collect();
        let mut edges = Edges::default();
        for policy in [&old, &new] {
            let groups: Vec<_> = policy.groups().into_iter().cloned().collect();
            edges.add(policy, &groups);
        }
        let mut any = false;
        for (class, name) in [
            ("eth0", "eth0"),
            ("eth1", "eth1"),
            ("veth*", "veth7"),
            ("*", "wlan0"),
        ] {
            edges.packets(name, |kind, packet| {
                packets += 1;
                let [before, after] = [&old, &new].map(|policy| policy.decide(packet).verdict.passes());
                for opens in [true, false] {
                    let wanted = before != after && after == opens;
                    let told = asked
                        .iter()
                        .any(|each| each.change.opens == opens && each.holds(class, kind, packet));
                    any |= wanted;
                    assert_eq!(
                        told, wanted,
                        "seed {seed}, opens {opens}: {packet:?}\n{old_text}\n{new_text}\n{changes:?}"
                    );
                }
            });
        }
        assert_eq!(any, !changes.is_empty(), "seed {seed}");
        rows += changes.len();
        *(if any { &mut differ } else { &mut same }) += 1;
    }
    println!(
        "{} pairs of policies, {packets} packets: {differ} differ, in {rows} rows, {same} do not",
        policies()
    );
    assert!(differ > policies() / 2 && same > 0, "{differ} {same}");
}

fn small(rules: &[&str]) -> Policy {
    let rules: String = rules
        .iter()
        .map(|rule| format!("      - {{ {rule} }}\n"))
        .collect();
    let rules = if rules.is_empty() {
        "      []\n"
    } else {
        &rules
    };
    policy(&format!(
        "version: 1\nsecurity_groups:\n  sg-a:\n    inbound:\n{rules}\
         instances: {{ ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }}, eth1: {{ security_groups: [sg-a] }} }} }} }}\n"
    ))
}

fn shown(old: &[&str], new: &[&str]) -> Vec<String> {
    let changes = diff(&small(old), &small(new), &mut Work::default()).unwrap();
    let line = |change: &FlowChange| {
        let sign = if change.opens { "+" } else { "-" };
        format!("{sign} {}", change.cells().join(" | "))
    };
    changes.iter().map(line).collect()
}

/// What a person reads: protocols, ports, ranges, families and interfaces that change alike are one row.
#[test]
fn rows_are_few_and_readable() {
    const OPEN: &str = "action: allow, protocol: all, source: any";
    let web = "action: allow, protocol: tcp, port: \"80,443\", source: any";
    assert_eq!(shown(&[web], &[web]), [""; 0]);
    assert_eq!(
        shown(&[], &[web]),
        ["+ eth0, eth1 | inbound | tcp | 80,443 | any"]
    );
    let dns = "action: allow, protocol: udp, port: \"80,443\", source: any";
    assert_eq!(
        shown(&[web, dns], &[]),
        ["- eth0, eth1 | inbound | tcp, udp | 80,443 | any"]
    );
    let (low, high) = (
        "action: refuse, protocol: all, source: 10.0.0.0/9",
        "action: refuse, protocol: all, source: 10.128.0.0/9",
    );
    let closed = shown(&[OPEN], &[low, high, OPEN]);
    assert_eq!(
        closed,
        [
            "- eth0, eth1 | inbound | tcp | all but 42,135,137-139,445,593,1025,1068,1434,3127-3130,4444,5554,5800,5900,9996 | 10.0.0.0/8",
            "- eth0, eth1 | inbound | udp | all but 135-139,1026-1028,1068,1433-1434,5554,9996 | 10.0.0.0/8",
            "- eth0, eth1 | inbound | icmp, gre, others | - | 10.0.0.0/8",
        ]
    );
    let ssh = "action: allow, protocol: tcp, port: 22, source: any";
    let office = "action: allow, protocol: tcp, port: 22, source: [203.0.113.0/24, 198.51.100.7]";
    assert_eq!(
        shown(&[ssh], &[office]),
        ["- eth0, eth1 | inbound | tcp | 22 | 0.0.0.0/0 but 198.51.100.7, 203.0.113.0/24, ::/0"]
    );
    // Two ports from two networks each are two rows, whichever way they are written.
    let (one, other) = (
        "action: allow, protocol: tcp, port: \"22,80\", source: 10.0.0.0/8",
        "action: allow, protocol: tcp, port: 80, source: 192.0.2.0/24",
    );
    assert_eq!(shown(&[], &[one, other]).len(), 2);
    let ping = "action: allow, protocol: icmp, source: any";
    assert_eq!(
        shown(&[], &[ping]),
        ["+ eth0, eth1 | inbound | icmp | - | 0.0.0.0/0"]
    );
}

/// The time is printed; the promise of one second is of a release build, and this is ten times of it.
#[test]
fn a_thousand_rules_are_compared() {
    for workload in [
        workloads::mixed(1000),
        workloads::distinct(1000),
        workloads::staircase(1000),
    ] {
        let old = policy(&workload.definition);
        let mut rng = Rng::with_seed(5);
        let mut text = workload.definition.clone();
        for _ in 0..300 {
            text = changed(&text, &mut rng);
        }
        let new = policy(&text);
        let begin = Instant::now();
        let changes = diff(&old, &new, &mut Work::default()).unwrap();
        let took = begin.elapsed();
        println!(
            "{} of 1,000 rules: {} rows in {took:.0?}",
            workload.name,
            changes.len()
        );
        assert!(!changes.is_empty());
        assert!(
            !crate::is_full() || took < Duration::from_secs(10),
            "{took:?}"
        );
    }
}
