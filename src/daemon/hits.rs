//! When hits are read and saved, while the daemon goes on.
//!
//! The file is written every [`EVERY`], after a change and when the daemon stops, if there is anything new. After kill -9
//! it is at most that old.

use crate::host::Host;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often hits are read and kept: no count that is told or kept is older.
pub const EVERY: Duration = Duration::from_secs(10);

/// When hits are read and kept, while the daemon goes on.
#[derive(Debug)]
pub struct HitsSaver {
    timer: Interval,
    writing: Option<JoinHandle<()>>,
}

impl HitsSaver {
    /// Begins [`EVERY`] from now. Must be called within a tokio runtime with time.
    pub fn new() -> Self {
        let mut timer = interval(EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.reset();
        HitsSaver {
            timer,
            writing: None,
        }
    }

    /// Waits until it is time. Nothing is lost when the future is dropped before it is ready.
    pub async fn due(&mut self) {
        self.timer.tick().await;
    }

    /// Reads and keeps, in a thread of its own; not while one that a slow disk keeps waiting does.
    pub fn save(&mut self, host: &Arc<Mutex<Host>>) {
        if self.writing.as_ref().is_some_and(|one| !one.is_finished()) {
            return;
        }
        let host = host.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || save(&host)));
    }

    /// Waits until nothing is being written.
    pub async fn done(&mut self) {
        // A panic has been logged.
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }

    /// Reads and keeps for the last time.
    pub async fn finish(&mut self, host: &Arc<Mutex<Host>>) {
        self.done().await;
        self.save(host);
        self.done().await;
    }
}

impl Default for HitsSaver {
    fn default() -> Self {
        Self::new()
    }
}

fn save(host: &Mutex<Host>) {
    host.lock().look_at_hits();
    write(host);
}

/// Writes what is not written yet. The host is not kept from enforcing while its disk works.
pub(super) fn write(host: &Mutex<Host>) {
    let lock = || host.lock();
    let unwritten = lock().unwritten_hits();
    if let Some(unwritten) = unwritten {
        let result = unwritten.write();
        lock().hits_written(result);
    }
}
