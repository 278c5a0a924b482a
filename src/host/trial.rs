//! A candidate on trial: it is enforced, and the old policy comes back unless it is confirmed in time.
//!
//! ```text
//! begin      candidate and its deadline are written, then it is switched in; the saved policy stays the old one
//! confirm    the candidate becomes the saved policy
//! take back  its content is remembered as unconfirmed, the saved policy is enforced, and then the deadline is
//! forgotten
//! ```
//!
//! Killed between any two of these, the next start goes on where it was. A restart of the machine ends the trial.

use super::base::{Host, Written};
use super::commit::{Commit, NewPolicy, Source};
use super::enforce::Way;
use super::report::{Failure, Summary, now};
use super::resume::summary_of;
use super::saved::SavedRuleset;
use crate::definition::{Diagnostic, Severity, Sources};
use crate::netfilter::enforce::EnforceError;
use crate::ruleset::{Generation, Ruleset};
use crate::source::content::content;
use crate::source::shown::shown;
use crate::state::in_force::InForce;
use crate::state::saved_policy::{CANDIDATE, Hashed, POLICY, SavedPolicy};
use crate::state::trial::Trial;
use crate::state::unconfirmed::{self, Unconfirmed};
use std::path::Path;
use std::time::Duration;
use tracing::warn;

/// Why another candidate cannot be tried.
pub fn on_trial_already(candidate: &Path) -> Failure {
    Failure::other(format!(
        "the candidate {} is on trial already: `secgroupd confirm` it, or end its trial with `secgroupd reload`",
        shown(candidate)
    ))
}

impl Host {
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
        if let Err(why) = trial.write(&self.state, bytes) {
            // Half of it may be on the disk, and no start may enforce a candidate that was refused.
            self.end_trial();
            return Err(failed(why));
        }
        Ok(trial)
    }

    /// Saves what would come back.
    fn secure_the_old(&mut self) -> Result<(), Failure> {
        if let Some(trial) = &self.trial {
            return Err(on_trial_already(&trial.candidate));
        }
        if self.enforced.is_none() && !matches!(self.kernel.in_force(), Ok(None)) {
            return Err(Failure::other(
                "the candidate was not tried: what an earlier daemon left enforced is not known to this one, and could not come \
                 back. Have a definition enforced first, by `secgroupd reload`"
                    .into(),
            ));
        }
        self.save();
        match self.not_saved() {
            None => Ok(()),
            Some(why) => Err(Failure::other(format!(
                "the candidate was not tried: the policy that is enforced now could not come back, since it is not kept: {why}"
            ))),
        }
    }

    /// No candidate is on trial any more. What cannot be taken away is taken back at the next start.
    pub(super) fn end_trial(&mut self) {
        self.trial = None;
        if let Err(error) = Trial::remove(&self.state) {
            warn!("{error}");
        }
    }

    /// The candidate with this content is the policy from now on.
    ///
    /// # Errors
    ///
    /// When none is tried, or another, or it cannot be saved; then the trial goes on.
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
        unconfirmed::clear(&self.state, content);
        self.end_trial();
        Ok(())
    }

    /// Enforces the old policy again, and remembers the candidate. Returns what is enforced now.
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
        let old = old.map(SavedPolicy::read).transpose();
        let old = old.map_err(|error| failed(error.to_string()))?;
        self.remember(&trial, old.as_ref());
        match old {
            Some(saved) => self.enforce_old(&saved).map_err(failed)?,
            None => self
                .enforce_nothing()
                .map_err(|error| failed(error.to_string()))?,
        }
        self.trial = None;
        self.taken_back = Some(trial.candidate);
        self.save();
        self.end_trial();
        Ok(self.enforced().cloned())
    }

    /// There was no policy before the candidate, and there is none after it.
    pub(super) fn enforce_nothing(&mut self) -> Result<(), EnforceError> {
        self.before_change();
        self.kernel.remove()?;
        if let Err(error) = InForce::remove(&self.state) {
            warn!("{error}");
        }
        self.ended.forget();
        self.enforced = None;
        self.written = Written::default();
        Ok(())
    }

    fn enforce_old(&mut self, saved: &SavedPolicy) -> Result<(), String> {
        let SavedRuleset {
            ruleset,
            without_ended,
        } = self.ruleset_of(saved).map_err(|error| error.to_string())?;
        let now_enforced = self.enforced().map_or(0, |summary| summary.generation);
        let was = self.was(matches!(self.kernel.in_force(), Ok(None)));
        let switched = self
            .enforce_saved(&ruleset, Generation(now_enforced).next(), Way::Change)
            .map_err(|error| error.to_string())?;
        let new = |policy| NewPolicy {
            policy,
            ruleset,
            was,
        };
        let mut commit = Commit {
            policy: saved.policy(self.time()).ok().map(new),
            summary: Summary {
                since: now(),
                ..summary_of(saved)
            },
            ends: saved.ends(),
            source: Source::Saved(saved.key().clone(), None),
        };
        if let Some(policy) = without_ended {
            commit = self.without_ended(commit, saved, &policy);
        }
        self.commit(Some(&switched), commit);
        Ok(())
    }

    /// The trial that an earlier process began, as it stands at this start.
    pub(super) fn trial_at_start(&self) -> Option<(Trial, Option<SavedPolicy>)> {
        let trial = Trial::read(&self.state)?;
        let running = !trial.left().is_zero();
        let saved = running.then(|| trial.candidate(&self.state)).flatten();
        Some((trial, saved))
    }

    /// Remembers that this was tried and not confirmed. A candidate that became the policy was confirmed.
    pub(super) fn remember(&self, trial: &Trial, old: Option<&SavedPolicy>) {
        let is_the_old =
            |old: &SavedPolicy| *old.key() == trial.key || old.content() == trial.content;
        if trial.content.is_empty() || old.is_some_and(is_the_old) {
            return;
        }
        unconfirmed::add(&self.state, &trial.content, now());
    }

    /// Refuses what was tried and not confirmed.
    pub(super) fn judge_unconfirmed(&self, sources: &Sources) -> Result<(), Failure> {
        let unconfirmed = Unconfirmed::read(&self.state);
        // Hashing takes a while for long texts.
        match !unconfirmed.is_empty() && unconfirmed.has(&content(sources)) {
            false => Ok(()),
            true => {
                let message = "this definition was tried as a candidate and never confirmed";
                let help = "change it, or try it again with `secgroupd apply --confirm`; `secgroupd reload --force` enforces the \
                            watched definition all the same";
                let refused = Diagnostic::new(Severity::Error, "unconfirmed", None, message);
                let refused = [refused.help(help)];
                let message = "the definition is refused: 1 error".into();
                Err(Failure::of_definition(message, &refused, sources))
            }
        }
    }
}
