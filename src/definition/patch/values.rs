//! What a patch does to the values that a text stands for.

use super::{Patch, PatchError, Path, Spot, Step};
use crate::definition::tree::Tree;

/// Applies a patch.
pub fn apply(root: &mut Tree, patch: &Patch) -> Result<(), PatchError> {
    match patch {
        Patch::Insert { list, at, value } => {
            let items = items(root, list)?;
            if *at > items.len() {
                return Err(PatchError::Missing);
            }
            items.insert(*at, value.clone());
        }
        Patch::Remove { list, at } => {
            taken(items(root, list)?, *at)?;
        }
        Patch::Move { list, from, to } => {
            let items = items(root, list)?;
            let item = taken(items, *from)?;
            if *to > items.len() {
                return Err(PatchError::Missing);
            }
            items.insert(*to, item);
        }
        Patch::Set {
            map,
            key,
            value,
            spot,
        } => {
            let entries = entries(root, map)?;
            match entries.iter_mut().find(|(name, _)| name == key) {
                Some((_, old)) => *old = value.clone(),
                None => {
                    let names = entries.iter().map(|(name, _)| name.as_str());
                    let at = spot.number(names, key);
                    entries.insert(at, (key.clone(), value.clone()));
                }
            }
        }
        Patch::Comment { .. } | Patch::Uncomment { .. } => {}
        Patch::Unset { map, key } => entries(root, map)?.retain(|(name, _)| name != key),
    }
    Ok(())
}

impl Spot {
    /// The number of a new entry among those with these keys.
    pub fn number<'k>(
        &self,
        keys: impl DoubleEndedIterator<Item = &'k str> + ExactSizeIterator,
        new: &str,
    ) -> usize {
        let count = keys.len();
        let behind = |at: Option<usize>| at.map(|at| at + 1);
        match self {
            Spot::End => count,
            Spot::Behind(key) => {
                let mut keys = keys.enumerate();
                behind(keys.find(|(_, name)| name == key).map(|(at, _)| at)).unwrap_or(count)
            }
            Spot::Order(order) => {
                let before = order.iter().take_while(|name| **name != new);
                let before: Vec<&str> = before.copied().collect();
                let mut keys = keys.enumerate().rev();
                let last = keys.find(|(_, name)| before.contains(name));
                behind(last.map(|(at, _)| at)).unwrap_or(0)
            }
        }
    }
}

fn taken(items: &mut Vec<Tree>, at: usize) -> Result<Tree, PatchError> {
    match at < items.len() {
        true => Ok(items.remove(at)),
        false => Err(PatchError::Missing),
    }
}

fn items<'t>(root: &'t mut Tree, path: &Path) -> Result<&'t mut Vec<Tree>, PatchError> {
    match node(root, path)? {
        Tree::List(items) => Ok(items),
        _ => Err(PatchError::Missing),
    }
}

/// The entries of a mapping; one that holds nothing is a mapping without entries.
fn entries<'t>(root: &'t mut Tree, path: &Path) -> Result<&'t mut Vec<(String, Tree)>, PatchError> {
    let node = node(root, path)?;
    if *node == Tree::Null {
        *node = Tree::Map(Vec::new());
    }
    match node {
        Tree::Map(entries) => Ok(entries),
        _ => Err(PatchError::Missing),
    }
}

fn node<'t>(root: &'t mut Tree, path: &Path) -> Result<&'t mut Tree, PatchError> {
    path.iter().try_fold(root, |node, step| match (step, node) {
        (Step::Key(name), Tree::Map(entries)) => {
            let mut entries = entries.iter_mut();
            let entry = entries.find(|(key, _)| key == name);
            entry.map(|(_, node)| node).ok_or(PatchError::Missing)
        }
        (Step::Item(number), Tree::List(items)) => {
            items.get_mut(*number).ok_or(PatchError::Missing)
        }
        _ => Err(PatchError::Missing),
    })
}
