//! YAML as a tree in which every node knows its place.
//!
//! The only module that knows the YAML crate. serde would stop at the first value of a wrong type;
//! a tree lets [`super::reader`] report every error of a definition in one run, so this module
//! builds on `granit-parser`, the event parser underneath serde-saphyr.

use super::diagnostic::Diagnostic;
use super::diagnostics::Diagnostics;
use super::source::Span;
use super::syntax::explain;
use granit_parser::{Event, Parser, ScalarStyle};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// Nodes of one file, and what each anchor and alias copies: a bound against the billion-laughs kind of file. A rule
/// has about eight.
const MOST_NODES: usize = 1_000_000;
/// Bytes of text in them, counted in the same way.
const MOST_TEXT: usize = 64_000_000;
/// How deep lists and mappings may nest; the definition itself needs eight levels.
const DEEPEST: usize = 64;
/// In mappings of so many entries a key that stands twice is looked for one by one: a rule has few.
const FEW_ENTRIES: usize = 16;

/// A YAML node and its place. Most of its texts are parts of the file's.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlNode<'a> {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub value: Value<'a>,
}

/// What a node is. Scalars keep their text: what it means depends on the key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar's text after YAML's own escapes.
    Scalar(Cow<'a, str>),
    /// A list.
    Sequence(Vec<YamlNode<'a>>),
    /// A mapping, in the order of the file, without duplicate keys.
    Mapping(Vec<(Key<'a>, YamlNode<'a>)>),
    /// What is wrong with it was reported.
    Unreadable,
}

/// The key of a mapping's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Key<'a> {
    /// Where it stands.
    pub span: Span,
    /// Its text.
    pub text: Cow<'a, str>,
}

impl Value<'_> {
    /// What to call it in a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Unreadable => "unreadable",
        }
    }

    /// The address that YAML read as a mapping: `[2001:db8::]` is `{ "2001:db8:": null }`.
    pub fn swallowed_address(&self) -> Option<String> {
        let Value::Mapping(entries) = self else {
            return None;
        };
        let [(key, node)] = entries.as_slice() else {
            return None;
        };
        let rest = match &node.value {
            Value::Null => "",
            Value::Scalar(text) => text,
            _ => return None,
        };
        let text = format!("{}:{rest}", key.text);
        let hex = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'/');
        let colons = key.text.contains(':') || rest.contains(':');
        (colons && text.bytes().all(hex)).then_some(text)
    }
}

impl Key<'_> {
    /// Why a key that looks like a value stands here: `{ port: 80,443 }` has a key `443`.
    pub fn swallowed_comma(&self, value: &Value) -> Option<String> {
        let value_like = self.text.starts_with(|c: char| c.is_ascii_digit());
        (value_like && *value == Value::Null).then(|| {
            format!(
                "in `{{ }}` a comma ends the value: quote the whole list, such as \"80,{}\"",
                self.text
            )
        })
    }
}

impl<'a> Key<'a> {
    /// The key that was meant where `{ port:22 }` or `{ port 22 }` has a key without a value, and how to write it.
    pub fn swallowed_colon(
        &self,
        value: &Value,
        known: &[&'static str],
    ) -> Option<(&'static str, String)> {
        let (name, rest) = self.text.split_once([':', ' '])?;
        let name = known.iter().find(|known| **known == name)?;
        let rest = rest.trim();
        (*value == Value::Null && !rest.is_empty()).then(|| {
            let help = format!("write `{name}: {rest}`, with a space after the colon");
            (*name, help)
        })
    }
}

/// Parses one file. Errors of the YAML itself end it, since what follows cannot be trusted: there is no
/// tree then. Duplicate keys and keys that are no scalars are left out of the tree and all collected.
pub fn parse(source: u32, text: &str) -> (Option<YamlNode<'_>>, Vec<Diagnostic>) {
    parse_around(source, text, &[])
}

/// The same of a text in which something was blanked because it is wrong: what nothing is left of is unreadable.
pub fn parse_around<'a>(
    source: u32,
    text: &'a str,
    blanked: &'a [Range<usize>],
) -> (Option<YamlNode<'a>>, Vec<Diagnostic>) {
    let mut builder = Builder {
        source,
        text,
        blanked,
        events: Parser::new_from_str(text),
        text_end: text.len() as u32,
        anchors: HashMap::new(),
        size: NodeSize::default(),
        diagnostics: Diagnostics::default(),
    };
    let result = builder.document();
    match result {
        Ok(node) => (Some(node), builder.diagnostics.into_vec()),
        Err(diagnostic) => {
            let mut diagnostics = builder.diagnostics.into_vec();
            diagnostics.push(*diagnostic);
            (None, diagnostics)
        }
    }
}

type Fatal = Box<Diagnostic>;

fn fatal(code: &'static str, span: Span, message: impl Into<String>, help: &str) -> Fatal {
    Box::new(Diagnostic::error(code, span, message).help(help))
}

/// The entries of a mapping.
pub type Entries<'a> = Vec<(Key<'a>, YamlNode<'a>)>;

/// How much there is.
#[derive(Debug, Clone, Copy, Default)]
struct NodeSize {
    nodes: usize,
    text: usize,
}

struct Builder<'a> {
    source: u32,
    text: &'a str,
    blanked: &'a [Range<usize>],
    events: Parser<'a, granit_parser::StrInput<'a>>,
    text_end: u32,
    /// A finished node and its size for every anchor.
    anchors: HashMap<usize, (YamlNode<'a>, NodeSize)>,
    size: NodeSize,
    diagnostics: Diagnostics,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Fatal> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                let start = span.start.byte_offset().unwrap_or(0) as u32;
                let end = span.end.byte_offset().unwrap_or(0) as u32;
                Ok((event, self.span(start, end)))
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                let (at, message, help) = explain(error.kind(), self.text, at);
                let after = self.text.get(at..).unwrap_or_default();
                let width = after.chars().next().map_or(0, char::len_utf8);
                let span = self.span(at as u32, (at + width) as u32);
                Err(fatal("yaml-syntax", span, message, &help))
            }
            None => Ok((Event::StreamEnd, self.span(self.text_end, self.text_end))),
        }
    }

    /// Whether something was blanked right behind this.
    fn stood_here(&self, span: Span) -> bool {
        let end = span.end as usize;
        let mut behind = self.blanked.iter().filter(|range| range.start >= end);
        behind.any(|range| {
            let between = self.text[end..range.start].trim();
            between.is_empty() || between == ":"
        })
    }

    fn span(&self, start: u32, end: u32) -> Span {
        Span {
            source: self.source,
            start: start.min(self.text_end),
            end: end.min(self.text_end),
        }
    }

    /// The one document of a file.
    fn document(&mut self) -> Result<YamlNode<'a>, Fatal> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamEnd, span) => {
                    let (message, help) =
                        ("the file holds no definition", "begin with `version: 1`");
                    return root.ok_or_else(|| fatal("empty-file", span, message, help));
                }
                (Event::DocumentStart(..), span) if root.is_some() => {
                    let message = "a second YAML document starts here";
                    let help = "put it into a file of its own";
                    return Err(fatal("second-document", span, message, help));
                }
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (event, span) => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<YamlNode<'a>, Fatal> {
        let before = self.size;
        let text = match &event {
            Event::Scalar(text, ..) => text.len(),
            _ => 0,
        };
        self.count(NodeSize { nodes: 1, text }, span)?;
        if depth > DEEPEST {
            let message = format!("lists and mappings nest more than {DEEPEST} levels deep");
            let help = "a definition needs eight levels";
            return Err(fatal("too-deep", span, message, help));
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let null = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = match null {
                    true if self.stood_here(span) => Value::Unreadable,
                    true => Value::Null,
                    false => Value::Scalar(text),
                };
                (anchor, YamlNode { span, value })
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => break end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                let span = self.collection_span(span, end, items.last().map(|node| node.span));
                let value = Value::Sequence(items);
                (anchor, YamlNode { span, value })
            }
            Event::MappingStart(_, anchor, _) => {
                let before = self.diagnostics.len();
                let (entries, end) = self.entries(depth)?;
                let last = entries.last().map(|(_, node)| node.span);
                let span = self.collection_span(span, end, last);
                let value = match entries.is_empty() && self.diagnostics.len() > before {
                    true => Value::Unreadable,
                    false => Value::Mapping(entries),
                };
                (anchor, YamlNode { span, value })
            }
            Event::Alias(id) => {
                let Some(size) = self.anchors.get(&id).map(|(_, size)| *size) else {
                    let message = "this alias stands inside what it names";
                    return Err(fatal("alias", span, message, "write the value itself"));
                };
                self.count(size, span)?;
                let named = self.anchors.get(&id).map(|(node, _)| node.value.clone());
                return Ok(YamlNode {
                    span,
                    value: named.unwrap_or(Value::Null),
                });
            }
            _ => {
                let message = "a value was expected here";
                return Err(Box::new(Diagnostic::error("yaml-syntax", span, message)));
            }
        };
        if anchor != 0 {
            let size = NodeSize {
                nodes: self.size.nodes - before.nodes,
                text: self.size.text - before.text,
            };
            self.count(size, node.span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<(Entries<'a>, Span), Fatal> {
        let mut entries: Entries = Vec::new();
        // Of long mappings, where each key stands.
        let mut seen: HashMap<Cow<str>, Span> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok((entries, span));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            let text = match key.value {
                Value::Scalar(text) => text,
                Value::Null => Cow::Borrowed(""),
                other => {
                    let message = format!("a key must be a single value, not {}", other.kind());
                    self.diagnostics.error("wrong-type", key.span, message, "quote it if it is text; a `{{ … }}` of a template language was not filled in");
                    continue;
                }
            };
            let first = match seen.is_empty() {
                true => {
                    let mut known = entries.iter().map(|(key, _)| key);
                    known.find(|key| key.text == text).map(|key| key.span)
                }
                false => seen.get(&text).copied(),
            };
            if let Some(first) = first {
                let message = format!("`{text}` stands twice in this mapping");
                self.diagnostics.push(
                    Diagnostic::error("duplicate-key", key.span, message)
                        .related(first, "first here")
                        .help("remove one of the two, or put both values under one key"),
                );
                continue;
            }
            let key = Key {
                span: key.span,
                text,
            };
            entries.push((key, value));
            if entries.len() == FEW_ENTRIES {
                let known = entries.iter().map(|(key, _)| key);
                seen.extend(known.map(|key| (key.text.clone(), key.span)));
            } else if let Some((key, _)) = entries.last().filter(|_| !seen.is_empty()) {
                seen.insert(key.text.clone(), key.span);
            }
        }
    }

    /// From the opening event to the end of the last child, or to the closing bracket.
    fn collection_span(&self, start: Span, end: Span, last: Option<Span>) -> Span {
        // A block collection's end event stands where the next token starts: lines later.
        let end = match (end.end > end.start, last) {
            (true, _) | (false, None) => end.end,
            (false, Some(last)) => last.end,
        };
        self.span(start.start, end.max(start.end))
    }

    fn count(&mut self, more: NodeSize, span: Span) -> Result<(), Fatal> {
        self.size.nodes += more.nodes;
        self.size.text += more.text;
        if self.size.nodes > MOST_NODES || self.size.text > MOST_TEXT {
            let message = format!(
                "the file holds more than {MOST_NODES} values or {} MB of them, aliases counted as often as they are used",
                MOST_TEXT / 1_000_000
            );
            let help = "use fewer aliases, and put long lists of addresses into a `file:` template";
            return Err(fatal("too-large", span, message, help));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_ok(text: &str) -> YamlNode<'_> {
        parse(0, text).0.expect("parses")
    }

    #[test]
    fn keeps_text_and_places() {
        let text = "a: [x, 022]\nb: { c: '~' }\nd:\n";
        let Value::Mapping(entries) = parse_ok(text).value else {
            panic!("a mapping")
        };
        let Value::Sequence(items) = &entries[0].1.value else {
            panic!("a list")
        };
        assert_eq!(items[1].value, Value::Scalar("022".into()));
        assert_eq!(
            &text[items[1].span.start as usize..items[1].span.end as usize],
            "022"
        );
        let Value::Mapping(inner) = &entries[1].1.value else {
            panic!("a mapping")
        };
        assert_eq!(inner[0].1.value, Value::Scalar("~".into()));
        assert_eq!(entries[2].1.value, Value::Null);
    }
}
