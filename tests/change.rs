//! However a ruleset is reached, what the kernel has in the end is the same: long histories of small changes, each
//! carried out on a model of the table, against the ruleset loaded afresh.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "support/policy.rs"]
mod policy;

use fastrand::Rng;
use policy::policy;
use secgroupd::ruleset::batch::{self, Command, Names};
use secgroupd::ruleset::change::{Change, Loaded};
use secgroupd::ruleset::marks::Bits;
use secgroupd::ruleset::table::BASE_CHAINS;
use secgroupd::ruleset::{Generation, Ruleset, check, compile, text};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A definition of which lines come and go.
struct Definition {
    rules: Vec<String>,
    addresses: BTreeSet<u32>,
    second_group: bool,
    /// Two interfaces with different lists, blocked ports: much is shared, and maps hold intervals.
    manifold: bool,
}

impl Definition {
    fn new(rng: &mut Rng) -> Self {
        let rules = (0..rng.usize(5..60)).map(|_| rule(rng)).collect();
        // Few of a long list lie next to each other, so that most are points.
        let long = rng.u8(0..3) == 0;
        let (count, most) = match long {
            true => (rng.usize(600..1200), 40_000),
            false => (rng.usize(3..80), 4000),
        };
        let addresses = (0..count).map(|_| rng.u32(0..most)).collect();
        Definition {
            rules,
            addresses,
            second_group: rng.bool(),
            manifold: rng.bool(),
        }
    }

    fn text(&self) -> String {
        let addresses: Vec<String> = self
            .addresses
            .iter()
            .map(|number| format!("20.0.{}.{}", number / 256, number % 256))
            .collect();
        let second = match self.second_group {
            true => {
                "  sg-b: { inbound: [ { action: allow, protocol: udp, port: 53, source: any } ] }\n"
            }
            false => "",
        };
        let (other, platform) = match self.manifold {
            true => (
                "      eth1: { addresses: [198.18.1.5], security_groups: [sg-a] }\n",
                "",
            ),
            false => ("", "platform: { blocked_ports: { profile: none } }\n"),
        };
        let bound = if self.second_group { ", sg-b" } else { "" };
        format!(
            "version: 1\n{platform}address_templates: {{ ipm-list: [{}] }}\nsecurity_groups:\n  sg-a:\n    inbound:\n{}{second}instances:\n  ins-a:\n    interfaces:\n      eth0: {{ addresses: [198.18.0.5], security_groups: [sg-a{bound}] }}\n{other}",
            addresses.join(", "),
            self.rules.concat()
        )
    }

    /// What people do: one line changes, sometimes several.
    fn edit(&mut self, rng: &mut Rng) {
        let at = rng.usize(..self.rules.len());
        match rng.u8(0..12) {
            0 => self.second_group = !self.second_group,
            1 => self.rules.insert(at, rule(rng)),
            2 if self.rules.len() > 3 => drop(self.rules.remove(at)),
            3 | 4 => self.rules[at] = rule(rng),
            5 => self.rules[at] = flipped(&self.rules[at]),
            6 => self.rules.push(rule(rng)),
            7 => self.rules.swap(0, at),
            8 if self.addresses.len() > 3 => drop(self.addresses.pop_first()),
            _ => drop(self.addresses.insert(rng.u32(0..4000))),
        }
    }
}

fn rule(rng: &mut Rng) -> String {
    let source = match rng.u8(0..6) {
        0 | 1 => "ipm-list".to_owned(),
        2 => "any".to_owned(),
        3 => format!("10.{}.0.0/16", rng.u8(..)),
        // Across a part of the list.
        4 => format!("20.0.{}.0/21", 8 * rng.u8(0..20)),
        _ => format!("10.0.0.{}", rng.u8(..)),
    };
    let port = match rng.u8(0..4) {
        0 => format!("{}-{}", rng.u16(1..500), rng.u16(500..900)),
        1 => format!("[{}, {}]", rng.u16(1..30), rng.u16(30..60)),
        _ => rng.u16(1..60).to_string(),
    };
    let action = if rng.bool() { "allow" } else { "refuse" };
    let protocol = if rng.u8(0..5) == 0 { "udp" } else { "tcp" };
    format!(
        "      - {{ action: {action}, protocol: {protocol}, port: {port}, source: {source} }}\n"
    )
}

fn flipped(rule: &str) -> String {
    match rule.contains("allow") {
        true => rule.replace("allow", "refuse"),
        false => rule.replace("refuse", "allow"),
    }
}

/// The table as the kernel would have it. It is strict: nothing is added twice, and nothing in use is deleted.
#[derive(Default)]
struct Table {
    chains: BTreeMap<String, Vec<String>>,
    maps: BTreeMap<String, BTreeMap<String, String>>,
    sets: BTreeMap<String, BTreeSet<String>>,
}

impl Table {
    fn apply(&mut self, commands: &[Command], names: &Names) {
        for command in commands {
            let line = text::command(command, names);
            match command {
                Command::AddTable => {}
                Command::AddBaseChain(base) => {
                    self.chains.entry(base.name.to_owned()).or_default();
                }
                Command::AddChain(name) => {
                    assert!(
                        self.chains.insert(name.to_string(), vec![]).is_none(),
                        "{line}"
                    );
                }
                Command::AddSet { name, .. } => {
                    assert!(
                        self.sets
                            .insert(name.to_string(), BTreeSet::new())
                            .is_none(),
                        "{line}"
                    );
                }
                Command::AddMap { name, .. } => {
                    assert!(
                        self.maps
                            .insert(name.to_string(), BTreeMap::new())
                            .is_none(),
                        "{line}"
                    );
                }
                Command::AddElements { of, .. } => {
                    for element in braced(&line) {
                        match element.split_once(" : ") {
                            Some((key, verdict)) => {
                                self.leads_somewhere(verdict);
                                let map = self.maps.get_mut(&*of.name).expect("the map");
                                let before = map.insert(key.to_owned(), verdict.to_owned());
                                assert!(before.is_none(), "{line}");
                            }
                            None => {
                                let set = self.sets.get_mut(&*of.name).expect("the set");
                                assert!(set.insert(element.to_owned()), "{line}");
                            }
                        }
                    }
                }
                Command::DeleteElements { of, .. } => {
                    for key in braced(&line) {
                        let was_there = match self.maps.get_mut(&*of.name) {
                            Some(map) => map.remove(key).is_some(),
                            None => self.sets.get_mut(&*of.name).expect("the set").remove(key),
                        };
                        assert!(was_there, "{line}");
                    }
                }
                Command::AddRule { chain, .. } => {
                    let (_, rule) = line.split_once(&**chain).expect("the chain's name");
                    self.leads_somewhere(rule);
                    self.chains
                        .get_mut(&**chain)
                        .expect("the chain")
                        .push(rule.to_owned());
                }
                Command::FlushChain(name) => {
                    self.chains.get_mut(&**name).expect("the chain").clear()
                }
                Command::DeleteMap(name) => {
                    assert!(self.maps.remove(&**name).is_some(), "{line}");
                    self.is_unused(name);
                }
                Command::DeleteSet(name) => {
                    assert!(self.sets.remove(&**name).is_some(), "{line}");
                    self.is_unused(name);
                }
                Command::DeleteChain(name) => {
                    assert!(self.chains.remove(&**name).is_some(), "{line}");
                    self.is_unused(name);
                }
                Command::DeleteTable => *self = Table::default(),
            }
        }
    }

    fn leads_somewhere(&self, text: &str) {
        for name in names_in(text) {
            let there = self.chains.contains_key(name)
                || self.maps.contains_key(name)
                || self.sets.contains_key(name);
            assert!(there, "{text} leads to {name}, which is missing");
        }
    }

    fn is_unused(&self, deleted: &str) {
        let rules = self.chains.values().flatten();
        let verdicts = self.maps.values().flat_map(BTreeMap::values);
        for text in rules.chain(verdicts) {
            assert!(names_in(text).all(|name| name != deleted), "{text} is left");
        }
    }

    /// What packets meet, with every name replaced by what stands there, and each of these labels by the mark that it is of.
    fn meaning(&self, bits: &Bits) -> Vec<u64> {
        let mut known = HashMap::new();
        let bases = BASE_CHAINS.map(|base| base.name);
        bases
            .into_iter()
            .map(|name| self.digest(name, bits, &mut known))
            .collect()
    }

    fn digest(&self, name: &str, bits: &Bits, known: &mut HashMap<String, u64>) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        if let Some(digest) = known.get(name) {
            return *digest;
        }
        let mut hash = DefaultHasher::new();
        let lines: Vec<String> = match (
            self.chains.get(name),
            self.maps.get(name),
            self.sets.get(name),
        ) {
            (Some(rules), ..) => rules.clone(),
            (_, Some(map), _) => map
                .iter()
                .map(|(key, verdict)| format!("{key} : {verdict}"))
                .collect(),
            (.., Some(set)) => set.iter().cloned().collect(),
            _ => panic!("{name} is missing"),
        };
        for mut line in lines {
            line = with_marks(&line, bits);
            let mut rest = line.as_str();
            for found in names_in(&line) {
                let at = rest.find(found).expect("it was found");
                rest[..at].hash(&mut hash);
                self.digest(found, bits, known).hash(&mut hash);
                rest = &rest[at + found.len()..];
            }
            rest.hash(&mut hash);
        }
        known.insert(name.to_owned(), hash.finish());
        hash.finish()
    }

    fn objects(&self) -> BTreeSet<&str> {
        let chains = self
            .chains
            .keys()
            .chain(self.maps.keys())
            .chain(self.sets.keys());
        chains.map(String::as_str).collect()
    }
}

/// `ct label 64,66` with the marks in place of the labels.
fn with_marks(line: &str, bits: &Bits) -> String {
    let Some((before, after)) = line.split_once("ct label ") else {
        return line.to_owned();
    };
    let marks: BTreeMap<String, String> = bits
        .iter()
        .map(|(mark, bit)| (bit.to_string(), format!("{mark:?}")))
        .collect();
    let mut words: Vec<String> = after.split(' ').map(str::to_owned).collect();
    for word in words
        .iter_mut()
        .take_while(|word| *word != "ct" && *word != "accept")
    {
        let named = word
            .split(',')
            .map(|bit| marks.get(bit).map_or(bit, |mark| mark));
        let mut named: Vec<&str> = named.collect();
        named.sort_unstable();
        *word = named.join(",");
    }
    // The order of labels is that of their numbers.
    if words[0] == "set" {
        words.sort_unstable();
    }
    format!("{before}label of {}", with_marks(&words.join(" "), bits))
}

fn braced(line: &str) -> impl Iterator<Item = &str> {
    let inner = line
        .split_once("{ ")
        .and_then(|(_, rest)| rest.strip_suffix(" }"));
    inner.expect("a list").split(", ")
}

/// `g7_in_0` and the like.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| Generation::of(word).is_some())
}

/// Each enforcement has other labels.
fn bits(ruleset: &Ruleset, number: u64) -> Bits {
    let mut bits = Bits::default();
    for (at, mark) in (0..).zip(&ruleset.marks) {
        bits.insert(mark.clone(), 64 + ((7 * number + at) % 64) as u8);
    }
    bits
}

/// Reaches `ruleset` from what is loaded, as the kernel is told to.
fn reach(
    table: &mut Table,
    loaded: Option<&Loaded>,
    ruleset: Ruleset,
    number: u64,
) -> (Loaded, Change) {
    let change = match loaded {
        Some(old) => Change::between(old, &ruleset, Generation(number)),
        None => Change::all(Generation(number)),
    };
    let change = match change.is_empty() {
        true => change,
        false => change.marked(bits(&ruleset, number)),
    };
    let names = change.names.clone();
    table.apply(&batch::load(&ruleset, &names), &names);
    table.apply(&change.edits(), &names);
    if change.switch {
        table.apply(&batch::switch(), &names);
    }
    if !change.is_empty() {
        table.apply(&batch::mark_again(&ruleset, &names), &names);
    }
    let [chains, maps, sets] = change.left_over();
    table.apply(&batch::delete(&chains, &maps, &sets), &names);
    (Loaded { ruleset, names }, change)
}

#[test]
fn any_history_ends_like_a_fresh_load() {
    let (mut edits, mut switches, mut nothing, mut kept) = (0, 0, 0, 0);
    let (mut in_sets, mut set_edits) = (0, 0);
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let mut definition = Definition::new(&mut rng);
        let mut table = Table::default();
        let mut loaded: Option<Loaded> = None;
        for step in 1..40 {
            let policy = policy(&definition.text());
            let ruleset = compile(&policy);
            if definition.addresses.len() > 500 {
                check(&policy, &ruleset).expect("a right ruleset");
                in_sets += usize::from(ruleset.sets.iter().any(|set| set.elements.len() > 100));
            }
            let before: BTreeSet<String> = table.objects().into_iter().map(str::to_owned).collect();
            let (now, change) = reach(&mut table, loaded.as_ref(), ruleset.clone(), step);
            let mut fresh = Table::default();
            let fresh_names = reach(&mut fresh, None, ruleset, 1).0.names;
            assert_eq!(
                table.meaning(now.names.bits()),
                fresh.meaning(fresh_names.bits()),
                "seed {seed}, step {step}"
            );
            let known: BTreeSet<String> = now.names_in_use().collect();
            let left: Vec<&str> = table
                .objects()
                .into_iter()
                .filter(|name| !known.contains(*name))
                .collect();
            let lasting = ["inbound", "outbound"];
            assert_eq!(left, lasting, "seed {seed}, step {step}");
            if loaded.is_some() {
                edits += usize::from(change.edited().0 > 0);
                switches += usize::from(change.switch);
                nothing += usize::from(change.is_empty());
                let of_set = |command: &Command| match command {
                    Command::AddElements { of, .. } | Command::DeleteElements { of, .. } => {
                        Generation::of(&of.name).is_some_and(|(_, name)| name.starts_with("v4_"))
                    }
                    _ => false,
                };
                set_edits += usize::from(change.edits().iter().any(of_set));
                kept += before.iter().filter(|name| known.contains(*name)).count();
            }
            loaded = Some(now);
            for _ in 0..rng.usize(0..3) {
                definition.edit(&mut rng);
            }
        }
    }
    println!(
        "{edits} edits, {switches} switches, {nothing} times nothing to do, {kept} objects kept"
    );
    println!("{in_sets} rulesets with a long set, {set_edits} edits of one");
    assert!(edits > 10 && switches > 100 && nothing > 100 && kept > 1000);
    assert!(in_sets > 40 && set_edits > 5);
}

/// A list of 600 internal addresses, 600 external ones and `more`, outbound: the block of TCP 25 is for external ones alone, so
/// that the list becomes two sets.
fn both_sides(internal_networks: &str, more: &str) -> Ruleset {
    let addresses: Vec<String> = (0..1200)
        .map(|at| match at % 2 {
            0 => format!("20.{}.{}.7", at / 250, at % 250),
            _ => format!("10.{}.{}.7", at / 250, at % 250),
        })
        .collect();
    // So many rules of one list are asked by address first.
    let rules: String = (443..447)
        .map(|port| {
            format!(
                "      - {{ action: allow, protocol: tcp, port: {port}, destination: ipm-list }}\n"
            )
        })
        .collect();
    let ruleset = compile(&policy(&format!(
        "version: 1\nplatform: {{ blocked_ports: {{ profile: none }}, internal_networks: [{internal_networks}] }}\n\
         address_templates: {{ ipm-list: [{}, {more}] }}\n\
         security_groups:\n  sg-a:\n    outbound:\n{rules}instances:\n  ins-a:\n    interfaces:\n      eth0: {{ addresses: [198.18.0.5], security_groups: [sg-a] }}\n",
        addresses.join(", ")
    )));
    assert_eq!(ruleset.sets.len(), 2);
    ruleset
}

/// Sets that are asked one after the other change in one transaction if no address is in both changes.
#[test]
fn an_address_for_another_of_another_set() {
    let mut table = Table::default();
    let networks = "10.0.0.0/8, 172.16.0.0/12";
    let start = both_sides(networks, "99.1.2.3, 172.16.0.7");
    let (old, _) = reach(&mut table, None, start, 1);
    let now = both_sides(networks, "99.1.2.9, 172.16.0.9");
    let (_, change) = reach(&mut table, Some(&old), now, 2);
    assert_eq!((change.switch, change.edited()), (false, (4, 2)));
}

/// An address that goes from one set to the other would be in neither for a packet in between.
#[test]
fn an_address_from_set_to_set_is_switched() {
    let mut table = Table::default();
    let start = both_sides("10.0.0.0/8", "99.1.2.3");
    let (old, _) = reach(&mut table, None, start, 1);
    let now = both_sides("10.0.0.0/8, 20.0.4.7/32", "99.1.2.3");
    let (_, change) = reach(&mut table, Some(&old), now, 2);
    assert!(change.switch);
}

/// One address more in a long list is one element of the map that names rules and one of the set that does not, and nothing else is
/// touched.
#[test]
fn one_more_address_is_two_elements() {
    let definition = |last: &str| {
        let addresses: Vec<String> = (0..500)
            .map(|at| format!("20.{}.{}.7", at / 250, at % 250))
            .collect();
        let rules: String = (0..10)
            .map(|at| {
                format!(
                    "      - {{ action: allow, protocol: tcp, port: {}, source: ipm-list }}\n",
                    1000 + at
                )
            })
            .collect();
        format!(
            "version: 1\naddress_templates: {{ ipm-list: [{}{last}] }}\nsecurity_groups:\n  sg-a:\n    inbound:\n{rules}instances:\n  ins-a:\n    interfaces:\n      eth0: {{ addresses: [198.18.0.5], security_groups: [sg-a] }}\n",
            addresses.join(", ")
        )
    };
    let mut table = Table::default();
    let (old, _) = reach(&mut table, None, compile(&policy(&definition(""))), 1);
    let (_, change) = reach(
        &mut table,
        Some(&old),
        compile(&policy(&definition(", 99.1.2.3"))),
        2,
    );
    assert_eq!((change.switch, change.edited()), (false, (2, 2)));
    assert!(change.left_over().iter().all(Vec::is_empty));
}
