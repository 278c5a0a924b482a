//! A host: its parts, how it is opened, and what it answers.

use super::clock::Clock;
use super::report::Summary;
use crate::flows::ended::EndedFlows;
use crate::netfilter::enforce::Kernel;
use crate::netfilter::slots::Slots;
use crate::policy::Policy;
use crate::state::author::Author;
use crate::state::counts::Counts;
use crate::state::directory::{Lock, State, StateError};
use crate::state::in_force::InForce;
use crate::state::saved_policy::{Key, Origin};
use crate::state::trial::Trial;
use crate::state::{flow_labels, hits};
use std::path::{Path, PathBuf};

/// This host: its state directory, its kernel, and what it enforces.
#[derive(Debug)]
pub struct Host {
    pub(super) state: State,
    _lock: Lock,
    pub(super) kernel: Kernel,
    /// The instance asked for on the command line.
    pub(super) instance: Option<String>,
    pub(super) enforced: Option<Enforced>,
    /// What the rules and layers have met.
    pub(super) counts: Counts,
    /// Why the counts are not saved.
    pub(super) hits_not_saved: Option<String>,
    /// The live flows that changes end.
    pub ended: EndedFlows,
    /// Whether nobody else could change our table even before this process was started.
    pub(super) owned_at_start: bool,
    /// Whether this process has made its own the table that an earlier one left.
    pub(super) adopted: bool,
    /// Whether this host is closed for want of a policy.
    pub(super) closed: bool,
    /// What the enforced policy was made of, until it is saved.
    pub(super) origin: Option<Origin>,
    pub(super) written: Written,
    pub(super) not_saved: Option<String>,
    /// The labels of interfaces, as they are on the disk.
    pub(super) labels_saved: Slots,
    pub(super) trial: Option<Trial>,
    pub(super) clock: Clock,
    /// Who has changed the definition that is enforced next, if somebody has said so.
    pub author: Option<Author>,
    /// The last generation that was enforced: none comes twice.
    pub(super) highest: u64,
    /// The last candidate that was not confirmed.
    pub(super) taken_back: Option<PathBuf>,
}

/// What is enforced.
#[derive(Debug)]
pub(super) struct Enforced {
    /// `None` for a saved policy whose definition was not read again yet.
    pub policy: Option<Policy>,
    pub summary: Summary,
    /// When the next of its rules ends, in seconds since 1970.
    pub ends: Option<u64>,
    /// What it was made of; `None` where a file of the state directory says so.
    pub origin: Option<Origin>,
    /// Whether it is the saved policy, and no definition was enforced since.
    pub from_saved: bool,
}

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    /// Which policy.
    pub key: Option<Key>,
    pub in_force: Option<InForce>,
}

impl Host {
    /// Takes the state directory for this process alone.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or another process has it.
    pub fn open(
        state: &Path,
        kernel: Kernel,
        instance: Option<String>,
    ) -> Result<Self, StateError> {
        let state = State::open(state)?;
        let lock = state.lock()?;
        let is_closed =
            matches!(kernel.in_force(), Ok(None)) && kernel.is_closed().unwrap_or(false);
        let counts = hits::read(&state);
        let labels = flow_labels::read(&state);
        if let Some(labels) = &labels {
            kernel.know_slots(labels.clone());
        }
        Ok(Host {
            clock: Clock::new(&state),
            author: None,
            state,
            _lock: lock,
            owned_at_start: kernel.owns(),
            kernel,
            instance,
            enforced: None,
            counts,
            hits_not_saved: None,
            ended: EndedFlows::default(),
            adopted: false,
            // As the boot unit may have left it.
            closed: is_closed,
            origin: None,
            written: Written::default(),
            not_saved: None,
            labels_saved: labels.unwrap_or_default(),
            trial: None,
            highest: 0,
            taken_back: None,
        })
    }

    /// The instance asked for on the command line.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The state directory.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is enforced by this process.
    pub fn enforced(&self) -> Option<&Summary> {
        self.enforced.as_ref().map(|enforced| &enforced.summary)
    }

    /// The generation that this process enforces, 0 without one, and its policy, if the definition was read.
    pub fn enforced_policy(&self) -> (u64, Option<&Policy>) {
        let enforced = self.enforced.as_ref();
        let generation = enforced.map_or(0, |enforced| enforced.summary.generation);
        (
            generation,
            enforced.and_then(|enforced| enforced.policy.as_ref()),
        )
    }

    /// The generation that the kernel has from before this process, while this one has enforced nothing.
    pub fn inherited(&self) -> Option<u64> {
        if self.enforced.is_some() {
            return None;
        }
        let in_force = self.kernel.in_force().ok().flatten();
        in_force.map(|generation| generation.0)
    }

    /// Why it is not known whether the kernel has anything from before this process.
    pub fn unseen(&self) -> Option<String> {
        let asked = self.enforced.is_none().then(|| self.kernel.in_force());
        asked?.err().map(|error| error.to_string())
    }

    /// The candidate that waits for its confirmation.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Whether what is enforced has yet to be saved.
    pub fn is_unsaved(&self) -> bool {
        self.origin.is_some()
    }

    /// The candidate that was tried before the policy that is enforced came back.
    pub fn taken_back(&self) -> Option<&Path> {
        self.taken_back.as_deref().filter(|_| self.is_from_saved())
    }

    /// Why the enforced policy will not be there at the next start.
    pub fn not_saved(&self) -> Option<&str> {
        self.not_saved.as_deref()
    }

    /// Whether the enforced policy is the saved one, and no definition was enforced since.
    pub fn is_from_saved(&self) -> bool {
        let enforced = self.enforced.as_ref();
        enforced.is_some_and(|enforced| enforced.from_saved)
    }

    /// Whether this host is closed for want of a policy.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

impl Written {
    /// A policy that is on the disk, and nothing else.
    pub fn of(key: Key) -> Self {
        Written {
            key: Some(key),
            in_force: None,
        }
    }
}
