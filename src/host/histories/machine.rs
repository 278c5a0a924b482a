//! A machine with one host, what happens to it, and what must hold of it.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::flows::ended::EndedFlows;
use crate::host::base::Host;
use crate::host::facts::host_facts;
use crate::host::plan::Attempt;
use crate::host::resume::Resumed;
use crate::netfilter::enforce::Kernel;
use crate::netfilter::fake::{Died, Fake};
use crate::netfilter::slots::Slots;
use crate::ruleset::{Generation, compile};
use crate::source::content::content;
use crate::source::load::{Loaded, load};
use crate::source::read::Trust;
use crate::state::directory::State;
use crate::state::directory::full::set_full;
use crate::state::in_force::InForce;
use crate::state::saved_policy::{POLICY, SavedPolicy};
use crate::state::trial::Trial;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;

use self::Definition::{A, B, C, Ended};
use self::Step::*;

/// What happens to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A process starts: the saved policy is enforced.
    Start,
    /// The process ends.
    Kill,
    /// The machine starts again.
    Reboot,
    /// A definition is saved.
    Save(Definition),
    /// A wrong one is saved.
    Bad,
    /// A candidate is tried for an hour.
    Try(Definition),
    /// A candidate is tried, and its time is up at once.
    TryShort(Definition),
    /// A candidate is to be tried while the disk is full.
    TryInVain(Definition),
    /// The candidate is confirmed.
    Confirm(Definition),
    /// Its time is up.
    TakeBack,
    /// Another program deletes the table.
    Deleted,
    /// Another program empties a base chain.
    Flushed,
    /// The daemon answers that.
    Restore,
    /// The disk is full.
    Full,
    /// It has room again.
    Room,
    /// The policy is taken off this host.
    Remove,
    /// The clock passes the end of C's rule.
    Later,
    /// The clock is set back to 1970.
    Earlier,
    /// Rules whose time has come are taken out.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Definition {
    A,
    B,
    /// Its first rule ends.
    C,
    /// The same, when that has ended.
    Ended,
}

/// When C's rule ends: 2100-01-01T00:00:00Z.
const END: u64 = 4_102_444_800;

thread_local!(static TIME: Cell<u64> = const { Cell::new(0) });

fn time() -> u64 {
    TIME.get()
}

/// Lists that share a rule, so that there is something to keep and something to change.
fn text(definition: Definition) -> String {
    let (port, source) = match definition {
        A => (22, "192.0.2.0/24"),
        B => (443, "198.51.100.7"),
        C | Ended => (25, "192.0.2.0/24, until: 2100-01-01T00:00Z"),
    };
    format!(
        "version: 1
security_groups:
  sg-web:
    inbound:
      - {{ action: allow, protocol: tcp, port: {port}, source: {source} }}
      - {{ action: allow, protocol: tcp, port: 80, source: any }}
instances:
  ins-a: {{ interfaces: {{ lan0: {{ security_groups: [sg-web] }} }} }}
"
    )
}

/// A definition, read, and what it is in a kernel that has never had anything else.
struct Known {
    path: PathBuf,
    loaded: Loaded,
    shape: Vec<String>,
}

static KNOWN: LazyLock<[Known; 4]> = LazyLock::new(|| [A, B, C, Ended].map(Known::of));

impl Known {
    fn of(definition: Definition) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{definition:?}.yaml"));
        std::fs::write(&path, text(definition)).unwrap();
        let loaded = load(&path.as_path().into(), Trust::Any);
        let account = loaded.account.as_ref().unwrap();
        let instance = &account.instances[0].id;
        let mut policy = account.policy(instance, &BTreeSet::new()).unwrap();
        if definition == Ended {
            policy.end_rules(END);
        }
        policy.host = host_facts(&policy, &Slots::default());
        let fake = Fake::new(false);
        let kernel = fake.kernel();
        kernel.enforce(&compile(&policy), Generation(1)).unwrap();
        Known {
            path,
            shape: fake.enforced().0.unwrap(),
            loaded,
        }
    }
}

impl Definition {
    fn known(self) -> &'static Known {
        &KNOWN[self as usize]
    }
}

/// A machine with one host.
pub struct Machine {
    folder: TempDir,
    pub fake: Fake,
    pub host: Option<Host>,
    /// Whether it may be that no policy is in force.
    may_be_open: bool,
    /// Whether C's rule has ended.
    has_ended: bool,
}

impl Machine {
    pub fn new(owns: bool) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.unwrap();
        TIME.set(1000);
        Machine {
            folder,
            fake: Fake::new(owns),
            host: None,
            may_be_open: true,
            has_ended: false,
        }
    }

    fn state(&self) -> State {
        State::open(&self.folder.path().join("state")).unwrap()
    }

    /// Does one step, as the daemon does. A failure is logged there, and stands here.
    fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Start => self.start()?,
            Kill => self.host = None,
            Reboot => {
                self.host = None;
                self.fake.reboot();
                self.may_be_open = true;
            }
            Deleted => {
                self.fake.delete_table();
                self.may_be_open = true;
            }
            Flushed => {
                self.fake.flush_base_chain();
                self.may_be_open = true;
            }
            Full => set_full(true),
            Room => set_full(false),
            Later => TIME.set(END),
            Earlier => TIME.set(0),
            _ => {
                let done = self.at_host(step);
                let host = self.host.as_mut().unwrap();
                host.save();
                done?;
            }
        }
        Ok(())
    }

    pub fn start(&mut self) -> Result<(), String> {
        self.host = None;
        // A trial that ends without an old policy leaves none.
        self.may_be_open |= !self.is_saved();
        let kernel: Kernel = self.fake.kernel();
        let state = self.folder.path().join("state");
        let opened = Host::open(&state, kernel, None);
        let host = self.host.insert(opened.map_err(|error| error.to_string())?);
        host.ended = EndedFlows::counting_for_ever();
        host.clock.set_source(time);
        host.adopt();
        let resumed = host.resume();
        host.recollect();
        host.save();
        resumed.map(|_| ())
    }

    fn at_host(&mut self, step: Step) -> Result<(), String> {
        let known = match step {
            Save(of) | Try(of) | TryShort(of) | TryInVain(of) | Confirm(of) => Some(of.known()),
            _ => None,
        };
        let host = self.host.as_mut().unwrap();
        let mut enforce = |attempt| {
            let Known { path, loaded, .. } = known.unwrap();
            let result = host.reconcile(loaded, path, None, attempt);
            result.map(|_| ()).map_err(|failure| failure.text)
        };
        match step {
            Save(_) => enforce(Attempt::Forced),
            Bad => {
                let path = self.folder.path().join("bad.yaml");
                std::fs::write(&path, "version: 1\nnonsense: 1\n").unwrap();
                let loaded = load(&path.as_path().into(), Trust::Any);
                let result = host.reconcile(&loaded, &path, None, Attempt::Plain);
                assert!(result.is_err(), "a wrong definition is enforced");
                Ok(())
            }
            Try(_) => enforce(Attempt::Trial(Duration::from_secs(3600))),
            TryShort(_) => enforce(Attempt::Trial(Duration::ZERO)),
            TryInVain(_) => {
                set_full(true);
                let tried = enforce(Attempt::Trial(Duration::from_secs(3600)));
                set_full(false);
                assert!(
                    tried.is_err(),
                    "a candidate is tried that is not on the disk"
                );
                Ok(())
            }
            Confirm(of) => host.confirm(&content(&of.known().loaded.sources)),
            TakeBack => {
                self.may_be_open |= !self.is_saved();
                let host = self.host.as_mut().unwrap();
                host.take_back().map(|_| ()).map_err(|failure| failure.text)
            }
            Restore => host
                .restore(true)
                .map(|_| ())
                .map_err(|failure| failure.text),
            Remove => {
                self.may_be_open = true;
                host.remove().map(|_| ()).map_err(|error| error.to_string())
            }
            End => host.end_rules().map(|_| ()).map_err(|failure| failure.text),
            _ => unreachable!("no step of a host"),
        }
    }

    fn is_saved(&self) -> bool {
        self.state().read(POLICY).unwrap().is_some()
    }

    /// One whole policy is in force, once there was one, and no rule comes back that has ended.
    fn is_whole(&mut self, step: Option<Step>, said: &str) {
        let shape = self.fake.enforced().0;
        let is = |definition: Definition| shape.as_ref() == Some(&definition.known().shape);
        self.has_ended |= is(Ended);
        assert!(
            !(self.has_ended && is(C)),
            "{said}: a rule that has ended is in force again after {step:?}"
        );
        match shape {
            Some(shape) if KNOWN.iter().any(|known| known.shape == shape) => {
                self.may_be_open = false
            }
            other => assert!(
                self.may_be_open,
                "{said}: neither policy is in force, but {other:#?}"
            ),
        }
    }

    /// Does one step, and restarts where the process ends in it. Returns whether it did.
    pub fn survive(&mut self, step: Step, said: &str) -> bool {
        let result = catch_unwind(AssertUnwindSafe(|| self.step(step)));
        let died = match result {
            Ok(result) => {
                // Only what was planted may fail.
                if let Err(why) = result {
                    assert!(!said.is_empty(), "{step:?}: {why}");
                }
                false
            }
            Err(payload) if payload.is::<Died>() => true,
            Err(payload) => resume_unwind(payload),
        };
        if died {
            self.host = None;
        }
        self.is_whole(Some(step), said);
        died
    }

    /// The last good definition is enforced again, and all agree on that.
    pub fn settle(&mut self, expected: Option<Definition>, said: &str) {
        set_full(false);
        if expected == Some(Ended) {
            TIME.set(END);
        }
        if self.host.is_none() {
            self.start().unwrap_or_else(|why| panic!("{said}: {why}"));
            self.is_whole(None, said);
        }
        if self.host.as_ref().unwrap().trial().is_some() {
            let taken = self.step(TakeBack);
            taken.unwrap_or_else(|why| panic!("{said}: {why}"));
            self.is_whole(None, said);
        }
        let last = match expected {
            Some(definition) => self.step(Save(definition)),
            None => self.step(Remove),
        };
        last.unwrap_or_else(|why| panic!("{said}: {why}"));
        self.agrees(expected, said);
    }

    /// Kernel, host and state directory agree that this is enforced, and nothing else is left.
    pub fn agrees(&mut self, expected: Option<Definition>, said: &str) {
        let host = self.host.as_mut().unwrap();
        let state = State::open(&self.folder.path().join("state")).unwrap();
        assert!(
            host.trial().is_none() && Trial::read(&state).is_none(),
            "{said}: a trial"
        );
        let saved = state.read(POLICY).unwrap();
        let record = InForce::read(&state);
        let Some(definition) = expected else {
            assert_eq!(self.fake.enforced(), (None, Vec::new()), "{said}");
            assert!(
                saved.is_none() && record.is_none(),
                "{said}: something is saved"
            );
            return;
        };
        let known = definition.known();
        let (shape, left) = self.fake.enforced();
        assert_eq!(shape.as_ref(), Some(&known.shape), "{said}");
        assert!(left.is_empty(), "{said}: left {left:?}");
        let saved = SavedPolicy::read(saved.unwrap()).unwrap();
        assert_eq!(saved.content(), content(&known.loaded.sources), "{said}");
        let record = record.unwrap_or_else(|| panic!("{said}: no record"));
        assert_eq!(&record.key, saved.key(), "{said}");
        assert_eq!(record.transaction, self.fake.transactions(), "{said}");
        let generation = host.enforced().unwrap().generation;
        assert_eq!(record.generation, generation, "{said}");
        assert_eq!(host.not_saved(), None, "{said}");
        // The next process finds all of it standing.
        let before = self.fake.transactions();
        self.host = None;
        let kernel = self.fake.kernel();
        let mut next = Host::open(&self.folder.path().join("state"), kernel, None).unwrap();
        next.ended = EndedFlows::counting_for_ever();
        next.clock.set_source(time);
        assert_eq!(
            next.resume().unwrap(),
            Resumed::Standing(generation),
            "{said}"
        );
        assert_eq!(self.fake.transactions(), before, "{said}");
    }
}
