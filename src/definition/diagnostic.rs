//! What is wrong or doubtful in a definition: data, not an error type.

use super::source::{Sources, Span, acts, printable};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The definition is refused.
    Error,
    /// A request of one instance is refused and the rest of the definition is enforced.
    Refused,
    /// Doubtful, but enforced.
    Warning,
}

/// One thing to say about a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it weighs.
    pub severity: Severity,
    /// A short name of the kind, such as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// Where, unless it is about no place in particular.
    pub span: Option<Span>,
    /// Other places that belong to it, each with a word about it.
    pub related: Vec<(Span, String)>,
    /// The way out, where there is an obvious one.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, Some(span), message)
    }

    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, Some(span), message)
    }

    /// Any diagnostic.
    pub fn new(
        severity: Severity,
        code: &'static str,
        span: Option<Span>,
        message: impl Into<String>,
    ) -> Self {
        Diagnostic {
            severity,
            code,
            message: shortened(message.into()),
            span,
            related: Vec::new(),
            help: None,
        }
    }

    /// Adds the way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(shortened(help.into()));
        self
    }

    /// Adds another place that belongs to it.
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, shortened(label.into())));
        self
    }

    /// As people read it: `error[code]: message`, the place, the line with a caret, the help.
    pub fn render(&self, sources: &Sources, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Refused => Level::ERROR.with_name("refused"),
            Severity::Warning => Level::WARNING,
        };
        let message = printable(&self.message);
        let help = self.help.as_deref().map(printable);
        let mut group = level.primary_title(&*message).id(self.code).elements(
            self.span
                .iter()
                .map(|span| snippet(sources, *span, AnnotationKind::Primary, None)),
        );
        for (span, label) in &self.related {
            group = group.element(snippet(
                sources,
                *span,
                AnnotationKind::Context,
                Some(printable(label)),
            ));
        }
        if let Some(help) = &help {
            group = group.element(Level::HELP.message(&**help));
        }
        let renderer = match colour {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        renderer.render(&[group])
    }

    /// As machines read it.
    pub fn to_json(&self, sources: &Sources) -> serde_json::Value {
        let at = |span: Span| {
            let source = sources.get(span.source);
            let (line, column) = source.position(span.start);
            let (end_line, end_column) = source.position(span.end);
            serde_json::json!({
                "file": &*source.path, "line": line, "column": column,
                "end_line": end_line, "end_column": end_column,
            })
        };
        let related: Vec<_> = self
            .related
            .iter()
            .map(|(span, label)| serde_json::json!({ "at": at(*span), "label": label }))
            .collect();
        serde_json::json!({
            "severity": self.severity, "code": self.code, "message": self.message,
            "at": self.span.map(at), "related": related, "help": self.help,
        })
    }
}

/// A message quotes what the operator wrote, which may be megabytes.
fn shortened(mut text: String) -> String {
    const LONGEST: usize = 10_000;
    if text.len() > LONGEST {
        text.truncate(floor_char(&text, LONGEST));
        text.push('…');
    }
    text
}

/// The first line of a span with carets below it. Only that line is handed to the renderer, so
/// that a diagnostic in a file of 16 MB costs no more than one in a small file.
fn snippet(
    sources: &Sources,
    span: Span,
    kind: AnnotationKind,
    label: Option<String>,
) -> Snippet<'static, annotate_snippets::Annotation<'static>> {
    const LONGEST_LINE: usize = 400;
    let source = sources.get(span.source);
    let (line, _) = source.position(span.start);
    let range = source.line(line);
    let start = (span.start as usize).clamp(range.start, range.end);
    let end = (span.end as usize).clamp(start, range.end);
    // A line of megabytes is shown from a little before the place on.
    let from = floor_char(
        &source.text,
        range.start.max(start.saturating_sub(LONGEST_LINE / 2)),
    );
    let to = floor_char(&source.text, range.end.min(from + LONGEST_LINE));
    let text = harmless(&source.text[from..to]);
    let (first, last) = (start.clamp(from, to) - from, end.clamp(from, to) - from);
    Snippet::source(text)
        .line_start(line as usize)
        .path(printable(&source.path))
        .annotation(kind.span(first..last).label(label))
}

/// The text with what could act on a terminal replaced by characters of the same length, so that places stay.
/// The renderer itself makes ASCII's control characters visible.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match (acts(c), c.len_utf8()) {
            (true, 2) => '\u{bf}',
            (true, 3) => char::REPLACEMENT_CHARACTER,
            _ => c,
        })
        .collect()
}

/// The start of the character that this byte belongs to.
fn floor_char(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}
