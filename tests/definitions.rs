//! Definitions and what they give: diagnostics (`reject/`, `warn/`) and rulesets (`golden/`).
//!
//! Each case is a folder. After a change that is meant, `UPDATE_EXPECT=1 cargo test --test definitions`
//! rewrites what is expected; read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code, reason = "lint reads what was written")]
#[path = "definitions/cases.rs"]
mod cases;
#[path = "definitions/keys.rs"]
mod keys;
#[path = "definitions/mutations.rs"]
mod mutations;
#[path = "definitions/values.rs"]
mod values;

use cases::{cases, expect, judge, judge_texts};
use secgroupd::definition::{LARGEST_FILE, Severity, parse};
use secgroupd::policy::validate;
use secgroupd::ruleset::{Generation, compile, text};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn wrong_definitions_are_refused_with_the_way_out() {
    let all = cases("reject");
    for case in &all {
        let judged = judge(case);
        assert!(judged.account.is_none(), "{} is accepted", case.display());
        for diagnostic in &judged.diagnostics {
            assert!(diagnostic.help.is_some(), "no help: {}", judged.rendered());
            assert!(
                diagnostic.span.is_some() || diagnostic.code == "no-file",
                "no place: {}",
                judged.rendered()
            );
        }
        expect(&case.join("expected.txt"), &judged.rendered());
    }
    assert!(all.len() >= 55, "{}", all.len());
}

#[test]
fn doubtful_definitions_are_accepted_with_a_word() {
    for case in cases("warn") {
        let judged = judge(&case);
        assert!(
            judged.account.is_some(),
            "{}: {}",
            case.display(),
            judged.rendered()
        );
        assert!(!judged.diagnostics.is_empty(), "{}", case.display());
        for diagnostic in &judged.diagnostics {
            assert!(diagnostic.help.is_some(), "no help: {}", judged.rendered());
        }
        expect(&case.join("expected.txt"), &judged.rendered());
    }
}

#[test]
fn definitions_give_exactly_these_rulesets() {
    let all = cases("golden");
    for case in &all {
        let judged = judge(case);
        assert!(
            judged.diagnostics.is_empty(),
            "{}: {}",
            case.display(),
            judged.rendered()
        );
        let ruleset = compile(&judged.policy());
        expect(
            &case.join("ruleset.nft"),
            &text::table(&ruleset, Generation(1)),
        );
    }
    assert!(all.len() >= 12, "{}", all.len());
}

/// Every code that the source can give has a case that gives it.
#[test]
fn every_code_has_a_case() {
    let seen = |kind: &str, severity: Severity| -> BTreeSet<String> {
        let all = cases(kind);
        let judged = all.iter().flat_map(|case| judge(case).diagnostics);
        judged
            .filter(|diagnostic| diagnostic.severity == severity)
            .map(|diagnostic| diagnostic.code.to_owned())
            .collect()
    };
    let mut missing = BTreeSet::new();
    for (constructor, kind, severity) in [
        ("Diagnostic::error(", "reject", Severity::Error),
        (
            "Diagnostic::new(Severity::Error,",
            "reject",
            Severity::Error,
        ),
        ("Diagnostic::warning(", "warn", Severity::Warning),
    ] {
        let written = codes_in_source(constructor);
        assert!(!written.is_empty(), "no `{constructor}` in the source");
        missing.extend(written.difference(&seen(kind, severity)).cloned());
    }
    assert!(missing.is_empty(), "no case gives {missing:?}");
}

/// The literals that follow a constructor in the source of the definition and of its judges.
fn codes_in_source(constructor: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut codes = BTreeSet::new();
    for folder in ["definition", "definition/parse", "policy/validate"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let source = fs::read_to_string(path).unwrap();
            let source: String = source.split_whitespace().collect();
            let after = source.split(constructor).skip(1);
            codes.extend(after.filter_map(|rest| {
                let code = rest.strip_prefix('"')?;
                Some(code.split('"').next()?.to_owned())
            }));
        }
    }
    codes
}

#[test]
fn a_file_has_16_megabytes_at_most() {
    let mut text = "version: 1\n".to_owned();
    text += &"#".repeat(LARGEST_FILE - text.len());
    let judged = judge_texts([("a.yaml", &*text)], Path::new(""));
    assert!(judged.diagnostics.is_empty(), "{}", judged.rendered());
    text += "#";
    let judged = judge_texts([("a.yaml", &*text)], Path::new(""));
    assert_eq!(judged.diagnostics[0].code, "too-large");
}

/// A template whose file nobody read is an error, and not a template without addresses.
#[test]
fn a_template_file_must_have_been_read() {
    let text = "version: 1\naddress_templates: { ipm-a: { file: a.txt } }\n";
    let parsed = parse([("a.yaml", text)]);
    let validated = validate(&parsed.definition, parsed.diagnostics);
    assert_eq!(validated.diagnostics[0].code, "template-file");
    assert!(validated.account.is_none());
}

/// A list of 100,000 lines is normal, and groups of templates do not multiply it: three to the power of thirty would not end.
#[test]
fn long_lists_and_nested_groups_stay_cheap() {
    let list: String = (0..100_000u32)
        .map(|i| format!("{}\n", std::net::Ipv4Addr::from(0x0b00_0000 + 2 * i)))
        .collect();
    let mut text = "version: 1\naddress_templates:\n  ipm-a: { file: a.txt }\n".to_owned();
    text += "service_templates:\n  ppmg-00: [ppm-a]\n  ppm-a: [\"tcp:80\"]\n";
    for level in 1..30 {
        let below = format!("ppmg-{:02}", level - 1);
        text += &format!("  ppmg-{level:02}: [{below}, {below}, {below}]\n");
    }
    let mut parsed = parse([("a.yaml", &*text)]);
    let files = HashMap::from([(PathBuf::from("a.txt"), Ok(list))]);
    parsed.definition.attach(&files);
    let validated = validate(&parsed.definition, parsed.diagnostics);
    assert!(validated.account.is_some());
}
