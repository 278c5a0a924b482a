//! Another program has changed our table, which was not owned: what is enforced is put right.

use super::backoff::FIRST_WAIT;
use super::event::{Action, Restored};
use super::{Change, Doing, Machine};
use crate::daemon::report::Restoration;
use crate::netfilter::events::tables::ForeignChange;
use std::time::Instant;
use tracing::Level;

impl Machine {
    /// What is noticed while a change waits is put right with it.
    pub(super) fn notice(&mut self, change: ForeignChange, now: Instant) -> Vec<Action> {
        match &mut self.change {
            Some(known) => {
                known.change.merge(change);
                Vec::new()
            }
            None => self.put_off(change, now, now).into_iter().collect(),
        }
    }

    fn put_off(&mut self, change: ForeignChange, noticed: Instant, now: Instant) -> Option<Action> {
        let wait = self.backoff.wait(now);
        let at = now + wait.time;
        self.change = Some(Change {
            change,
            noticed,
            at,
        });
        let text = "another program keeps changing the table, or changes it back: from now on it is restored at \
                    longer and longer intervals, at least every second where that is long enough";
        wait.begins.then(|| Action::Log(Level::WARN, text.into()))
    }

    pub(super) fn restore_if_due(&mut self, now: Instant) -> Option<Action> {
        let due = self.change.take_if(|change| change.at <= now)?;
        let restore = Action::Restore(due.change.clone());
        self.doing = Doing::Restore(due);
        Some(restore)
    }

    pub(super) fn restored(&mut self, restored: Restored, now: Instant) -> Vec<Action> {
        let Doing::Restore(due) = std::mem::take(&mut self.doing) else {
            return Vec::new();
        };
        let change = &due.change;
        let mut actions = Vec::new();
        let mut log = |level, text| actions.push(Action::Log(level, text));
        match restored.result {
            Ok(true) => {
                let took = restored.at.saturating_duration_since(due.noticed);
                let ms = took.as_secs_f64() * 1000.0;
                log(Level::WARN, format!("{change}: restored in {ms:.0} ms"));
                self.backoff.done(now, restored.used);
                self.counters.restorations += 1;
                self.last_restoration = Some(Restoration {
                    at: restored.time,
                    what: change.to_string(),
                });
                if std::mem::take(&mut self.restore_failed) {
                    self.last_error = None;
                }
                actions.extend([Action::KeepSocket, Action::FollowTable, Action::Save]);
            }
            // Removed on request, or left by an earlier daemon and never ours.
            Ok(false) => log(
                Level::WARN,
                format!("{change}; this daemon enforces nothing to restore"),
            ),
            Err(failure) => {
                let text = format!("{change}, and restoring failed: {}", failure.text);
                log(Level::ERROR, text);
                self.counters.failures += 1;
                (self.last_error, self.restore_failed) = (Some(failure), true);
                self.backoff.done(now, restored.used);
                // It is tried again, and not at once: other events have their turn.
                actions.extend(self.put_off(due.change, due.noticed, now));
                if let Some(change) = &mut self.change {
                    change.at = change.at.max(now + FIRST_WAIT);
                }
            }
        }
        actions.push(Action::Survey { always: true });
        actions
    }
}
