//! Every line of a real dump of iptables is part of a rule, or named.

use crate::cases::{cases, judge_texts};
use crate::imported;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The numbers of the lines that hold a rule.
fn rules(dump: &str) -> BTreeSet<usize> {
    let numbered = dump.lines().enumerate();
    let rules = numbered.filter(|(_, line)| line.starts_with("-A ") || line.starts_with('['));
    rules.map(|(index, _)| index + 1).collect()
}

/// The numbers that comments of the definition name: `# iptables lines 5, 12`.
fn of_comments(definition: &str) -> BTreeSet<usize> {
    let comments = definition
        .lines()
        .filter_map(|line| line.split_once("  # "));
    let numbers = comments.flat_map(|(_, comment)| {
        let (_, numbers) = comment.split_once("line").unwrap();
        let numbers = numbers.trim_start_matches('s').split(", ");
        numbers
            .map(|number| number.trim().parse().unwrap())
            .collect::<Vec<usize>>()
    });
    numbers.collect()
}

#[test]
fn every_line_of_a_dump_is_kept_or_named() {
    let mut whole = 0;
    for case in cases("formats") {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        if !case.is_dir() || !name.starts_with("iptables") {
            continue;
        }
        for entry in fs::read_dir(&case).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            if !file.starts_with("input") {
                continue;
            }
            let dump = fs::read_to_string(path).unwrap();
            let imported = imported(&[(&file, &dump)], None);
            let mut seen = of_comments(&imported.definition);
            for note in &imported.notes {
                if let Some((of, line)) = note.place.rsplit_once(':')
                    && of == file
                {
                    seen.insert(line.parse().unwrap());
                }
            }
            let missing: Vec<String> = rules(&dump)
                .difference(&seen)
                .map(|line| format!("{line}: {}", dump.lines().nth(line - 1).unwrap()))
                .collect();
            assert!(
                missing.is_empty(),
                "{file} of {name}:\n{}",
                missing.join("\n")
            );
            let judged = judge_texts([("imported", imported.definition.as_str())], Path::new(""));
            assert!(judged.account.is_some(), "{}", judged.rendered());
            whole = whole.max(dump.lines().count());
        }
    }
    assert!(whole >= 200, "the longest dump has {whole} lines");
}
