//! The one thread that owns the [`Host`]: it takes work from a channel, and sends back what came of it.

use super::machine::event::{Facts, OnTrial};
use crate::host::Host;
use crate::host::report::Failure;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use tokio::sync::oneshot;

type Work = Box<dyn FnOnce(&mut Host) + Send>;

/// The way to the thread.
#[derive(Debug, Clone)]
pub struct Enforcer(Sender<Option<Work>>);

impl Enforcer {
    /// Starts the thread, which ends at [`Self::stop`].
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub fn start(host: Host) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, work) = channel();
        let thread = Builder::new().name("enforcer".into());
        let thread = thread.spawn(move || own(host, &work))?;
        Ok((Enforcer(sender), thread))
    }

    /// Works on the host, and returns what came of it.
    ///
    /// # Errors
    ///
    /// When the work has panicked, which is in the log.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Host) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let (done, result) = oneshot::channel();
        self.send(move |host| {
            // Whoever asked may have gone.
            let _ = done.send(work(host));
        });
        let fault = |_| Failure::other("this is a fault of secgroupd, which the log shows".into());
        result.await.map_err(fault)
    }

    /// Has the host worked on while nobody waits.
    pub fn send(&self, work: impl FnOnce(&mut Host) + Send + 'static) {
        // Nothing is done any more after the end.
        let _ = self.0.send(Some(Box::new(work)));
    }

    /// Ends the thread after the work that was sent before. The host is dropped with it.
    pub fn stop(&self) {
        let _ = self.0.send(None);
    }
}

fn own(mut host: Host, work: &Receiver<Option<Work>>) {
    while let Ok(Some(work)) = work.recv() {
        // The parts of the host are each replaced whole, and the panic is in the log.
        let _ = catch_unwind(AssertUnwindSafe(|| work(&mut host)));
    }
}

/// What the host enforces now.
pub fn facts(host: &Host) -> Facts {
    Facts {
        enforced: host.enforced().cloned(),
        inherited: host.inherited(),
        unseen: host.unseen(),
        closed: host.is_closed(),
        trial: host.trial().map(|trial| OnTrial {
            candidate: trial.candidate.clone(),
            left: trial.left(),
        }),
        ends: host.next_end(),
    }
}

/// Works on blocking things in another thread, and returns what came of it.
///
/// # Errors
///
/// When the work has panicked, which is in the log.
pub async fn off_the_loop<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Failure::other(format!("this is a fault of secgroupd: {panic}")))
}
