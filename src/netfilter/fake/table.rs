//! Our table in memory: objects by what nft's text says of them.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::ruleset::TABLE;
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::table::Generation;
use crate::ruleset::text;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Our table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub persists: bool,
    /// Chains, each with the text of its rules.
    pub chains: BTreeMap<String, Vec<String>>,
    /// Sets and maps, each with its kind, and the text of its elements by their keys.
    pub sets: BTreeMap<String, (Kind, BTreeMap<String, String>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Set,
    Map,
}

/// Changes the table by one command, or says why not.
pub(super) fn apply(
    table: &mut Option<Contents>,
    command: &Command,
    names: &Names,
) -> Result<(), String> {
    if let Command::AddTable = command {
        table.get_or_insert_default();
        return Ok(());
    }
    let Some(contents) = table else {
        return Err("there is no table".into());
    };
    let line = text::command(command, names);
    let inside = || {
        let (_, rest) = line.split_once("{ ").unwrap();
        let elements = rest.strip_suffix(" }").unwrap().split(", ");
        elements.map(str::to_owned).collect::<Vec<_>>()
    };
    match command {
        Command::AddTable => Ok(()),
        Command::DeleteTable => {
            *table = None;
            Ok(())
        }
        Command::AddBaseChain(base) => {
            contents.chains.entry(base.name.to_owned()).or_default();
            Ok(())
        }
        Command::AddChain(name) => fresh(&mut contents.chains, name, Vec::new()),
        Command::AddSet { name, .. } => {
            fresh(&mut contents.sets, name, (Kind::Set, BTreeMap::new()))
        }
        Command::AddMap { name, .. } => {
            fresh(&mut contents.sets, name, (Kind::Map, BTreeMap::new()))
        }
        Command::AddElements { of, .. } => {
            let elements = inside();
            elements.iter().try_for_each(|each| contents.has(each))?;
            let (_, set) = contents.sets.get_mut(&*of.name).ok_or("no such set")?;
            elements.into_iter().try_for_each(|element| {
                match set.insert(key(&element).to_owned(), element.clone()) {
                    Some(before) if before != element => {
                        Err(format!("{element} is there as {before}"))
                    }
                    _ => Ok(()),
                }
            })
        }
        Command::DeleteElements { of, .. } => {
            let (_, set) = contents.sets.get_mut(&*of.name).ok_or("no such set")?;
            inside().iter().try_for_each(|element| {
                let removed = set.remove(key(element));
                removed.map(|_| ()).ok_or(format!("no element {element}"))
            })
        }
        Command::AddRule { chain, .. } => {
            let start = format!("add rule inet {TABLE} {chain} ");
            let rule = line.strip_prefix(&start).unwrap();
            contents.has(rule)?;
            let rules = contents.chains.get_mut(&**chain).ok_or("no such chain")?;
            rules.push(rule.to_owned());
            Ok(())
        }
        Command::FlushChain(name) => {
            let rules = contents.chains.get_mut(&**name).ok_or("no such chain")?;
            rules.clear();
            Ok(())
        }
        Command::DeleteChain(name) => {
            contents.is_free(name)?;
            let removed = contents.chains.remove(&**name);
            removed.map(|_| ()).ok_or(format!("no chain {name}"))
        }
        Command::DeleteMap(name) | Command::DeleteSet(name) => {
            contents.is_free(name)?;
            let removed = contents.sets.remove(&**name);
            removed.map(|_| ()).ok_or(format!("no set {name}"))
        }
    }
}

fn fresh<T>(objects: &mut BTreeMap<String, T>, name: &str, object: T) -> Result<(), String> {
    match objects.insert(name.to_owned(), object) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is there already")),
    }
}

/// What stands before the comment and the verdict of an element.
fn key(element: &str) -> &str {
    let end = element.find(" comment ").or(element.find(" : "));
    &element[..end.unwrap_or(element.len())]
}

/// The objects that a rule or an element leads to.
fn references(text: &str) -> Vec<&str> {
    let words: Vec<&str> = text.split(' ').collect();
    let mut found: Vec<&str> = words
        .windows(2)
        .filter(|pair| matches!(pair[0], "jump" | "goto"))
        .map(|pair| pair[1])
        .collect();
    // Not what stands at an offset, as in `@ll,0,8`.
    let sets = words.iter().filter_map(|word| word.strip_prefix('@'));
    found.extend(sets.filter(|name| !name.contains(',')));
    found
}

impl Contents {
    /// All texts, each with the object that it stands in.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        let rules = self.chains.iter();
        let rules = rules.flat_map(|(name, rules)| rules.iter().map(move |rule| (name, rule)));
        let sets = self.sets.iter();
        let elements = sets.flat_map(|(name, (_, set))| set.values().map(move |each| (name, each)));
        let all = rules.chain(elements);
        all.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    fn has(&self, text: &str) -> Result<(), String> {
        let missing =
            |name: &&str| !self.chains.contains_key(*name) && !self.sets.contains_key(*name);
        match references(text).into_iter().find(missing) {
            None => Ok(()),
            Some(name) => Err(format!("{text} leads to {name}, which is not there")),
        }
    }

    fn is_free(&self, name: &str) -> Result<(), String> {
        let mut texts = self.texts();
        match texts.find(|(_, text)| text.contains(name) && references(text).contains(&name)) {
            None => Ok(()),
            Some((holder, _)) => Err(format!("{holder} leads to {name}")),
        }
    }

    /// What each chain that belongs to no generation says, and the objects that nothing leads to.
    pub fn enforced(&self) -> (Vec<String>, Vec<String>) {
        let mut known = BTreeMap::new();
        let roots = self.chains.keys();
        let roots = roots.filter(|name| Generation::of(name).is_none());
        let shown = roots.map(|root| self.shown(root, &mut known)).collect();
        let names = self.chains.keys().chain(self.sets.keys());
        let left = names.filter(|name| !known.contains_key(*name)).cloned();
        (shown, left.collect())
    }

    /// What an object says, without names and labels.
    fn shown(&self, name: &str, known: &mut BTreeMap<String, String>) -> String {
        if let Some(known) = known.get(name) {
            return known.clone();
        }
        let texts: Vec<&String> = match (self.chains.get(name), self.sets.get(name)) {
            (Some(rules), _) => rules.iter().collect(),
            (None, Some((_, set))) => set.values().collect(),
            (None, None) => Vec::new(),
        };
        let mut out = String::new();
        for text in texts {
            let references = references(text);
            let mut words = text.split(' ').peekable();
            while let Some(word) = words.next() {
                let name = word.strip_prefix('@').unwrap_or(word);
                match references.contains(&name) {
                    true => out += &format!("[{:x}] ", hash(&self.shown(name, known))),
                    false => out += &format!("{word} "),
                }
                if word == "label" {
                    words.next_if_eq(&"set").inspect(|_| out += "set ");
                    let is_label = |word: &&str| {
                        let mut all = word.chars();
                        all.all(|each| each.is_ascii_digit() || matches!(each, ',' | '|'))
                    };
                    while words.next_if(is_label).is_some() {}
                }
            }
            out.push(';');
        }
        known.insert(name.to_owned(), out.clone());
        out
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
