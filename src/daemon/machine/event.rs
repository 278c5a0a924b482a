//! What happens to the daemon, and what it does then.

use crate::daemon::control::{Request, Response};
use crate::host::Attempt;
use crate::host::ending::EndedRules;
use crate::host::report::{Failure, Summary};
use crate::host::resume::Resumed;
use crate::netfilter::events::tables::ForeignChange;
use crate::netfilter::interfaces::Doubt;
use crate::source::texts::Texts;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tracing::Level;

/// What the host enforces, as the enforcer saw it last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// What this process has enforced.
    pub enforced: Option<Summary>,
    /// The generation that an earlier process left in force, while this one has enforced nothing.
    pub inherited: Option<u64>,
    /// Why it is not known whether there is one.
    pub unseen: Option<String>,
    /// Whether the host is closed for want of a policy.
    pub closed: bool,
    /// The candidate that is on trial.
    pub trial: Option<OnTrial>,
    /// The time that is left until the next rule ends, if one does.
    pub ends: Option<Duration>,
}

/// A candidate on trial.
#[derive(Debug, Clone, PartialEq)]
pub struct OnTrial {
    /// Where it was read.
    pub candidate: PathBuf,
    /// The time that it has left.
    pub left: Duration,
}

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// The daemon was started.
    Started {
        /// Whether somebody held back saves before.
        held: bool,
    },
    /// The enforcer has done an action.
    Done(Done, Box<Facts>),
    /// A save of the definition, in words.
    Saved(String),
    /// Owner or permissions of the definition or of a folder on the way have changed, in words.
    AccessChanged(String),
    /// A definition was read for [`Action::Read`].
    Read(Reading),
    /// The result of [`Action::WriteHold`].
    HoldWritten(Result<(), String>),
    /// Another program has changed our table.
    TableChanged(ForeignChange),
    /// Nobody but us can change our table now: what was noticed counts no more.
    TableOwned,
    /// The result of [`Action::Survey`].
    Surveyed {
        /// What may not be as it is written.
        doubts: Vec<Doubt>,
        /// Why the next start will not find what is enforced.
        not_saved: Option<String>,
        /// Whether the service manager gets a line even where nothing has changed.
        always: bool,
    },
    /// The moment of [`super::Machine::deadline`] has come.
    Tick,
    /// Interfaces or default routes have changed, or a save of the enforced policy has ended.
    LinksChanged,
    /// What a verdict asks of the host beside the definition has changed, in words.
    HostChanged(String),
    /// SIGHUP.
    Hangup,
    /// A request that changes something.
    Asked(Request),
}

/// What the enforcer has done.
#[derive(Debug)]
pub enum Done {
    /// [`Action::Resume`].
    Resumed(Result<Resumed, String>),
    /// [`Action::Enforce`].
    Enforced(Box<Outcome>),
    /// [`Action::Restore`].
    Restored(Restored),
    /// [`Action::TakeBack`]: what is enforced now.
    TakenBack(Box<Result<Option<Summary>, Failure>>),
    /// [`Action::Confirm`].
    Confirmed(Result<(), String>),
    /// [`Action::Remove`]: whether there was a policy.
    Removed(Result<bool, String>),
    /// [`Action::Recollect`].
    Recollected,
    /// [`Action::LookAtTrial`].
    Looked,
    /// [`Action::EndRules`]: the rules, if there were any.
    RulesEnded(Box<Result<Option<EndedRules>, Failure>>),
}

/// What became of a definition.
#[derive(Debug)]
pub struct Outcome {
    /// What is enforced now, or why it is not.
    pub result: Result<Summary, Failure>,
    /// From the end of reading on.
    pub took: Duration,
    /// What the definition is warned about, a line each.
    pub warnings: Vec<String>,
}

/// What became of a restoration.
#[derive(Debug)]
pub struct Restored {
    /// Whether there was a policy to restore.
    pub result: Result<bool, Failure>,
    /// The processor's time that it took.
    pub used: Duration,
    /// When the policy was in force again.
    pub at: Instant,
    /// The same in seconds since 1970.
    pub time: u64,
}

/// How the reading of a definition went.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Why there is nothing to enforce or to refuse.
    pub failed: Option<Failure>,
    /// Whether it has errors.
    pub refused: bool,
    /// Whether somebody writes one of its files now.
    pub being_written: bool,
    /// Whether something was saved while it was read.
    pub has_news: bool,
    /// Whether it says what the watched definition said when that was enforced last.
    pub is_known: bool,
}

/// What is to be done. Where it says so, an event with the result follows before the next action.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Writes a line of the log.
    Log(Level, String),
    /// Reports to the service manager, once, that a policy is enforced.
    Ready,
    /// Sends the service manager the line that `systemctl status` shows.
    Publish(String),
    /// Answers the request that was asked last.
    Answer(Response),
    /// Enforces the saved policy, or closes the host that has none and `closes`. [`Done::Resumed`] follows.
    Resume {
        /// Whether a host without a policy is closed.
        closes: bool,
    },
    /// Reads a definition. [`Event::Read`] follows.
    Read {
        /// The texts of another one than the watched.
        candidate: Option<Texts>,
        /// Whether the kernel's word of a writer is waited for.
        settles: bool,
    },
    /// Reports the last save once more, when nobody writes any more.
    ReadAgain,
    /// Enforces what was read last. [`Done::Enforced`] follows.
    Enforce(Order),
    /// Enforces again what another program has changed. [`Done::Restored`] follows.
    Restore(ForeignChange),
    /// Enforces the policy of before the trial. [`Done::TakenBack`] follows.
    TakeBack,
    /// Makes the candidate with this content the policy. [`Done::Confirmed`] follows.
    Confirm(String),
    /// Takes the policy off this host. [`Done::Removed`] follows.
    Remove,
    /// Reads the saved policy's definition, which says where its rules stand. [`Done::Recollected`] follows.
    Recollect,
    /// Saves what is enforced, while the daemon goes on.
    Save,
    /// Waits until all is saved.
    FinishSaves,
    /// Records that saves are held back. [`Event::HoldWritten`] follows.
    WriteHold,
    /// Removes that record.
    RemoveHold,
    /// Has the service manager hold the socket that owns our table, once there is one.
    KeepSocket,
    /// Listens to other programs' changes of a table that is not owned. If nobody listened before,
    /// [`Event::TableChanged`] follows.
    FollowTable,
    /// Looks at the interfaces. [`Event::Surveyed`] follows.
    Survey {
        /// See [`Event::Surveyed`].
        always: bool,
    },
    /// Looks at the candidate's time. [`Done::Looked`] follows.
    LookAtTrial,
    /// Takes out the rules whose time has come. [`Done::RulesEnded`] follows.
    EndRules,
}

/// How a definition that was read is to be enforced.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Another file than the watched one.
    pub candidate: Option<PathBuf>,
    /// As this instance instead of the daemon's own.
    pub instance: Option<String>,
    /// For good, or for how long.
    pub attempt: Attempt,
    /// Whether all of it is loaded, whatever stands already: who asks may have a reason.
    pub whole: bool,
}
