//! While a candidate is on trial, or somebody edits and has said so, saves of the definition are not followed.

use super::report::TrialStatus;
use super::run::Daemon;
use crate::host::Attempt;
use crate::host::report::Failure;
use crate::state::hold;
use std::fmt::Display;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

/// How often a candidate's time is looked at: the clock of a sleeping machine stands still, and its time does not.
const LOOK: Duration = Duration::from_secs(1);

/// What is held back.
#[derive(Debug, Default)]
pub struct Held {
    /// Whether somebody edits.
    pub asked: bool,
    /// Whether the definition was saved meanwhile.
    pub missed: bool,
    /// Why the candidate could not be taken back, and what was wrong before that.
    failed: Option<(Failure, Option<Failure>)>,
}

impl Daemon {
    /// Whether a save is not to be followed now; says so once.
    pub(super) fn holds_back(&mut self, reason: &dyn Display) -> bool {
        if !self.is_held() {
            return false;
        }
        if !std::mem::replace(&mut self.held.missed, true) {
            let until = match self.held.asked {
                true => "the next `secgroupd reload`",
                false => "the trial of the candidate has ended",
            };
            info!("the definition is not read before {until} ({reason})");
        }
        true
    }

    /// Whether the definition is not followed now.
    pub(super) fn is_held(&self) -> bool {
        self.held.asked || self.is_on_trial()
    }

    /// Whether a candidate is enforced and its time is not up. One that cannot be taken back gives way to the definition.
    fn is_on_trial(&self) -> bool {
        let host = self.host();
        let runs = host.trial().is_some_and(|trial| !trial.left().is_zero());
        runs && host.enforced().is_some()
    }

    /// Holds back saves until the next reload.
    ///
    /// # Errors
    ///
    /// When a restart of the daemon would not know it.
    pub(super) fn hold(&mut self) -> Result<(), String> {
        let written = hold::write(self.host().state());
        written.map_err(|error| error.to_string())?;
        self.held.asked = true;
        warn!("as asked, saves of the definition are not followed until `secgroupd reload`");
        Ok(())
    }

    /// Saves are followed again.
    pub(super) fn let_go(&mut self) {
        self.held.missed = false;
        if std::mem::take(&mut self.held.asked)
            && let Err(error) = hold::remove(self.host().state())
        {
            warn!("{error}");
        }
    }

    /// Looks whether somebody edits since before this start.
    pub(super) fn recall_hold(&mut self) {
        let asked = hold::is_set(self.host().state());
        // That it may have been saved is said with it.
        (self.held.asked, self.held.missed) = (asked, asked);
        if asked {
            warn!(
                "as asked before this start, the definition is not read until `secgroupd reload`"
            );
        }
    }

    /// Sets the alarm for the candidate on trial, if there is one.
    pub(super) fn time_trial(&mut self) {
        let left = self.host().trial().map(|trial| trial.left());
        self.trial_ends = left.map(|left| Instant::now() + left.min(LOOK));
    }

    /// Takes the candidate back if its time is up.
    pub(super) async fn look_at_trial(&mut self) {
        let up = self
            .host()
            .trial()
            .is_some_and(|trial| trial.left().is_zero());
        if up {
            self.take_back().await;
        }
        self.time_trial();
        if up {
            // What has failed is not tried again at once.
            self.trial_ends = self.trial_ends.map(|_| Instant::now() + LOOK);
        }
        if !self.is_held() && std::mem::take(&mut self.held.missed) {
            let _ = self.reload("saved during the trial", Attempt::Plain).await;
        }
    }

    async fn take_back(&mut self) {
        let candidate = {
            let host = self.host();
            let trial = host.trial();
            trial
                .map(|trial| trial.candidate.clone())
                .unwrap_or_default()
        };
        let taken = self
            .on_the_host(|host| {
                let taken = host.take_back();
                host.recollect();
                taken
            })
            .await;
        let candidate = candidate.display();
        self.note_failure(taken.as_ref().and_then(|taken| taken.as_ref().err()));
        match taken {
            Some(Ok(Some(summary))) => warn!(
                "the candidate {candidate} was not confirmed in time: the old policy is back, as generation {}",
                summary.generation
            ),
            Some(Ok(None)) => {
                warn!(
                    "the candidate {candidate} was not confirmed in time: there is no policy, as before it"
                );
                self.close_again().await;
            }
            // It was logged, as a panic was.
            Some(Err(_)) | None => {}
        }
        self.keep_socket();
        self.follow_table();
        self.saver.wake(&self.host);
        self.tell_state();
    }

    /// Takes note of whether the candidate could be taken back. What was wrong besides is so again when it could, unless a definition was
    /// enforced or refused meanwhile. The same failure is told once.
    fn note_failure(&mut self, failure: Option<&Failure>) {
        let last = self.held.failed.take();
        let again =
            matches!((&last, failure), (Some((last, _)), Some(now)) if last.text == now.text);
        if let Some((last, before)) = last
            && self.last_error.as_ref() == Some(&last)
        {
            self.last_error = before;
        }
        let Some(failure) = failure else { return };
        if !again {
            error!("{}", failure.text);
            self.failures += 1;
        }
        let before = self.last_error.replace(failure.clone());
        self.held.failed = Some((failure.clone(), before));
    }

    /// A host that had no policy before the candidate is as it was then.
    async fn close_again(&mut self) {
        let closes = self.options.fail_closed;
        self.on_the_host(move |host| crate::host::start::resume(host, closes))
            .await;
    }

    /// The candidate on trial, as the status tells it.
    pub(super) fn trial_status(&self) -> Option<TrialStatus> {
        let host = self.host();
        let trial = host.trial()?;
        Some(TrialStatus {
            candidate: trial.candidate.clone(),
            content: trial.content.clone(),
            seconds_left: trial.left().as_secs_f64(),
        })
    }
}

/// Waits until then; for ever if there is no such time.
pub async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
