//! Lint: what is right in a definition, but probably not meant. Exact where it is about flows, and given up with a word where a
//! definition is too large to be worked out in some seconds. Only `check` pays for it.

mod covered;
pub mod facts;
mod findings;
pub mod host;
mod silence;
mod walk;
mod written;

use super::space::{TooLarge, Work};
use crate::definition::{Definition, Diagnostic, Severity, Span};
use crate::policy::{Account, GroupId, RuleId};

/// One thing that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// One of [`crate::definition::codes::CODES`].
    pub code: &'static str,
    /// Where.
    pub span: Option<Span>,
    /// The group that it is about.
    pub group: Option<GroupId>,
    /// The rule that it is about.
    pub rule: Option<RuleId>,
    /// What it is, in one line.
    pub message: String,
    /// Other places, each with a word about it.
    pub related: Vec<(Span, String)>,
    /// The way out.
    pub help: String,
}

impl Finding {
    /// About no rule in particular.
    pub fn new(code: &'static str, message: String, help: impl Into<String>) -> Self {
        Finding {
            code,
            span: None,
            group: None,
            rule: None,
            message,
            related: Vec::new(),
            help: help.into(),
        }
    }

    fn warning(self) -> Diagnostic {
        let warning = Diagnostic::new(Severity::Warning, self.code, self.span, self.message);
        let related = self.related.into_iter();
        related.fold(warning.help(self.help), |warning, (span, label)| {
            warning.related(span, label)
        })
    }
}

/// All warnings about a definition that is valid, and those that were found on the host; without those that it silences.
pub fn lint(definition: &Definition, account: &Account, on_host: Vec<Finding>) -> Vec<Diagnostic> {
    lint_within(definition, account, on_host, Work::default())
}

/// The same with less patience, for tests.
pub fn lint_within(
    definition: &Definition,
    account: &Account,
    on_host: Vec<Finding>,
    mut work: Work,
) -> Vec<Diagnostic> {
    let mut findings = written::findings(definition, account);
    let worked_out = facts::facts(account, &mut work)
        .and_then(|facts| findings::findings(definition, account, &facts, &mut work));
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
