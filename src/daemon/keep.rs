//! The last good policy: kept after each enforcement, and enforced at start and at boot before the definition is read.

use super::first;
use super::host::{Host, Standing, interface_summaries};
use super::in_force::{InForce, boot};
use super::kept::{Kept, Key, POLICY, write_down};
use super::report::{Summary, now};
use super::start;
use super::state::State;
use crate::netfilter::enforce::{EnforceError, Enforced};
use crate::policy::{Direction, Policy, Verdict};
use crate::ruleset::{Generation, Ruleset, Walker, compile};
use std::path::PathBuf;
use tracing::warn;

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

/// What is to be written, when nobody waits for it.
#[derive(Debug)]
pub struct Writing {
    state: State,
    policy: Option<(Key, Result<Vec<u8>, String>)>,
    in_force: Option<InForce>,
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct Written {
    key: Option<Key>,
    in_force: Option<InForce>,
}

impl Host {
    /// Enforces the kept policy, unless it is in force already.
    ///
    /// # Errors
    ///
    /// Why there is one that cannot be used or not be enforced; what was in force still is.
    pub fn resume(&mut self) -> Result<Resumed, String> {
        let path = self.kept_path();
        let cannot = |why: String| {
            format!(
                "the kept policy {} cannot be used: {why}; the next definition that is enforced takes its place",
                path.display()
            )
        };
        let bytes = self.state.read(POLICY).map_err(|error| error.to_string())?;
        let Some(bytes) = bytes else {
            return Ok(Resumed::Nothing);
        };
        let kept = Kept::read(bytes).map_err(|error| cannot(error.to_string()))?;
        let ruleset = kept.ruleset().map_err(|error| cannot(error.to_string()))?;
        let there = self.kernel.in_force().map_err(|error| error.to_string())?;
        let record = InForce::read(&self.state).filter(|record| record.boot == boot());
        let summary = kept.summary();
        let kept_as = [
            summary.as_ref().map(|summary| summary.generation),
            record.as_ref().map(|record| record.generation),
        ];
        let kept_as = kept_as.into_iter().flatten().max().unwrap_or(0);
        let resumed = match record.filter(|record| record.key == *kept.key()) {
            Some(record) if self.is_untouched(&record) && self.take_up(&kept, &record) => {
                self.written.in_force = Some(record.clone());
                Resumed::Standing(record.generation)
            }
            _ => match there {
                Some(generation) if generation.0 > kept_as => {
                    return Ok(Resumed::Later(generation.0));
                }
                _ => {
                    let enforced = self
                        .enforce_kept(&ruleset, Generation(kept_as.max(1)))
                        .map_err(|error| format!("the kept policy is not enforced: {error}"))?;
                    Resumed::Enforced(enforced.generation.0)
                }
            },
        };
        let (Resumed::Standing(generation) | Resumed::Enforced(generation)) = resumed else {
            return Ok(resumed);
        };
        self.written.key = Some(kept.key().clone());
        let summary = summary.unwrap_or_else(|| plain_summary(&kept));
        self.enforced = Some(Standing {
            summary: Summary {
                generation,
                ..summary
            },
            policy: None,
            from_kept: true,
        });
        self.closed = false;
        Ok(resumed)
    }

    /// Reads the kept policy's definition, which tells the places of its rules. What is enforced does not wait for it.
    pub fn recollect(&mut self) {
        let wanted = |standing: &Standing| standing.from_kept && standing.policy.is_none();
        if !self.enforced.as_ref().is_some_and(wanted) {
            return;
        }
        let kept = self.state.read(POLICY).ok().flatten().map(Kept::read);
        let Some(Ok(kept)) = kept else { return };
        match (kept.policy(), &mut self.enforced) {
            (Ok(policy), Some(standing)) => standing.policy = Some(policy),
            (Err(why), _) => warn!(
                "the kept policy is enforced as it was compiled by secgroupd {}; this version refuses its definition: {why}",
                kept.program()
            ),
            (Ok(_), None) => {}
        }
    }

    /// Whether no program has changed any table since this was written.
    fn is_untouched(&self, record: &InForce) -> bool {
        let Ok(now) = self.kernel.transaction() else {
            return false;
        };
        // One more if it was adopted, which this process does at its start.
        let by_us = u32::from(self.adopted);
        now.wrapping_sub(record.transaction) == by_us
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
    ) -> Result<Enforced, EnforceError> {
        let first = matches!(self.kernel.in_force(), Ok(None));
        let seed = || {
            if first {
                let walker = Walker::new(ruleset);
                first::seed(|packet| walker.walk(packet).0 == Verdict::Allow);
            }
        };
        seed();
        let enforced = self.kernel.restore_with(ruleset, at_least, seed)?;
        self.add_hits(&enforced.replaced_hits);
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
                let bytes = self.state.read(POLICY).map_err(|error| error.to_string())?;
                let kept = bytes.map(Kept::read).ok_or("the kept policy is gone")?;
                kept.and_then(|kept| kept.ruleset())
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// What has to be written so that what is enforced outlives the machine; `None` if it is written already.
    pub fn to_keep(&mut self) -> Option<Writing> {
        let standing = self.enforced.as_ref()?;
        let generation = standing.summary.generation;
        let origin = self.origin.take();
        let key = match &origin {
            Some(origin) => origin.key(),
            None => self.written.key.clone()?,
        };
        let policy = origin
            .filter(|_| self.written.key.as_ref() != Some(&key))
            .map(|origin| {
                let bytes = self.kernel.look(|loaded| match loaded {
                    Some(loaded) => {
                        write_down(&origin, key.clone(), &standing.summary, &loaded.ruleset)
                    }
                    None => {
                        let ruleset = standing.policy.as_ref().map(compile).unwrap_or_default();
                        write_down(&origin, key.clone(), &standing.summary, &ruleset)
                    }
                });
                (key.clone(), bytes.map_err(|error| error.to_string()))
            });
        let transaction = self.kernel.transaction().ok();
        let names = self.kernel.look(|loaded| Some(loaded?.names.clone()));
        let in_force = names.zip(transaction).map(|(names, transaction)| InForce {
            key,
            boot: boot(),
            transaction,
            generation,
            names,
        });
        let in_force = in_force.filter(|new| self.written.in_force.as_ref() != Some(new));
        (policy.is_some() || in_force.is_some()).then(|| Writing {
            state: self.state.clone(),
            policy,
            in_force,
        })
    }

    /// Takes note of what became of it.
    pub fn kept(&mut self, result: Result<Written, String>) {
        match result {
            Ok(written) => {
                self.written.key = written.key.or(self.written.key.take());
                self.written.in_force = written.in_force.or(self.written.in_force.take());
                self.not_kept = None;
            }
            Err(error) => {
                warn!("the enforced policy is not kept for the next start: {error}");
                self.written = Written::default();
                self.not_kept = Some(error);
            }
        }
    }

    /// Keeps what is enforced, and waits for it.
    pub fn keep(&mut self) {
        if let Some(writing) = self.to_keep() {
            let result = writing.write();
            self.kept(result);
        }
    }

    /// Forgets the kept policy: it was taken off this host on request.
    pub(super) fn forget_kept(&mut self) {
        self.written = Written::default();
        self.origin = None;
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

    fn kept_path(&self) -> PathBuf {
        self.state.directory().join(POLICY)
    }
}

impl Writing {
    /// Writes, and says what.
    ///
    /// # Errors
    ///
    /// Why not all of it could be; what was kept before still is.
    pub fn write(self) -> Result<Written, String> {
        let mut written = Written::default();
        if let Some((key, bytes)) = self.policy {
            self.state
                .write_atomically(POLICY, &bytes?)
                .map_err(|error| error.to_string())?;
            written.key = Some(key);
        }
        if let Some(in_force) = self.in_force {
            in_force
                .write(&self.state)
                .map_err(|error| error.to_string())?;
            written.in_force = Some(in_force);
        }
        Ok(written)
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
        unblocks: [0, 0],
        switched_after_ms: 0.0,
        remarks: Vec::new(),
    }
}
