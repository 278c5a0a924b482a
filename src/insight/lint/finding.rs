//! One warning, before anybody has asked whether it is silenced.

use crate::definition::{Diagnostic, Severity, Span};
use crate::policy::{GroupId, RuleId};

/// Why a group has no members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No interface is bound to this group.
    Unbound(String),
    /// The interfaces that are bound to this group list no addresses: each with where it stands.
    Unaddressed(String, Vec<(String, Option<Span>)>),
}

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
    /// What several findings have in common: what is left of them after silencing is said once.
    pub cause: Option<Cause>,
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
            cause: None,
        }
    }

    /// As `check` prints it.
    pub fn warning(self) -> Diagnostic {
        let warning = Diagnostic::new(Severity::Warning, self.code, self.span, self.message);
        let related = self.related.into_iter();
        related.fold(warning.help(self.help), |warning, (span, label)| {
            warning.related(span, label)
        })
    }
}
