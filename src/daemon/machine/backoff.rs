//! How soon another program's change of our table is put right: at once, unless that program answers each time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many restorations within a second are made at once: a flush every 100 ms is no fight yet.
const AT_ONCE: usize = 20;
const SECOND: Duration = Duration::from_secs(1);

/// So much of a processor's time may go into restorations before they wait, whatever their number. On a busy machine a
/// flush every 100 ms would be a fight otherwise: there each restoration waits longer than it works.
const BUSY: Duration = Duration::from_secs(8);
const WITHIN: Duration = Duration::from_secs(10);

/// How long a change stands in a fight: first, and at most, since the host may be open meanwhile.
pub const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = SECOND;

/// A fight is over when what was restored stands for so long.
const PEACE: Duration = Duration::from_secs(3);

/// The restorations of late.
#[derive(Debug, Default)]
pub struct Backoff {
    /// When each ended, and how much of a processor's time it took.
    recent: VecDeque<(Instant, Duration)>,
    /// The last wait of the fight, if there is one.
    fight: Option<Duration>,
}

/// How long a change may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Nothing, outside a fight.
    pub time: Duration,
    /// Whether a fight begins with this.
    pub begins: bool,
}

impl Backoff {
    /// A change was put right, or could not be.
    pub fn done(&mut self, now: Instant, took: Duration) {
        self.recent.push_back((now, took));
    }

    /// How long a change that is noticed now may stand.
    pub fn wait(&mut self, now: Instant) -> Wait {
        let since = |at: Instant| now.saturating_duration_since(at);
        self.recent.retain(|(at, _)| since(*at) < WITHIN);
        let peaceful = self.recent.back().is_none_or(|(at, _)| since(*at) > PEACE);
        if peaceful {
            self.fight = None;
        }
        let last_second = self.recent.iter().filter(|(at, _)| since(*at) < SECOND);
        let spent: Duration = self.recent.iter().map(|(_, took)| *took).sum();
        let begins = self.fight.is_none();
        if begins && last_second.count() < AT_ONCE && spent < BUSY {
            return Wait {
                time: Duration::ZERO,
                begins: false,
            };
        }
        let time = match self.fight {
            None => FIRST_WAIT,
            Some(before) => (before * 2).min(LONGEST_WAIT),
        };
        self.fight = Some(time);
        // What takes long to restore may not keep a processor busy all the time.
        let took = self.recent.back().map_or(Duration::ZERO, |(_, took)| *took);
        Wait {
            time: time.max(took),
            begins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What waits there are when a change follows each restoration at once, which takes `took`.
    fn waits(backoff: &mut Backoff, now: &mut Instant, took: u64, count: usize) -> Vec<u128> {
        let took = Duration::from_millis(took);
        let mut wait = || {
            let wait = backoff.wait(*now).time;
            *now += wait + took;
            backoff.done(*now, took);
            wait.as_millis()
        };
        (0..count).map(|_| wait()).collect()
    }

    #[test]
    fn a_fight_backs_off_and_ends() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        assert_eq!(waits(&mut backoff, &mut now, 5, 20), [0; 20]);
        let mut fight = backoff.wait(now);
        assert_eq!((fight.time.as_millis(), fight.begins), (100, true));
        fight = backoff.wait(now);
        assert_eq!((fight.time.as_millis(), fight.begins), (200, false));
        assert_eq!(waits(&mut backoff, &mut now, 5, 4), [400, 800, 1000, 1000]);
        now += PEACE * 2;
        assert_eq!(waits(&mut backoff, &mut now, 5, 3), [0; 3]);
    }

    #[test]
    fn a_flush_every_100_ms_is_no_fight() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        for _ in 0..200 {
            assert_eq!(backoff.wait(now).time, Duration::ZERO);
            backoff.done(now, Duration::from_millis(20));
            now += Duration::from_millis(100);
        }
    }

    #[test]
    fn what_takes_long_leaves_half_of_the_time() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::now());
        let waits = waits(&mut backoff, &mut now, 4000, 6);
        assert_eq!(waits, [0, 0, 4000, 4000, 4000, 4000]);
    }
}
