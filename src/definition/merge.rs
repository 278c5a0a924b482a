//! Several files of one definition, merged key by key.

use super::diagnostic::Diagnostic;
use super::yaml::{Key, Node, Value};
use std::collections::HashMap;

/// Merges the mappings of all files into one. A leaf that two files give is an error that names
/// both places; `version` stands in every file and is left to the caller.
pub fn merge(files: Vec<Node>, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    let mut files = files.into_iter();
    let mut whole = files.next()?;
    for file in files {
        // Every file is a mapping: parsing refuses the others.
        if let (Value::Mapping(into), Value::Mapping(from)) = (&mut whole.value, file.value) {
            merge_entries(into, from, &mut vec![], diagnostics);
        }
    }
    Some(whole)
}

fn merge_entries(
    into: &mut Vec<(Key, Node)>,
    from: Vec<(Key, Node)>,
    path: &mut Vec<String>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let index: HashMap<String, usize> = into
        .iter()
        .enumerate()
        .map(|(at, (key, _))| (key.text.clone(), at))
        .collect();
    for (key, node) in from {
        if path.is_empty() && key.text == "version" {
            continue;
        }
        let Some(at) = index.get(&key.text) else {
            into.push((key, node));
            continue;
        };
        let (first_key, first) = &mut into[*at];
        path.push(key.text.clone());
        match (&mut first.value, node.value) {
            (Value::Mapping(into), Value::Mapping(from)) => {
                merge_entries(into, from, path, diagnostics)
            }
            _ => diagnostics.push(
                Diagnostic::error(
                    "given-twice",
                    key.span,
                    format!("`{}` is given twice", path.join(".")),
                )
                .related(first_key.span, "first here")
                .help(
                    "keep one of the two: files are merged key by key, and a value has one place",
                ),
            ),
        }
        path.pop();
    }
}
