//! Rules whose time has come are taken out of the enforced policy.

use super::event::Action;
use super::state_line::sentence;
use super::{Doing, Machine};
use crate::host::ending::EndedRules;
use crate::host::report::Failure;
use std::time::{Duration, Instant};
use tracing::Level;

/// How often the time is looked at while a rule has an end: the clock may be set, and the timer of a machine that sleeps
/// stands still.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);
/// What has failed is not tried again at once.
const AGAIN: Duration = Duration::from_secs(1);
/// How many rules a line of the log names.
const NAMED: usize = 10;

impl Machine {
    /// When rules are looked at, if this time is left until the next one ends.
    pub(super) fn ends_after(&self, left: Duration, now: Instant) -> Instant {
        match left.is_zero() && self.ending_failed.has_failed() {
            true => now + AGAIN,
            false => now + left.min(LOOK_AT_CLOCK),
        }
    }

    /// Looks for rules whose time has come, once it is time.
    pub(super) fn end_rules_if_due(&mut self, now: Instant) -> Option<Action> {
        self.ends_at.take_if(|at| *at <= now)?;
        self.doing = Doing::EndRules;
        Some(Action::EndRules)
    }

    /// Rules were taken out, or there were none.
    pub(super) fn rules_ended(
        &mut self,
        result: Result<Option<EndedRules>, Failure>,
    ) -> Vec<Action> {
        self.doing = Doing::Nothing;
        let failed = self.ending_failed.has_failed();
        let failure = result.as_ref().err();
        let is_news = self.ending_failed.note(failure, &mut self.last_error);
        match result {
            Ok(None) if !failed => Vec::new(),
            Ok(None) => vec![Action::Survey { always: true }],
            Ok(Some(ended)) => {
                let line = format!("{} ({})", sentence(&ended.summary), words(&ended));
                vec![
                    Action::KeepSocket,
                    Action::FollowTable,
                    Action::Log(Level::INFO, line),
                    Action::Save,
                    Action::Survey { always: true },
                ]
            }
            Err(failure) => {
                let mut actions = Vec::new();
                if is_news {
                    self.counters.failures += 1;
                    let text = format!("rules have ended and still hold: {}", failure.text);
                    actions.push(Action::Log(Level::ERROR, text));
                }
                // A refused change has set the record of what is in force aside.
                actions.extend([Action::Save, Action::Survey { always: true }]);
                actions
            }
        }
    }
}

/// `ended: sg-web/in/3, sg-web/in/4`
fn words(ended: &EndedRules) -> String {
    let named: Vec<String> = ended
        .rules
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    let more = match ended.rules.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("ended: {}{more}", named.join(", "))
}
