//! Lists that have a direction: rules of groups, and entries of network ACLs.

use crate::definition::diagnostic::Diagnostic;
use crate::definition::reader::{Fields, TreeReader};
use crate::definition::yaml::{Value, YamlNode};

/// The rules of a direction, or the entries of one.
pub fn directed<T>(
    reader: &mut TreeReader,
    fields: &Fields,
    direction: &'static str,
    read: impl Fn(&mut TreeReader, &YamlNode, &'static str) -> Option<T>,
) -> Vec<Option<T>> {
    let Some(node) = fields.get(direction) else {
        return Vec::new();
    };
    if let Value::Mapping(entries) = &node.value {
        let message = format!("`{direction}` must be a list, not a mapping");
        let help = "write each rule as an item: `- { action: …, protocol: …, … }`";
        reader.push(Diagnostic::error("wrong-type", node.span, message).help(help));
        let is_rule = entries.iter().any(|(key, _)| key.text == "action");
        return match is_rule {
            true => vec![read(reader, node, direction)],
            false => Vec::new(),
        };
    }
    let nodes = reader.sequence(node, format_args!("`{direction}`"));
    let nodes = nodes.unwrap_or_default();
    nodes
        .iter()
        .map(|node| read(reader, node, direction))
        .collect()
}
