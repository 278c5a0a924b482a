//! Reads shapes out of the tree: a mapping with known keys, a text, a list of texts, one of a few words.
//!
//! Every function pushes what is wrong and returns `None`, so that the rest is still read.

use super::diagnostic::Diagnostic;
use super::diagnostics::Diagnostics;
use super::hint::example;
use super::keys::names_at;
use super::source::Span;
use super::yaml::{Key, Value, YamlNode};
use std::fmt;

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
    /// Whether there are more that could not be read, which was reported: what is left is judged, and used nowhere.
    pub incomplete: bool,
}

/// Collects what is wrong while it reads.
#[derive(Debug, Default)]
pub struct TreeReader {
    /// Everything found so far.
    pub diagnostics: Diagnostics,
    /// Lines that were left out because they are wrong: what they may have held is not missing.
    pub blanked: Vec<Span>,
}

/// The entries of a mapping whose keys are all known.
#[derive(Debug)]
pub struct Fields<'n> {
    /// Where the mapping stands.
    pub span: Span,
    entries: &'n [(Key<'n>, YamlNode<'n>)],
    /// Keys that unknown ones probably mean, each with what stands there: they are reported already and not missing,
    /// and what they hold is read as if the key were right.
    meant: Vec<(&'static str, Option<&'n YamlNode<'n>>)>,
}

impl From<&Key<'_>> for Text {
    fn from(key: &Key) -> Self {
        Text {
            span: key.span,
            text: key.text.to_string(),
        }
    }
}

impl<'n> Fields<'n> {
    /// The value of a key, or of one that probably means it, unless it is missing.
    pub fn get(&self, name: &str) -> Option<&'n YamlNode<'n>> {
        let mut entries = self.entries.iter();
        let written = entries.find(|(key, _)| key.text == name);
        let mut meant = self.meant.iter();
        written.map(|(_, node)| node).or_else(|| {
            let found = meant.find(|(meant, _)| *meant == name);
            found.and_then(|(_, node)| *node)
        })
    }

    /// Whether a key was written, or another one in its place.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some() || self.meant.iter().any(|(meant, _)| *meant == name)
    }
}

impl TreeReader {
    /// Whether something was left out within this.
    pub fn was_blanked(&self, whole: Span) -> bool {
        let within = |blanked: &&Span| {
            blanked.source == whole.source
                && blanked.end > whole.start
                // Of a block the end is that of its last line that is left.
                && blanked.start <= whole.end.saturating_add(1)
        };
        self.blanked.iter().any(|blanked| within(&blanked))
    }

    /// Keeps a diagnostic.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// A mapping whose keys are those of the table at `path`.
    pub fn fields<'n>(&mut self, node: &'n YamlNode<'n>, path: &'static str) -> Option<Fields<'n>> {
        let entries = self.entries(node, path)?;
        let known = names_at(path);
        let mut meant = Vec::new();
        for (key, value) in entries {
            if known.iter().any(|name| *name == key.text) {
                continue;
            }
            let swallowed = key.swallowed_comma(&value.value).or_else(|| {
                let (name, help) = key.swallowed_colon(&value.value, known)?;
                meant.push((name, None));
                Some(help)
            });
            let named = self.diagnostics.closest(&key.text, known);
            if swallowed.is_none() {
                meant.extend(named.map(|name| (name, Some(value))));
            }
            let help = match (swallowed, named) {
                (Some(help), _) => help,
                (None, _) if key.text == "<<" => {
                    "merge keys are not read: use an alias for a whole value, or write the keys out"
                        .to_owned()
                }
                (None, Some(name)) => format!("did you mean `{name}`?"),
                (None, None) => format!("the keys here are {}", known.join(", ")),
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
            meant,
        })
    }

    /// A mapping with keys of the operator's choice.
    pub fn entries<'n>(
        &mut self,
        node: &'n YamlNode<'n>,
        path: &'static str,
    ) -> Option<&'n [(Key<'n>, YamlNode<'n>)]> {
        match &node.value {
            Value::Mapping(entries) => Some(entries),
            Value::Unreadable => None,
            other => {
                let what = match path {
                    "" => "a definition".to_owned(),
                    _ => place_name(path),
                };
                let message = format!("{what} must be a mapping, not {}", other.kind());
                let help = match other {
                    Value::Null => "write `{}` if nothing is meant, or indent what belongs to it",
                    _ => "write it as `key: value` lines",
                };
                self.push(Diagnostic::error("wrong-type", node.span, message).help(help));
                None
            }
        }
    }

    /// Every entry of a mapping with keys of the operator's choice. `path` is as in the table of keys.
    pub fn each<T>(
        &mut self,
        fields: &Fields,
        path: &'static str,
        read: impl Fn(&mut TreeReader, Text, &YamlNode) -> Option<T>,
    ) -> Vec<T> {
        let name = path.rsplit('.').next().unwrap_or(path);
        let entries = fields.get(name).and_then(|node| self.entries(node, path));
        let entries = entries.unwrap_or_default().iter();
        entries
            .filter_map(|(key, node)| read(self, key.into(), node))
            .collect()
    }

    /// A mapping below this key, if there is one.
    pub fn inner_fields<'n>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        path: &'static str,
    ) -> Option<Fields<'n>> {
        self.fields(fields.get(name)?, path)
    }

    /// A list, which may be empty.
    pub fn sequence<'n>(
        &mut self,
        node: &'n YamlNode<'n>,
        what: impl fmt::Display,
    ) -> Option<&'n [YamlNode<'n>]> {
        match &node.value {
            Value::Sequence(items) => Some(items),
            Value::Unreadable => None,
            other => {
                let message = format!("{what} must be a list, not {}", other.kind());
                let help = match other {
                    Value::Null => "write `[]` if nothing is meant".to_owned(),
                    Value::Scalar(text) => format!("write it in brackets: `[{text}]`"),
                    _ => "write it as `- item` lines or `[item, item]`".to_owned(),
                };
                self.push(Diagnostic::error("wrong-type", node.span, message).help(help));
                None
            }
        }
    }

    /// One text.
    pub fn text(&mut self, node: &YamlNode, what: impl fmt::Display) -> Option<Text> {
        if let Value::Scalar(text) = &node.value {
            return Some(Text {
                span: node.span,
                text: text.to_string(),
            });
        }
        if node.value == Value::Unreadable {
            return None;
        }
        let kind = node.value.kind();
        let message = format!("{what} must be a single value, not {kind}");
        let help = match (&node.value, node.value.swallowed_address()) {
            (_, Some(meant)) => {
                format!("YAML reads an unquoted `{meant}` as a mapping; quote it: \"{meant}\"")
            }
            (Value::Null, _) => "write a value, or remove the key".to_owned(),
            (Value::Sequence(_), _) => "write the value itself, without brackets or `-`".to_owned(),
            _ => "write the value itself".to_owned(),
        };
        self.push(Diagnostic::error("wrong-type", node.span, message).help(help));
        None
    }

    /// The text of this key, if there is one.
    pub fn optional_text(&mut self, fields: &Fields, name: &str) -> Option<Text> {
        self.text(fields.get(name)?, format_args!("`{name}`"))
    }

    /// The texts of a list, which may be empty; what is no text is left out.
    pub fn list(&mut self, node: &YamlNode, what: impl fmt::Display) -> Vec<Text> {
        let nodes = self.sequence(node, &what).unwrap_or_default();
        if let Value::Scalar(text) = &node.value {
            // It was reported, and is judged all the same.
            return vec![Text {
                span: node.span,
                text: text.to_string(),
            }];
        }
        nodes
            .iter()
            .filter_map(|node| self.item(node, &what))
            .collect()
    }

    /// One text or a list of them, at least one.
    pub fn texts(&mut self, node: &YamlNode, what: impl fmt::Display) -> Option<Texts> {
        let before = self.diagnostics.found();
        let items: Vec<Text> = match &node.value {
            Value::Sequence(items) if items.is_empty() => {
                self.push(
                    Diagnostic::error("empty-list", node.span, format!("{what} is an empty list"))
                        .help("nothing empty ever means \"any\": name something, or remove what this belongs to"),
                );
                return None;
            }
            Value::Sequence(items) => items
                .iter()
                .filter_map(|item| self.item(item, &what))
                .collect(),
            _ => self.text(node, what).into_iter().collect(),
        };
        (!items.is_empty()).then_some(Texts {
            span: node.span,
            items,
            incomplete: self.diagnostics.errors_since(before),
        })
    }

    /// The texts of this key, if there are any.
    pub fn optional_texts(&mut self, fields: &Fields, name: &str) -> Option<Texts> {
        self.texts(fields.get(name)?, format_args!("`{name}`"))
    }

    fn item(&mut self, node: &YamlNode, what: impl fmt::Display) -> Option<Text> {
        if let Value::Sequence(_) = node.value {
            let message = format!("{what} has a list within the list");
            let help = "lists do not nest: write the items themselves";
            self.push(Diagnostic::error("wrong-type", node.span, message).help(help));
            return None;
        }
        self.text(node, format_args!("an item of {what}"))
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        node: &YamlNode,
        what: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(node, format_args!("`{what}`"))?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text.text) {
            return Some(*value);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let help = match self.diagnostics.closest(&text.text, &names) {
            Some(name) => format!("did you mean `{name}`? It is one of {}", names.join(", ")),
            None => format!("it is one of {}", names.join(", ")),
        };
        let message = format!("`{what}` cannot be `{}`", text.text);
        self.push(Diagnostic::error("bad-value", text.span, message).help(help));
        None
    }

    /// The word of this key, if there is one.
    pub fn optional_choice<T: Copy>(
        &mut self,
        fields: &Fields,
        name: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        self.choice(fields.get(name)?, name, choices)
    }

    /// The node of a required key; `at` is where to say that it is missing.
    pub fn required<'n>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        what: &str,
        at: Span,
    ) -> Option<&'n YamlNode<'n>> {
        if !fields.has(name) && !self.was_blanked(fields.span) {
            let mut diagnostic =
                Diagnostic::error("missing-key", at, format!("{what} needs `{name}`"));
            diagnostic.help = example(name).map(str::to_owned);
            self.push(diagnostic);
        }
        fields.get(name)
    }
}

/// How a path of the key table is called in a message.
fn place_name(path: &str) -> String {
    let name = match path {
        "security_groups.<sg-id>" => "a security group",
        "security_groups.<sg-id>.inbound[]" => "an inbound rule",
        "security_groups.<sg-id>.outbound[]" => "an outbound rule",
        "instances.<ins-id>" => "an instance",
        "instances.<ins-id>.interfaces" => "`interfaces`",
        "instances.<ins-id>.interfaces.<name>" => "an interface",
        "address_templates.<ipm-id>" => "an address template",
        "subnets.<subnet-id>" => "a subnet",
        "network_acls.<acl-id>" => "a network ACL",
        "network_acls.<acl-id>.inbound[]" => "an inbound entry of a network ACL",
        "network_acls.<acl-id>.outbound[]" => "an outbound entry of a network ACL",
        "platform.approved_services.<name>" => "an approved service",
        "tests[]" => "a test",
        other if other.ends_with("silence[]") => "an entry of `silence`",
        other => return format!("`{other}`"),
    };
    name.to_owned()
}
