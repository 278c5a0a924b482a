//! Definitions and what they give: diagnostics (`reject/`, `warn/`) and rulesets (`golden/`).
//!
//! Each case is a folder. After a change that is meant, `UPDATE_EXPECT=1 cargo test --test definitions`
//! rewrites what is expected; read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "definitions/cases.rs"]
mod cases;
#[path = "definitions/keys.rs"]
mod keys;
#[path = "definitions/mutations.rs"]
mod mutations;

use cases::{cases, expect, judge};
use secgroupd::definition::Severity;
use secgroupd::ruleset::{Generation, compile, text};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
    for folder in ["definition", "policy/validate"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let source = fs::read_to_string(entry.unwrap().path()).unwrap();
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
