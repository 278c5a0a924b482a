//! The time by which rules end on this host: that of the machine's clock, and never before the latest that was seen.

use super::report::now;
use crate::state::directory::State;
use crate::state::latest_time;
use std::cell::Cell;
use tracing::{error, warn};

/// How far what is on the disk may lag behind, in seconds: a file is written as seldom.
const WRITTEN_EVERY: u64 = 600;
/// How far a clock may be behind the latest time before that is logged, in seconds.
const BEHIND: u64 = 60;

/// The clock of a host.
#[derive(Debug)]
pub(super) struct Clock {
    /// The machine's clock; a test sets its own.
    source: fn() -> u64,
    /// The latest time that was seen.
    latest: Cell<u64>,
    /// What is on the disk.
    written: u64,
    /// Why it is not.
    not_written: Option<String>,
}

impl Clock {
    /// The machine's clock, and the latest time that an earlier process has seen.
    pub fn new(state: &State) -> Self {
        let written = latest_time::read(state).unwrap_or_else(|why| {
            error!("rules that have ended may hold again: {why}");
            0
        });
        let clock = Clock {
            source: now,
            latest: Cell::new(written),
            written,
            not_written: None,
        };
        let behind = written.saturating_sub((clock.source)());
        if behind > BEHIND {
            warn!(
                "the clock is {behind} s behind the latest time that this host has seen: rules end by the later of the two"
            );
        }
        clock
    }

    /// Now, in seconds since 1970, and never before the latest time that was seen.
    pub fn now(&self) -> u64 {
        let latest = self.latest.get().max((self.source)());
        self.latest.set(latest);
        latest
    }

    /// Takes the time from another clock.
    #[cfg(test)]
    pub fn set_source(&mut self, source: fn() -> u64) {
        self.source = source;
    }

    /// Writes the latest time, unless what is on the disk is new enough.
    pub fn keep(&mut self, state: &State) {
        if self.now() >= self.written.saturating_add(WRITTEN_EVERY) {
            self.write(state);
        }
    }

    /// Writes the latest time. A full disk keeps no rule from ending; the same failure is logged once.
    pub fn write(&mut self, state: &State) {
        let latest = self.now();
        if latest == self.written {
            return;
        }
        match latest_time::write(state, latest) {
            Ok(()) => (self.written, self.not_written) = (latest, None),
            Err(why) => {
                if self.not_written.as_ref() != Some(&why) {
                    warn!("the latest time is not kept for the next start: {why}");
                }
                self.not_written = Some(why);
            }
        }
    }
}
