//! A save of the definition: followed, or held back while a candidate is on trial or somebody edits and has said so.

use super::event::{Action, Order, Outcome, Reading};
use super::state_line::{sentence, still};
use super::{Cause, Doing, Machine};
use crate::host::Attempt;
use crate::host::report::{Failure, Summary};
use std::time::{Duration, Instant};
use tracing::Level;

/// How long writers who never pause keep what others saved from being enforced.
const PATIENCE: Duration = Duration::from_secs(5);

impl Action {
    /// Reads the watched definition for somebody who asked, or at the start.
    pub(super) fn read_watched() -> Action {
        Action::Read {
            candidate: None,
            settles: false,
        }
    }
}

impl Machine {
    pub(super) fn follow(&mut self, reason: String, cause: Cause, now: Instant) -> Vec<Action> {
        self.host_changed |= cause == Cause::Host;
        if self.is_held(now) {
            let held = self.hold_back(&reason).into_iter();
            // Its name may say that it is another instance.
            let survey = Action::Survey { always: false };
            return held.chain([survey]).collect();
        }
        // What was asked for last holds until the definition is saved.
        let stays = match cause {
            Cause::Saved => false,
            Cause::Access => self.removed,
            Cause::Host => self.removed || self.applied,
        };
        if stays {
            return vec![Action::Survey { always: false }];
        }
        self.doing = Doing::Follow(reason, cause);
        let settles = true;
        let candidate = None;
        vec![Action::Read { candidate, settles }]
    }

    /// Logs once that a save is not followed now.
    pub(super) fn hold_back(&mut self, reason: &str) -> Option<Action> {
        let until = match self.held {
            true => "the next `secgroupd reload`",
            false => "the trial of the candidate has ended",
        };
        let text = format!("the definition is not read before {until} ({reason})");
        let is_new = !std::mem::replace(&mut self.missed, true);
        is_new.then_some(Action::Log(Level::INFO, text))
    }

    /// Follows saves again.
    pub(super) fn let_go(&mut self) -> Option<Action> {
        self.missed = false;
        std::mem::take(&mut self.held).then_some(Action::RemoveHold)
    }

    /// Reads the watched definition, and enforces all of it.
    pub(super) fn reload(&mut self, reason: &str, attempt: Attempt, answers: bool) -> Vec<Action> {
        let reason = reason.to_owned();
        self.doing = Doing::Reload {
            reason,
            attempt,
            answers,
        };
        let read = Action::read_watched();
        self.let_go().into_iter().chain([read]).collect()
    }

    /// A writer who began while it was read may have left half a file to read: then it is read again when that one has
    /// closed it.
    pub(super) fn read(&mut self, reading: Reading, now: Instant) -> Vec<Action> {
        let is_refused = reading.refused || reading.failed.is_some();
        let was_refused = std::mem::replace(&mut self.is_refused, is_refused);
        if let Doing::Follow(reason, cause) = &self.doing {
            let (reason, cause) = (reason.clone(), *cause);
            let since = *self.postponed.get_or_insert(now);
            let overtaken = reading.being_written || (is_refused && reading.has_news);
            if overtaken && now.saturating_duration_since(since) < PATIENCE {
                self.doing = Doing::Nothing;
                return vec![Action::ReadAgain];
            }
            self.postponed = None;
            if cause == Cause::Access && self.applied && !is_refused {
                self.last_error.take_if(|_| was_refused);
                return self.stays(&reason);
            }
            if reading.is_known && self.needs_nothing() {
                return self.stays(&reason);
            }
        }
        if let Some(failure) = reading.failed {
            return self.enforced(Outcome {
                result: Err(failure),
                took: Duration::ZERO,
                warnings: Vec::new(),
            });
        }
        let plain = Order {
            candidate: None,
            instance: None,
            attempt: Attempt::Plain,
            whole: false,
        };
        let order = match &self.doing {
            Doing::Reload { attempt, .. } => Order {
                attempt: *attempt,
                whole: !is_refused,
                ..plain
            },
            Doing::Apply {
                path,
                instance,
                confirm,
            } => Order {
                candidate: Some(path.clone()),
                instance: instance.clone(),
                attempt: confirm.map_or(Attempt::Plain, |seconds| {
                    Attempt::Trial(Duration::from_secs(seconds.into()))
                }),
                ..plain
            },
            _ => plain,
        };
        vec![Action::Enforce(order)]
    }

    /// Whether nothing is to be done about a definition that says what it said.
    fn needs_nothing(&self) -> bool {
        !self.host_changed
            && self.last_error.is_none()
            && self.facts.trial.is_none()
            && !self.applied
            && self.facts.enforced.is_some()
    }

    /// The definition says what it said: its flows are not judged again, and its counts go on.
    fn stays(&mut self, reason: &str) -> Vec<Action> {
        self.doing = Doing::Nothing;
        let text = format!("{reason}: the definition says what it said");
        vec![
            Action::Log(Level::INFO, text),
            Action::Survey { always: true },
        ]
    }

    /// A definition was enforced or refused.
    pub(super) fn enforced(&mut self, outcome: Outcome) -> Vec<Action> {
        let reason = match &self.doing {
            Doing::Start => "start",
            Doing::Follow(reason, _) | Doing::Reload { reason, .. } => reason,
            Doing::Confirm => "confirmed",
            _ => "asked to",
        }
        .to_owned();
        self.counters.durations.add(outcome.took.as_secs_f64());
        self.restore_failed = false;
        let mut actions = match &outcome.result {
            Ok(summary) => self.is_enforced(summary, outcome.warnings, &reason),
            Err(failure) => self.is_refused(failure, &reason),
        };
        actions.push(Action::Survey { always: true });
        match std::mem::take(&mut self.doing) {
            Doing::Start => {
                self.doing = Doing::Start;
                actions.push(Action::Recollect);
            }
            Doing::Follow(..) | Doing::Reload { answers: false, .. } => {}
            doing => {
                if let (Doing::Apply { confirm, .. }, Ok(_)) = (&doing, &outcome.result) {
                    actions.extend(confirm.map(on_trial));
                }
                actions.push(Action::answer_with(outcome.result));
            }
        }
        actions
    }

    fn is_enforced(
        &mut self,
        summary: &Summary,
        warnings: Vec<String>,
        reason: &str,
    ) -> Vec<Action> {
        self.counters.reloads += 1;
        self.last_error = None;
        (self.removed, self.host_changed) = (false, false);
        self.applied = matches!(&self.doing, Doing::Apply { path, .. } if *path != self.definition);
        let mut actions = vec![Action::KeepSocket, Action::FollowTable];
        let warnings = warnings.into_iter();
        actions.extend(warnings.map(|warning| Action::Log(Level::WARN, warning)));
        let line = format!("{} ({reason})", sentence(summary));
        actions.push(Action::Log(Level::INFO, line));
        actions.extend(self.ready());
        actions.push(Action::Save);
        actions
    }

    fn is_refused(&mut self, failure: &Failure, reason: &str) -> Vec<Action> {
        self.counters.failures += 1;
        self.last_error = Some(failure.clone());
        let line = format!("{} ({reason}); {}", failure.message, still(&self.facts));
        let more = failure.text.lines();
        let more = more.filter(|line| *line != failure.message);
        let lines = [line].into_iter().chain(more.map(str::to_owned));
        // A refused change has set the record of what is in force aside.
        lines
            .map(|line| Action::Log(Level::ERROR, line))
            .chain([Action::Save])
            .collect()
    }
}

fn on_trial(seconds: u32) -> Action {
    let text = format!(
        "it is on trial: unless it is confirmed within {seconds} s, the policy of before comes back"
    );
    Action::Log(Level::WARN, text)
}
