//! What a text that is not YAML probably wants to be: the parser's error in the words of a person.

use granit_parser::ErrorKind;

/// What is wrong, and the way out. `before` is the text up to the place.
pub fn explain(kind: &ErrorKind, before: &str) -> (String, &'static str) {
    use ErrorKind::*;
    const QUOTE_ADDRESS: &str = "quote IPv6 addresses: \"2001:db8::\"";
    const CLOSE: &str = "close it, or quote the value if the bracket belongs to it";
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
        UnclosedQuotedScalar | DocumentIndicatorInQuotedScalar | InvalidQuotedScalarIndent => (
            "a quotation mark is not closed",
            "close it on the same line",
        ),
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
        SimpleKeyExpected | InvalidSimpleKey => (
            "a key without its `:`, or a value that goes on in the next line",
            "write `key: value`, with a space after the colon",
        ),
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
