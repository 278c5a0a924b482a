//! The last good policy: kept after each enforcement, and enforced at start and at boot before the definition is read.

use super::first;
use super::host::{Host, Standing, interface_summaries};
use super::in_force::{InForce, boot};
use super::kept::{Hashed, Kept, Key, Origin, POLICY, Unsealed};
use super::report::{Summary, now};
use super::start;
use super::state::{State, StateError};
use crate::netfilter::enforce::{EnforceError, Enforced};
use crate::policy::{Direction, Policy};
use crate::ruleset::{Generation, Ruleset, Walker, compile};
use std::path::PathBuf;
use tracing::{debug, warn};

/// What became of the kept policy at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// There is none.
    Nothing,
    /// The kernel has it in force, and nothing was changed.
    Standing(u64),
    /// It was enforced, as this generation.
    Enforced(u64),
    /// The kernel has a later policy in force, which there was no time or room to keep. It stays.
    Later(u64),
}

/// A policy that is to be written, when nobody waits for it.
#[derive(Debug)]
pub struct Writing {
    state: State,
    hashed: Hashed,
    bytes: Result<Unsealed, String>,
}

/// A policy that could not be written, and why.
#[derive(Debug)]
pub struct Unwritten {
    hashed: Box<Hashed>,
    why: String,
}

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Which policy.
    pub(super) key: Option<Key>,
    pub(super) in_force: Option<InForce>,
}

/// Transactions of a change in place: load, edit, delete, what was remembered of ended flows before it (of two families, and forgotten) and
/// for it (of two families), and the adoption at this start.
const MOST_OF_A_CHANGE: u32 = 10;

impl Host {
    /// Enforces the kept policy, unless it is in force already; or the candidate whose trial goes on.
    ///
    /// # Errors
    ///
    /// Why there is one that cannot be used or not be enforced; what was in force still is.
    pub fn resume(&mut self) -> Result<Resumed, String> {
        match self.trial_at_start() {
            None => self.resume_kept(false),
            // Also where that fails, its time goes on, and so it does below.
            Some((trial, Some(candidate))) => {
                self.trial = Some(trial);
                self.resume_from(&candidate, true)
            }
            // Its time was up before this start, or the machine was started again.
            Some((trial, None)) => {
                let old = self.state.read(POLICY).ok().flatten();
                self.remember(&trial, old.and_then(|old| Kept::read(old).ok()).as_ref());
                self.trial = Some(trial.clone());
                let resumed = self.resume_kept(true)?;
                if resumed == Resumed::Nothing {
                    self.kernel.remove().map_err(|error| error.to_string())?;
                }
                self.trial = None;
                self.keep();
                self.end_trial();
                warn!(
                    "the candidate {} was not confirmed in time: the old policy is back",
                    trial.candidate.display()
                );
                Ok(resumed)
            }
        }
    }

    /// With `back`, whatever else is in force gives way to it.
    fn resume_kept(&mut self, back: bool) -> Result<Resumed, String> {
        let path = self.state.directory().join(POLICY);
        let bytes = self.state.read(POLICY).map_err(|error| error.to_string())?;
        let Some(bytes) = bytes else {
            return Ok(Resumed::Nothing);
        };
        let kept = Kept::read(bytes).map_err(|error| error.to_string());
        kept.and_then(|kept| self.resume_from(&kept, back)).map_err(|why| {
            format!(
                "the kept policy {} cannot be used: {why}; the next definition that is enforced takes its place",
                path.display()
            )
        })
    }

    fn resume_from(&mut self, kept: &Kept, back: bool) -> Result<Resumed, String> {
        let ruleset = kept.ruleset().map_err(|error| error.to_string())?;
        let there = self.kernel.in_force().map_err(|error| error.to_string())?;
        let record = InForce::read(&self.state).filter(|record| record.boot == boot());
        let in_change = InForce::before_change(&self.state).is_some_and(|before| {
            before.boot == boot()
                && self.is_by_one_change(before.transaction)
                && self.kernel.enters(&before.names)
        });
        let kept_as = [
            kept.summary().map(|summary| summary.generation),
            record.as_ref().map(|record| record.generation),
        ];
        let kept_as = kept_as.into_iter().flatten().max().unwrap_or(0);
        let record = record.filter(|record| {
            record.key == *kept.key() && self.is_untouched(record) && self.take_up(kept, record)
        });
        let resumed = match (record, there) {
            (Some(record), _) => {
                let generation = record.generation;
                self.written.in_force = Some(record);
                Resumed::Standing(generation)
            }
            // A change in place, in the midst of which the last process was killed, enters the same chains.
            (None, Some(generation)) if !back && (generation.0 > kept_as || in_change) => {
                return Ok(Resumed::Later(generation.0));
            }
            _ => {
                let enforced = self
                    .enforce_kept(&ruleset, Generation(kept_as.max(1)), false)
                    .map_err(|error| error.to_string())?;
                Resumed::Enforced(enforced.generation.0)
            }
        };
        if let Resumed::Standing(generation) | Resumed::Enforced(generation) = resumed {
            self.stand_kept(kept, generation);
            self.settle_hits();
            // An earlier process may have ended before it looked.
            self.look_at_flows(ruleset);
        }
        Ok(resumed)
    }

    /// What is enforced is this kept policy, as this generation.
    pub(super) fn stand_kept(&mut self, kept: &Kept, generation: u64) {
        let summary = kept.summary().unwrap_or_else(|| plain_summary(kept));
        self.written.key = Some(kept.key().clone());
        self.closed = false;
        self.enforced = Some(Standing {
            summary: Summary {
                generation,
                ..summary
            },
            policy: None,
            from_kept: true,
        });
    }

    /// Reads the kept policy's definition, which tells the places of its rules. What is enforced does not wait for it.
    pub fn recollect(&mut self) {
        let wanted = |standing: &Standing| standing.from_kept && standing.policy.is_none();
        if !self.enforced.as_ref().is_some_and(wanted) {
            return;
        }
        let kept = self.state.read(self.kept_in()).ok().flatten();
        let Some(Ok(kept)) = kept.map(Kept::read) else {
            return;
        };
        match (kept.policy(), &mut self.enforced) {
            (Ok(policy), Some(standing)) => {
                standing.policy = Some(policy.clone());
                let generation = Generation(standing.summary.generation);
                self.follow_rules(&policy, generation);
            }
            (Err(why), _) => warn!(
                "the kept policy is enforced as it was compiled by secgroupd {}; this version refuses its definition: {why}",
                kept.program()
            ),
            (Ok(_), None) => {}
        }
    }

    /// Before anything is changed in the kernel: what is on the disk about it will no longer be so.
    pub(super) fn before_change(&mut self) {
        self.written.in_force = None;
        if let Err(error) = InForce::set_aside(&self.state) {
            debug!("{error}");
        }
    }

    /// Whether nobody can have changed our table since this was written.
    fn is_untouched(&self, record: &InForce) -> bool {
        if self.owned_at_start {
            return true;
        }
        let Ok(now) = self.kernel.transaction() else {
            return false;
        };
        // One more if it was adopted, which this process does at its start.
        let by_us = u32::from(self.adopted);
        now.wrapping_sub(record.transaction) == by_us
    }

    /// Whether what has happened since this transaction may all be a change of ours: others would have changed more, or could not.
    fn is_by_one_change(&self, transaction: u32) -> bool {
        let since = |now: u32| now.wrapping_sub(transaction);
        self.owned_at_start
            || self
                .kernel
                .transaction()
                .is_ok_and(|now| since(now) <= MOST_OF_A_CHANGE)
    }

    fn take_up(&self, kept: &Kept, record: &InForce) -> bool {
        // Only what this program would say the same by can be changed in part.
        let Some(ruleset) = kept.compiled() else {
            return false;
        };
        let taken = self.kernel.take_up(ruleset, record.names.clone());
        taken.unwrap_or(false)
    }

    /// Enforces a ruleset whose policy need not be known.
    pub(super) fn enforce_kept(
        &mut self,
        ruleset: &Ruleset,
        at_least: Generation,
        deleted: bool,
    ) -> Result<Enforced, EnforceError> {
        let walker = Walker::new(ruleset);
        let seed = || first::seed(|packet| walker.walk(packet).0.passes());
        self.before_change();
        if deleted && let Some(enforced) = self.kernel.restore_at_once(ruleset, at_least) {
            // Flows that connection tracking knew it still knows; those that opened meanwhile it is told of.
            seed();
            return Ok(enforced);
        }
        let first = matches!(self.kernel.in_force(), Ok(None));
        let seed = || {
            if first {
                seed();
            }
        };
        seed();
        let enforced = self.kernel.restore_with(ruleset, at_least, seed)?;
        self.counts.replaced(&enforced.replaced_hits, now());
        if let Some(left) = &enforced.left_behind {
            warn!("the old generation was not cleaned up: {left}");
        }
        Ok(enforced)
    }

    /// The ruleset that is enforced, when the kernel's room no longer knows it.
    pub(super) fn enforced_ruleset(&self) -> Result<Ruleset, String> {
        match self.enforced.as_ref().map(|standing| &standing.policy) {
            Some(Some(policy)) => Ok(compile(policy)),
            _ => {
                let bytes = self.state.read(self.kept_in());
                let bytes = bytes.map_err(|error| error.to_string())?;
                let kept = bytes.map(Kept::read).ok_or("the kept policy is gone")?;
                kept.and_then(|kept| kept.ruleset())
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// What was enforced since anything was kept last.
    pub fn unkept(&mut self) -> Option<Origin> {
        self.origin.take()
    }

    /// What has to be written so that what is enforced outlives the machine; `None` if it is written already, or something else
    /// is enforced by now.
    pub fn to_keep(&self, hashed: Hashed) -> Option<Writing> {
        let standing = self.enforced.as_ref()?;
        if self.origin.is_some() || self.written.key.as_ref() == Some(&hashed.key) {
            return None;
        }
        let bytes = self.kernel.look(|loaded| match loaded {
            Some(loaded) => hashed.write_down(&standing.summary, &loaded.ruleset),
            None => {
                let ruleset = standing.policy.as_ref().map(compile).unwrap_or_default();
                hashed.write_down(&standing.summary, &ruleset)
            }
        });
        Some(Writing {
            state: self.state.clone(),
            hashed,
            bytes: bytes.map_err(|error| error.to_string()),
        })
    }

    /// Takes note of what was written, if there was anything to write, and of what the kernel has. What could not be written is to be
    /// tried again, unless there is something newer; the same failure is told once.
    pub fn kept(&mut self, result: Option<Result<Key, Unwritten>>) {
        match result {
            None => {}
            Some(Ok(key)) => {
                self.written.key = Some(key);
                self.not_kept = None;
            }
            Some(Err(Unwritten { hashed, why })) => {
                self.written = Written::default();
                self.origin.get_or_insert(hashed.into_origin());
                if self.not_kept.as_ref() != Some(&why) {
                    warn!("the enforced policy is not kept for the next start: {why}");
                }
                self.not_kept = Some(why);
            }
        }
        // Of something newer, what is enforced is not what was written.
        if self.origin.is_none()
            && let Some(key) = self.written.key.clone()
            && let Err(error) = self.record(key)
        {
            debug!("the next start will load the policy anew: {error}");
        }
    }

    /// Keeps what is enforced, and waits for it.
    pub fn keep(&mut self) {
        let hashed = self.unkept().map(Origin::hashed);
        let writing = hashed.and_then(|hashed| self.to_keep(hashed));
        self.kept(writing.map(Writing::write));
        self.keep_hits();
    }

    /// Writes what the kernel has now.
    fn record(&mut self, key: Key) -> Result<(), StateError> {
        let Some(standing) = &self.enforced else {
            return Ok(());
        };
        let names = self.kernel.look(|loaded| Some(loaded?.names.clone()));
        let (Some(names), Ok(transaction)) = (names, self.kernel.transaction()) else {
            return Ok(());
        };
        let in_force = InForce {
            key,
            boot: boot(),
            transaction,
            generation: standing.summary.generation,
            names,
        };
        if self.written.in_force.as_ref() != Some(&in_force) {
            in_force.write(&self.state)?;
            self.written.in_force = Some(in_force);
        }
        Ok(())
    }

    /// Forgets the kept policy: it was taken off this host on request.
    pub(super) fn forget_kept(&mut self) {
        self.written = Written::default();
        (self.origin, self.not_kept) = (None, None);
        let removed = self
            .state
            .remove(POLICY)
            .and_then(|()| InForce::remove(&self.state));
        if let Err(error) = removed {
            warn!("the kept policy is still there, and the next start enforces it: {error}");
        }
    }

    /// Closes this host if it has no policy: until there is one, it refuses new inbound flows to itself. Gives whether it did.
    ///
    /// # Errors
    ///
    /// When the kernel fails.
    pub fn close(&mut self) -> Result<bool, EnforceError> {
        self.closed = start::close(&self.kernel)?;
        Ok(self.closed)
    }

    /// Whether what is enforced has yet to be kept.
    pub fn is_unkept(&self) -> bool {
        self.origin.is_some()
    }

    /// Why the enforced policy will not be there at the next start.
    pub fn not_kept(&self) -> Option<&str> {
        self.not_kept.as_deref()
    }

    /// Whether the enforced policy is the kept one, and no definition was enforced since.
    pub fn is_from_kept(&self) -> bool {
        self.enforced
            .as_ref()
            .is_some_and(|standing| standing.from_kept)
    }

    /// Whether this host is closed for want of a policy.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

impl Written {
    /// A policy that is on the disk, and nothing else.
    pub(super) fn of(key: Key) -> Self {
        Written {
            key: Some(key),
            in_force: None,
        }
    }
}

impl Writing {
    /// Writes, and says what.
    ///
    /// # Errors
    ///
    /// Why it could not be; what was kept before still is.
    pub fn write(self) -> Result<Key, Unwritten> {
        let Writing {
            state,
            hashed,
            bytes,
        } = self;
        let written = bytes.and_then(|bytes| {
            let written = state.write_atomically(POLICY, &bytes.seal());
            written.map_err(|error| error.to_string())
        });
        match written {
            Ok(()) => Ok(hashed.key),
            Err(why) => Err(Unwritten {
                hashed: Box::new(hashed),
                why,
            }),
        }
    }
}

/// A summary where that of another version cannot be read.
fn plain_summary(kept: &Kept) -> Summary {
    let policy: Option<Policy> = kept.policy().ok();
    let rules = |direction| {
        policy
            .as_ref()
            .map_or(0, |policy| policy.rule_count(direction))
    };
    Summary {
        generation: 0,
        definition: PathBuf::from("(kept)"),
        instance: kept.instance().to_string(),
        since: now(),
        interfaces: policy.as_ref().map(interface_summaries).unwrap_or_default(),
        rules: [rules(Direction::Inbound), rules(Direction::Outbound)],
        smtp_blocked: policy.as_ref().is_some_and(|policy| policy.smtp_blocked),
        observe: policy
            .as_ref()
            .is_some_and(|policy| policy.platform.observe),
        unblocks: [0, 0],
        switched_after_ms: 0.0,
        remarks: Vec::new(),
    }
}
