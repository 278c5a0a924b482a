//! The kernel's file events, inotify(7), which nothing else here knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags as Mask, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::inbox::{Inbox, Kind};
use super::place::Watched;
use crate::daemon::route::shown;

/// What is told of a directory on the way to others: a watched `/etc` would tell of every program that starts.
const NAMES: Mask = Mask::IN_CREATE
    .union(Mask::IN_DELETE)
    .union(Mask::IN_MOVED_FROM)
    .union(Mask::IN_MOVED_TO)
    .union(Mask::IN_ATTRIB)
    .union(Mask::IN_DELETE_SELF)
    .union(Mask::IN_MOVE_SELF);
/// What is told of a file, and of a directory in which one is looked up.
const FILES: Mask = NAMES
    .union(Mask::IN_OPEN)
    .union(Mask::IN_MODIFY)
    .union(Mask::IN_CLOSE_WRITE);

/// The kernel's word for each kind.
const KINDS: [(Mask, Kind); 10] = [
    (Mask::IN_MOVED_FROM, Kind::Gone),
    (Mask::IN_MOVED_TO, Kind::MovedIn),
    (Mask::IN_MOVE_SELF, Kind::Gone),
    (Mask::IN_CREATE, Kind::Created),
    (Mask::IN_DELETE, Kind::Gone),
    (Mask::IN_DELETE_SELF, Kind::Gone),
    (Mask::IN_MODIFY, Kind::Modified),
    (Mask::IN_CLOSE_WRITE, Kind::Closed),
    (Mask::IN_ATTRIB, Kind::Access),
    (Mask::IN_OPEN, Kind::Opened),
];

#[derive(Debug)]
struct Queue(Inotify);

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// The watches that are set, and the queue of their events.
#[derive(Debug)]
pub(super) struct Events {
    queue: AsyncFd<Queue>,
    set: BTreeMap<PathBuf, (Watched, WatchDescriptor)>,
    /// What each watch is set on.
    paths: HashMap<WatchDescriptor, PathBuf>,
}

impl Events {
    /// Without a watch; within the runtime.
    pub fn new() -> Result<Events, String> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let queue = Inotify::init(flags).map_err(|error| match error {
            Errno::EMFILE => "the limit fs.inotify.max_user_instances is reached".to_owned(),
            error => error.desc().to_owned(),
        })?;
        // SAFETY: the descriptor is the queue's own from its making to its drop, which waits for this.
        #[allow(unsafe_code)]
        let queue = unsafe { AsyncFd::register_with_interest(Queue(queue), Interest::READABLE) };
        Ok(Events {
            queue: queue.map_err(|error| std::io::Error::from(error).to_string())?,
            set: BTreeMap::new(),
            paths: HashMap::new(),
        })
    }

    /// Watches what is `wanted` and nothing else, and sets the `lost` ones anew. What is missing is left out; what
    /// cannot be watched is an error, and tried again the next time.
    pub fn set(&mut self, wanted: &BTreeMap<PathBuf, Watched>, lost: &Lost) -> Result<(), String> {
        let Events { queue, set, paths } = self;
        let queue = &queue.get_ref().0;
        // All are taken off before any is put on: one thing under two names has one watch.
        set.retain(|path, (watched, descriptor)| {
            let stays = wanted.get(path) == Some(watched) && !lost.has(path);
            if !stays {
                paths.remove(descriptor);
                // Fails when the kernel has dropped it with what it was set on.
                let _ = queue.rm_watch(*descriptor);
            }
            stays
        });
        let mut result = Ok(());
        for (path, watched) in wanted {
            if set.contains_key(path) {
                continue;
            }
            let mask = if watched.files { FILES } else { NAMES };
            match queue.add_watch(path, mask) {
                Ok(descriptor) => {
                    paths.insert(descriptor, path.clone());
                    set.insert(path.clone(), (*watched, descriptor));
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(error) => {
                    result = Err(format!("cannot watch {} ({})", shown(path), why(error)))
                }
            }
        }
        result
    }

    /// Waits until there are events, and puts them into the inbox. Nothing is lost when the future is dropped before it is ready.
    pub async fn wait(&mut self, inbox: &mut Inbox) {
        let Events { queue, paths, .. } = self;
        match queue.readable().await {
            Ok(mut ready) => {
                read(&ready.get_inner().0, paths, inbox);
                ready.clear_ready();
            }
            // The runtime ends.
            Err(_) => std::future::pending().await,
        }
    }

    /// Puts the events that are there into the inbox.
    pub fn take(&mut self, inbox: &mut Inbox) {
        read(&self.queue.get_ref().0, &mut self.paths, inbox);
    }
}

fn read(queue: &Inotify, paths: &mut HashMap<WatchDescriptor, PathBuf>, inbox: &mut Inbox) {
    loop {
        match queue.read_events() {
            Ok(events) => events.iter().for_each(|event| put(event, paths, inbox)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return,
            Err(_) => return inbox.overflow(),
        }
    }
}

fn put(event: &InotifyEvent, paths: &mut HashMap<WatchDescriptor, PathBuf>, inbox: &mut Inbox) {
    if event.mask.contains(Mask::IN_Q_OVERFLOW) {
        return inbox.overflow();
    }
    // Of a watch that was taken off there may be more.
    let Some(on) = paths.get(&event.wd) else {
        return;
    };
    if event.mask.contains(Mask::IN_IGNORED) {
        // The kernel has dropped it: what it was set on has gone, or its file system.
        inbox.put(on, Kind::Gone);
        paths.remove(&event.wd);
        return;
    }
    let path = match &event.name {
        Some(name) => &on.join(name),
        None => on,
    };
    let told = KINDS.iter().filter(|(mask, _)| event.mask.contains(*mask));
    told.for_each(|(_, kind)| inbox.put(path, *kind));
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

fn why(error: Errno) -> &'static str {
    match error {
        Errno::ENOSPC => "the limit fs.inotify.max_user_watches is reached",
        error => error.desc(),
    }
}
