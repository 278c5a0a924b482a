//! Our table where it is not owned: what another program changes in it is put right as soon as the kernel tells of it.
//!
//! Nobody but us can change a table that is owned, and then nothing is listened to: the kernel would write a message for
//! each thing that we load.

use super::held::reached;
use super::pace::Pace;
use super::report::Restoration;
use crate::host::Host;
use crate::host::report::now;
use crate::netfilter::events::tables::{ForeignChange, TableEvents};
use nix::errno::Errno;
use std::time::Duration;
use tokio::time::Instant;
use tracing::warn;

/// What the daemon knows of other programs' changes.
#[derive(Debug, Default)]
pub struct Guard {
    events: Option<TableEvents>,
    /// What is to be put right.
    due: Option<Due>,
    pace: Pace,
    restorations: u64,
    last: Option<Restoration>,
}

/// A change that stands.
#[derive(Debug)]
pub struct Due {
    /// What it is.
    pub change: ForeignChange,
    /// When it was noticed first.
    pub noticed: Instant,
    at: Instant,
}

impl Guard {
    /// Listens before a policy is enforced, if the table will not be owned.
    pub fn before(&mut self, host: &Host) {
        if !host.will_own() {
            self.listen(host);
        }
    }

    /// Listens, or stops listening, as what is enforced now needs it.
    pub fn follow(&mut self, host: &Host) {
        if host.owns() {
            self.events = None;
            self.due = None;
        } else if self.events.is_none() && self.listen(host) {
            // Until now nobody has listened.
            self.notice(ForeignChange::unknown());
        }
    }

    fn listen(&mut self, host: &Host) -> bool {
        match host.listen() {
            Ok(events) => self.events = Some(events),
            Err(error) => {
                warn!("what other programs change in our table is not put right: {error}")
            }
        }
        self.events.is_some()
    }

    /// Whether changes are noticed.
    pub fn is_listening(&self) -> bool {
        self.events.is_some()
    }

    /// Waits until a change is to be put right. Nothing is lost when the future is dropped before it is ready.
    pub async fn due(&mut self) -> Due {
        loop {
            // What is due now does not wait for the timer, which counts whole milliseconds.
            if let Some(due) = self.due.take_if(|due| due.at <= Instant::now()) {
                return due;
            }
            let at = self.due.as_ref().map(|due| due.at);
            tokio::select! {
                // A change that stands is put right before another is read: its writer may not pause.
                biased;
                _ = reached(at) => if let Some(due) = self.due.take() {
                    return due;
                },
                change = next(&mut self.events) => match change {
                    Ok(change) => self.notice(change),
                    Err(error) => {
                        warn!("what other programs change in our table is no longer put right: {error}");
                        self.events = None;
                    }
                },
            }
        }
    }

    fn notice(&mut self, change: ForeignChange) {
        match &mut self.due {
            Some(due) => due.change.merge(change),
            None => {
                let now = Instant::now();
                self.put_off(change, now);
            }
        }
    }

    fn put_off(&mut self, change: ForeignChange, noticed: Instant) {
        let now = Instant::now();
        let wait = self.pace.wait(now.into());
        if wait.begins {
            warn!(
                "another program keeps changing the table, or changes it back: from now on it is restored at \
                 longer and longer intervals, at least every second where that is long enough"
            );
        }
        self.due = Some(Due {
            change,
            noticed,
            at: now + wait.time,
        });
    }

    /// A change was put right by work that took so much of a processor's time.
    pub fn restored(&mut self, change: &ForeignChange, took: Duration) {
        self.pace.done(Instant::now().into(), took);
        self.restorations += 1;
        self.last = Some(Restoration {
            at: now(),
            what: change.to_string(),
        });
    }

    /// A change could not be put right: it is tried again, sooner or later.
    pub fn failed(&mut self, due: Due, took: Duration) {
        self.pace.done(Instant::now().into(), took);
        self.put_off(due.change, due.noticed);
    }

    /// How often changes were put right.
    pub fn restorations(&self) -> u64 {
        self.restorations
    }

    /// The last change that was put right.
    pub fn last(&self) -> Option<&Restoration> {
        self.last.as_ref()
    }
}

async fn next(events: &mut Option<TableEvents>) -> Result<ForeignChange, Errno> {
    match events {
        Some(events) => events.changed().await,
        None => std::future::pending().await,
    }
}
