//! Several files of one definition, merged key by key.

use super::diagnostic::Diagnostic;
use super::diagnostics::Diagnostics;
use super::yaml::{Entries, Value, YamlNode};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Merges the mappings of all files into one. A leaf that two files give is an error that names
/// both places; `version` stands in every file and is left to the caller.
pub fn merge<'a>(files: Vec<YamlNode<'a>>, diagnostics: &mut Diagnostics) -> Option<YamlNode<'a>> {
    let span = files.first()?.span;
    // Every file is a mapping: parsing refuses the others.
    let mappings = files.into_iter().filter_map(|file| match file.value {
        Value::Mapping(entries) => Some(entries),
        _ => None,
    });
    let whole = merged(mappings.collect(), &mut vec![], diagnostics);
    Some(YamlNode {
        span,
        value: Value::Mapping(whole),
    })
}

/// All of them at once, each entry looked at once for each level: a definition may have very many files.
fn merged<'a>(
    mappings: Vec<Entries<'a>>,
    path: &mut Vec<String>,
    diagnostics: &mut Diagnostics,
) -> Entries<'a> {
    let mut index: HashMap<Cow<str>, usize> = HashMap::new();
    let mut whole: Entries = Vec::new();
    // What other files have in a mapping, by the place of the first in `whole`.
    let mut more: BTreeMap<usize, Vec<Entries>> = BTreeMap::new();
    for (key, node) in mappings.into_iter().flatten() {
        let Some(at) = index.get(&key.text) else {
            index.insert(key.text.clone(), whole.len());
            whole.push((key, node));
            continue;
        };
        let (first_key, first) = &whole[*at];
        match (&first.value, node.value) {
            _ if path.is_empty() && key.text == "version" => {}
            (Value::Mapping(_), Value::Mapping(from)) => more.entry(*at).or_default().push(from),
            _ => {
                let outer = path.iter().map(String::as_str);
                let name: Vec<&str> = outer.chain([&*key.text]).collect();
                let message = format!("`{}` is given twice", name.join("."));
                diagnostics.push(
                    Diagnostic::error("given-twice", key.span, message)
                        .related(first_key.span, "first here")
                        .help("keep one of the two: files are merged key by key, and a value has one place"),
                );
            }
        }
    }
    for (at, others) in more {
        let (key, node) = &mut whole[at];
        let Value::Mapping(first) = &mut node.value else {
            continue;
        };
        path.push(key.text.to_string());
        let all = std::iter::once(std::mem::take(first)).chain(others);
        *first = merged(all.collect(), path, diagnostics);
        path.pop();
    }
    whole
}
