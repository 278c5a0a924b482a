//! Which file of a definition holds what, and how a list in it grows.

use crate::definition::keys::names_at;
use crate::definition::patch::{FileTree, Patch, Spot, keys};
use crate::definition::tree::Tree;

/// The files of a definition, as values.
#[derive(Debug)]
pub struct Files {
    files: Vec<(u32, Tree)>,
}

impl Files {
    /// These files, in the order of a definition's sources.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a FileTree<'a>>) -> Self {
        let files = (0..).zip(files.into_iter().map(FileTree::values));
        Files {
            files: files.collect(),
        }
    }

    /// The file that has a value at the end of this path of keys, and the value.
    pub fn holder(&self, path: &[&str]) -> Option<(u32, &Tree)> {
        self.files.iter().find_map(|(number, tree)| {
            let mut keys = path.iter();
            let value = keys.try_fold(tree, |node, key| node.get(key))?;
            Some((*number, value))
        })
    }

    /// The files that have a value at the end of this path.
    pub fn holders(&self, path: &[&str]) -> impl Iterator<Item = u32> {
        let files = self.files.iter().filter(|(_, tree)| {
            let mut keys = path.iter();
            keys.try_fold(tree, |node, key| node.get(key)).is_some()
        });
        files.map(|(number, _)| *number)
    }

    /// A new entry in a section: behind `beside` if that stands there, else behind the last of its kind, in the file
    /// that has the section.
    pub fn add_entry(
        &self,
        section: &str,
        key: &str,
        value: Tree,
        beside: Option<&str>,
    ) -> (u32, Patch) {
        let spot = match beside {
            Some(beside) => Spot::Behind(beside.to_owned()),
            None => Spot::End,
        };
        let near = beside.and_then(|beside| self.holder(&[section, beside]));
        let holds = |(_, tree): &&(u32, Tree)| matches!(tree.get(section), Some(Tree::Map(entries)) if !entries.is_empty());
        let last = self.files.iter().rev().find(holds);
        let file = near.map(|(file, _)| file).or(last.map(|(file, _)| *file));
        if let Some(file) = file {
            let map = keys([section]);
            let key = key.to_owned();
            return (
                file,
                Patch::Set {
                    map,
                    key,
                    value,
                    spot,
                },
            );
        }
        let first = self.files.first().map_or(0, |(file, _)| *file);
        let whole = Tree::map([(key, value)]);
        let patch = Patch::Set {
            map: Vec::new(),
            key: section.to_owned(),
            value: whole,
            spot: Spot::Order(names_at("")),
        };
        (first, patch)
    }

    /// New items of a list, which is made where it is missing: the value of `key` in the mapping at `map`, whose keys
    /// the table has at `schema`.
    pub fn add_items(
        &self,
        map: &[&str],
        key: &'static str,
        schema: &'static str,
        at: usize,
        items: Vec<Tree>,
    ) -> Option<(u32, Vec<Patch>)> {
        let path: Vec<&str> = map.iter().copied().chain([key]).collect();
        match self.holder(&path) {
            Some((file, Tree::List(there))) if !there.is_empty() => {
                let patches = items
                    .into_iter()
                    .enumerate()
                    .map(|(n, value)| Patch::Insert {
                        list: keys(path.iter().copied()),
                        at: at + n,
                        value,
                    });
                Some((file, patches.collect()))
            }
            there => {
                let file = there.map(|(file, _)| file);
                let file = file.or_else(|| Some(self.holder(map)?.0))?;
                let patch = Patch::Set {
                    map: keys(map.iter().copied()),
                    key: key.to_owned(),
                    value: Tree::List(items),
                    spot: Spot::Order(names_at(schema)),
                };
                Some((file, vec![patch]))
            }
        }
    }
}
