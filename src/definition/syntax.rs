//! What a text that is not YAML probably wants to be: the parser's error in the words of a person.

use granit_parser::ErrorKind;

/// Where it is wrong, what is, and the way out. The parser notices it at `at`, or later than a person would.
pub fn explain(kind: &ErrorKind, text: &str, at: usize) -> (usize, String, String) {
    use ErrorKind::*;
    let before = text.get(..at).unwrap_or(text);
    match kind {
        MappingValueNotAllowed | SimpleKeyExpected | InvalidSimpleKey => {
            if let Some((at, help)) = without_colon(text, before) {
                return (at, NO_COLON.to_owned(), help);
            }
        }
        InvalidTrailingDoubleQuotedScalar => {
            if let Some(at) = opened(before, '"') {
                return (at, OPEN_QUOTE.to_owned(), CLOSE_QUOTE.to_owned());
            }
        }
        InvalidTrailingSingleQuotedScalar => {
            if let Some(at) = opened(before, '\'') {
                return (at, OPEN_QUOTE.to_owned(), CLOSE_QUOTE.to_owned());
            }
        }
        ExpectedFlowMappingSeparator
        | ExpectedFlowSequenceSeparator
        | BlockEntryInFlowCollection => {
            if let Some(at) = open_bracket(before) {
                let bracket = &text[at..=at];
                let message = format!("a `{bracket}` is not closed");
                return (at, message, CLOSE.to_owned());
            }
        }
        _ => {}
    }
    let is_tab = format!("{kind:?}").starts_with("Tab") && before.ends_with('\t');
    let (message, help) = said(kind, before);
    // The parser's place is behind the tab.
    (at - usize::from(is_tab), message, help.to_owned())
}

const NO_COLON: &str = "a key without its `:`, or a value that goes on in the next line";
const CLOSE: &str = "close it, or quote the value if the bracket belongs to it";
const OPEN_QUOTE: &str = "a quotation mark is not closed";
const CLOSE_QUOTE: &str = "close it on the same line";

/// A line before the place, or the place's own, that has no `key:`, and what it probably is. A key in the line after it
/// cannot be one then.
fn without_colon(text: &str, before: &str) -> Option<(usize, String)> {
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let own = text[start..].lines().next().unwrap_or_default();
    // A second key on the line is a fault of its own.
    if before[start..].contains(": ") {
        return None;
    }
    let is_key = |content: &str| content.contains(": ") || content.ends_with(':');
    let content = |line: &str| {
        let content = line.split(" #").next().unwrap_or_default().trim();
        let content = content.strip_prefix("- ").unwrap_or(content).trim_start();
        let says = !content.is_empty() && !content.starts_with(['#', '-', '{', '[', '"', '\'']);
        (says && !is_key(content)).then(|| content.to_owned())
    };
    let at = |start: usize, line: &str, content: &str| start + line.find(content).unwrap_or(0);
    if let Some(content) = content(own) {
        return Some((at(start, own, &content), colon(&content)));
    }
    let above = before[..start].trim_end();
    let line = above.rfind('\n').map_or(0, |at| at + 1);
    let content = content(&above[line..])?;
    Some((at(line, &above[line..], &content), colon(&content)))
}

/// `name: web` for `name:web` and `name web`, `inbound:` for `inbound`.
fn colon(content: &str) -> String {
    let key = content.split([':', ' ']).next().unwrap_or(content);
    let value = content[key.len()..].trim_start_matches([':', ' ']);
    match value {
        _ if content.len() > 60 => "write `key: value`, with a space after the colon".to_owned(),
        "" => format!("write `{key}:`"),
        value => format!("write `{key}: {value}`, with a space after the colon"),
    }
}

/// Where the bracket stands that is open here, if that is in an earlier line: then its end was forgotten there.
fn open_bracket(before: &str) -> Option<usize> {
    let mut closed = 0;
    let open = before.bytes().rposition(|byte| match byte {
        b'}' | b']' => {
            closed += 1;
            false
        }
        b'{' | b'[' if closed > 0 => {
            closed -= 1;
            false
        }
        b'{' | b'[' => true,
        _ => false,
    })?;
    before[open..].contains('\n').then_some(open)
}

/// Where the quotation that ends here was opened, if that is in an earlier line: then its end was forgotten there.
fn opened(before: &str, quote: char) -> Option<usize> {
    let closing = before.trim_end().rfind(quote)?;
    let at = before[..closing].rfind(quote)?;
    before[at..closing].contains('\n').then_some(at)
}

/// What is wrong in the parser's own place, and the way out.
fn said(kind: &ErrorKind, before: &str) -> (String, &'static str) {
    use ErrorKind::*;
    const QUOTE_ADDRESS: &str = "quote IPv6 addresses: \"2001:db8::\"";
    let (what, help) = match kind {
        UnexpectedCharacter { character } if character.is_control() => {
            let message = format!(
                "a control character, U+{:04X}, stands in this value",
                u32::from(*character)
            );
            return (message, "remove it");
        }
        TabNotAllowed
        | TabInBlockIndentation
        | TabInIndentation
        | TabAtBlockScalarStart
        | TabInPlainScalar => (
            "a tab stands where YAML wants spaces",
            "replace it by spaces",
        ),
        MissingAnchorOrAliasName => (
            "`*` and `&` begin an alias and an anchor in YAML, and here is no name after it",
            "quote it; the name of an interface needs at least one character before its `*`",
        ),
        UnknownAnchor => (
            "`*` begins an alias in YAML, and there is no anchor of this name before it",
            "quote it if it is text; else write `&name` before the value that `*name` repeats",
        ),
        UnexpectedCharacter { .. } | DirectiveDisallowed | MissingDirectiveName => (
            "a value cannot begin with this character",
            "quote values that begin with @, %, `, & or *",
        ),
        UnclosedFlowCollection { open: '{' }
        | UnexpectedEofFlowMapping
        | UnexpectedEofImplicitFlowMapping
        | ExpectedFlowMappingSeparator => ("a `{` is not closed", CLOSE),
        UnclosedFlowCollection { .. }
        | UnexpectedEofFlowSequence
        | ExpectedFlowSequenceSeparator => ("a `[` is not closed", CLOSE),
        MismatchedFlowCollectionEnd { .. } => (
            "this bracket is closed by one of the other kind",
            "`[` is closed by `]`, `{` by `}`",
        ),
        MisplacedFlowCollectionEnd => ("this bracket closes none", "remove it"),
        UnclosedQuotedScalar | DocumentIndicatorInQuotedScalar | InvalidQuotedScalarIndent => {
            (OPEN_QUOTE, CLOSE_QUOTE)
        }
        MappingValueNotAllowed
        | InvalidMappingValueWhitespace
        | InvalidColonPlacement
        | FlowMappingValueAdjacentCollection
            if address_like(before) =>
        {
            (
                "YAML reads the last `:` of this value as `key:`",
                QUOTE_ADDRESS,
            )
        }
        MappingValueNotAllowed => (
            "a second `key:` stands on one line, or this line is indented too far",
            "indent it like the keys above it, or quote the value",
        ),
        SimpleKeyExpected | InvalidSimpleKey => {
            (NO_COLON, "write `key: value`, with a space after the colon")
        }
        ExpectedBlockMappingKey
        | ExpectedBlockSequenceEntry
        | InvalidIndentation
        | BlockSequenceEntryNotAllowed => (
            "this line does not fit the lines above it",
            "give the keys of one mapping, and the `-` of one list, the same indentation",
        ),
        RecursionLimitExceeded => (
            "lists and mappings nest too deep",
            "a definition needs eight levels",
        ),
        other => {
            let message = format!("this is not YAML: {other}");
            return (
                message,
                "check the indentation, and quote values with special characters",
            );
        }
    };
    (what.to_owned(), help)
}

/// Whether the last word of a text looks like the start of an IPv6 address.
fn address_like(before: &str) -> bool {
    let word = before
        .rsplit([' ', '\n', '[', '{', ','])
        .next()
        .unwrap_or_default();
    word.contains(':') && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
}
