//! Saves what is enforced and what was counted while the daemon goes on: a slow disk delays no enforcement. One is
//! written at a time, the newest next.

use super::enforcer::{Enforcer, off_the_loop};
use crate::host::Host;
use crate::host::report::Failure;
use crate::host::save::Writing;
use crate::state::hits::Unwritten;
use crate::state::saved_policy::Origin;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often hits are read and saved: no count that is reported or saved is older.
pub const HITS_EVERY: Duration = Duration::from_secs(10);

/// Saves the policy.
#[derive(Debug, Default)]
pub struct Saver {
    writing: Option<JoinHandle<bool>>,
    /// Whether there was something new meanwhile.
    again: bool,
}

/// Saves the hits.
#[derive(Debug)]
pub struct HitsSaver {
    timer: Interval,
    writing: Option<JoinHandle<()>>,
}

impl Saver {
    /// What is enforced has changed.
    pub fn wake(&mut self, enforcer: &Enforcer) {
        if self.writing.is_some() {
            self.again = true;
            return;
        }
        let enforcer = enforcer.clone();
        // A panic is in the log, and the next enforcement tries again.
        self.writing = Some(tokio::spawn(async move {
            save(&enforcer).await.unwrap_or(false)
        }));
    }

    /// Waits until one is written. Returns whether one has failed after the last had not, or the other way round.
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn done(&mut self, enforcer: &Enforcer) -> bool {
        let Some(writing) = &mut self.writing else {
            return std::future::pending().await;
        };
        let is_news = writing.await.unwrap_or(false);
        self.writing = None;
        if std::mem::take(&mut self.again) {
            self.wake(enforcer);
        }
        is_news
    }

    /// Waits until all is written.
    pub async fn finish(&mut self, enforcer: &Enforcer) {
        while self.writing.is_some() {
            self.done(enforcer).await;
        }
    }
}

/// Returns whether it has failed after the last had not, or the other way round.
async fn save(enforcer: &Enforcer) -> Result<bool, Failure> {
    let mut writing = None;
    if let Some(origin) = enforcer.run(Host::unsaved).await? {
        let hashed = off_the_loop(|| Origin::hashed(origin)).await?;
        writing = enforcer.run(|host| host.to_save(hashed)).await?;
    }
    let result = match writing {
        Some(writing) => Some(off_the_loop(|| Writing::write(writing)).await?),
        None => None,
    };
    let saved = |host: &mut Host| {
        let before = host.not_saved().map(str::to_owned);
        host.saved(result);
        host.not_saved() != before.as_deref()
    };
    let is_news = enforcer.run(saved).await?;
    // What replaced chains had counted is in no kernel any more.
    write_hits(enforcer).await?;
    Ok(is_news)
}

impl HitsSaver {
    /// Begins [`HITS_EVERY`] from now. Must be called within a tokio runtime with time.
    pub fn new() -> Self {
        let mut timer = interval(HITS_EVERY);
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

    /// Reads and saves; not while one that a slow disk keeps waiting does.
    pub fn save(&mut self, enforcer: &Enforcer) {
        if self.writing.as_ref().is_some_and(|one| !one.is_finished()) {
            return;
        }
        let enforcer = enforcer.clone();
        self.writing = Some(tokio::spawn(async move {
            enforcer.send(Host::look_at_hits);
            enforcer.send(Host::keep_time);
            let _ = write_hits(&enforcer).await;
        }));
    }

    /// Waits until nothing is being written.
    pub async fn done(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }

    /// Reads and saves for the last time.
    pub async fn finish(&mut self, enforcer: &Enforcer) {
        self.done().await;
        self.save(enforcer);
        self.done().await;
    }
}

impl Default for HitsSaver {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes what is not written yet.
async fn write_hits(enforcer: &Enforcer) -> Result<(), Failure> {
    if let Some(unwritten) = enforcer.run(Host::unwritten_hits).await? {
        let result = off_the_loop(|| Unwritten::write(unwritten)).await?;
        enforcer.run(|host| host.hits_written(result)).await?;
    }
    Ok(())
}
