//! What the daemon decides: `on(event, now)` returns what is to be done. No lock, no await, no disk and no kernel, so
//! that a history is a list of events (`histories`).
//!
//! | file | subject |
//! |---|---|
//! | [`event`] | what happens, and what is to be done |
//! | `start` | what holds before the definition is read |
//! | `saves` | a save is followed or held back; what becomes of a definition |
//! | `requests` | what the command asks for |
//! | `trial` | a candidate whose time is up |
//! | `ending` | rules whose time has come are taken out |
//! | `retried` | what has failed and is tried again |
//! | `table` | another program's change of our table, answered as soon as [`backoff`] lets it |
//! | `state_line` | what the service manager shows |
//! | [`counters`] | numbers for status and metrics |
//!
//! The caller does the actions in their order. An event that an action brings goes in before the next action, and what
//! it returns comes after them. Other events wait until no action is left.

pub mod backoff;
pub mod counters;
mod ending;
pub mod event;
#[cfg(test)]
mod histories;
mod requests;
mod retried;
mod saves;
mod start;
pub mod state_line;
mod table;
mod trial;

use crate::daemon::report::Restoration;
use crate::host::Attempt;
use crate::host::report::Failure;
use crate::netfilter::events::tables::ForeignChange;
use crate::netfilter::interfaces::Doubt;
use backoff::Backoff;
use counters::Counters;
use event::{Action, Done, Event, Facts};
use retried::Retried;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a candidate's time is looked at: the clock of a sleeping machine stands still, and its time does not.
const LOOK: Duration = Duration::from_secs(1);

/// The state of the daemon.
#[derive(Debug)]
pub struct Machine {
    /// The definition that is watched.
    definition: PathBuf,
    /// Whether a host without a policy is closed.
    closes: bool,
    facts: Facts,
    /// When that was so.
    known_at: Instant,
    doing: Doing,
    /// Whether the service manager knows that a policy is enforced.
    is_ready: bool,
    /// Whether what the definition means for this host has changed, and it was not enforced since.
    host_changed: bool,
    /// Whether the policy was taken off on request, and nothing was enforced since.
    removed: bool,
    /// Whether another definition than the watched one was applied, and holds until that is saved.
    applied: bool,
    /// Whether the last error is that the definition was refused, or could not be read.
    is_refused: bool,
    /// Whether somebody edits, and has said so.
    held: bool,
    /// Whether the definition was saved while saves were held back.
    missed: bool,
    /// Since when readings have been given up for writers.
    postponed: Option<Instant>,
    last_error: Option<Failure>,
    /// Whether that is of a restoration.
    restore_failed: bool,
    /// Why the candidate could not be taken back.
    take_back_failed: Retried,
    /// Why rules whose time has come could not be taken out.
    ending_failed: Retried,
    /// When the candidate's time is looked at.
    look_at: Option<Instant>,
    /// When rules are looked at that end.
    ends_at: Option<Instant>,
    /// What may not be as it is written, as logged last.
    doubts: Vec<Doubt>,
    /// Why the next start will not find what is enforced.
    not_saved: Option<String>,
    counters: Counters,
    last_restoration: Option<Restoration>,
    change: Option<Change>,
    backoff: Backoff,
}

/// What goes on.
#[derive(Debug, Clone, Default, PartialEq)]
enum Doing {
    #[default]
    Nothing,
    Start,
    /// What may have changed is followed, in words.
    Follow(String, Cause),
    Reload {
        reason: String,
        attempt: Attempt,
        answers: bool,
    },
    Apply {
        path: PathBuf,
        instance: Option<String>,
        /// For so many seconds, unless it is confirmed.
        confirm: Option<u32>,
    },
    Confirm,
    Remove,
    LookAtTrial,
    EndRules,
    TakeBack(PathBuf),
    /// The host is closed again, as it was before the trial.
    CloseAgain,
    Restore(Change),
}

/// Why the watched definition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It was saved.
    Saved,
    /// Whether it may be trusted may have changed.
    Access,
    /// What it means for this host may have changed.
    Host,
}

/// A change of our table that stands.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    change: ForeignChange,
    noticed: Instant,
    /// When it is put right.
    at: Instant,
}

impl Machine {
    /// Before the start.
    pub fn new(definition: &Path, closes: bool, now: Instant) -> Self {
        Machine {
            definition: definition.to_owned(),
            closes,
            facts: Facts::default(),
            known_at: now,
            doing: Doing::Nothing,
            is_ready: false,
            host_changed: false,
            removed: false,
            applied: false,
            is_refused: false,
            held: false,
            missed: false,
            postponed: None,
            last_error: None,
            restore_failed: false,
            take_back_failed: Retried::default(),
            ending_failed: Retried::default(),
            look_at: None,
            ends_at: None,
            doubts: Vec::new(),
            not_saved: None,
            counters: Counters::default(),
            last_restoration: None,
            change: None,
            backoff: Backoff::default(),
        }
    }

    /// Takes an event, and returns what is to be done.
    pub fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        match event {
            Event::Started { held } => self.start(held),
            Event::Done(done, facts) => {
                self.know(*facts, now);
                self.done(done, now)
            }
            Event::Saved(reason) => self.follow(reason, Cause::Saved, now),
            Event::AccessChanged(reason) => self.follow(reason, Cause::Access, now),
            Event::HostChanged(reason) => self.follow(reason, Cause::Host, now),
            Event::Read(reading) => self.read(reading, now),
            Event::HoldWritten(result) => self.hold_written(result),
            Event::TableChanged(change) => self.notice(change, now),
            Event::TableOwned => {
                self.change = None;
                Vec::new()
            }
            Event::Surveyed {
                doubts,
                not_saved,
                always,
            } => {
                let is_news = std::mem::replace(&mut self.not_saved, not_saved) != self.not_saved;
                self.surveyed(doubts, always || is_news)
            }
            Event::Tick => self.tick(now),
            Event::LinksChanged => vec![Action::Survey { always: false }],
            Event::Hangup => self.reload("SIGHUP", Attempt::Plain, false),
            Event::Asked(request) => self.asked(request),
        }
    }

    fn done(&mut self, done: Done, now: Instant) -> Vec<Action> {
        match done {
            Done::Resumed(result) => self.resumed(&result, now),
            Done::Enforced(outcome) => self.enforced(*outcome),
            Done::Restored(restored) => self.restored(restored, now),
            Done::TakenBack(result) => self.taken_back(*result, now),
            Done::Confirmed(result) => self.confirmed(result),
            Done::Removed(result) => self.removed(result),
            Done::Recollected => self.started(),
            Done::Looked => self.looked(now),
            Done::RulesEnded(result) => self.rules_ended(*result),
        }
    }

    fn know(&mut self, facts: Facts, now: Instant) {
        self.look_at = match &facts.trial {
            None => None,
            // What has failed is not tried again at once.
            Some(trial) if trial.left.is_zero() => self.look_at.or(Some(now + LOOK)),
            Some(trial) => Some(now + trial.left.min(LOOK)),
        };
        self.ends_at = facts.ends.map(|left| self.ends_after(left, now));
        (self.facts, self.known_at) = (facts, now);
    }

    /// When [`Event::Tick`] is due, if no other event comes before. A change of our table that is noticed may be due at
    /// once.
    pub fn deadline(&self) -> Option<Instant> {
        let change = self.change.as_ref().map(|change| change.at);
        [self.look_at, self.ends_at, change]
            .into_iter()
            .flatten()
            .min()
    }

    /// One thing at a time: between two of them the caller takes other events.
    fn tick(&mut self, now: Instant) -> Vec<Action> {
        if let Some(restore) = self.restore_if_due(now) {
            return vec![restore];
        }
        if self.look_at.take_if(|at| *at <= now).is_some() {
            self.doing = Doing::LookAtTrial;
            return vec![Action::LookAtTrial];
        }
        self.end_rules_if_due(now).into_iter().collect()
    }

    /// Whether saves of the definition are not followed.
    fn is_held(&self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.known_at);
        let trial = self.facts.trial.as_ref();
        // A candidate that cannot be taken back gives way to the definition.
        let is_on_trial = trial.is_some_and(|trial| trial.left > since);
        self.held || (is_on_trial && self.facts.enforced.is_some())
    }

    /// What the host enforces, as known last.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Why the newest definition is not enforced.
    pub fn last_error(&self) -> Option<&Failure> {
        self.last_error.as_ref()
    }

    /// Whether saves are held back, as asked.
    pub fn is_asked_to_hold(&self) -> bool {
        self.held
    }

    /// Numbers since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The last change of another program that was put right.
    pub fn last_restoration(&self) -> Option<&Restoration> {
        self.last_restoration.as_ref()
    }
}
