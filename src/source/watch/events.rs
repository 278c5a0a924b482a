//! The kernel's file events, by way of the `notify` crate, which nothing else here knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::inbox::{Inbox, Kind};
use super::place::Identity;
use crate::source::shown::shown;

/// The watches that are set, and the thread that puts their events into the inbox.
pub(super) struct Events {
    watcher: RecommendedWatcher,
    set: BTreeMap<PathBuf, Identity>,
}

impl Events {
    /// Starts the thread.
    pub fn into(inbox: Arc<Inbox>) -> Result<Events, String> {
        let watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
                Ok(event) if event.need_rescan() => inbox.overflow(),
                Ok(event) => {
                    if let (Some(kind), Some(path)) = (kind(&event.kind), event.paths.first()) {
                        inbox.put(path, kind);
                    }
                }
                Err(_) => inbox.overflow(),
            });
        let set = BTreeMap::new();
        match watcher {
            Ok(watcher) => Ok(Events { watcher, set }),
            Err(error) => Err(why(&error)),
        }
    }

    /// Watches what is `wanted` and nothing else, and sets the `lost` ones anew. What is missing is left out; what
    /// cannot be watched is an error, and tried again the next time.
    pub fn set(&mut self, wanted: &BTreeMap<PathBuf, Identity>, lost: &Lost) -> Result<(), String> {
        let Events { watcher, set } = self;
        // All are taken off before any is put on: one thing under two names has one watch.
        set.retain(|path, identity| {
            let stays = wanted.get(path) == Some(identity) && !lost.has(path);
            if !stays {
                // Fails when the kernel has dropped it with what it was set on.
                let _ = watcher.unwatch(path);
            }
            stays
        });
        let mut result = Ok(());
        for (path, identity) in wanted {
            if set.contains_key(path) {
                continue;
            }
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    set.insert(path.clone(), *identity);
                }
                Err(error) if is_missing(&error) => {}
                Err(error) => {
                    result = Err(format!("cannot watch {} ({})", shown(path), why(&error)))
                }
            }
        }
        result
    }
}

/// Watches that the kernel may have dropped.
pub(super) enum Lost {
    None,
    These(BTreeSet<PathBuf>),
    All,
}

impl Lost {
    fn has(&self, path: &Path) -> bool {
        match self {
            Lost::None => false,
            Lost::These(paths) => paths.contains(path),
            Lost::All => true,
        }
    }
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn why(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the limit fs.inotify.max_user_watches is reached".to_owned()
        }
        notify::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

fn kind(event: &EventKind) -> Option<Kind> {
    match event {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Kind::Closed),
        EventKind::Access(AccessKind::Open(_)) => Some(Kind::Opened),
        EventKind::Create(_) => Some(Kind::Created),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Kind::Modified),
        EventKind::Modify(ModifyKind::Metadata(_)) => Some(Kind::Access),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Kind::MovedIn),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => {
            Some(Kind::Gone)
        }
        // Both ends of a rename together: each has been told already.
        _ => None,
    }
}
