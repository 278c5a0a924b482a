//! When it is time: the wake-up that is due, and what it waits for.

use crate::source::shown::shown;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long things take. Tests shorten the poll.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// A definition directory is read when nothing has happened in it for this long.
    pub quiet: Duration,
    /// A file found changed without an event (it came with its directory) is read when unchanged for this long.
    pub settle: Duration,
    /// A missing file is reported when it has been missing for this long: many editors move it away and write anew.
    pub gone: Duration,
    /// The pause between looks where the kernel reports no events.
    pub poll: Duration,
    /// The pause between looks where it does: mounts and unmounts are no events.
    pub anyway: Duration,
    /// The least time between two wake-ups.
    pub gap: Duration,
    /// The pause before a wake-up. A close is told twice, by the watch of the file and by that of its directory.
    pub twin: Duration,
    /// The longest that one file's writer, who has not closed it, holds back the reading of another.
    pub hold: Duration,
    /// The time in which an event that is queued already surely arrives.
    pub arrive: Duration,
}

pub(super) const TIMING: Timing = Timing {
    quiet: Duration::from_millis(100),
    settle: Duration::from_millis(100),
    gone: Duration::from_secs(1),
    poll: Duration::from_secs(5),
    anyway: Duration::from_secs(60),
    gap: Duration::from_millis(20),
    twin: Duration::from_millis(1),
    hold: Duration::from_secs(5),
    arrive: Duration::from_millis(5),
};

/// Why it is time to read again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// This was saved: closed by its writer, or given its name.
    Saved(PathBuf),
    /// This has been missing for a second, and did exist.
    Gone(PathBuf),
    /// Owner or permissions changed, of this or of a directory on the way.
    Access(PathBuf),
    /// Found changed by a look at the disk, without an event.
    Found(PathBuf),
    /// The kernel lost events; anything may have changed.
    Overflow,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Saved(path) => write!(f, "{} was saved", shown(path)),
            Reason::Gone(path) => write!(f, "{} is gone", shown(path)),
            Reason::Access(path) => write!(f, "permissions of {} changed", shown(path)),
            Reason::Found(path) => write!(f, "{} was found changed", shown(path)),
            Reason::Overflow => f.write_str("events were lost"),
        }
    }
}

#[derive(Debug, Clone)]
struct Due {
    at: Instant,
    since: Instant,
    reason: Reason,
}

impl Due {
    /// What was saved counts more than who may write it.
    fn join(&mut self, reason: Reason) {
        if matches!(self.reason, Reason::Access(_)) {
            self.reason = reason;
        }
    }
}

/// The wake-up that is due, if any: a burst of events makes one.
#[derive(Debug)]
pub(super) struct Plan {
    timing: Timing,
    due: Option<Due>,
    last_wake: Option<Instant>,
}

impl Plan {
    pub fn new(timing: Timing) -> Plan {
        Plan {
            timing,
            due: None,
            last_wake: None,
        }
    }

    pub fn is_pending(&self) -> bool {
        self.due.is_some()
    }

    /// Plans a wake-up, or joins the one that is planned. With `for_quiet` it waits until nothing more happens.
    pub fn add(&mut self, now: Instant, reason: Reason, for_quiet: bool) {
        let wait = if for_quiet {
            self.timing.quiet
        } else {
            self.timing.twin
        };
        let at = now + wait;
        match &mut self.due {
            Some(due) if for_quiet => {
                due.at = at;
                due.join(reason);
            }
            due => Self::not_after(due, at, now, reason),
        }
    }

    /// Plans a wake-up for now: what was moved to its place is whole, and told once.
    pub fn add_at_once(&mut self, now: Instant, reason: Reason) {
        Self::not_after(&mut self.due, now, now, reason);
    }

    fn not_after(due: &mut Option<Due>, at: Instant, since: Instant, reason: Reason) {
        match due {
            Some(due) => {
                due.at = due.at.min(at);
                due.join(reason);
            }
            None => *due = Some(Due { at, since, reason }),
        }
    }

    /// Something more has happened: the quiet begins anew.
    pub fn delay(&mut self, now: Instant) {
        if let Some(due) = &mut self.due {
            due.at = now + self.timing.quiet;
        }
    }

    /// When the wake-up may come; later while somebody is `writing` one of the files.
    pub fn at(&self, writing: bool) -> Option<Instant> {
        let due = self.due.as_ref()?;
        let after_last = self.last_wake.map_or(due.at, |last| last + self.timing.gap);
        let at = due.at.max(after_last);
        match writing {
            true => Some(at.max(due.since + self.timing.hold)),
            false => Some(at),
        }
    }

    /// Takes out the wake-up when its time has come.
    pub fn take(&mut self, now: Instant, writing: bool) -> Option<Reason> {
        if self.at(writing)? > now {
            return None;
        }
        self.last_wake = Some(now);
        self.due.take().map(|due| due.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(name: &str) -> Reason {
        Reason::Saved(name.into())
    }

    #[test]
    fn what_was_moved_in_is_read_at_once() {
        let (mut plan, now) = (Plan::new(TIMING), Instant::now());
        plan.add_at_once(now, saved("a"));
        assert_eq!(plan.take(now, false), Some(saved("a")));
        plan.add(now, saved("b"), false);
        plan.add_at_once(now, saved("b"));
        assert_eq!(
            plan.at(false),
            Some(now + TIMING.gap),
            "but not twice in a row"
        );
    }

    #[test]
    fn a_save_outranks_a_change_of_permissions() {
        let access = || Reason::Access("a".into());
        for for_quiet in [false, true] {
            let (mut plan, now) = (Plan::new(TIMING), Instant::now());
            plan.add(now, access(), for_quiet);
            plan.add(now, saved("b"), for_quiet);
            plan.add(now, access(), for_quiet);
            let woken = now + TIMING.quiet;
            assert_eq!(plan.take(woken, false), Some(saved("b")));
        }
        let (mut plan, now) = (Plan::new(TIMING), Instant::now());
        plan.add(now, access(), false);
        plan.add_at_once(now, saved("b"));
        assert_eq!(plan.take(now, false), Some(saved("b")));
    }

    #[test]
    fn a_burst_makes_one_wake_up_and_the_next_comes_after_a_gap() {
        let mut plan = Plan::new(TIMING);
        let now = Instant::now();
        plan.add(now, saved("a"), false);
        plan.add(now + TIMING.twin, saved("b"), false);
        assert_eq!(plan.take(now, false), None);
        let woken = now + TIMING.twin;
        assert_eq!(plan.take(woken, false), Some(saved("a")));
        plan.add(woken, saved("c"), false);
        assert_eq!(plan.at(false), Some(woken + TIMING.gap));
    }

    #[test]
    fn quiet_begins_anew_and_a_writer_holds_back_only_so_long() {
        let mut plan = Plan::new(TIMING);
        let now = Instant::now();
        plan.add(now, saved("a"), true);
        plan.delay(now + TIMING.gap);
        assert_eq!(plan.at(false), Some(now + TIMING.gap + TIMING.quiet));
        assert_eq!(plan.at(true), Some(now + TIMING.hold));
        assert_eq!(plan.take(now + TIMING.hold, true), Some(saved("a")));
        assert!(!plan.is_pending());
    }
}
