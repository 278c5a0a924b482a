//! Damaged definitions: no panic, and whoever is refused is told where.

use crate::cases::judge_texts;
use secgroupd::definition::Severity;
use std::fs;
use std::path::Path;

/// Definitions that are damaged.
const COUNT: usize = 10_000;
/// What a hand or a disk puts in the wrong place.
const SCRAPS: &[&str] = &[
    ":",
    "::",
    " ",
    "\t",
    "\n",
    "\r",
    "\0",
    "-",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!",
    "|\n",
    ">",
    "%",
    "---\n",
    "...",
    "? ",
    "<<: ",
    ",",
    "0",
    "65536",
    "::ffff:1.2.3.4",
    "10.0.0.1/8",
    "sg-",
    "ä",
    "日本",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\u{202e}",
    "~",
    "null",
    "any",
];

#[test]
fn damaged_definitions_are_judged_without_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut valid = vec![fs::read_to_string(root.join("config/example.yaml")).unwrap()];
    for case in crate::cases::cases("golden") {
        valid.extend(fs::read_to_string(case.join("definition.yaml")));
    }
    let folder = root.join("config");
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut judged, mut refused) = (0, 0);
    while judged < COUNT {
        let mut text = rng.choice(&valid).unwrap().clone();
        for _ in 0..rng.usize(1..4) {
            text = damage(&mut rng, &text);
        }
        let outcome = judge_texts([("a.yaml", &*text)], &folder);
        judged += 1;
        let mut errors = outcome
            .diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error);
        if outcome.account.is_none() {
            refused += 1;
            assert!(
                errors.any(|d| d.span.is_some()),
                "refused without a place:\n{text}"
            );
        } else {
            assert_eq!(errors.count(), 0, "accepted with an error:\n{text}");
        }
        for diagnostic in &outcome.diagnostics {
            let shown = diagnostic.render(&outcome.sources, false);
            let wild = |c: char| c.is_control() && c != '\n';
            assert!(!shown.contains(wild), "{shown:?}");
            diagnostic.to_json(&outcome.sources);
        }
    }
    println!("{refused} of {judged} damaged definitions are refused");
    assert!(refused > judged / 4, "{refused} of {judged}");
}

fn damage(rng: &mut fastrand::Rng, text: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    if lines.is_empty() {
        return ":".to_owned();
    }
    let line = rng.usize(..lines.len());
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().concat();
    match rng.u32(..7) {
        0 => without(line),
        1 => [&lines[..line], &lines[line..=line], &lines[line..]]
            .concat()
            .concat(),
        2 => {
            let mut lines = lines.clone();
            let other = rng.usize(..lines.len());
            lines.swap(line, other);
            lines.concat()
        }
        3 => {
            let mut bytes = text.as_bytes().to_vec();
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u32(..8);
            // The file's reader has refused what is not UTF-8.
            String::from_utf8_lossy(&bytes).into_owned()
        }
        4 => {
            let mut text = text.to_owned();
            let at = (0..=rng.usize(..text.len()))
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text.insert_str(at.unwrap_or(0), rng.choice(SCRAPS).unwrap());
            text
        }
        5 => {
            let end = (0..=rng.usize(..text.len()))
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text[..end.unwrap_or(0)].to_owned()
        }
        _ => text.replacen(
            rng.choice(&[" ", ": ", "\n", "[", "any", "sg-"]).unwrap(),
            rng.choice(SCRAPS).unwrap(),
            3,
        ),
    }
}
