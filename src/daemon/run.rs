//! The daemon's loop: hands events to the [`Machine`], and does what it returns.

use super::actions::{Daemon, listened};
use super::announced::{Announced, Announcement};
use super::control::{ControlSocket, Request};
use super::enforcer::Enforcer;
use super::host_watch::HostWatch;
use super::machine::Machine;
use super::machine::event::Event;
use super::metrics::{self, Endpoint, LastPage, MetricsAddress};
use super::notify::notify;
use super::packet_log::PacketLog;
use super::saver::{HitsSaver, Saver};
use crate::flows::ended::LONGEST_COUNT;
use crate::host::Host;
use crate::netfilter::events::links::LinkEvents;
use crate::netfilter::events::tables::{ForeignChange, TableEvents};
use crate::source::watch::{Reason, Watch};
use crate::state::hold;
use sd_notify::NotifyState;
use std::path::PathBuf;
use std::time::Instant;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep_until;
use tracing::{error, info, warn};

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
/// When the control socket, the signals or a thread cannot be had; a wrong definition is no error, since it can be
/// mended.
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
    // Before a policy is enforced, where its table will not be owned.
    let table_events = (!host.will_own())
        .then(|| listened(host.listen()))
        .flatten();
    let ended = host.ended.clone();
    let held = hold::is_set(host.state());
    let (enforcer, thread) = Enforcer::start(host)?;
    let mut host_watch = HostWatch::new();
    let mut links = LinkEvents::listen()
        .inspect_err(|error| warn!("{UNNOTICED_LINKS}: {error}"))
        .ok();
    let mut daemon = Daemon {
        machine: Machine::new(&options.definition, options.fail_closed, Instant::now()),
        enforcer,
        watch: Watch::new(&options.definition, options.poll),
        table_events,
        socket_is_kept: options.socket_is_kept,
        definition: options.definition,
        loaded: None,
        followed: None,
        save: None,
        call: None,
        saver: Saver::default(),
        hits_saver: HitsSaver::new(),
        packet_log: PacketLog::default(),
        announced: Announced::default(),
    };
    daemon.handle(Event::Started { held }).await;
    loop {
        let deadline = daemon.machine.deadline();
        tokio::select! {
            event = due_or_changed(deadline, &mut daemon.table_events) => daemon.handle(event).await,
            reason = daemon.watch.changed() => {
                let words = reason.to_string();
                let event = match reason {
                    Reason::Access(_) => Event::AccessChanged(words),
                    _ => Event::Saved(words),
                };
                daemon.save = Some(reason);
                daemon.handle(event).await;
            }
            words = host_watch.changed() => daemon.handle(Event::HostChanged(words)).await,
            _ = next(&mut links) => daemon.handle(Event::LinksChanged).await,
            is_news = daemon.saver.done(&daemon.enforcer) => if is_news {
                daemon.handle(Event::LinksChanged).await;
            },
            () = daemon.hits_saver.due() => {
                daemon.hits_saver.save(&daemon.enforcer);
                // What could not be saved before.
                if let Ok(true) = daemon.enforcer.run(|host| host.is_unsaved()).await {
                    daemon.saver.wake(&daemon.enforcer);
                }
            }
            _ = hangup.recv() => daemon.handle(Event::Hangup).await,
            // Taken out: the texts of a candidate may be long.
            Some(mut call) = calls.recv() => match std::mem::replace(&mut call.request, Request::Status) {
                Request::Status => call.answer(daemon.status().await),
                Request::Events { after } => call.answer(daemon.events(after)),
                Request::Announce { content, line, client, sudo_user } => {
                    let said = Announcement { content, line, client, sudo_user };
                    let peer = call.peer;
                    call.answer(daemon.announced.add(said, peer, &daemon.definition));
                }
                request => {
                    daemon.call = Some(call);
                    daemon.handle(Event::Asked(request)).await;
                }
            },
            asker = metrics::asked(&mut askers) => {
                last_page.answer(asker, daemon.page(), daemon.enforcer.clone());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    notify(&[NotifyState::Stopping]);
    ended.finish(LONGEST_COUNT);
    daemon.saver.finish(&daemon.enforcer).await;
    daemon.hits_saver.finish(&daemon.enforcer).await;
    let enforcer = &daemon.enforcer;
    let closed = enforcer.run(|host| host.is_closed()).await;
    let enforces = |host: &mut Host| host.enforced().is_some() || host.inherited().is_some();
    match enforcer.run(enforces).await.unwrap_or(false) {
        true => {
            info!("stopped; the policy stays enforced. `secgroupd remove` takes it off this host")
        }
        false if closed.unwrap_or(false) => info!("stopped; this host stays closed"),
        false => match enforcer.run(|host| host.unseen()).await.ok().flatten() {
            Some(why) => info!("stopped; whether anything is enforced is not known: {why}"),
            None => info!("stopped; nothing is enforced"),
        },
    }
    daemon.enforcer.stop();
    drop(socket);
    // The state directory is free when this process has ended.
    let _ = thread.join();
    Ok(())
}

const UNNOTICED_LINKS: &str = "interfaces that come and go are noticed at a reload only";

/// Waits until then; for ever if there is no such time.
async fn reached(at: Option<Instant>) {
    match at {
        // The timer counts whole milliseconds.
        Some(at) if at <= Instant::now() => {}
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits until interfaces or default routes change.
async fn next(links: &mut Option<LinkEvents>) {
    let Some(events) = links else {
        return std::future::pending().await;
    };
    if let Err(error) = events.changed().await {
        warn!("{UNNOTICED_LINKS}: {error}");
        *links = None;
    }
}

/// Waits until a deadline comes or another program changes our table.
async fn due_or_changed(deadline: Option<Instant>, events: &mut Option<TableEvents>) -> Event {
    tokio::select! {
        // A change that stands is put right before another is read: its writer may not pause.
        biased;
        () = reached(deadline) => Event::Tick,
        change = changed(events) => Event::TableChanged(change),
    }
}

/// Waits until another program changes our table.
async fn changed(events: &mut Option<TableEvents>) -> ForeignChange {
    if let Some(listening) = events {
        match listening.changed().await {
            Ok(change) => return change,
            Err(error) => {
                warn!("what other programs change in our table is no longer put right: {error}");
                *events = None;
            }
        }
    }
    std::future::pending().await
}
