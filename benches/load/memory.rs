//! What a load takes of memory: the kernel's, and that of the programs that load.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A program's peak is read so often: a child that has ended can no longer be asked.
const OFTEN: Duration = Duration::from_millis(1);

/// What the kernel holds and cannot give back, in bytes: what it allots to sets, maps, chains and rules is among it.
pub fn kernel() -> i64 {
    // What is freed is freed a little later.
    thread::sleep(Duration::from_millis(60));
    let text = fs::read_to_string("/proc/meminfo").expect("the kernel's memory");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse::<i64>().ok())
            .expect("a number of kilobytes")
    };
    ["SUnreclaim:", "VmallocUsed:", "Percpu:"]
        .map(field)
        .iter()
        .sum::<i64>()
        * 1024
}

/// A field of `/proc/PID/status`, in bytes: `VmRSS`, `VmHWM`.
pub fn of_process(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let number = line.trim_start_matches(':').split_whitespace().next()?;
    Some(number.parse::<u64>().ok()? * 1024)
}

/// The programs below a process, watched until [`Watch::peak`].
///
/// `getrusage` would be simpler, and wrong: what it says of a program includes its parent's memory at the fork.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    /// Watches whatever this process starts, and what that starts.
    pub fn below(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                let own = name(pid);
                for child in descendants(pid) {
                    // Until it has become another program, its memory is its parent's.
                    if name(child) != own {
                        peak = peak.max(of_process(child, "VmHWM").unwrap_or(0));
                    }
                }
                thread::sleep(OFTEN);
            }
            peak
        });
        Watch { stop, thread }
    }

    /// The most that one of them had resident.
    pub fn peak(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watching thread")
    }
}

fn name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok()
}

fn descendants(pid: u32) -> HashSet<u32> {
    let mut found = HashSet::new();
    let mut open = vec![pid];
    while let Some(pid) = open.pop() {
        // A thread's children are listed with the thread.
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
        for thread in threads.flatten().flatten() {
            let list = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = list.split_whitespace().filter_map(|pid| pid.parse().ok());
            open.extend(children.filter(|child| found.insert(*child)));
        }
    }
    found
}
