//! From a path to a node of a text.

use super::{PatchError, Path, Step};
use crate::definition::yaml::{Key, Value, YamlNode};

/// A node, as it is reached.
#[derive(Debug, Clone, Copy)]
pub struct Found<'n> {
    /// The node.
    pub node: &'n YamlNode<'n>,
    /// The key that it stands behind.
    pub key: Option<&'n Key<'n>>,
    /// Whether it stands between brackets of another.
    pub in_flow: bool,
}

/// The node at the end of a path.
pub fn find<'n>(text: &str, root: &'n YamlNode<'n>, path: &Path) -> Result<Found<'n>, PatchError> {
    let root = Found {
        node: root,
        key: None,
        in_flow: false,
    };
    path.iter().try_fold(root, |found, step| {
        let next = match (&found.node.value, step) {
            (Value::Mapping(entries), Step::Key(name)) => {
                let mut entries = entries.iter();
                let entry = entries.find(|(key, _)| key.text == *name);
                entry.map(|(key, node)| (Some(key), node))
            }
            (Value::Sequence(items), Step::Item(number)) => {
                items.get(*number).map(|node| (None, node))
            }
            _ => None,
        };
        let (key, node) = next.ok_or(PatchError::Missing)?;
        owned(text, node)?;
        let in_flow = found.in_flow || is_flow(text, found.node);
        Ok(Found { node, key, in_flow })
    })
}

/// Whether a collection is written between brackets. The place of a list that is not indented below its key is that of
/// its first item, which may have brackets of its own.
pub fn is_flow(text: &str, node: &YamlNode) -> bool {
    let begins = |bracket: u8, first: Option<u32>| {
        let is_own = first.is_none_or(|first| first > node.span.start);
        is_own && text.as_bytes().get(node.span.start as usize) == Some(&bracket)
    };
    match &node.value {
        Value::Sequence(items) => begins(b'[', items.first().map(|item| item.span.start)),
        Value::Mapping(entries) => begins(b'{', entries.first().map(|(key, _)| key.span.start)),
        _ => false,
    }
}

/// An alias has no text of its own to change.
fn owned(text: &str, node: &YamlNode) -> Result<(), PatchError> {
    let at = node.span.start as usize..node.span.end as usize;
    match text.get(at.clone()).and_then(|text| text.strip_prefix('*')) {
        Some(name) if !name.is_empty() => Err(PatchError::Shared {
            name: name.to_owned(),
            at,
        }),
        _ => Ok(()),
    }
}
