//! What a patch does to the text: which parts are replaced by what.

use super::collection::{Collection, colon, content_end};
use super::find::{Found, find, is_flow};
use super::lines::*;
use super::{Patch, PatchError, Splice, Spot};
use crate::definition::tree::{Tree, scalar};
use crate::definition::yaml::{Key, Value, YamlNode};

/// What a patch replaces.
pub fn splices(text: &str, root: &YamlNode, patch: &Patch) -> Result<Vec<Splice>, PatchError> {
    let list = |path| {
        let found = find(text, root, path)?;
        let Value::Sequence(items) = &found.node.value else {
            return Err(PatchError::Missing);
        };
        Ok((found, items))
    };
    match patch {
        Patch::Insert {
            list: path,
            at,
            value,
        } => {
            let (found, items) = list(path)?;
            let collection = Collection::of_list(text, found.node, items)?;
            let flow = value.flow();
            collection.insert(
                *at,
                &|indent| {
                    let beside = items.get(at.saturating_sub(1)).or(items.first());
                    let spread = beside.is_some_and(|node| {
                        matches!(node.value, Value::Mapping(_)) && !is_flow(text, node)
                    });
                    let line = line_ending(text);
                    format!("- {}", value.behind_dash(indent, line, spread))
                },
                &flow,
            )
        }
        Patch::Remove { list: path, at } => {
            let (found, items) = list(path)?;
            let collection = Collection::of_list(text, found.node, items)?;
            match items.len() {
                0 => Err(PatchError::Missing),
                1 => emptied(text, &found),
                _ => Ok(vec![(collection.extent(*at)?, String::new())]),
            }
        }
        Patch::Move {
            list: path,
            from,
            to,
        } => {
            let (found, items) = list(path)?;
            let collection = Collection::of_list(text, found.node, items)?;
            collection.relocate(*from, *to)
        }
        Patch::Set {
            map,
            key,
            value,
            spot,
        } => {
            let found = find(text, root, map)?;
            let entries: &[(Key, YamlNode)] = match &found.node.value {
                Value::Mapping(entries) => entries,
                Value::Null => &[],
                _ => return Err(PatchError::Missing),
            };
            if let Some((old, node)) = entries.iter().find(|(old, _)| old.text == *key) {
                return match Tree::from(node) == *value {
                    true => Ok(Vec::new()),
                    false => {
                        let in_flow = found.in_flow || is_flow(text, found.node);
                        let old = Found {
                            node,
                            key: Some(old),
                            in_flow,
                        };
                        replace(text, &old, value)
                    }
                };
            }
            if entries.is_empty() {
                let whole = Tree::map([(key.as_str(), value.clone())]);
                return replace(text, &found, &whole);
            }
            let collection = Collection::of_map(text, found.node, entries);
            let names = entries.iter().map(|(key, _)| key.text.as_ref());
            let at = Spot::number(spot, names, key);
            let flow = format!("{}: {}", scalar(key), value.flow());
            collection.insert(
                at,
                &|indent| {
                    let entry = value.entry(key, indent, line_ending(text));
                    entry.trim_start().to_owned()
                },
                &flow,
            )
        }
        Patch::Comment { at, text: comment } => {
            let found = find(text, root, at)?;
            let end = content_end(text, found.node.span.start as usize, found.node);
            let line = line_end(text, end);
            let end = text[..line].trim_end_matches(['\r', '\n']).len();
            Ok(vec![(end..end, format!("   {comment}"))])
        }
        Patch::Uncomment { text: comment } => {
            let ends = |at: &usize| {
                let rest = text[at + comment.len()..].trim_start_matches(' ');
                rest.is_empty() || rest.starts_with(['\r', '\n', '#'])
            };
            let found = text
                .match_indices(comment.as_str())
                .map(|(at, _)| at)
                .find(ends);
            let at = found.ok_or(PatchError::Missing)?;
            let start = text[..at].trim_end_matches(' ').len();
            Ok(vec![(start..at + comment.len(), String::new())])
        }
        Patch::Unset { map, key } => {
            let found = find(text, root, map)?;
            let entries = match &found.node.value {
                Value::Mapping(entries) => entries,
                Value::Null => return Ok(Vec::new()),
                _ => return Err(PatchError::Missing),
            };
            let Some(at) = entries.iter().position(|(old, _)| old.text == *key) else {
                return Ok(Vec::new());
            };
            if entries.len() == 1 {
                return replace(text, &found, &Tree::Map(Vec::new()));
            }
            let collection = Collection::of_map(text, found.node, entries);
            Ok(vec![(collection.extent(at)?, String::new())])
        }
    }
}

/// A list whose only item goes, with its comments; one behind the key stays.
fn emptied(text: &str, found: &Found) -> Result<Vec<Splice>, PatchError> {
    let nothing = Tree::List(Vec::new());
    let Some(key) = found.key.filter(|_| !is_flow(text, found.node)) else {
        return replace(text, found, &nothing);
    };
    let colon = colon(text, key) + 1;
    let start = found.node.span.start as usize;
    let last = content_end(text, start + 1, found.node);
    let without_end = |at: usize| {
        text[..line_end(text, at)]
            .trim_end_matches(['\r', '\n'])
            .len()
    };
    let (from, to) = (without_end(colon), without_end(last));
    match from < start && !text[colon..from].contains('&') {
        true => Ok(vec![
            (colon..colon, format!(" {}", nothing.flow())),
            (from..to, String::new()),
        ]),
        false => replace(text, found, &nothing),
    }
}

/// Replaces a value, in the style that it has.
fn replace(text: &str, found: &Found, value: &Tree) -> Result<Vec<Splice>, PatchError> {
    let Found { node, key, in_flow } = *found;
    let span = node.span.start as usize..node.span.end as usize;
    let first = text.as_bytes().get(span.start);
    let is_alias = first == Some(&b'*');
    let (short, flow) = match &node.value {
        Value::Scalar(_) => (!is_block_scalar(text, key, node), false),
        Value::Sequence(_) | Value::Mapping(_) => {
            let flow = is_flow(text, node);
            let empty = span.len() <= 2 || text[span.start + 1..span.end - 1].trim().is_empty();
            (flow && !empty, flow)
        }
        _ => (!span.is_empty(), false),
    };
    let at_once = value.is_one_line();
    if is_alias
        || (short && (flow || at_once))
        || (flow && at_once)
        || (in_flow && !span.is_empty())
    {
        return Ok(vec![(span, value.flow())]);
    }
    let Some(key) = key else {
        return Err(PatchError::Elsewhere { at: span });
    };
    let from = colon(text, key) + 1;
    let end = content_end(text, from, node);
    // An anchor would go with what stands behind it.
    if text[from..span.start.clamp(from, end)].contains('&') {
        return Err(PatchError::Elsewhere { at: span });
    }
    if in_flow {
        return Ok(vec![(from..end, format!(" {}", value.flow()))]);
    }
    let indent = column(text, key.span.start as usize) + 2;
    let new = value.behind_key(indent, line_ending(text));
    match new.split_once('\n') {
        // The rest of the line, a comment perhaps, stays behind the key.
        Some((_, lines)) if from == end || flow => {
            let line = line_end(text, from);
            let open = text[..line].ends_with('\n');
            let lines = match open {
                true => format!("{lines}{}", line_ending(text)),
                false => format!("{}{lines}", line_ending(text)),
            };
            Ok(vec![(from..end, String::new()), (line..line, lines)])
        }
        _ => {
            let is_block = matches!(node.value, Value::Sequence(_) | Value::Mapping(_)) && !flow;
            // What stands behind the last of several lines was about that line.
            let end = match is_block && from < span.start && text[from..span.start].contains('\n') {
                true => text[..line_end(text, end)]
                    .trim_end_matches(['\r', '\n'])
                    .len(),
                false => end,
            };
            Ok(vec![(from..end, new)])
        }
    }
}

/// Whether a scalar is written behind `|` or `>`: its place begins with its content.
fn is_block_scalar(text: &str, key: Option<&Key>, node: &YamlNode) -> bool {
    let from = key.map_or(line_start(text, node.span.start as usize), |key| {
        colon(text, key) + 1
    });
    let start = node.span.start as usize;
    from < start
        && text[from..start].contains('\n')
        && text[from..start].trim_start().starts_with(['|', '>'])
}
