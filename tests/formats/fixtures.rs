//! Cases: the input of a client, the definition, and what is said about it.

use crate::cases::{cases, expect, judge_texts};
use crate::imported;
use secgroupd::cloud::formats::{Imported, NoteKind};
use std::fs;
use std::path::Path;

/// The folders of cases stand beside the code of these tests.
fn is_case(path: &Path) -> bool {
    path.is_dir()
}

#[test]
fn each_input_gives_its_definition_and_notes() {
    let mut cases = cases("formats");
    cases.retain(|case| is_case(case));
    for case in &cases {
        let mut inputs: Vec<(String, String)> = fs::read_dir(case)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                !path
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("expected")
            })
            .filter(|path| path.file_name().unwrap() != "SOURCE")
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        inputs.sort();
        let inputs: Vec<(&str, &str)> = inputs
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let Imported { definition, notes } = imported(&inputs, None);
        let judged = judge_texts([("imported", definition.as_str())], case);
        assert!(
            judged.account.is_some(),
            "{}: {}",
            case.display(),
            judged.rendered()
        );
        let notes: Vec<String> = notes
            .iter()
            .map(|note| {
                let word = match note.kind {
                    NoteKind::NotKept => "not kept",
                    NoteKind::Assumed => "assumed",
                };
                format!("{word}: {}: {}\n", note.place, note.message)
            })
            .collect();
        expect(&case.join("expected.yaml"), &definition);
        expect(&case.join("expected.notes"), &notes.concat());
        assert!(
            case.join("SOURCE").is_file(),
            "{} has no SOURCE",
            case.display()
        );
    }
    assert!(cases.len() >= 12, "{}", cases.len());
}
