//! Nothing is counted twice and nothing is lost, whichever chains go, stay or come back.

use super::*;
use crate::source::load::judge;

/// Of a policy whose one inbound list has these.
fn rules(of: &[&str]) -> Rules {
    let rules: String = of
        .iter()
        .map(|rule| format!("      - {{ action: allow, {rule} }}\n"))
        .collect();
    let text = format!(
        "version: 1\nsecurity_groups:\n  sg-a:\n    inbound:\n{rules}\
         instances:\n  ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }}\n"
    );
    let none = |_: &std::path::Path| Err("no file".to_owned());
    let loaded = judge([("a.yaml", text.as_str())], none, Vec::new());
    let account = loaded.account.expect("a definition");
    let id = &account.instances[0].id;
    let policy = account.policy(id, &Default::default());
    Rules::of(&policy.expect("an instance"))
}

const SSH: &str = "protocol: tcp, port: 22, source: any";
const WEB: &str = "protocol: tcp, port: 80, source: any";
const DNS: &str = "protocol: udp, port: 53, source: any";
const NTP: &str = "protocol: udp, port: 123, source: any";

fn hit(chain: &str, comment: &str, packets: u64) -> RuleHits {
    RuleHits {
        chain: chain.into(),
        comment: Some(comment.into()),
        packets,
        bytes: packets * 60,
        drops: false,
    }
}

fn packets(counts: &Counts) -> Vec<(&str, u64)> {
    let totals = counts.totals().into_iter();
    totals
        .map(|(name, (packets, bytes, _))| {
            assert_eq!(bytes, packets * 60, "{name}");
            (name, packets)
        })
        .collect()
}

#[test]
fn a_counter_that_is_found_again_is_not_added() {
    let mut counts = Counts::default();
    counts.look(
        &[
            hit("g1_a", "x", 5),
            hit("g1_b", "x", 1),
            hit("g1_b", "x", 1),
        ],
        10,
    );
    assert_eq!(packets(&counts), [("x", 7)]);
    // Another process reads what this one has written.
    let written = postcard::to_stdvec(&counts).unwrap();
    let mut counts: Counts = postcard::from_bytes(&written).unwrap();
    assert!(!counts.has_changed(), "what was read is written");
    counts.look(&[hit("g1_a", "x", 9), hit("g1_b", "x", 2)], 20);
    assert_eq!(packets(&counts), [("x", 11)]);
    assert!(counts.has_changed() && !counts.has_changed());
    counts.look(&[hit("g1_a", "x", 9), hit("g1_b", "x", 2)], 30);
    assert!(!counts.has_changed(), "nothing new");
    assert_eq!(counts.totals()["x"].2, Some(20));
}

#[test]
fn chains_that_are_replaced_deleted_or_begun_anew_are_kept() {
    let mut counts = Counts::default();
    counts.look(&[hit("g1_a", "x", 5)], 10);
    counts.replaced(&[hit("g1_a", "x", 8)], 20);
    counts.look(&[hit("g2_a", "x", 1)], 30);
    assert_eq!(packets(&counts), [("x", 9)]);
    // The table was deleted after the last look, and stands again under new names.
    counts.settle(&[hit("g3_a", "x", 4)]);
    counts.look(&[hit("g3_a", "x", 4)], 40);
    assert_eq!(packets(&counts), [("x", 13)]);
    counts.settle(&[hit("g3_a", "x", 4)]);
    assert_eq!(packets(&counts), [("x", 13)], "nothing was gone");
    // Somebody has set the counters back.
    counts.look(&[hit("g3_a", "x", 1)], 50);
    assert_eq!(packets(&counts), [("x", 14)]);
    counts.look(&[hit("g3_a", "x", 0)], 60);
    assert_eq!(
        (packets(&counts), counts.totals()["x"].2),
        (vec![("x", 14)], Some(50))
    );
    // The machine was started again, and the same names count from zero.
    counts.look(&[hit("g3_a", "x", 2)], 70);
    counts.gone();
    counts.look(&[hit("g3_a", "x", 3)], 80);
    assert_eq!(packets(&counts), [("x", 19)]);
}

#[test]
fn a_count_follows_its_rule() {
    let mut counts = Counts::default();
    let first = rules(&[SSH, WEB, DNS]);
    counts.follow(first.clone(), Generation(1));
    assert!(!counts.would_move(&first));
    let at = |number| format!("sg-a/in/{number}");
    let hits = [
        hit("g1_r0", &at(0), 10),
        hit("g1_r1", &at(1), 20),
        hit("g1_r2", &at(2), 30),
    ];
    counts.look(&hits, 100);

    // One is inserted above them; all was loaded anew.
    let second = rules(&[NTP, SSH, WEB, DNS]);
    assert!(counts.would_move(&second));
    let mut loaded_anew = counts.clone();
    loaded_anew.replaced(&hits, 110);
    loaded_anew.follow(second.clone(), Generation(2));
    let moved = [("sg-a/in/1", 10), ("sg-a/in/2", 20), ("sg-a/in/3", 30)];
    assert_eq!(packets(&loaded_anew), moved);
    assert_eq!(loaded_anew.totals()["sg-a/in/3"].2, Some(100));

    // The same where the kernel keeps the chains of the first three places, which count for other rules now.
    counts.look(&[hits.as_slice(), &[hit("g2_r3", &at(3), 1)]].concat(), 110);
    counts.follow(second.clone(), Generation(2));
    let totals = packets(&counts);
    assert_eq!(
        totals,
        [
            ("sg-a/in/0", 0),
            ("sg-a/in/1", 10),
            ("sg-a/in/2", 20),
            ("sg-a/in/3", 31)
        ]
    );
    counts.look(
        &[
            hit("g1_r0", &at(0), 12),
            hit("g1_r1", &at(1), 20),
            hit("g1_r2", &at(2), 31),
            hit("g2_r3", &at(3), 1),
        ],
        120,
    );
    let totals = packets(&counts);
    assert_eq!(
        totals,
        [
            ("sg-a/in/0", 2),
            ("sg-a/in/1", 10),
            ("sg-a/in/2", 21),
            ("sg-a/in/3", 31)
        ]
    );

    // One is changed where it is, one goes: the others have theirs.
    let third = rules(&[NTP, "protocol: tcp, port: \"22,2222\", source: any", DNS]);
    counts.follow(third.clone(), Generation(3));
    let totals = counts.totals();
    assert_eq!(
        [0, 1, 2].map(|number| totals[at(number).as_str()].0),
        [2, 10, 31]
    );
    // And what comes where another was begins with nothing.
    let fourth = rules(&[
        NTP,
        "protocol: tcp, port: \"22,2222\", source: any",
        DNS,
        WEB,
    ]);
    counts.follow(fourth.clone(), Generation(4));
    let totals = counts.totals();
    assert_eq!(
        totals.get("sg-a/in/3").map_or(0, |total| total.0),
        0,
        "{totals:?}"
    );
}

#[test]
fn equal_rules_keep_their_order() {
    let mut counts = Counts::default();
    counts.follow(rules(&[SSH, SSH, WEB]), Generation(1));
    let hits = [hit("g1_a", "sg-a/in/0", 3), hit("g1_b", "sg-a/in/2", 5)];
    counts.replaced(&hits, 1);
    counts.follow(rules(&[DNS, SSH, SSH, WEB]), Generation(2));
    let totals = counts.totals();
    let of = |id: &str| totals.get(id).map_or(0, |total| total.0);
    assert_eq!(
        ["sg-a/in/0", "sg-a/in/1", "sg-a/in/2", "sg-a/in/3"].map(of),
        [0, 3, 0, 5]
    );
}
