//! Notices a saved change without a command.
//!
//! A file is read when its writer closes it or gives it its name by rename, link or symbolic link: never on a mere
//! modification or creation, which every writer passes through with the file half written. The kernel's events say
//! when to look; what lies on the disk says whether there is something to read.

mod events;
mod inbox;
mod place;
mod plan;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::source::shown::shown;
use events::{Events, Lost};
use inbox::{Happening, Inbox};
use place::Places;
pub use plan::Reason;
use plan::{Plan, TIMING, Timing};
use snapshot::Snapshot;

/// Watches a definition and the files it names.
pub struct Watch {
    definition: PathBuf,
    files: Vec<PathBuf>,
    timing: Timing,
    inbox: Arc<Inbox>,
    /// `None` when everything is polled.
    events: Option<Events>,
    /// What is watched now.
    places: Places,
    /// The snapshot of the last wake-up.
    known: Snapshot,
    /// The last snapshot that differed from `known`, and when to compare it.
    settling: Option<(Snapshot, Instant)>,
    /// The last snapshot of the poll.
    polled: Option<Snapshot>,
    next_poll: Instant,
    polling: bool,
    gone_at: Option<Instant>,
    /// New files that may have come by a hard link, and when that is judged.
    created: Vec<(PathBuf, Instant)>,
    plan: Plan,
    /// Whether somebody was writing one of the files when the inbox was emptied.
    writing: bool,
    last_read: SystemTime,
    warned: bool,
}

impl Watch {
    /// Starts to watch the definition at `path`, a file or a directory, which need not exist yet. With `poll`, looks
    /// at the disk every 5 s and asks the kernel for no events. Read the definition after this, not before.
    pub fn new(path: &Path, poll: bool) -> Watch {
        Watch::with_timing(path, poll, TIMING)
    }

    fn with_timing(path: &Path, poll: bool, timing: Timing) -> Watch {
        let inbox = Arc::new(Inbox::default());
        let events = match poll {
            true => None,
            false => match Events::into(Arc::clone(&inbox)) {
                Ok(events) => Some(events),
                Err(error) => {
                    tracing::warn!(
                        "no file events ({error}): the definition is looked at every 5 s"
                    );
                    None
                }
            },
        };
        let mut watch = Watch {
            definition: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            files: Vec::new(),
            timing,
            inbox,
            polling: events.is_none(),
            events,
            places: Places::default(),
            known: Snapshot::default(),
            settling: None,
            polled: None,
            next_poll: Instant::now(),
            gone_at: None,
            created: Vec::new(),
            plan: Plan::new(timing),
            writing: false,
            last_read: SystemTime::now(),
            warned: false,
        };
        watch.rebuild(Lost::None);
        watch.known = watch.snapshot();
        watch.plan_poll(Instant::now());
        watch
    }

    /// Names the template files and whatever else the last reading used beside the definition itself.
    pub fn set_files(&mut self, files: &[PathBuf]) {
        let mut files: Vec<_> = files
            .iter()
            .filter_map(|file| std::path::absolute(file).ok())
            .collect();
        files.sort();
        files.dedup();
        let before = std::mem::replace(&mut self.files, files);
        self.rebuild(Lost::None);
        let now = self.snapshot();
        for file in before.iter().filter(|file| !self.files.contains(file)) {
            self.known.forget(file);
        }
        // A file that was not watched while it was read may have been saved in between, which no event tells: it
        // stays unknown, and so is found to differ.
        for file in self.files.iter().filter(|file| !before.contains(file)) {
            self.known.meet(file, &now, self.last_read);
        }
    }

    /// Whether the disk is looked at every 5 s because the kernel reports no events for it.
    pub fn is_polling(&self) -> bool {
        self.polling
    }

    /// Whether somebody is writing one of the files now.
    pub fn is_being_written(&self) -> bool {
        self.inbox.has_writers()
    }

    /// Whether something was saved since the last reason was told.
    pub fn has_news(&self) -> bool {
        self.inbox.has_news()
    }

    /// Tells this reason once more, when nobody writes any more.
    pub fn again(&mut self, reason: Reason) {
        self.wake(Instant::now(), reason, false);
    }

    /// Waits until it is time to read again. Nothing is lost when the future is dropped before it is ready.
    pub async fn changed(&mut self) -> Reason {
        loop {
            let now = Instant::now();
            self.absorb(now);
            if let Some(reason) = self.ready(now) {
                return reason;
            }
            let inbox = Arc::clone(&self.inbox);
            let at = self.next_deadline().into();
            let _ = tokio::time::timeout_at(at, inbox.wait()).await;
        }
    }

    /// Takes in what has happened, and plans the wake-up it asks for.
    fn absorb(&mut self, now: Instant) {
        let news = self.inbox.take();
        self.writing = news.writing;
        if news.overflow {
            self.rebuild(Lost::All);
            self.wake(now, Reason::Overflow, true);
        }
        if !news.happenings.is_empty() {
            let replaced =
                |happening: &Happening| happening.gone || happening.moved_in || happening.created;
            let lost = news
                .happenings
                .iter()
                .filter(|(_, happening)| replaced(happening));
            self.rebuild(Lost::These(lost.map(|(path, _)| path.clone()).collect()));
        }
        let access = news.happenings.values().any(|happening| happening.access);
        for (path, happening) in news.happenings {
            self.take_in(path, happening, now);
        }
        self.judge_created(now);
        let snapshot = self.snapshot();
        if access && let Some(path) = snapshot.access_changed(&self.known) {
            self.wake(now, Reason::Access(path), true);
        }
        if !self.polling {
            self.settle(snapshot, now);
        }
        self.poll(now);
    }

    fn take_in(&mut self, path: PathBuf, happening: Happening, now: Instant) {
        let own = self.places.is_of_definition(&path);
        // Through a link to what it leads to: a link to nowhere is nothing to read.
        let exists = std::fs::metadata(&path).is_ok();
        let linked = happening.created && snapshot::is_second_name(&path);
        self.created.retain(|(created, _)| *created != path);
        if exists && (happening.closed || happening.moved_in || linked) {
            match happening.closed || self.places.definition_is_directory {
                true => self.wake(now, Reason::Saved(path), own),
                false => self.plan.add_at_once(now, Reason::Saved(path)),
            }
        } else if happening.created && exists {
            self.created.push((path, now + self.timing.arrive));
        } else if self.plan.is_pending() && self.places.in_directory(&path) {
            // Whatever else goes on in the directory keeps it from being quiet.
            self.plan.delay(now);
        } else if happening.gone
            && !exists
            && self.places.in_directory(&path)
            && self.known.has(&path)
        {
            self.wake(now, Reason::Gone(path), true);
        }
    }

    /// A created file is read when it came by `link`: it has something in it, and nobody opened it before it had.
    fn judge_created(&mut self, now: Instant) {
        let (judged, waiting) = std::mem::take(&mut self.created)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, at)| *at <= now);
        self.created = waiting;
        for (path, _) in judged {
            let filled =
                std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() > 0);
            if filled && !self.inbox.is_being_written(&path) {
                let own = self.places.is_of_definition(&path);
                self.wake(now, Reason::Saved(path), own);
            }
        }
    }

    /// Compares what lies on the disk with what lay there at the last wake-up. A file that came with its directory
    /// was perhaps closed before that directory was watched.
    fn settle(&mut self, snapshot: Snapshot, now: Instant) {
        match snapshot.missing_since(&self.known) {
            None => self.gone_at = None,
            Some(path) => match self.gone_at {
                None => self.gone_at = Some(now + self.timing.gone),
                Some(at) if at <= now => {
                    self.gone_at = None;
                    self.wake(now, Reason::Gone(path), false);
                }
                Some(_) => {}
            },
        }
        let unfinished = |path: &Path| {
            self.inbox.is_being_written(path) || self.created.iter().any(|(new, _)| new == path)
        };
        let Some(path) = snapshot.saved_since(&self.known, unfinished) else {
            self.settling = None;
            return;
        };
        match &self.settling {
            Some((before, at)) if before.same_content(&snapshot) => {
                if *at <= now {
                    self.settling = None;
                    self.wake(now, Reason::Found(path), false);
                }
            }
            _ => self.settling = Some((snapshot, now + self.timing.settle)),
        }
    }

    /// A change found by the poll is reported when two looks agree on it: a file in the making changes between them.
    fn poll(&mut self, now: Instant) {
        if now < self.next_poll {
            return;
        }
        self.rebuild(Lost::None);
        let snapshot = self.snapshot();
        let steady = self.polled.as_ref() == Some(&snapshot);
        if steady
            && let Some(path) = snapshot.differs_from(&self.known)
            && !self.inbox.is_being_written(&path)
        {
            self.wake(now, Reason::Found(path), false);
        }
        self.polled = Some(snapshot);
        self.plan_poll(now);
    }

    fn plan_poll(&mut self, now: Instant) {
        let pause = if self.polling {
            self.timing.poll
        } else {
            self.timing.anyway
        };
        self.next_poll = now + pause;
    }

    /// Plans a wake-up; `own` when it is about the definition, which waits for quiet if it is a directory.
    fn wake(&mut self, now: Instant, reason: Reason, own: bool) {
        let for_quiet = own && self.places.definition_is_directory;
        self.plan.add(now, reason, for_quiet);
    }

    fn ready(&mut self, now: Instant) -> Option<Reason> {
        let reason = self.plan.take(now, self.writing)?;
        if self.writing {
            tracing::warn!("a file of the definition is still being written: it is read as it is");
            self.inbox.forget_writers();
        }
        // What is read from here on is watched from here on, and known.
        self.rebuild(Lost::None);
        self.known = self.snapshot();
        self.settling = None;
        self.created.clear();
        self.polled = None;
        self.gone_at = None;
        self.last_read = SystemTime::now();
        Some(reason)
    }

    /// When to look again if nothing happens.
    fn next_deadline(&self) -> Instant {
        let planned = self.plan.at(self.writing);
        let settling = self.settling.as_ref().map(|(_, at)| *at);
        let created = self.created.iter().map(|(_, at)| *at).min();
        let all = [planned, settling, created, self.gone_at];
        all.into_iter().flatten().fold(self.next_poll, Instant::min)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::at(&self.definition, &self.files)
    }

    /// Watches what must be watched now, and no more; sets the watches anew that the kernel may have dropped.
    fn rebuild(&mut self, mut lost: Lost) {
        let blind_before = self.places.blind;
        // What changes between the walk and the watch is seen by a second walk.
        for round in 0..8 {
            let wanted = Places::of(&self.definition, &self.files);
            if round > 0 && wanted == self.places {
                break;
            }
            self.inbox.expect(wanted.interest.clone());
            let result = match &mut self.events {
                Some(events) => {
                    events.set(&wanted.watched, &std::mem::replace(&mut lost, Lost::None))
                }
                None => Ok(()),
            };
            self.places = wanted;
            self.polling = self.events.is_none() || self.places.blind || result.is_err();
            let failing = result.is_err();
            if let Err(error) = result
                && !self.warned
            {
                tracing::warn!("{error}: the definition is looked at every 5 s instead");
            }
            self.warned = failing;
        }
        if self.places.blind && !blind_before {
            let definition = shown(&self.definition);
            tracing::info!(
                definition,
                "the file system reports no events: it is looked at every 5 s"
            );
        }
        if self.polling {
            self.next_poll = self.next_poll.min(Instant::now() + self.timing.poll);
        }
    }
}

#[cfg(test)]
mod tests;
