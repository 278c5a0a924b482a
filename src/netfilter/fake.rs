//! A kernel in memory, for tests: it takes the commands of a [`Backend`], answers as a [`View`], and fails or ends the
//! process at the call that it is told.
//!
//! Objects hold what nft's text says of them. What refers to an object must find it, and an object that something
//! refers to cannot be deleted.

mod table;

use self::table::{Contents, Kind, apply};
use super::backend::{ApplyError, Backend};
use super::events::tables::TableEvents;
use super::hits::{HitsError, RuleHits};
use super::kernel::Kernel;
use super::labels::Labels;
use super::native::{NativeError, Refusal};
use super::netlink::NetlinkError;
use super::objects::Objects;
use super::ownership::{Owner, Table};
use super::seed::{SeedError, TcpSocket};
use super::standby::Standby;
use super::view::View;
use crate::ruleset::TABLE;
use crate::ruleset::batch::{Command, Names};
use crate::ruleset::table::BASE_CHAINS;
use crate::ruleset::text;
use nix::errno::Errno;
use parking_lot::{Mutex, MutexGuard};
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

    /// What packets meet in each chain that belongs to no generation, and the objects that nothing leads to. What a
    /// rule or an element leads to stands there as a hash of all that it says; names and labels are left out.
    pub fn enforced(&self) -> (Option<Vec<String>>, Vec<String>) {
        let state = self.state();
        let Some(table) = &state.table else {
            return (None, Vec::new());
        };
        let (shown, left) = table.enforced();
        (Some(shown), left)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
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
