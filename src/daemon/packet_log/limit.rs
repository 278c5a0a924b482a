//! How many events a remote may cause, and all of them.

use crate::daemon::bucket::Bucket;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Events that a remote may cause at once, and the time after which it may cause one more.
const BURST: u32 = 10;
const EACH: Duration = Duration::from_secs(1);
/// The same of all remotes.
const BURST_OF_ALL: u32 = 200;
const EACH_OF_ALL: Duration = Duration::from_millis(20);
/// So many remotes are known at once: half a megabyte.
const MOST_REMOTES: usize = 4096;

/// Decides which packets become events. What it needs is bounded, however many remotes there are: those for whom there
/// is no room share what is left for all.
#[derive(Debug)]
pub struct Limit {
    remotes: HashMap<IpAddr, Bucket>,
    all: Bucket,
    swept: Instant,
}

impl Limit {
    /// Nothing was told so far.
    pub fn new(now: Instant) -> Self {
        Limit {
            remotes: HashMap::new(),
            all: Bucket::new(now),
            swept: now,
        }
    }

    /// Whether a packet of this remote becomes an event.
    pub fn admits(&mut self, remote: IpAddr, now: Instant) -> bool {
        if self.remotes.len() >= MOST_REMOTES && now > self.swept + EACH {
            self.remotes.retain(|_, bucket| !bucket.is_full(now));
            self.swept = now;
        }
        let room = self.remotes.len() < MOST_REMOTES;
        let own = match self.remotes.get_mut(&remote) {
            Some(bucket) => bucket.take(now, BURST, EACH),
            None if room => {
                let mut bucket = Bucket::new(now);
                let taken = bucket.take(now, BURST, EACH);
                self.remotes.insert(remote, bucket);
                taken
            }
            None => true,
        };
        own && self.all.take(now, BURST_OF_ALL, EACH_OF_ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_remote_has_its_burst_and_then_one_a_second() {
        let now = Instant::now();
        let mut limit = Limit::new(now);
        let admitted =
            |limit: &mut Limit, now| (0..1000).filter(|_| limit.admits(remote(1), now)).count();
        assert_eq!(admitted(&mut limit, now), BURST as usize);
        assert!(limit.admits(remote(2), now), "another one has its own");
        assert_eq!(admitted(&mut limit, now + 3 * EACH), 3);
        assert_eq!(admitted(&mut limit, now + 100 * EACH), BURST as usize);
    }

    #[test]
    fn many_remotes_need_no_more_room_and_share_one_limit() {
        let now = Instant::now();
        let mut limit = Limit::new(now);
        let mut at = |from: u32, now| {
            let remotes = from..from + 100_000;
            let admitted = remotes.filter(|each| limit.admits(remote(*each), now));
            let admitted = admitted.count();
            assert!(limit.remotes.len() <= MOST_REMOTES);
            admitted
        };
        assert_eq!(at(0, now), BURST_OF_ALL as usize);
        // Those of before are forgotten, and there is room for new ones.
        assert_eq!(at(200_000, now + 100 * EACH), BURST_OF_ALL as usize);
        assert!(limit.remotes.contains_key(&remote(200_000)));
    }
}
