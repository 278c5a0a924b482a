//! A lab follows its definition until it is told to end.

use super::live::{Changed, Lab};
use super::read::Reading;
use crate::source::watch::Watch;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// How long writers who never pause keep what others saved from being read.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the time is looked at while a rule has an end.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);
/// The time in which the kernel's word of a writer arrives.
const ARRIVAL: Duration = Duration::from_millis(20);

/// What has happened.
#[derive(Debug)]
pub enum LabEvent {
    /// A saved definition was followed.
    Changed(Changed),
    /// It was refused, and nothing was changed.
    Refused(Box<Reading>),
}

/// Follows until a signal or `down` ends it. The definition may have been saved since it was read: it is read once
/// more.
pub async fn follow(
    lab: Arc<Lab>,
    down: Arc<Notify>,
    mut tell: impl FnMut(LabEvent),
) -> io::Result<()> {
    let mut ends = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    let [interrupt, terminate, hangup] = &mut ends;
    let mut watch = Watch::new(lab.definition(), false);
    watch.set_files(&lab.template_files());
    if let Some(event) = again(&lab).await
        && !is_nothing(&event)
    {
        tell(event);
    }
    let mut postponed = None;
    loop {
        let reason = tokio::select! {
            reason = watch.changed() => reason,
            () = look_at_clock(&lab) => {
                if let Some(event) = ended(&lab).await {
                    tell(event);
                }
                continue;
            }
            () = down.notified() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        };
        let Some(event) = again(&lab).await else {
            continue;
        };
        if matches!(event, LabEvent::Refused(_)) {
            tokio::time::sleep(ARRIVAL).await;
            // A writer may have left half a file to read: then it is read again when that one has closed it.
            let since = *postponed.get_or_insert_with(Instant::now);
            if (watch.is_being_written() || watch.has_news()) && since.elapsed() < PATIENCE {
                watch.again(reason);
                continue;
            }
        }
        postponed = None;
        watch.set_files(&lab.template_files());
        tell(event);
    }
}

/// Waits until it is time to look for rules whose time has come: the clock may be set meanwhile.
async fn look_at_clock(lab: &Lab) {
    match lab.next_end() {
        Some(left) => tokio::time::sleep(left.min(LOOK_AT_CLOCK)).await,
        None => std::future::pending().await,
    }
}

/// What the rules that have ended by now have changed.
async fn ended(lab: &Arc<Lab>) -> Option<LabEvent> {
    lab.next_end().filter(|left| left.is_zero())?;
    let lab = lab.clone();
    let ended = tokio::task::spawn_blocking(move || lab.end_rules()).await;
    Some(LabEvent::Changed(ended.ok()?))
}

/// Off the loop's thread: a signal is heard meanwhile.
async fn again(lab: &Arc<Lab>) -> Option<LabEvent> {
    let lab = lab.clone();
    let followed = tokio::task::spawn_blocking(move || lab.follow()).await;
    Some(match followed.ok()? {
        Ok(changed) => LabEvent::Changed(changed),
        Err(reading) => LabEvent::Refused(reading),
    })
}

fn is_nothing(event: &LabEvent) -> bool {
    match event {
        LabEvent::Changed(changed) => changed.is_nothing(),
        LabEvent::Refused(_) => false,
    }
}
