//! Values without places, and their YAML text.
//!
//! ```text
//! { action: allow, protocol: tcp, port: "80,443", source: [10.0.0.0/8, "2001:db8::/32"] }
//! ```

use super::source::acts;
use super::yaml::{Value, YamlNode, parse};
use std::borrow::Cow;
use std::fmt::Write;

/// Columns that a list on one line may have before each item takes a line of its own.
const WIDEST: usize = 100;

/// A value without a place. Entries of a mapping keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// A scalar.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// A scalar.
    pub fn text(text: impl Into<String>) -> Self {
        Tree::Text(text.into())
    }

    /// A list of scalars.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Tree::List(texts.into_iter().map(Tree::text).collect())
    }

    /// A mapping.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Tree)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
        Tree::Map(entries.collect())
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        let Tree::Map(entries) = self else {
            return None;
        };
        let mut entries = entries.iter();
        entries.find(|(name, _)| name == key).map(|(_, node)| node)
    }

    /// Whether it stands on one line with its kind: a scalar, a list of scalars, or a mapping of these.
    fn is_flat(&self) -> bool {
        let is_text = |each: &Tree| matches!(each, Tree::Null | Tree::Text(_));
        let is_texts = |each: &Tree| match each {
            Tree::List(items) => items.iter().all(is_text),
            other => is_text(other),
        };
        match self {
            Tree::Map(entries) => entries.iter().all(|(_, value)| is_texts(value)),
            other => is_texts(other),
        }
    }

    /// Its text on one line.
    pub fn flow(&self) -> String {
        let mut out = String::new();
        self.write_flow(&mut out);
        out
    }

    fn write_flow(&self, out: &mut String) {
        match self {
            Tree::Null => out.push('~'),
            Tree::Text(text) => out.push_str(&scalar(text)),
            Tree::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    out.push_str(if n == 0 { "" } else { ", " });
                    item.write_flow(out);
                }
                out.push(']');
            }
            Tree::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Tree::Map(entries) => {
                for (n, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if n == 0 { "{ " } else { ", " });
                    out.push_str(&scalar(key));
                    out.push_str(": ");
                    value.write_flow(out);
                }
                out.push_str(" }");
            }
        }
    }

    /// Its text behind a key and its colon: on the same line where it is short, else on lines of their own, `indent`
    /// deep. Ends without a line end.
    ///
    /// ```text
    ///  [10.0.0.0/8, 172.16.0.0/12]
    /// ```
    ///
    /// ```text
    ///
    ///     - { action: allow, protocol: tcp, port: 22, source: any }
    /// ```
    pub fn behind_key(&self, indent: usize, line_end: &str) -> String {
        match self.is_one_line() {
            true => format!(" {}", self.flow()),
            false => format!("{line_end}{}", self.block(indent, line_end)),
        }
    }

    /// Its text on lines of their own, `indent` deep. Ends without a line end.
    pub fn block(&self, indent: usize, line_end: &str) -> String {
        let blanks = " ".repeat(indent);
        let lines: Vec<String> = match self {
            Tree::List(items) => items
                .iter()
                .map(|item| format!("{blanks}- {}", item.behind_dash(indent, line_end, false)))
                .collect(),
            Tree::Map(entries) => entries
                .iter()
                .map(|(key, value)| value.entry(key, indent, line_end))
                .collect(),
            _ => vec![format!("{blanks}{}", self.flow())],
        };
        lines.join(line_end)
    }

    /// An entry of a mapping on lines of its own.
    pub fn entry(&self, key: &str, indent: usize, line_end: &str) -> String {
        let blanks = " ".repeat(indent);
        let value = self.behind_key(indent + 2, line_end);
        format!("{blanks}{}:{value}", scalar(key))
    }

    /// Its text behind the dash of an item. `spread` writes a mapping with a line for each of its entries.
    pub fn behind_dash(&self, indent: usize, line_end: &str, spread: bool) -> String {
        match self {
            Tree::Map(entries) if spread && !entries.is_empty() => {
                let block = self.block(indent + 2, line_end);
                block.trim_start().to_owned()
            }
            _ if self.is_flat() => self.flow(),
            _ => self.block(indent + 2, line_end).trim_start().to_owned(),
        }
    }

    /// Whether it stands behind its key on one line.
    pub fn is_one_line(&self) -> bool {
        match self {
            Tree::Null | Tree::Text(_) => true,
            Tree::Map(entries) => entries.is_empty(),
            Tree::List(_) => self.is_short_list(),
        }
    }

    /// Whether it is a list of scalars that fits on a line.
    fn is_short_list(&self) -> bool {
        matches!(self, Tree::List(items) if self.is_flat() && items.len() < WIDEST && self.flow().len() < WIDEST)
    }
}

impl From<&YamlNode<'_>> for Tree {
    fn from(node: &YamlNode) -> Self {
        match &node.value {
            Value::Null | Value::Unreadable => Tree::Null,
            Value::Scalar(text) => Tree::Text(text.to_string()),
            Value::Sequence(items) => Tree::List(items.iter().map(Tree::from).collect()),
            Value::Mapping(entries) => Tree::map(
                entries
                    .iter()
                    .map(|(key, value)| (key.text.as_ref(), Tree::from(value))),
            ),
        }
    }
}

/// The value that a YAML text stands for; `None` if it has faults.
pub fn of_text(text: &str) -> Option<Tree> {
    match parse(0, text) {
        (Some(node), diagnostics) if diagnostics.is_empty() => Some(Tree::from(&node)),
        _ => None,
    }
}

/// The YAML text of a scalar: plain where every reader of YAML takes it for this text or this number, else in quotes.
pub fn scalar(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            // Also what a YAML reader takes for a line end or a byte order mark.
            c if acts(c) || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // A string can always be written to.
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// Whether a text needs no quotes, neither in a block nor between brackets.
fn is_plain(text: &str) -> bool {
    let words = ["null", "true", "false", "yes", "no", "on", "off"];
    let is_word = words.iter().any(|word| word.eq_ignore_ascii_case(text));
    let begins = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '(');
    let goes_on = |c: char| {
        c.is_alphanumeric()
            || matches!(
                c,
                ' ' | '/'
                    | '.'
                    | '_'
                    | '-'
                    | '('
                    | ')'
                    | '+'
                    | '='
                    | '*'
                    | ';'
                    | '\''
                    | '!'
                    | '?'
                    | '@'
                    | '%'
            )
    };
    let lone_star = text == "*";
    !is_word
        && !lone_star
        && text.starts_with(begins)
        && !text.ends_with(' ')
        && text.chars().all(goes_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_read_back() {
        let alphabet: Vec<char> = "a0Z :#-,[]{}&*!|>'\"%@`?\\\t\n\r~.\u{85}\u{2028}\u{feff}é\u{1b}"
            .chars()
            .collect();
        let mut random = fastrand::Rng::with_seed(20);
        for _ in 0..20_000 {
            let text: String = (0..random.usize(0..7))
                .map(|_| *random.choice(&alphabet).unwrap())
                .collect();
            let tree = Tree::map([
                (
                    "k",
                    Tree::List(vec![
                        Tree::text(&text),
                        Tree::map([(&text, Tree::text(&text))]),
                    ]),
                ),
                ("l", Tree::text(&text)),
            ]);
            for written in [tree.flow(), tree.block(0, "\n"), tree.block(2, "\r\n")] {
                assert_eq!(of_text(&written), Some(tree.clone()), "{written:?}");
            }
        }
        for plain in [
            "22",
            "10.0.0.0/8",
            "ssh of the office",
            "192.0.2.10-192.0.2.40",
            "eth*",
        ] {
            assert_eq!(scalar(plain), plain);
        }
        for quoted in ["80,443", "::/0", "tcp:443", "yes", "NULL", "*", "- a", ""] {
            assert_ne!(scalar(quoted), quoted);
        }
    }
}
