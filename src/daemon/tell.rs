//! What the daemon tells the service manager, and with it whoever asks `systemctl status`.

use super::run::Daemon;
use crate::definition::printable;
use crate::host::Host;
use crate::host::report::Summary;
use crate::words::count;
use sd_notify::NotifyState;
use tracing::{info, warn};

/// The longest line for `systemctl status`, in bytes: a datagram has its limits.
const LONGEST_STATE: usize = 8000;

impl Daemon {
    /// Tells the service manager, once, that a policy is enforced.
    pub(super) fn tell_ready(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            notify(&[NotifyState::Ready]);
        }
    }

    /// Interfaces or default routes have changed.
    pub(super) fn follow_links(&mut self) {
        if self.doubts_changed() {
            self.tell_state();
        }
    }

    /// Looks at the interfaces, and says what is new about them.
    fn doubts_changed(&mut self) -> bool {
        let warnings = self.host().interface_warnings();
        let before = std::mem::replace(&mut self.warnings, warnings);
        let new = |warning: &&String| !before.contains(warning);
        let gone = |warning: &&String| !self.warnings.contains(warning);
        (self.warnings.iter().filter(new)).for_each(|warning| warn!("{warning}"));
        (before.iter().filter(gone)).for_each(|warning| info!("no longer so: {warning}"));
        before != self.warnings
    }

    /// Whoever follows refusals follows those of what is enforced.
    pub(super) fn tell_refusals(&self) {
        let host = self.host();
        let (generation, policy) = host.enforced_policy();
        self.refusals.follow(generation, policy);
    }

    /// One line for `systemctl status`.
    pub(super) fn tell_state(&mut self) {
        self.doubts_changed();
        self.tell_refusals();
        let (host, warnings) = (self.host(), &self.warnings);
        let state = match (host.enforced(), &self.last_error) {
            (Some(summary), None) if warnings.is_empty() => sentence(summary),
            (Some(summary), None) => {
                format!("DEGRADED: {}; {}", warnings.join("; "), sentence(summary))
            }
            (Some(summary), Some(failure)) => format!(
                "DEGRADED: {}; generation {} stays enforced",
                failure.headline(),
                summary.generation
            ),
            (None, Some(failure)) => format!(
                "waiting for a valid definition: {}; {}",
                failure.headline(),
                still(&host)
            ),
            (None, None) => {
                "no policy: it was removed; `secgroupd reload` enforces the definition again"
                    .to_owned()
            }
        };
        // A line of it would be a message of its own, and `systemctl status` shows it as it is.
        let state = printable(&state.replace('\n', " "));
        let end = (0..=state.len().min(LONGEST_STATE))
            .rev()
            .find(|at| state.is_char_boundary(*at));
        notify(&[NotifyState::Status(&state[..end.unwrap_or(0)])]);
    }
}

/// What holds after a definition was refused.
pub(super) fn still(host: &Host) -> String {
    match (host.enforced(), host.inherited()) {
        (Some(summary), _) => format!("generation {} stays enforced", summary.generation),
        (None, Some(generation)) => {
            format!("generation {generation} of an earlier daemon stays enforced")
        }
        (None, None) if host.is_closed() => {
            "this host is closed: it refuses new inbound flows until a policy is enforced"
                .to_owned()
        }
        (None, None) => "nothing is enforced".to_owned(),
    }
}

/// `generation 3 enforced for ins-web1 in 17 ms: 2 interfaces, 41 inbound and 3 outbound rules`.
pub fn sentence(summary: &Summary) -> String {
    let [inbound, outbound] = summary.rules;
    format!(
        "generation {} enforced for {} in {:.0} ms: {}, {inbound} inbound and {} ",
        summary.generation,
        summary.instance,
        summary.switched_after_ms,
        count(summary.interfaces.len(), "interface"),
        count(outbound, "outbound rule"),
    )
    .trim_end()
    .to_owned()
}

/// Tells the service manager; without one there is nobody to tell.
pub(super) fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot tell the service manager: {error}");
    }
}
