//! From a definition's text to what is enforced of it, for the first instance that it names.

#![allow(clippy::expect_used, reason = "a test")]

use std::collections::BTreeSet;

use secgroupd::definition::parse;
use secgroupd::policy::{Policy, validate};

/// The policy of the first instance. An unblock of TCP 25 that it asks for is granted.
///
/// # Panics
/// When the definition is refused, with its text and everything that is said about it.
pub fn policy(text: &str) -> Policy {
    let parsed = parse([("test.yaml", text)]);
    let sources = parsed.definition.sources.clone();
    let validated = validate(&parsed.definition, parsed.diagnostics);
    let account = validated.account.unwrap_or_else(|| {
        let shown: Vec<_> = validated
            .diagnostics
            .iter()
            .map(|diagnostic| diagnostic.render(&sources, false))
            .collect();
        panic!("{text}\n{}", shown.join("\n"))
    });
    let first = &account.instances[0];
    let unblocked: BTreeSet<_> = first
        .smtp_request
        .then(|| first.id.clone())
        .into_iter()
        .collect();
    account
        .policy(&first.id, &unblocked)
        .expect("the first instance")
}
