//! What is enforced, written down to be sent as soon as another program deletes it.

use super::native::Transaction;
use crate::ruleset::batch::Names;
use parking_lot::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Everything that is enforced as one transaction of the next generation: load, switch and marks. Made before it is
/// needed.
#[derive(Debug, Default)]
pub struct Standby(Mutex<Written>);

/// What there is to send.
#[derive(Debug, Default)]
pub(super) enum Written {
    /// Nothing is enforced, or it is about to change, or it is too long.
    #[default]
    Nothing,
    /// Ready to be sent.
    Ready(Transaction, Names),
    /// It is in force, and nobody has taken note of that yet.
    Sent(Names, Duration),
}

impl Standby {
    /// Sends what is ready. Its objects must be new to the kernel: where others of these names are left, it does
    /// nothing.
    pub(super) fn send(&self, send: impl FnOnce(&Transaction) -> bool) {
        let written = &mut *self.written();
        let Written::Ready(transaction, _) = &*written else {
            return;
        };
        let start = Instant::now();
        let is_sent = send(transaction);
        *written = match (is_sent, std::mem::take(written)) {
            (true, Written::Ready(_, names)) => Written::Sent(names, start.elapsed()),
            _ => Written::Nothing,
        };
    }

    pub(super) fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock()
    }
}
