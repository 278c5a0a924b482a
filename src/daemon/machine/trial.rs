//! A candidate whose time is up: the policy of before comes back.

use super::event::Action;
use super::{Doing, LOOK, Machine};
use crate::host::Attempt;
use crate::host::report::{Failure, Summary};
use std::time::Instant;
use tracing::Level;

impl Machine {
    /// The candidate's time was looked at.
    pub(super) fn looked(&mut self, now: Instant) -> Vec<Action> {
        let up = self.facts.trial.as_ref();
        if let Some(trial) = up.filter(|trial| trial.left.is_zero()) {
            self.doing = Doing::TakeBack(trial.candidate.clone());
            return vec![Action::TakeBack];
        }
        self.catch_up(now)
    }

    pub(super) fn taken_back(
        &mut self,
        result: Result<Option<Summary>, Failure>,
        now: Instant,
    ) -> Vec<Action> {
        let mut actions = self.note_failure(result.as_ref().err());
        let Doing::TakeBack(candidate) = std::mem::take(&mut self.doing) else {
            return actions;
        };
        let candidate = candidate.display();
        let mut warn = |text| actions.push(Action::Log(Level::WARN, text));
        match result {
            Ok(Some(summary)) => {
                self.applied = summary.definition != self.definition;
                warn(format!(
                    "the candidate {candidate} was not confirmed in time: the old policy is back, as generation {}",
                    summary.generation
                ))
            }
            Ok(None) => {
                warn(format!(
                    "the candidate {candidate} was not confirmed in time: there is no policy, as before it"
                ));
                self.doing = Doing::CloseAgain;
                let closes = self.closes;
                actions.push(Action::Resume { closes });
                return actions;
            }
            // It was logged, and is tried again, not at once.
            Err(_) => self.look_at = self.facts.trial.is_some().then_some(now + LOOK),
        }
        actions.extend(self.after_trial(now));
        actions
    }

    pub(super) fn after_trial(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = vec![
            Action::KeepSocket,
            Action::FollowTable,
            Action::Save,
            Action::Survey { always: true },
        ];
        actions.extend(self.catch_up(now));
        actions
    }

    /// Follows what was saved during the trial.
    fn catch_up(&mut self, now: Instant) -> Vec<Action> {
        self.doing = Doing::Nothing;
        match !self.is_held(now) && std::mem::take(&mut self.missed) {
            true => self.reload("saved during the trial", Attempt::Plain, false),
            false => Vec::new(),
        }
    }

    /// Notes whether the candidate could be taken back. The same failure is logged once.
    fn note_failure(&mut self, failure: Option<&Failure>) -> Vec<Action> {
        let is_news = self.take_back_failed.note(failure, &mut self.last_error);
        let Some(failure) = failure.filter(|_| is_news) else {
            return Vec::new();
        };
        self.counters.failures += 1;
        vec![Action::Log(Level::ERROR, failure.text.clone())]
    }
}
