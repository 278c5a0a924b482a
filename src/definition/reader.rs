//! Reads shapes out of the tree: a mapping with known keys, a text, a list of texts, one of a few words.
//!
//! Every function pushes what is wrong and gives `None`, so that the rest is still read.

use super::diagnostic::Diagnostic;
use super::keys::names_at;
use super::source::Span;
use super::yaml::{Key, Node, Value};

/// A text with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Where it stands.
    pub span: Span,
    /// The text.
    pub text: String,
}

/// A list of texts, or one text that stands for a list of one. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Where the whole stands.
    pub span: Span,
    /// The items, at least one.
    pub items: Vec<Text>,
}

/// Collects what is wrong while it reads.
#[derive(Debug, Default)]
pub struct Reader {
    /// Everything found so far.
    pub diagnostics: Vec<Diagnostic>,
}

/// The entries of a mapping whose keys are all known.
#[derive(Debug)]
pub struct Fields<'n> {
    /// Where the mapping stands.
    pub span: Span,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    /// The value of a key, unless it is missing.
    pub fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(key, _)| key.text == name)
            .map(|(_, node)| node)
    }
}

impl Reader {
    /// Keeps a diagnostic.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// A mapping whose keys are those of the table at `path`.
    pub fn fields<'n>(&mut self, node: &'n Node, path: &'static str) -> Option<Fields<'n>> {
        let entries = self.entries(node, path)?;
        for (key, _) in entries {
            if names_at(path).any(|name| name == key.text) {
                continue;
            }
            let known: Vec<_> = names_at(path).collect();
            let help = match closest(&key.text, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            let message = match path {
                "" => format!("unknown key `{}`", key.text),
                _ => format!("unknown key `{}` in {}", key.text, place_name(path)),
            };
            self.push(Diagnostic::error("unknown-key", key.span, message).help(help));
        }
        Some(Fields {
            span: node.span,
            entries,
        })
    }

    /// A mapping with keys of the operator's choice.
    pub fn entries<'n>(&mut self, node: &'n Node, path: &'static str) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Mapping(entries) => Some(entries),
            other => {
                let what = match path {
                    "" => "a definition".to_owned(),
                    _ => place_name(path),
                };
                let message = format!("{what} must be a mapping, not {}", other.kind());
                self.push(
                    Diagnostic::error("wrong-type", node.span, message)
                        .help("write it as `key: value` lines, or `{}` for none"),
                );
                None
            }
        }
    }

    /// A list, which may be empty.
    pub fn sequence<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.value {
            Value::Sequence(items) => Some(items),
            other => {
                let message = format!("{what} must be a list, not {}", other.kind());
                let help = match other {
                    Value::Null => "write `[]` if nothing is meant",
                    _ => "write it as `- item` lines or `[item, item]`",
                };
                self.push(Diagnostic::error("wrong-type", node.span, message).help(help));
                None
            }
        }
    }

    /// One text.
    pub fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        match &node.value {
            Value::Scalar(text) => Some(Text {
                span: node.span,
                text: text.clone(),
            }),
            other => {
                let mut diagnostic = Diagnostic::error(
                    "wrong-type",
                    node.span,
                    format!("{what} must be a single value, not {}", other.kind()),
                );
                if let Some(meant) = swallowed_address(other) {
                    diagnostic = diagnostic.help(format!(
                        "YAML reads an unquoted `{meant}` as a mapping; quote it: \"{meant}\""
                    ));
                }
                self.push(diagnostic);
                None
            }
        }
    }

    /// One text or a list of them, at least one.
    pub fn texts(&mut self, node: &Node, what: &str) -> Option<Texts> {
        let items = match &node.value {
            Value::Sequence(items) if items.is_empty() => {
                self.push(
                    Diagnostic::error("empty-list", node.span, format!("{what} is an empty list"))
                        .help("nothing empty ever means \"any\": name something, or remove what this belongs to"),
                );
                return None;
            }
            Value::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let before = self.diagnostics.len();
        let items: Vec<Text> = items
            .iter()
            .filter_map(|item| self.text(item, what))
            .collect();
        (self.diagnostics.len() == before).then_some(Texts {
            span: node.span,
            items,
        })
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text.text) {
            return Some(*value);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let help = match closest(&text.text, &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("write one of {}", names.join(", ")),
        };
        let message = format!(
            "{what} cannot be `{}`: it is one of {}",
            text.text,
            names.join(", ")
        );
        self.push(Diagnostic::error("bad-value", text.span, message).help(help));
        None
    }

    /// The node of a required key.
    pub fn required<'n>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        what: &str,
    ) -> Option<&'n Node> {
        let node = fields.get(name);
        if node.is_none() {
            let message = format!("{what} needs `{name}`");
            self.push(Diagnostic::error("missing-key", fields.span, message));
        }
        node
    }
}

/// The name that was probably meant.
pub fn closest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let lower = written.to_lowercase();
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, name), *name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// The address that YAML read as a mapping: `[2001:db8::]` gives `{ "2001:db8:": null }`.
fn swallowed_address(value: &Value) -> Option<String> {
    let Value::Mapping(entries) = value else {
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
    let address = key.text.contains(':') || key.text.chars().all(|c| c.is_ascii_hexdigit());
    address.then(|| format!("{}:{rest}", key.text))
}

/// How a path of the key table is called in a message.
fn place_name(path: &str) -> String {
    let name = match path {
        "security_groups.<sg-id>" => "a security group",
        "security_groups.<sg-id>.inbound[]" => "an inbound rule",
        "security_groups.<sg-id>.outbound[]" => "an outbound rule",
        "instances.<ins-id>" => "an instance",
        "instances.<ins-id>.interfaces.<name>" => "an interface",
        "address_templates.<ipm-id>" => "an address template",
        "platform.approved_services.<name>" => "an approved service",
        other => return format!("`{other}`"),
    };
    name.to_owned()
}
