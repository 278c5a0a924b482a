//! The daemon's loop: waits for a saved file, a signal or a request, and reconciles.

use super::control::ControlSocket;
use super::guard::Guard;
use super::held::{Held, reached};
use super::hits::HitsSaver;
use super::metrics::page::Durations;
use super::metrics::{self, Endpoint, LastPage, MetricsAddress};
use super::refusals::Refusals;
use super::saver::Saver;
use super::store;
use super::tell::{notify, sentence, still};
use crate::flows::ended::LONGEST_COUNT;
use crate::host::report::{Failure, Summary};
use crate::host::{Attempt, Host};
use crate::netfilter::events::links::LinkEvents;
use crate::source::load::{Loaded, load};
use crate::source::read::Trust;
use crate::source::watch::{Reason, Watch};
use parking_lot::{Mutex, MutexGuard};
use sd_notify::NotifyState;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

/// How long writers who never pause keep what others saved from being enforced.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time in which the kernel's word of a change arrives, also on a busy machine.
const ARRIVAL: Duration = Duration::from_millis(20);

/// What a daemon is started with.
#[derive(Debug)]
pub struct Options {
    /// The definition to watch, absolute.
    pub definition: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Look at the files every 5 s, whatever events the kernel reports.
    pub poll: bool,
    /// Whether the service manager holds the socket that owns our table already.
    pub socket_is_kept: bool,
    /// Whether a host without a policy refuses new inbound flows to itself.
    pub fail_closed: bool,
    /// Where metrics can be asked for, if at all.
    pub metrics: Option<MetricsAddress>,
}

/// Runs until SIGTERM or SIGINT. What is enforced then stays enforced.
///
/// # Errors
///
/// When the control socket or the signals cannot be had; a wrong definition is no error, since it can be mended.
pub async fn run(mut host: Host, options: Options) -> anyhow::Result<()> {
    let (socket, mut calls) = ControlSocket::open(&options.socket)?;
    // Nobody is left open for want of metrics.
    let endpoint = options.metrics.as_ref().and_then(|address| {
        let opened = Endpoint::open(address);
        opened.inspect_err(|error| error!("{error}")).ok()
    });
    let (_endpoint, mut askers) = endpoint.unzip();
    let last_page = LastPage::default();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    host.adopt();
    let mut guard = Guard::default();
    guard.before(&host);
    let ended = host.ended.clone();
    let links = LinkEvents::listen().inspect_err(|error| {
        warn!("interfaces that come and go are noticed at a reload only: {error}")
    });
    let mut daemon = Daemon {
        guard,
        links: links.ok(),
        warnings: Vec::new(),
        restore_failed: false,
        socket_is_kept: options.socket_is_kept,
        host: Arc::new(Mutex::new(host)),
        watch: Watch::new(&options.definition, options.poll),
        options,
        ready: false,
        postponed: None,
        last_error: None,
        reloads: 0,
        failures: 0,
        durations: Durations::default(),
        saver: Saver::default(),
        hits_saver: HitsSaver::new(),
        trial_ends: None,
        held: Held::default(),
        refusals: Refusals::default(),
    };
    daemon.start().await;
    loop {
        tokio::select! {
            reason = daemon.watch.changed() => daemon.follow(reason).await,
            due = daemon.guard.due() => daemon.restore(due).await,
            _ = next(&mut daemon.links) => daemon.follow_links(),
            _ = daemon.saver.done(&daemon.host) => {}
            _ = daemon.hits_saver.due() => daemon.save_again(),
            _ = reached(daemon.trial_ends) => daemon.look_at_trial().await,
            _ = hangup.recv() => {
                let _ = daemon.reload("SIGHUP", Attempt::Plain).await;
            }
            Some(call) = calls.recv() => daemon.answer(call).await,
            asker = metrics::asked(&mut askers) => {
                last_page.answer(asker, daemon.metrics(), daemon.host.clone());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    notify(&[NotifyState::Stopping]);
    ended.finish(LONGEST_COUNT);
    daemon.saver.finish(&daemon.host).await;
    daemon.hits_saver.finish(&daemon.host).await;
    let enforced = {
        let host = daemon.host();
        host.enforced().is_some() || host.inherited().is_some()
    };
    match enforced {
        true => {
            info!("stopped; the policy stays enforced. `secgroupd remove` takes it off this host")
        }
        false if daemon.host().is_closed() => info!("stopped; this host stays closed"),
        false => info!("stopped; nothing is enforced"),
    }
    drop(socket);
    Ok(())
}

pub(super) struct Daemon {
    pub(super) host: Arc<Mutex<Host>>,
    pub(super) watch: Watch,
    pub(super) guard: Guard,
    /// `None` when the kernel does not tell.
    links: Option<LinkEvents>,
    /// Doubts about the interfaces, as told last.
    pub(super) warnings: Vec<String>,
    pub(super) options: Options,
    /// Whether the service manager was told that a policy is enforced.
    pub(super) ready: bool,
    /// Whether it holds the socket that owns our table.
    socket_is_kept: bool,
    /// Since when readings have been given up for writers.
    postponed: Option<Instant>,
    pub(super) last_error: Option<Failure>,
    /// Whether that is of a restoration.
    pub(super) restore_failed: bool,
    pub(super) reloads: u64,
    pub(super) failures: u64,
    /// How long definitions took to be enforced or refused.
    pub(super) durations: Durations,
    pub(super) saver: Saver,
    pub(super) hits_saver: HitsSaver,
    /// When a candidate's time is looked at.
    pub(super) trial_ends: Option<tokio::time::Instant>,
    pub(super) held: Held,
    pub(super) refusals: Refusals,
}

impl Daemon {
    /// The host, even if a thread panicked while it had it: its parts are each replaced whole.
    pub(super) fn host(&self) -> MutexGuard<'_, Host> {
        self.host.lock()
    }

    /// Reads and enforces what was saved. A writer who began while it was read may have left half a file to read: then
    /// it is read again when that one has closed it.
    async fn follow(&mut self, reason: Reason) {
        if self.holds_back(&reason) {
            return;
        }
        let loaded = read(self.options.definition.clone()).await;
        let refused = !matches!(&loaded, Ok(loaded) if loaded.account.is_some());
        if refused {
            // The kernel's word of a writer may be on its way.
            tokio::time::sleep(ARRIVAL).await;
        }
        let since = *self.postponed.get_or_insert_with(Instant::now);
        let overtaken = self.watch.is_being_written() || (refused && self.watch.has_news());
        if overtaken && since.elapsed() < PATIENCE {
            self.watch.again(reason);
            return;
        }
        self.postponed = None;
        let reason = reason.to_string();
        let _ = self.enforce_watched(loaded, &reason, Attempt::Plain).await;
    }

    /// Reads and enforces the watched definition, and loads all of it: who asks may have a reason.
    pub(super) async fn reload(
        &mut self,
        reason: &str,
        attempt: Attempt,
    ) -> Result<Summary, Failure> {
        self.let_go();
        let loaded = read(self.options.definition.clone()).await;
        if matches!(&loaded, Ok(loaded) if loaded.account.is_some()) {
            self.host().forget_loaded();
        }
        self.enforce_watched(loaded, reason, attempt).await
    }

    pub(super) async fn enforce_watched(
        &mut self,
        loaded: Result<Loaded, Failure>,
        reason: &str,
        attempt: Attempt,
    ) -> Result<Summary, Failure> {
        let path = self.options.definition.clone();
        let (loaded, result) = self.enforce(loaded, path, None, reason, attempt).await;
        if let Some(loaded) = loaded {
            self.watch.set_files(&loaded.template_files);
        }
        result
    }

    /// Enforces a definition that was read, off the loop's thread, since nft takes its time.
    pub(super) async fn enforce(
        &mut self,
        loaded: Result<Loaded, Failure>,
        path: PathBuf,
        instance: Option<String>,
        reason: &str,
        attempt: Attempt,
    ) -> (Option<Loaded>, Result<Summary, Failure>) {
        let begin = Instant::now();
        let host = self.host.clone();
        let work = loaded.map(|loaded| {
            off_the_loop(move || {
                let result = host
                    .lock()
                    .reconcile(&loaded, &path, instance.as_deref(), attempt);
                (loaded, result)
            })
        });
        let done = match work {
            Ok(work) => work.await,
            Err(failure) => Err(failure),
        };
        let (loaded, result) = match done {
            Ok((loaded, result)) => (Some(loaded), result),
            Err(failure) => (None, Err(failure)),
        };
        self.durations.add(begin.elapsed().as_secs_f64());
        match &result {
            Ok(summary) => {
                self.reloads += 1;
                (self.last_error, self.restore_failed) = (None, false);
                self.keep_socket();
                self.follow_table();
                // Refusals are reported before anybody learns that the policy is enforced.
                self.tell_refusals();
                loaded
                    .iter()
                    .flat_map(Loaded::warnings)
                    .for_each(|warning| warn!("{warning}"));
                info!("{} ({reason})", sentence(summary));
                self.tell_ready();
                self.time_trial();
                self.saver.wake(&self.host);
            }
            Err(failure) => {
                self.failures += 1;
                error!("{} ({reason}); {}", failure.message, still(&self.host()));
                failure
                    .text
                    .lines()
                    .filter(|line| *line != failure.message)
                    .for_each(|line| error!("{line}"));
                (self.last_error, self.restore_failed) = (Some(failure.clone()), false);
                // A refused change has set the record of what is in force aside.
                self.saver.wake(&self.host);
            }
        }
        self.tell_state();
        (loaded, result)
    }

    /// Keeps the hits, and what could not be kept before.
    fn save_again(&mut self) {
        self.hits_saver.save(&self.host);
        let is_unsaved = self.host().is_unsaved();
        if is_unsaved {
            self.saver.wake(&self.host);
        }
    }

    /// Has the service manager hold the socket that owns our table, once it does.
    pub(super) fn keep_socket(&mut self) {
        if self.socket_is_kept {
            return;
        }
        let owns = {
            let host = self.host();
            let socket = host.owning_socket();
            socket.inspect(|socket| store::keep(*socket)).is_some()
        };
        self.socket_is_kept = owns;
    }
}

/// Waits until interfaces or default routes change.
async fn next(links: &mut Option<LinkEvents>) {
    let Some(events) = links else {
        return std::future::pending().await;
    };
    if let Err(error) = events.changed().await {
        warn!("interfaces that come and go are noticed at a reload only: {error}");
        *links = None;
    }
}

/// Reads a definition, off the loop's thread, since 100,000 lines take their time.
pub(super) async fn read(path: PathBuf) -> Result<Loaded, Failure> {
    off_the_loop(move || load(&path, Trust::Checked)).await
}

pub(super) async fn off_the_loop<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|panic| Failure::other(format!("this is a fault of secgroupd: {panic}")))
}

/// The definition's path, absolute: the daemon is asked for paths from other directories.
pub fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}
