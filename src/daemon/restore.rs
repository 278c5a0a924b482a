//! The loop's answer to other programs' changes of our table.

use super::guard::Due;
use super::pace::used;
use super::run::{Daemon, off_the_loop};
use std::time::Duration;
use tracing::{error, warn};

impl Daemon {
    /// Puts right what another program has changed in our table.
    pub(super) async fn restore(&mut self, due: Due) {
        let (host, start) = (self.host.clone(), used());
        let deleted = due.change.deletes_the_table();
        let gone = due.change.leaves_no_table();
        // From here, since each hop is time in which the host is open.
        let done = self
            .host
            .try_lock()
            .is_some_and(|mut host| host.restore_written(deleted))
            // What came after it may stand in what was sent.
            && due.change.is_one_deletion();
        let noticed_until_done = due.noticed.elapsed();
        let here = used().saturating_sub(start);
        let work = move || {
            let mut host = host.lock();
            let start = used();
            let result = match done && host.restored(gone) {
                true => Ok(true),
                false => host.restore(deleted),
            };
            (result, used().saturating_sub(start))
        };
        let (result, there) = match off_the_loop(work).await {
            Ok(done) => done,
            Err(failure) => (Err(failure), Duration::ZERO),
        };
        let took = here + there;
        let until_done = match done {
            true => noticed_until_done,
            false => due.noticed.elapsed(),
        };
        match result {
            Ok(true) => {
                warn!(
                    "{}: restored in {:.0} ms",
                    due.change,
                    until_done.as_secs_f64() * 1000.0
                );
                self.guard.restored(&due.change, took);
                if std::mem::take(&mut self.restore_failed) {
                    self.last_error = None;
                }
                self.keep_socket();
                self.follow_table();
                self.saver.wake(&self.host);
            }
            // Removed on request, or left by an earlier daemon and never ours.
            Ok(false) => warn!("{}; this daemon enforces nothing to restore", due.change),
            Err(failure) => {
                error!("{}, and restoring failed: {}", due.change, failure.text);
                self.failures += 1;
                (self.last_error, self.restore_failed) = (Some(failure), true);
                self.guard.failed(due, took);
            }
        }
        self.tell_state();
    }

    /// Listens to other programs' changes where the table is not owned.
    pub(super) fn follow_table(&mut self) {
        let host = self.host.lock();
        self.guard.follow(&host);
        if self.guard.is_listening() {
            let host = self.host.clone();
            let write_down = move || host.lock().stand_by();
            tokio::task::spawn_blocking(write_down);
        }
    }
}
