//! What the event thread leaves for the daemon: a small, bounded summary, whatever the number of events.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::source::read::is_definition_name;

/// An event, in the words of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A writer closed it.
    Closed,
    /// It was opened, by whomever.
    Opened,
    /// The name came to be: by `open`, `mkdir`, `link` or `symlink`.
    Created,
    /// Its bytes changed.
    Modified,
    /// Its owner, permissions or link count changed.
    Access,
    /// The name came by rename.
    MovedIn,
    /// The name, or what a watch was set on, went away.
    Gone,
}

/// What has happened to one path since it was last asked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Happening {
    pub closed: bool,
    pub created: bool,
    pub moved_in: bool,
    pub gone: bool,
    pub access: bool,
}

/// The names whose events matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interest {
    /// Names looked up on the way, with whether it is the way to the definition.
    pub names: BTreeMap<PathBuf, bool>,
    /// The definition, when it is a directory: all definition files in it.
    pub directory: Option<PathBuf>,
    /// What watches are set on.
    pub watched: BTreeSet<PathBuf>,
}

impl Interest {
    pub fn in_directory(&self, path: &Path) -> bool {
        self.directory.is_some()
            && path.parent() == self.directory.as_deref()
            && path.file_name().is_some_and(is_definition_name)
    }

    fn holds(&self, path: &Path) -> bool {
        self.names.contains_key(path) || self.watched.contains(path) || self.in_directory(path)
    }
}

/// All that has happened since it was last asked.
#[derive(Debug, Default)]
pub(super) struct News {
    pub happenings: HashMap<PathBuf, Happening>,
    pub overflow: bool,
    /// Whether somebody was writing one of the files when this was asked.
    pub writing: bool,
}

#[derive(Debug, Default)]
struct Inner {
    interest: Interest,
    news: News,
    /// Created and not yet opened or closed.
    fresh: HashSet<PathBuf>,
    /// Being written: its bytes changed, or it was opened as it was created, and nobody has closed it since.
    writers: HashSet<PathBuf>,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    wake: tokio::sync::Notify,
}

impl Inbox {
    /// Sets which names matter from now on.
    pub fn expect(&self, interest: Interest) {
        let inner = &mut *self.inner.lock();
        inner.writers.retain(|path| interest.holds(path));
        inner.fresh.retain(|path| interest.holds(path));
        inner.interest = interest;
    }

    /// Takes in an event. Most are nobody's business here: a watched `/etc` sees every program that starts.
    pub fn put(&self, path: &Path, kind: Kind) {
        let inner = &mut *self.inner.lock();
        if !inner.interest.holds(path) {
            return;
        }
        match kind {
            Kind::Opened => {
                // `open` with O_CREAT creates, then opens; `link` only creates.
                if inner.fresh.remove(path) {
                    inner.writers.insert(path.to_owned());
                }
                return;
            }
            Kind::Modified => {
                inner.writers.insert(path.to_owned());
                return;
            }
            Kind::Created => {
                inner.fresh.insert(path.to_owned());
                inner.writers.remove(path);
            }
            Kind::Closed | Kind::MovedIn | Kind::Gone => {
                inner.fresh.remove(path);
                inner.writers.remove(path);
            }
            Kind::Access => {}
        }
        let happening = inner.news.happenings.entry(path.to_owned()).or_default();
        match kind {
            Kind::Closed => happening.closed = true,
            Kind::Created => happening.created = true,
            Kind::MovedIn => happening.moved_in = true,
            Kind::Gone => happening.gone = true,
            Kind::Access => happening.access = true,
            Kind::Opened | Kind::Modified => {}
        }
        self.wake.notify_one();
    }

    /// Takes in that events were lost.
    pub fn overflow(&self) {
        let inner = &mut *self.inner.lock();
        inner.news.overflow = true;
        // Who closed what is not known any more.
        inner.writers.clear();
        inner.fresh.clear();
        self.wake.notify_one();
    }

    /// Takes out what has happened.
    pub fn take(&self) -> News {
        let inner = &mut *self.inner.lock();
        let writing = !inner.writers.is_empty();
        News {
            writing,
            ..std::mem::take(&mut inner.news)
        }
    }

    /// Waits until something has happened; at once when something has that was not waited for.
    pub async fn wait(&self) {
        self.wake.notified().await;
    }

    pub fn is_being_written(&self, path: &Path) -> bool {
        self.inner.lock().writers.contains(path)
    }

    pub fn has_writers(&self) -> bool {
        !self.inner.lock().writers.is_empty()
    }

    pub fn has_news(&self) -> bool {
        let news = &self.inner.lock().news;
        let is_saved = |happening: &Happening| happening.closed || happening.moved_in;
        news.overflow || news.happenings.values().any(is_saved)
    }

    pub fn forget_writers(&self) {
        self.inner.lock().writers.clear();
    }
}
