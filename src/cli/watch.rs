//! `secgroupd status --watch`: the status, drawn anew every second.

use super::options::SocketOptions;
use super::outcome::Result;
use super::print;
use super::status_page::{Counted, Rates, counted, page};
use crate::daemon::control::Request;
use crate::daemon::report::Status;
use crate::definition::printable;
use crate::host::report::Hits;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde_json::Value;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// From one page to the next.
const EVERY: Duration = Duration::from_secs(1);
/// How long the daemon may take to answer; a signal waits for that, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// The alternate screen, no cursor, and long lines cut rather than wrapped.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// Watches until it is interrupted. Where standard output is no terminal, each page follows the one before.
pub fn watch(socket: &SocketOptions, as_json: bool) -> Result {
    // An error that is there from the beginning is printed as ever.
    let mut answer: Value = socket.ask(&Request::Status, PATIENCE)?;
    let signals = Signals::new()?;
    let screen = (!as_json && std::io::stdout().is_terminal()).then(Screen::enter);
    let mut before: Option<(Instant, HashMap<Counted, u64>)> = None;
    let mut next = Instant::now() + EVERY;
    loop {
        let status: Status = serde_json::from_value(answer.clone())?;
        let now = Instant::now();
        let rates = before.as_ref().map(|(at, counts)| {
            let seconds = (now - *at).as_secs_f64();
            rates(&status.hits, counts, seconds)
        });
        let counts = status.hits.iter();
        let counts = counts.map(|hit| (counted(hit), hit.packets));
        before = Some((now, counts.collect()));
        show(&screen, as_json, &answer, status, rates.as_ref())?;
        loop {
            if signals.arrive_before(next)? {
                return Ok(ExitCode::SUCCESS);
            }
            // Not all at once after the terminal was stopped for a while.
            next = (next + EVERY).max(Instant::now());
            match socket.ask(&Request::Status, PATIENCE) {
                Ok(new) => {
                    answer = new;
                    break;
                }
                // It may be restarted, or busy with a long policy.
                Err(error) => match &screen {
                    Some(screen) => screen.draw(&format!("{error}\n")),
                    None => print::note(&error.to_string()),
                },
            }
        }
    }
}

fn show(
    screen: &Option<Screen>,
    as_json: bool,
    answer: &Value,
    mut status: Status,
    rates: Option<&Rates>,
) -> anyhow::Result<()> {
    match screen {
        _ if as_json => return print::json(answer),
        None => print::page(&page(&status, rates)),
        Some(screen) => {
            let rows = terminal_size::terminal_size().map_or(24, |(_, rows)| usize::from(rows.0));
            let whole = page(&status, rates);
            let lines = whole.lines().count();
            if lines <= rows {
                screen.draw(&whole);
                return Ok(());
            }
            // What is busy is seen; of the rest there is room for some.
            let rate = |hit: &Hits| rates.and_then(|rates| rates.get(&counted(hit))).copied();
            status.hits.sort_by(|a, b| {
                let by = |hit: &Hits| (rate(hit).unwrap_or(0.0), hit.packets as f64);
                by(b)
                    .partial_cmp(&by(a))
                    .unwrap_or(std::cmp::Ordering::Equal)
            });
            let whole = page(&status, rates);
            let shown: Vec<&str> = whole.lines().take(rows.saturating_sub(1)).collect();
            let left = lines - shown.len();
            screen.draw(&format!(
                "{}\n({left} more lines; the busiest are shown)",
                shown.join("\n")
            ));
        }
    }
    Ok(())
}

/// Packets a second since the counts of before; of what has met nothing since then, none.
fn rates(hits: &[Hits], before: &HashMap<Counted, u64>, seconds: f64) -> Rates {
    hits.iter()
        .map(|hit| {
            let before = before.get(&counted(hit)).copied().unwrap_or(0);
            // A count that was taken off with the policy begins anew.
            let met = hit.packets.checked_sub(before).unwrap_or(hit.packets);
            (counted(hit), met as f64 / seconds.max(0.001))
        })
        .collect()
}

/// A terminal that is given back as it was.
struct Screen;

impl Screen {
    fn enter() -> Self {
        print::out(ENTER);
        Screen
    }

    fn draw(&self, page: &str) {
        let lines: String = page
            .lines()
            .map(|line| format!("{}\u{1b}[K", printable(line)))
            .collect::<Vec<_>>()
            .join("\r\n");
        print::out(&format!("\u{1b}[H{lines}\u{1b}[J"));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        print::out(LEAVE);
    }
}

/// The signals that end it, taken as data: a handler would have to give the terminal back itself.
struct Signals(SignalFd);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ] {
            signals.add(signal);
        }
        signals.thread_block()?;
        Ok(Signals(SignalFd::with_flags(
            &signals,
            SfdFlags::SFD_CLOEXEC,
        )?))
    }

    /// Waits for one until then.
    fn arrive_before(&self, end: Instant) -> anyhow::Result<bool> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
            let mut waited = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut waited, PollTimeout::from(left)) {
                Ok(number) => return Ok(number > 0),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_counts_that_grow_begin_and_go_back() {
        let hit = |reason: &str, observes: bool, packets| Hits {
            reason: reason.into(),
            action: observes.then(|| "observe".into()),
            place: None,
            packets,
            bytes: 0,
            last: None,
        };
        let of = |reason: &str, observes| (reason.to_owned(), observes);
        let before = HashMap::from([(of("a", false), 10), (of("b", false), 10)]);
        let now = [
            hit("a", false, 30),
            hit("a", true, 8),
            hit("b", false, 4),
            hit("c", false, 6),
        ];
        let rates = rates(&now, &before, 2.0);
        let rate = |reason, observes| rates[&of(reason, observes)];
        assert_eq!(
            [
                rate("a", false),
                rate("a", true),
                rate("b", false),
                rate("c", false)
            ],
            [10.0, 4.0, 2.0, 3.0]
        );
    }
}
