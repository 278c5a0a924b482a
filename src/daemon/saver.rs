//! Saves what is enforced while the daemon goes on: a slow disk delays no enforcement. One is written at a time, the
//! newest next.

use super::hits;
use crate::host::Host;
use crate::host::save::Writing;
use crate::state::saved_policy::Origin;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// What is being written.
#[derive(Debug, Default)]
pub struct Saver {
    writing: Option<JoinHandle<()>>,
    /// Whether there was something new meanwhile.
    again: bool,
}

impl Saver {
    /// What is enforced has changed.
    pub fn wake(&mut self, host: &Arc<Mutex<Host>>) {
        if self.writing.is_some() {
            self.again = true;
            return;
        }
        let host = host.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || save(&host)));
    }

    /// Waits until one is written. Nothing is lost when the future is dropped before it is ready.
    pub async fn done(&mut self, host: &Arc<Mutex<Host>>) {
        let Some(writing) = &mut self.writing else {
            return std::future::pending().await;
        };
        // A panic has been logged, and the next enforcement tries again.
        let _ = writing.await;
        self.writing = None;
        if std::mem::take(&mut self.again) {
            self.wake(host);
        }
    }

    /// Waits until all is written.
    pub async fn finish(&mut self, host: &Arc<Mutex<Host>>) {
        while self.writing.is_some() {
            self.done(host).await;
        }
    }
}

/// The host goes on enforcing while its disk works.
fn save(host: &Mutex<Host>) {
    let lock = || host.lock();
    let unsaved = lock().unsaved();
    let hashed = unsaved.map(Origin::hashed);
    let writing = hashed.and_then(|hashed| lock().to_save(hashed));
    let result = writing.map(Writing::write);
    lock().saved(result);
    // What replaced chains had counted is in no kernel any more.
    hits::write(host);
}
