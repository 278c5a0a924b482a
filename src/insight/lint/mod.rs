//! Lint: what is right in a definition, but probably not meant. Exact where it is about flows, and given up with a word where a
//! definition is too large to be worked out in some seconds. Only `check` pays for it.

mod answers;
mod covered;
mod fact;
pub mod facts;
pub mod finding;
mod findings;
pub mod host;
mod members;
mod never;
mod silence;
mod walk;
mod written;

use super::space::{TooLarge, Work};
use crate::definition::{Definition, Diagnostic, Severity, codes};
use crate::policy::{Account, RuleId};
use finding::Finding;
use std::collections::HashSet;

/// All warnings about a definition that is valid, and those that were found on the host; without those that it silences.
pub fn lint(definition: &Definition, account: &Account, on_host: Vec<Finding>) -> Vec<Diagnostic> {
    lint_within(definition, account, on_host, Work::default())
}

/// The same with another patience.
pub fn lint_within(
    definition: &Definition,
    account: &Account,
    on_host: Vec<Finding>,
    mut work: Work,
) -> Vec<Diagnostic> {
    let mut findings = written::findings(definition, account);
    findings.extend(answers::findings(definition, account));
    let blocked = findings
        .iter()
        .filter(|each| each.code == codes::BLOCKED_PORT);
    let blocked: HashSet<RuleId> = blocked.filter_map(|each| each.rule.clone()).collect();
    let worked_out = facts::facts(account, &mut work)
        .and_then(|facts| findings::findings(definition, account, &facts, &blocked, &mut work));
    let given_up = worked_out.as_ref().err().copied();
    findings.extend(worked_out.into_iter().flatten());
    findings.extend(on_host);
    // In the order in which a person meets them.
    findings.sort_by_key(|finding| finding.span);
    let mut warnings = silence::silence(definition, findings, given_up.is_none());
    if let Some(TooLarge) = given_up {
        let message = format!("not all warnings were looked for: {TooLarge}");
        let told = Diagnostic::new(Severity::Warning, "lint-given-up", None, message);
        warnings.push(told.help(
            "what is said of single rules still holds; put addresses that are used together into templates, and fewer rules into a group",
        ));
    }
    warnings
}
