//! A candidate on trial: it is enforced, and the old policy comes back unless it is confirmed in time.
//!
//! ```text
//! begin      candidate and its deadline are written, then it is switched in; the kept policy stays the old one
//! confirm    the candidate becomes the kept policy
//! take back  its content is remembered as unconfirmed, the kept policy is enforced, and then the deadline is forgotten
//! ```
//!
//! Killed between any two of these, the next start goes on where it was. A restart of the machine ends the trial.

use super::ended::{Before, Look};
use super::host::{Host, Standing};
use super::in_force::boot;
use super::keep::Written;
use super::kept::{CANDIDATE, Hashed, Kept, Key, POLICY};
use super::report::{Failure, Summary, now};
use super::state::State;
use crate::definition::{Diagnostic, Severity, Sources};
use crate::netfilter::enforce::EnforceError;
use crate::policy::Policy;
use crate::ruleset::{Generation, Ruleset};
use crate::source::content::content;
use crate::source::shown::shown;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{error, warn};

/// The deadline's file in the state directory.
const TRIAL: &str = "trial.json";
/// The file of what was not confirmed.
const UNCONFIRMED: &str = "unconfirmed.json";
/// How many contents are remembered as unconfirmed, the latest.
const REMEMBERED: usize = 100;

/// A candidate that waits for its confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Where it was read.
    pub candidate: PathBuf,
    /// The hash of its texts.
    pub content: String,
    key: Key,
    /// The start of the machine in which it runs.
    boot: String,
    /// When it ends, in milliseconds since that start, sleep included: no clock that is set moves it.
    ends: u64,
}

/// How a definition is to be enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// For good, unless it was tried and not confirmed.
    Plain,
    /// For good, whatever was tried.
    Forced,
    /// For so long, unless it is confirmed.
    Trial(Duration),
}

/// A content that was tried and not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Unconfirmed {
    content: String,
    /// When it was taken back, in seconds since 1970.
    at: u64,
}

impl Trial {
    fn new(candidate: &Path, hashed: &Hashed, time: Duration) -> Self {
        Trial {
            candidate: candidate.to_owned(),
            content: hashed.content.clone(),
            key: hashed.key.clone(),
            boot: boot(),
            ends: since_start().saturating_add(time).as_millis() as u64,
        }
    }

    /// The time that is left; none at another start of the machine.
    pub fn left(&self) -> Duration {
        match self.boot == boot() {
            true => Duration::from_millis(self.ends).saturating_sub(since_start()),
            false => Duration::ZERO,
        }
    }

    fn read(state: &State) -> Option<Self> {
        let bytes = state.read(TRIAL).ok()??;
        // One that cannot be read is one whose time is up.
        Some(serde_json::from_slice(&bytes).unwrap_or(Trial {
            candidate: PathBuf::new(),
            content: String::new(),
            key: String::new(),
            boot: String::new(),
            ends: 0,
        }))
    }

    /// The candidate as it was written down, if that is the one.
    fn kept(&self, state: &State) -> Option<Kept> {
        let kept = Kept::read(state.read(CANDIDATE).ok()??).ok()?;
        (*kept.key() == self.key).then_some(kept)
    }
}

/// The policy that was enforced last on this host, as the state directory has it.
///
/// # Errors
///
/// A sentence, when none is kept, or it cannot be read.
pub fn last_enforced(directory: &Path) -> Result<Policy, String> {
    let path = directory.join(POLICY);
    // Whoever only asks leaves no trace.
    if !directory.exists() {
        return Err(format!(
            "{} does not exist: none was enforced",
            shown(directory)
        ));
    }
    let state = State::open(directory).map_err(|error| error.to_string())?;
    let trial = Trial::read(&state).filter(|trial| !trial.left().is_zero());
    if let Some(kept) = trial.and_then(|trial| trial.kept(&state)) {
        return kept.policy();
    }
    let bytes = state.read(POLICY).map_err(|error| error.to_string())?;
    let kept = bytes
        .map(Kept::read)
        .ok_or_else(|| format!("no policy is kept in {}: none was enforced", shown(&path)))?;
    kept.map_err(|error| format!("{} cannot be used: {error}", shown(&path)))?
        .policy()
}

/// Since the start of the machine, sleep included.
fn since_start() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

impl Host {
    /// The candidate that waits for its confirmation.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// The file that holds what is enforced.
    pub(super) fn kept_in(&self) -> &'static str {
        match self.trial {
            Some(_) => CANDIDATE,
            None => POLICY,
        }
    }

    /// Writes down a candidate and its deadline, before it is switched in.
    ///
    /// # Errors
    ///
    /// When that cannot be done, or there would be nothing to come back to.
    pub(super) fn prepare_trial(
        &mut self,
        hashed: &Hashed,
        summary: &Summary,
        ruleset: &Ruleset,
        time: Duration,
    ) -> Result<Trial, Failure> {
        self.secure_the_old()?;
        let failed =
            |error: String| Failure::other(format!("the candidate was not tried: {error}"));
        let bytes = hashed.write_down(summary, ruleset);
        let bytes = bytes.map_err(|error| failed(error.to_string()))?;
        let trial = Trial::new(&summary.definition, hashed, time);
        let deadline = serde_json::to_vec(&trial).map_err(|error| failed(error.to_string()))?;
        self.state
            .write_atomically(CANDIDATE, &bytes.seal())
            .and_then(|()| self.state.write_atomically(TRIAL, &deadline))
            .map_err(|error| failed(error.to_string()))?;
        Ok(trial)
    }

    /// What would come back is on the disk.
    fn secure_the_old(&mut self) -> Result<(), Failure> {
        if let Some(trial) = &self.trial {
            return Err(Failure::other(format!(
                "the candidate {} is on trial already: `secgroupd confirm` it, or end its trial with `secgroupd reload`",
                shown(&trial.candidate)
            )));
        }
        if self.enforced.is_none() && !matches!(self.kernel.in_force(), Ok(None)) {
            return Err(Failure::other(
                "the candidate was not tried: what an earlier daemon left enforced is not known to this one, and could not come \
                 back. Have a definition enforced first, by `secgroupd reload`"
                    .into(),
            ));
        }
        self.keep();
        match self.not_kept() {
            None => Ok(()),
            Some(why) => Err(Failure::other(format!(
                "the candidate was not tried: the policy that is enforced now could not come back, since it is not kept: {why}"
            ))),
        }
    }

    /// The candidate has been switched in.
    pub(super) fn begin_trial(&mut self, trial: Trial) {
        self.written = Written::of(trial.key.clone());
        self.origin = None;
        self.trial = Some(trial);
    }

    /// No candidate is on trial any more. What cannot be taken away is taken back at the next start.
    pub(super) fn end_trial(&mut self) {
        self.trial = None;
        let removed = self.state.remove(TRIAL);
        if let Err(error) = removed.and_then(|()| self.state.remove(CANDIDATE)) {
            warn!("{error}");
        }
    }

    /// The candidate with this content is the policy from now on.
    ///
    /// # Errors
    ///
    /// When none is tried, or another, or it cannot be kept; then the trial goes on.
    pub fn confirm(&mut self, content: &str) -> Result<(), String> {
        let Some(trial) = &self.trial else {
            return Err(
                "no candidate is on trial: its time was up, or something else was enforced since. `secgroupd status` shows what \
                 is enforced"
                    .into(),
            );
        };
        if trial.content != content {
            return Err("another candidate is on trial by now".into());
        }
        let bytes = self.state.read(CANDIDATE).ok().flatten();
        let bytes = bytes.ok_or("the candidate is gone from the state directory")?;
        self.state
            .write_atomically(POLICY, &bytes)
            .map_err(|error| format!("not confirmed: {error}"))?;
        self.acquit(content);
        self.end_trial();
        Ok(())
    }

    /// The old policy comes back, and the candidate is remembered. Gives what is enforced now.
    ///
    /// # Errors
    ///
    /// When the old policy cannot be read or not be enforced; then the trial goes on, and this is to be called again.
    pub fn take_back(&mut self) -> Result<Option<Summary>, Failure> {
        let Some(trial) = self.trial.clone() else {
            return Ok(self.enforced().cloned());
        };
        let failed =
            |why: String| Failure::other(format!("the old policy did not come back: {why}"));
        let old = self
            .state
            .read(POLICY)
            .map_err(|error| failed(error.to_string()))?;
        let old = old.map(Kept::read).transpose();
        let old = old.map_err(|error| failed(error.to_string()))?;
        self.remember(&trial, old.as_ref());
        match old {
            Some(kept) => self.enforce_old(&kept).map_err(failed)?,
            None => {
                self.kernel
                    .remove()
                    .map_err(|error| failed(error.to_string()))?;
                self.ended.forget();
                self.enforced = None;
                self.written = Written::default();
            }
        }
        self.trial = None;
        self.keep();
        self.end_trial();
        Ok(self.enforced().cloned())
    }

    fn enforce_old(&mut self, kept: &Kept) -> Result<(), String> {
        let ruleset = kept.ruleset().map_err(|error| error.to_string())?;
        let now_enforced = self.enforced().map_or(0, |summary| summary.generation);
        self.before_change();
        let next = Generation(now_enforced).next();
        let enforced = self
            .kernel
            .enforce(&ruleset, next)
            .map_err(|error: EnforceError| error.to_string())?;
        self.counts.replaced(&enforced.replaced_hits, now());
        if let Ok(policy) = kept.policy() {
            self.follow_rules(&policy, enforced.generation);
            let before = Before::of(self.enforced.take());
            self.ended.look(Look {
                before,
                policy,
                ruleset,
            });
        }
        self.stand_kept(kept, enforced.generation.0);
        if let Some(Standing { summary, .. }) = &mut self.enforced {
            summary.since = now();
            summary.switched_after_ms = enforced.switched_after.as_secs_f64() * 1000.0;
        }
        self.origin = None;
        self.written = Written::of(kept.key().clone());
        Ok(())
    }

    /// The trial that an earlier process began, as it stands at this start.
    pub(super) fn trial_at_start(&self) -> Option<(Trial, Option<Kept>)> {
        let trial = Trial::read(&self.state)?;
        let running = !trial.left().is_zero();
        let kept = running.then(|| trial.kept(&self.state)).flatten();
        Some((trial, kept))
    }

    /// That this was tried and not confirmed; a candidate that became the policy was.
    pub(super) fn remember(&self, trial: &Trial, old: Option<&Kept>) {
        if trial.content.is_empty() || old.is_some_and(|old| *old.key() == trial.key) {
            return;
        }
        let mut list = self.unconfirmed();
        list.retain(|each| each.content != trial.content);
        list.push(Unconfirmed {
            content: trial.content.clone(),
            at: now(),
        });
        let surplus = list.len().saturating_sub(REMEMBERED);
        list.drain(..surplus);
        self.write_unconfirmed(&list);
    }

    /// That this may be enforced after all.
    pub(super) fn acquit(&self, content: &str) {
        let mut list = self.unconfirmed();
        let before = list.len();
        list.retain(|each| each.content != content);
        if list.len() != before {
            self.write_unconfirmed(&list);
        }
    }

    /// Refuses what was tried and not confirmed.
    pub(super) fn judge_unconfirmed(&self, sources: &Sources) -> Result<(), Failure> {
        let list = self.unconfirmed();
        if list.is_empty() {
            return Ok(());
        }
        let content = content(sources);
        match list.iter().any(|each| each.content == content) {
            false => Ok(()),
            true => {
                let message = "this definition was tried as a candidate and not confirmed in time";
                let help = "change it, try it again with `secgroupd apply --confirm`, or enforce it all the same with \
                            `secgroupd reload --force`";
                let refused = Diagnostic::new(Severity::Error, "unconfirmed", None, message);
                let refused = [refused.help(help)];
                let message = "the definition is refused: 1 error".into();
                Err(Failure::of_definition(message, &refused, sources))
            }
        }
    }

    fn unconfirmed(&self) -> Vec<Unconfirmed> {
        let bytes = self.state.read(UNCONFIRMED).ok().flatten();
        let list = bytes.map(|bytes| serde_json::from_slice(&bytes));
        match list {
            None => Vec::new(),
            Some(Ok(list)) => list,
            Some(Err(error)) => {
                warn!("what was not confirmed is forgotten: {UNCONFIRMED} is damaged ({error})");
                Vec::new()
            }
        }
    }

    fn write_unconfirmed(&self, list: &[Unconfirmed]) {
        let bytes = serde_json::to_vec(list).unwrap_or_default();
        if let Err(error) = self.state.write_atomically(UNCONFIRMED, &bytes) {
            error!("an unconfirmed candidate is not remembered: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of day is no part of it: it ends as long after the machine's start as it was told to, whatever is set meanwhile.
    #[test]
    fn a_trial_ends_by_a_clock_that_nobody_sets() {
        let minute = Duration::from_secs(60);
        let before = clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap();
        let ends = Duration::from(before) + minute;
        let trial = Trial {
            candidate: "new.yaml".into(),
            content: String::new(),
            key: String::new(),
            boot: boot(),
            ends: ends.as_millis() as u64,
        };
        let left = trial.left();
        assert!(left <= minute && left > minute / 2, "{left:?}");
        let read: Trial = serde_json::from_slice(&serde_json::to_vec(&trial).unwrap()).unwrap();
        assert!(read.left() <= left, "it goes on in another process");
        let over = Trial {
            ends: 1,
            ..trial.clone()
        };
        assert_eq!(over.left(), Duration::ZERO);
        let another_start = Trial {
            boot: "another".into(),
            ..trial
        };
        assert_eq!(another_start.left(), Duration::ZERO);
    }
}
