//! What goes to the service manager and to the log.

use sd_notify::NotifyState;
use tracing::{Level, debug, error, info, warn};

/// Sends states to the service manager; without one nobody is there to receive them.
pub fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot reach the service manager: {error}");
    }
}

/// Logs a line at a level that is known when it is logged.
pub fn log(level: Level, text: &str) {
    match level {
        Level::ERROR => error!("{text}"),
        Level::WARN => warn!("{text}"),
        Level::INFO => info!("{text}"),
        _ => debug!("{text}"),
    }
}
