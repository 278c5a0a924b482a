//! What is wrong with a definition, as much of it as anybody reads: a file of 16 MB can hold millions of faults.

use super::diagnostic::{Diagnostic, Severity};
use super::hint::closest;
use super::source::Span;
use std::ops::{Deref, DerefMut};

/// So many are kept, and the rest is counted.
pub const MOST_DIAGNOSTICS: usize = 1000;

/// Diagnostics in the order in which they were found.
#[derive(Debug, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    /// Errors and others that were not kept.
    left_out: [usize; 2],
    first_left_out: Option<Span>,
}

impl Diagnostics {
    /// Keeps one, or counts it.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.kept.len() < MOST_DIAGNOSTICS {
            return self.kept.push(diagnostic);
        }
        let refuses = diagnostic.severity == Severity::Error;
        self.left_out[usize::from(!refuses)] += 1;
        if refuses && self.first_left_out.is_none() {
            self.first_left_out = diagnostic.span;
        }
    }

    /// An error at this place, and the way out.
    pub fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::error(code, span, message).help(help));
    }

    /// The same as a warning.
    pub fn warning(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::warning(code, span, message).help(help));
    }

    /// Keeps or counts each.
    pub fn extend(&mut self, diagnostics: impl IntoIterator<Item = Diagnostic>) {
        diagnostics.into_iter().for_each(|each| self.push(each));
    }

    /// Takes back those after the first `length` that were kept.
    pub fn truncate(&mut self, length: usize) {
        self.kept.truncate(length);
    }

    /// Whether an error was found since there were `before` kept ones and `left_out` ([`Self::found`]).
    pub fn errors_since(&self, before: Tally) -> bool {
        let new = self.kept.get(before.kept..).unwrap_or_default();
        new.iter().any(|each| each.severity == Severity::Error) || self.left_out[0] > before.errors
    }

    /// How many were found by now.
    pub fn found(&self) -> Tally {
        Tally {
            kept: self.kept.len(),
            errors: self.left_out[0],
        }
    }

    /// The name that was probably meant. Nobody reads it where no more is kept, and it takes its time.
    pub fn closest<'a>(&self, written: &str, names: &[&'a str]) -> Option<&'a str> {
        match self.kept.len() < MOST_DIAGNOSTICS {
            true => closest(written, names),
            false => None,
        }
    }

    /// All that were kept, and a last one for the rest.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        let mut all = self.kept;
        let [errors, others] = self.left_out;
        let (severity, what, number) = match (errors, others) {
            (0, 0) => return all,
            (0, others) => (Severity::Warning, "warnings", others),
            (errors, _) => (Severity::Error, "errors", errors),
        };
        let message = format!("{number} more {what} are not listed");
        all.push(
            Diagnostic::new(severity, "too-many", self.first_left_out, message)
                .help("mend those that are listed, and check again"),
        );
        all
    }
}

/// How many diagnostics there were.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    kept: usize,
    errors: usize,
}

impl Tally {
    /// How many were kept.
    pub fn kept(self) -> usize {
        self.kept
    }
}

impl Deref for Diagnostics {
    type Target = [Diagnostic];
    fn deref(&self) -> &Self::Target {
        &self.kept
    }
}

impl DerefMut for Diagnostics {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(severity: Severity, at: u32) -> Diagnostic {
        let span = Span {
            source: 0,
            start: at,
            end: at,
        };
        Diagnostic::new(severity, "x", Some(span), "wrong")
    }

    #[test]
    fn an_error_that_is_not_kept_still_refuses() {
        let mut all = Diagnostics::default();
        for at in 0..MOST_DIAGNOSTICS as u32 {
            all.push(fault(Severity::Warning, at));
        }
        let before = all.found();
        assert!(!all.errors_since(before));
        all.push(fault(Severity::Warning, 1));
        assert!(!all.errors_since(before));
        all.extend([fault(Severity::Error, 7), fault(Severity::Error, 8)]);
        assert!(all.errors_since(before));
        let all = all.into_vec();
        assert_eq!(all.len(), MOST_DIAGNOSTICS + 1);
        let last = all.last().unwrap();
        assert_eq!(last.severity, Severity::Error);
        assert_eq!(last.message, "2 more errors are not listed");
        assert_eq!(last.span.unwrap().start, 7);
    }
}
