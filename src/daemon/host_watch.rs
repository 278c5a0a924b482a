//! What a verdict asks of this host beside the definition, and can change by itself: the host's name, which chooses the
//! instance, and the range of local ports.

use crate::host::{ephemeral_ports, hostname};
use crate::policy::Interval;
use std::fs::File;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval as Timer, MissedTickBehavior, interval};

/// The kernel's file of the name. Polling it reports each change (`proc_sys_poll` of the kernel's `fs/proc/proc_sysctl.c`).
const NAME: &str = "/proc/sys/kernel/hostname";
/// How often the range is looked at, which reports nothing; the name as well, where its file cannot be polled.
const EVERY: Duration = Duration::from_secs(5);

/// Notices changes.
#[derive(Debug)]
pub struct HostWatch {
    name: String,
    ports: Option<Interval<u16>>,
    /// `None` where the name is only looked at now and then.
    file: Option<AsyncFd<File>>,
    timer: Timer,
}

impl HostWatch {
    /// From now on. Must be called within a tokio runtime with time, before the definition is read.
    pub fn new() -> Self {
        let mut timer = interval(EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let polled = |file: File| {
            // SAFETY: a `File` owns its descriptor, and the one descriptor lives as long as the `File`.
            #[allow(unsafe_code)]
            let registered = unsafe { AsyncFd::register_with_interest(file, INTEREST) };
            registered.map_err(std::io::Error::from)
        };
        HostWatch {
            file: File::open(NAME).and_then(polled).ok(),
            name: hostname(),
            ports: ephemeral_ports(),
            timer,
        }
    }

    /// Waits for a change, and returns it in words. Nothing is lost when the future is dropped before it is ready.
    pub async fn changed(&mut self) -> String {
        loop {
            tokio::select! {
                _ = self.timer.tick() => {}
                () = noticed(&mut self.file) => {}
            }
            let name = hostname();
            if name != self.name {
                let words = format!("this host is named {name} now, no longer {}", self.name);
                self.name = name;
                return words;
            }
            let ports = ephemeral_ports();
            if ports != self.ports {
                self.ports = ports;
                return "the range of local ports has changed".to_owned();
            }
        }
    }
}

impl Default for HostWatch {
    fn default() -> Self {
        Self::new()
    }
}

const INTEREST: Interest = Interest::PRIORITY;

/// Waits until the kernel reports a change of the name.
async fn noticed(file: &mut Option<AsyncFd<File>>) {
    let Some(polled) = file else {
        return std::future::pending().await;
    };
    match polled.ready(INTEREST).await {
        Ok(mut guard) => guard.clear_ready(),
        Err(_) => *file = None,
    }
}
