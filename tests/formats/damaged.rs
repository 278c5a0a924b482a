//! Damaged input ends in an error, or in a definition that is right: never in a panic, and never late.

use crate::cases::{cases, judge_texts};
use crate::named;
use fastrand::Rng;
use secgroupd::cloud::formats::{ImportError, import};
use std::fs;
use std::path::Path;

/// Every input of the cases.
fn inputs() -> Vec<(String, String)> {
    let mut inputs = Vec::new();
    for case in cases("formats").iter().filter(|case| case.is_dir()) {
        for entry in fs::read_dir(case).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.starts_with("expected") && name != "SOURCE" {
                inputs.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    inputs
}

fn mutated(rng: &mut Rng, text: &str, others: &[(String, String)]) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..rng.usize(1..4) {
        if characters.is_empty() {
            break;
        }
        let at = rng.usize(..characters.len());
        let to = (at + rng.usize(..60)).min(characters.len());
        match rng.u8(..6) {
            0 => drop(characters.drain(at..to)),
            1 => {
                let copy: Vec<char> = characters[at..to].to_vec();
                characters.splice(at..at, copy);
            }
            2 => {
                let odd = [
                    '"', '\\', '{', '[', '0', '-', ':', '\u{0}', '\u{202e}', '#', ',', '%', '$',
                ];
                characters[at] = odd[rng.usize(..odd.len())];
            }
            3 => {
                let other = &others[rng.usize(..others.len())].1;
                let words: Vec<&str> = other.split_whitespace().collect();
                if !words.is_empty() {
                    let word = words[rng.usize(..words.len())];
                    characters.splice(at..to, word.chars());
                }
            }
            4 => {
                let number: Vec<char> = ["0", "-1", "65536", "99999999999999999999", "null", "[]"]
                    [rng.usize(..6)]
                .chars()
                .collect();
                characters.splice(at..at, number);
            }
            _ => characters.truncate(at),
        }
    }
    characters.into_iter().collect()
}

#[test]
fn damaged_input_is_judged_without_panic() {
    let inputs = inputs();
    let rounds = match std::env::var_os("SECGROUPD_FULL") {
        Some(_) => 20_000,
        None => 800,
    };
    let mut rng = Rng::with_seed(20);
    let mut right = 0;
    for _ in 0..rounds {
        let (name, text) = &inputs[rng.usize(..inputs.len())];
        let damaged = mutated(&mut rng, text, &inputs);
        let group = rng.bool().then_some("sg-a");
        let Ok(imported) = import(&named(&[(name, &damaged)]), None, group) else {
            continue;
        };
        let judged = judge_texts([("imported", imported.definition.as_str())], Path::new(""));
        assert!(
            judged.account.is_some(),
            "{damaged}\n{}\n{}",
            imported.definition,
            judged.rendered()
        );
        right += 1;
    }
    assert!(
        right > rounds / 5,
        "only {right} of {rounds} were still of a format"
    );
}

/// Chains that call each other twice each are passed 2^n times: that ends.
#[test]
fn chains_that_multiply_are_refused() {
    let mut text = "*filter\n:INPUT ACCEPT [0:0]\n".to_owned();
    for n in 0..40 {
        text += &format!(":C{n} - [0:0]\n");
    }
    text += "-A INPUT -j C0\n";
    for n in 0..39 {
        text += &format!(
            "-A C{n} -p tcp -j C{m}\n-A C{n} -s 10.0.0.0/8 -j C{m}\n",
            m = n + 1
        );
    }
    text += "-A C39 -j ACCEPT\nCOMMIT\n";
    let error = import(&named(&[("rules", &text)]), None, None).unwrap_err();
    assert!(matches!(error, ImportError::Chains { .. }), "{error}");
    let circle = "*filter\n:INPUT ACCEPT [0:0]\n:A - [0:0]\n-A INPUT -j A\n-A A -j A\nCOMMIT\n";
    let error = import(&named(&[("rules", circle)]), None, None).unwrap_err();
    assert!(error.to_string().contains("called by itself"), "{error}");
}

/// The largest inputs of each kind, which a reader that looks back at each step would not end with.
#[test]
fn large_input_is_read_once() {
    let group = |n: u32| {
        format!(
            "{{\"SecurityGroupId\":\"sg-{n}\",\"SecurityGroupPolicySet\":{{\"Ingress\":[{{\"Protocol\":\"tcp\",\"Port\":\"22\",\"CidrBlock\":\"10.0.0.0/8\",\"Action\":\"ACCEPT\",\"Odd\":\"{n}\"}}]}}}}"
        )
    };
    let groups: Vec<String> = (0..60_000).map(group).collect();
    let text = format!("{{\"SecurityGroupPolicies\":[{}]}}", groups.join(","));
    let imported = import(&named(&[("groups.json", &text)]), None, None).unwrap();
    assert_eq!(imported.definition.matches("  sg-").count(), 60_000);
    let odd = imported
        .notes
        .iter()
        .filter(|note| note.place.ends_with(".Odd"));
    assert_eq!((odd.count(), imported.notes.len()), (60_000, 60_000));
    let mut rules = "*filter\n:INPUT DROP [0:0]\n".to_owned();
    for n in 0..60_000_u32 {
        rules += &format!(
            "-A INPUT -s 10.{}.{}.0/24 -p tcp --dport 22 -j ACCEPT\n",
            n % 250,
            n / 250
        );
    }
    let imported = import(&named(&[("rules", &rules)]), None, None).unwrap();
    // One more: what the policy of OUTPUT lets pass.
    assert_eq!(imported.definition.matches("action: allow").count(), 60_001);
    let too_large = "x".repeat(16_000_001);
    let error = import(&named(&[("large", &too_large)]), None, None).unwrap_err();
    assert!(matches!(error, ImportError::TooLarge { .. }), "{error}");
}
