//! The line that `systemctl status` shows.

use super::Machine;
use super::event::{Action, Facts};
use crate::definition::printable;
use crate::host::report::Summary;
use crate::netfilter::interfaces::Doubt;
use crate::words::{count, one_line};
use tracing::Level;

/// The longest line, in bytes: a datagram has its limits.
const LONGEST: usize = 8000;

impl Machine {
    /// Logs what is new.
    pub(super) fn surveyed(&mut self, doubts: Vec<Doubt>, always: bool) -> Vec<Action> {
        let before = std::mem::replace(&mut self.doubts, doubts);
        let new = self.doubts.iter().filter(|each| !before.contains(each));
        let gone = before.iter().filter(|each| !self.doubts.contains(each));
        let new = new.map(|doubt| Action::Log(Level::WARN, doubt.text.clone()));
        let gone = gone.map(|doubt| {
            let text = format!("no longer so: {}", doubt.text);
            Action::Log(Level::INFO, text)
        });
        let mut actions: Vec<Action> = new.chain(gone).collect();
        if always || before != self.doubts {
            actions.push(Action::Publish(self.state_line()));
        }
        actions
    }

    fn state_line(&self) -> String {
        let degrading = self.doubts.iter().filter(|doubt| doubt.degrades);
        let mut warnings: Vec<String> = degrading.map(|doubt| doubt.text.clone()).collect();
        let not_saved = self.not_saved.as_ref();
        warnings.extend(
            not_saved.map(|why| format!("the policy is not kept for the next start: {why}")),
        );
        let state = match (&self.facts.enforced, &self.last_error) {
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
                still(&self.facts)
            ),
            (None, None) => {
                "no policy: it was removed; `secgroupd reload` enforces the definition again"
                    .to_owned()
            }
        };
        // A line of it would be a message of its own, and `systemctl status` shows it as it is.
        let mut state = printable(&one_line(&state));
        let mut ends = (0..=state.len().min(LONGEST)).rev();
        let end = ends.find(|at| state.is_char_boundary(*at));
        state.truncate(end.unwrap_or(0));
        state
    }
}

/// What holds after a definition was refused.
pub fn still(facts: &Facts) -> String {
    match (&facts.enforced, facts.inherited) {
        (Some(summary), _) => format!("generation {} stays enforced", summary.generation),
        (None, Some(generation)) => {
            format!("generation {generation} of an earlier daemon stays enforced")
        }
        (None, None) if facts.closed => {
            "this host is closed: it refuses new inbound flows until a policy is enforced"
                .to_owned()
        }
        (None, None) => match &facts.unseen {
            Some(why) => format!("whether anything is enforced is not known: {why}"),
            None => "nothing is enforced".to_owned(),
        },
    }
}

/// `generation 3 enforced for ins-web1 in 17 ms: 2 interfaces, 41 inbound and 3 outbound rules`.
pub fn sentence(summary: &Summary) -> String {
    let [inbound, outbound] = summary.rules;
    format!(
        "generation {} enforced for {} in {:.0} ms: {}, {inbound} inbound and {}",
        summary.generation,
        summary.instance,
        summary.switched_after_ms,
        count(summary.interfaces.len(), "interface"),
        count(outbound, "outbound rule"),
    )
}
