//! The last events, for whoever asks.

use super::event::Event;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// So many are kept: at the limit of all remotes 20 s, and some hundred kilobytes.
const KEPT: usize = 1000;

/// The last events, numbered.
#[derive(Debug, Default)]
pub struct Recent {
    events: VecDeque<Event>,
    /// The number of the next one; the first is 0.
    next: u64,
}

/// Events since a number.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The number to ask with next.
    pub next: u64,
    /// How many there were that are not kept any more.
    pub missed: u64,
    /// The events, the oldest first.
    pub events: Vec<Event>,
    /// Whether the enforced policy has refusals told.
    pub told: bool,
    /// Why they are not told although they should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Recent {
    /// The newest one.
    pub fn push(&mut self, event: Event) {
        if self.events.len() >= KEPT {
            self.events.pop_front();
        }
        self.events.push_back(event);
        self.next += 1;
    }

    /// Those from this number on; all that are kept without one, or with one of another daemon.
    pub fn after(&self, number: Option<u64>) -> Answer {
        let first = self.next - self.events.len() as u64;
        let from = number.filter(|number| *number <= self.next);
        let (missed, skip) = match from {
            Some(from) => (first.saturating_sub(from), from.saturating_sub(first)),
            None => (0, 0),
        };
        Answer {
            next: self.next,
            missed,
            events: self.events.iter().skip(skip as usize).cloned().collect(),
            ..Answer::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::LeftOut;
    use super::*;

    fn event(lost: u64) -> Event {
        Event::LeftOut(LeftOut {
            lost,
            ..LeftOut::default()
        })
    }

    #[test]
    fn each_event_is_told_once_or_missed() {
        let mut recent = Recent::default();
        let mut next = recent.after(None).next;
        assert_eq!(next, 0);
        (0..3).for_each(|at| recent.push(event(at)));
        let answer = recent.after(Some(next));
        assert_eq!(answer.events, [event(0), event(1), event(2)]);
        next = answer.next;
        assert!(recent.after(Some(next)).events.is_empty());
        let many = KEPT as u64 + 5;
        (0..many).for_each(|at| recent.push(event(at)));
        let answer = recent.after(Some(next));
        assert_eq!((answer.missed, answer.events.len()), (5, KEPT));
        assert_eq!(answer.events[0], event(5));
        // A number of a daemon that has told more.
        assert_eq!(recent.after(Some(u64::MAX)).events.len(), KEPT);
    }
}
