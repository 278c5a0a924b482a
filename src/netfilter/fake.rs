//! A kernel in memory, for tests: it takes the commands of a [`Backend`], answers as a [`View`], and fails or ends the process
//! at the call that it is told.
//!
//! Objects hold what nft's text says of them. What refers to an object must find it, and an object that something refers to
//! cannot be deleted.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::backend::{ApplyError, Backend};
use super::events::tables::TableEvents;
use super::hits::{HitsError, RuleHits};
use super::kernel::Kernel;
use super::labels::Labels;
use super::native::{NativeError, Refusal, Transaction};
use super::netlink::NetlinkError;
use super::objects::Objects;
use super::ownership::{Owner, Table};
use super::seed::{SeedError, TcpSocket};
use super::standby::Standby;
use super::view::View;
use crate::ruleset::TABLE;
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::table::{BASE_CHAINS, Generation};
use crate::ruleset::text;
use nix::errno::Errno;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::sync::Arc;

/// Commands of a transaction that may be cut: few, so that a process ends in the midst of loads.
const PART: usize = 25;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused, and nothing is done.
    Refused,
    /// It is done, and not answered.
    Unanswered,
    /// The process ends before it.
    DiesBefore,
    /// The process ends after it was done.
    DiesAfter,
}

/// What a process ends with.
#[derive(Debug)]
pub struct Died;

/// A kernel. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

/// A process's way to a kernel.
#[derive(Debug, Clone)]
struct Process {
    fake: Fake,
    /// Its netlink port.
    port: u32,
}

#[derive(Debug, Default)]
struct State {
    table: Option<Contents>,
    owner: Option<u32>,
    transaction: u32,
    processes: u32,
    calls: usize,
    fault: Option<(usize, Fault)>,
    /// Whether tables can be owned.
    owns: bool,
}

/// Our table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Contents {
    persists: bool,
    /// Chains, each with the text of its rules.
    chains: BTreeMap<String, Vec<String>>,
    /// Sets and maps, each with its kind, and the text of its elements by their keys.
    sets: BTreeMap<String, (Kind, BTreeMap<String, String>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Set,
    Map,
}

impl Fake {
    /// A kernel in which tables can be owned, or not.
    pub fn new(owns: bool) -> Self {
        let fake = Fake::default();
        fake.state().owns = owns;
        fake
    }

    /// The kernel as a new process has it. What an earlier one owned has no owner any more.
    pub fn kernel(&self) -> Kernel {
        let mut state = self.state();
        state.owner = None;
        state.processes += 1;
        let process = Process {
            fake: self.clone(),
            port: state.processes,
        };
        drop(state);
        Kernel::with(Box::new(process.clone()), Box::new(process))
    }

    /// How often it was called so far.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// This becomes of the call after so many more.
    pub fn fail_after(&self, calls: usize, fault: Fault) {
        let mut state = self.state();
        let at = state.calls + calls;
        state.fault = Some((at, fault));
    }

    /// Nothing fails any more. Returns whether the fault that was planted is still to come.
    pub fn heal(&self) -> bool {
        self.state().fault.take().is_some()
    }

    /// Another program deletes the table.
    pub fn delete_table(&self) {
        let mut state = self.state();
        (state.table, state.owner) = (None, None);
        state.transaction += 1;
    }

    /// Another program empties a base chain.
    pub fn flush_base_chain(&self) {
        let mut state = self.state();
        let chains = state.table.as_mut().map(|table| &mut table.chains);
        if let Some(rules) = chains.and_then(|chains| chains.get_mut(BASE_CHAINS[0].name)) {
            rules.clear();
        }
        state.transaction += 1;
    }

    /// The machine starts again: the kernel has nothing.
    pub fn reboot(&self) {
        let mut state = self.state();
        (state.table, state.owner, state.transaction) = (None, None, 0);
    }

    /// The number of the last transaction.
    pub fn transactions(&self) -> u32 {
        self.state().transaction
    }

    /// What packets meet from the base chains on, without names, and what nothing leads to.
    pub fn enforced(&self) -> (Option<Vec<String>>, Vec<String>) {
        let state = self.state();
        let Some(table) = &state.table else {
            return (None, Vec::new());
        };
        let mut seen = BTreeSet::new();
        let roots = table.chains.keys().filter(|name| is_root(name)).cloned();
        let shown: Vec<_> = roots.map(|root| table.shown(&root, &mut seen)).collect();
        let names = table.chains.keys().chain(table.sets.keys());
        let left = names.filter(|name| !seen.contains(*name)).cloned();
        (Some(shown), left.collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

fn is_root(name: &str) -> bool {
    Generation::of(name).is_none()
}

impl Process {
    /// Does what a call asks for, or what was planted in its place.
    fn call<T, E>(
        &self,
        refused: impl FnOnce() -> E,
        unanswered: impl FnOnce() -> E,
        work: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.fake.state();
        state.calls += 1;
        let now = state.calls;
        let fault = state.fault.take_if(|(at, _)| *at < now);
        match fault.map(|(_, fault)| fault) {
            None => work(&mut state),
            Some(Fault::Refused) => Err(refused()),
            Some(Fault::Unanswered) => {
                let _ = work(&mut state);
                Err(unanswered())
            }
            Some(Fault::DiesBefore) => die(state),
            Some(Fault::DiesAfter) => {
                let _ = work(&mut state);
                die(state)
            }
        }
    }

    fn ask<T>(&self, answer: impl FnOnce(&State) -> T) -> Result<T, NetlinkError> {
        let failed = || NetlinkError::Refused(Errno::ENOMEM);
        self.call(failed, failed, |state| Ok(answer(state)))
    }

    fn tell(
        &self,
        commands: &[Command],
        names: &Names,
        work: impl FnOnce(&mut State) -> Result<(), String>,
    ) -> Result<(), ApplyError> {
        let refusal = |words: String| Refusal {
            error: Errno::EINVAL,
            words: Some(words),
            offset: None,
            command: None,
            reason: None,
            refused: 1,
            batch: text::transaction(commands, names),
        };
        let refused = |words| ApplyError::from(NativeError::Refused(Box::new(refusal(words))));
        let planted = || refused("as planted".to_owned());
        let unanswered = || ApplyError::from(NativeError::Unanswered);
        self.call(planted, unanswered, |state| work(state).map_err(refused))
    }

    fn apply_as(
        &self,
        commands: &[Command],
        names: &Names,
        owner: Option<u32>,
    ) -> Result<(), ApplyError> {
        if commands.is_empty() {
            return Ok(());
        }
        self.tell(commands, names, |state| {
            if state.owner.is_some_and(|owner| owner != self.port) {
                return Err("the table is another's".into());
            }
            let mut table = state.table.clone();
            for command in commands {
                apply(&mut table, command, names)?;
            }
            state.owner = state.owner.or(owner).filter(|_| table.is_some());
            if let (Some(table), Some(_)) = (&mut table, owner) {
                table.persists = true;
            }
            state.table = table;
            state.transaction += 1;
            Ok(())
        })
    }
}

/// Ends the process as far as the test that catches this is concerned.
fn die(state: MutexGuard<'_, State>) -> ! {
    drop(state);
    resume_unwind(Box::new(Died))
}

/// Changes the table by one command, or says why not.
fn apply(table: &mut Option<Contents>, command: &Command, names: &Names) -> Result<(), String> {
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
    fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
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

    /// An object with all that it leads to, without names.
    fn shown(&self, name: &str, seen: &mut BTreeSet<String>) -> String {
        seen.insert(name.to_owned());
        let texts: Vec<&String> = match (self.chains.get(name), self.sets.get(name)) {
            (Some(rules), _) => rules.iter().collect(),
            (None, Some((_, set))) => set.values().collect(),
            (None, None) => Vec::new(),
        };
        let mut out = String::new();
        for text in texts {
            let mut line = text.clone();
            let led: BTreeSet<String> = references(text).into_iter().map(str::to_owned).collect();
            for each in led {
                let inner = self.shown(&each, seen);
                line = line
                    .split(' ')
                    .map(
                        |word| match word.strip_prefix('@').unwrap_or(word) == each {
                            true => format!("[{inner}]"),
                            false => word.to_owned(),
                        },
                    )
                    .collect::<Vec<_>>()
                    .join(" ");
            }
            out += &format!("{line};");
        }
        out
    }
}

impl Backend for Process {
    fn prepare<'c, 'r>(
        &self,
        table: Option<Table>,
        commands: &'c [Command<'r>],
    ) -> Result<&'c [Command<'r>], ApplyError> {
        if table.is_none_or(|table| table.is_orphan()) && self.fake.state().owns {
            self.apply_as(&[Command::AddTable], &Names::none(), Some(self.port))?;
        }
        Ok(commands)
    }

    fn apply(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        self.apply_as(commands, names, None)
    }

    fn apply_in_parts(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        let mut parts = commands.chunks(PART);
        parts.try_for_each(|part| self.apply_as(part, names, None))
    }

    fn apply_owning(&self, commands: &[Command], names: &Names) -> Result<(), ApplyError> {
        self.apply_as(commands, names, Some(self.port))
    }

    fn can_own(&self) -> Result<bool, ApplyError> {
        Ok(self.fake.state().owns)
    }

    fn port(&self) -> Option<Owner> {
        Some(Owner(self.port))
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn write_down(&self, _: &[Command], _: &Names) -> Option<Transaction> {
        None
    }

    fn send(&self, _: &Transaction) -> bool {
        false
    }

    fn listen(&self, _: &Arc<Standby>) -> Result<TableEvents, Errno> {
        Err(Errno::EOPNOTSUPP)
    }
}

impl View for Process {
    fn table(&self) -> Result<Option<Table>, NetlinkError> {
        self.ask(|state| {
            let table = state.table.as_ref()?;
            Some(Table::new(table.persists, state.owner.map(Owner)))
        })
    }

    fn base_chains_stand(&self) -> Result<bool, NetlinkError> {
        self.ask(|_| true)
    }

    fn objects(&self) -> Result<Objects, NetlinkError> {
        self.ask(|state| {
            let Some(table) = &state.table else {
                return Objects::default();
            };
            let of = |kind| {
                let sets = table.sets.iter().filter(move |(_, (of, _))| *of == kind);
                sets.map(|(name, _)| name.clone()).collect()
            };
            Objects {
                chains: table.chains.keys().cloned().collect(),
                sets: of(Kind::Set),
                maps: of(Kind::Map),
            }
        })
    }

    fn entries(&self) -> Result<[Vec<Option<String>>; 2], NetlinkError> {
        self.ask(|state| {
            BASE_CHAINS.map(|base| {
                let table = state.table.as_ref();
                let rules = table.and_then(|table| table.chains.get(base.name));
                let rules = rules.into_iter().flatten();
                let target = |rule: &String| rule.strip_prefix("jump ").map(str::to_owned);
                rules.map(target).collect()
            })
        })
    }

    fn labels_set(&self) -> Result<Vec<(String, u128)>, NetlinkError> {
        self.ask(|state| {
            let chains = state.table.iter().flat_map(|table| &table.chains);
            let rules = chains.flat_map(|(name, rules)| rules.iter().map(move |rule| (name, rule)));
            let labels = |rule: &str| {
                let words = rule.split(' ').skip_while(|word| *word != "set").skip(1);
                let bits = words.step_by(2).map_while(|word| word.parse::<u8>().ok());
                bits.fold(0, |all, bit| all | 1_u128 << bit)
            };
            let set = rules.filter(|(_, rule)| rule.contains("ct label set "));
            set.map(|(name, rule)| (name.clone(), labels(rule)))
                .collect()
        })
    }

    fn hits(&self) -> Result<Vec<RuleHits>, HitsError> {
        let read = self.ask(|state| {
            let texts = state.table.iter().flat_map(Contents::texts);
            let counts = texts.filter_map(|(name, text)| {
                let (_, comment) = text.split_once("comment \"")?;
                Some(RuleHits {
                    chain: name.to_owned(),
                    comment: Some(comment.split('"').next()?.to_owned()),
                    ..RuleHits::default()
                })
            });
            counts.collect()
        });
        read.map_err(|error| HitsError::Rules {
            table: TABLE.to_owned(),
            error,
        })
    }

    fn hits_of(&self, _: &[String], _: &[String]) -> Result<Vec<RuleHits>, HitsError> {
        self.hits()
    }

    fn transaction(&self) -> Result<u32, NetlinkError> {
        self.ask(|state| state.transaction)
    }

    fn labels(&self) -> Labels {
        Labels::of_no_flows()
    }

    fn established_tcp(&self) -> Result<Vec<TcpSocket>, SeedError> {
        Ok(Vec::new())
    }

    fn track(&self, _: &[TcpSocket]) -> Result<usize, SeedError> {
        Ok(0)
    }
}
