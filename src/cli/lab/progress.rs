//! How far it is, on a terminal.

use std::io::{IsTerminal, Write};

/// A bar on standard error, if that is a terminal; gone when this is dropped.
pub struct Progress {
    shown: bool,
    terminal: bool,
}

/// How many signs the bar is wide.
const WIDTH: usize = 30;

impl Progress {
    pub fn new() -> Self {
        Progress {
            shown: false,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// So many of so many.
    pub fn show(&mut self, done: usize, total: usize) {
        if !self.terminal {
            return;
        }
        self.shown = true;
        let full = done * WIDTH / total.max(1);
        let bar = "=".repeat(full) + &" ".repeat(WIDTH - full.min(WIDTH));
        let _ = write!(std::io::stderr(), "\r[{bar}] {done} of {total} cells ");
    }
}

impl Progress {
    /// Takes away what another thread shows, at the end of all.
    pub fn clear() {
        if std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            Progress::clear();
        }
    }
}
