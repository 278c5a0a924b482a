//! Whatever the files of a definition hold: nothing panics, every word about them can be printed, and either something is said to
//! be wrong or there is a policy for each instance.

use secgroupd::definition::{Severity, parse, printable};
use secgroupd::insight::lint::lint_within;
use secgroupd::insight::space::Work;
use secgroupd::policy::validate;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

const SHOWN: usize = 4;

/// The bytes, cut at each NUL, are the files: the last of several is what every file of an address template holds.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut files: Vec<&str> = text.split('\0').collect();
    let template = match files.len() {
        1 => None,
        _ => files.pop(),
    };
    let names: Vec<String> = (0..files.len()).map(|at| format!("{at}.yaml")).collect();
    let mut parsed = parse(names.iter().map(String::as_str).zip(files));
    let contents: HashMap<PathBuf, Result<String, String>> = parsed
        .definition
        .template_files()
        .into_iter()
        .map(|path| {
            (
                path,
                template
                    .map(str::to_owned)
                    .ok_or_else(|| "no such file".to_owned()),
            )
        })
        .collect();
    parsed.definition.attach(&contents);
    let sources = parsed.definition.sources.clone();
    let validated = validate(&parsed.definition, parsed.diagnostics);
    // Some of them: to show one takes longer than to find it.
    for diagnostic in validated.diagnostics.iter().take(SHOWN) {
        let shown = diagnostic.render(&sources, false);
        for line in shown.lines() {
            assert_eq!(printable(line), line, "what is shown can act on a terminal");
        }
        serde_json_is_text(&diagnostic.to_json(&sources).to_string());
    }
    let wrong = validated
        .diagnostics
        .iter()
        .any(|each| each.severity == Severity::Error);
    assert_eq!(
        validated.account.is_none(),
        wrong,
        "refused without an error, or the other way round"
    );
    let Some(account) = validated.account else {
        return;
    };
    let warnings = lint_within(
        &parsed.definition,
        &account,
        Vec::new(),
        Work::of(3_000_000),
    );
    for warning in warnings.iter().take(SHOWN) {
        let shown = warning.render(&sources, false);
        for line in shown.lines() {
            assert_eq!(printable(line), line, "what is shown can act on a terminal");
        }
    }
    for instance in &account.instances {
        let policy = account.policy(&instance.id, &BTreeSet::new());
        assert!(policy.is_some(), "{} has no policy", instance.id);
    }
}

fn serde_json_is_text(json: &str) {
    assert!(json.starts_with('{') && !json.contains('\n'), "{json}");
}
