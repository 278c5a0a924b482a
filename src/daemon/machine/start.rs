//! The start: what was saved holds before the definition is read.

use super::event::Action;
use super::{Doing, Machine};
use crate::host::resume::Resumed;
use std::time::Instant;
use tracing::Level;

impl Machine {
    pub(super) fn start(&mut self, held: bool) -> Vec<Action> {
        // That it may have been saved is logged with it.
        (self.held, self.missed) = (held, held);
        self.doing = Doing::Start;
        let closes = self.closes;
        vec![Action::KeepSocket, Action::Resume { closes }]
    }

    pub(super) fn resumed(
        &mut self,
        result: &Result<Resumed, String>,
        now: Instant,
    ) -> Vec<Action> {
        if self.doing == Doing::CloseAgain {
            return self.after_trial(now);
        }
        let mut actions = Vec::new();
        if *result != Ok(Resumed::Nothing) {
            actions.extend([Action::KeepSocket, Action::FollowTable]);
        }
        let watching = format!("watching {}", self.definition.display());
        actions.push(Action::Log(Level::INFO, watching));
        if self.held {
            let held =
                "as asked before this start, the definition is not read until `secgroupd reload`";
            actions.push(Action::Log(Level::WARN, held.into()));
        }
        let enforces = matches!(result, Ok(Resumed::Later(_))) || self.facts.enforced.is_some();
        // Not the definition of before, nor half of a new one; but better that than none.
        if enforces && self.is_held(now) {
            actions.extend(self.hold_back("start"));
            actions.extend([Action::Survey { always: true }, Action::Recollect]);
        } else {
            actions.push(Action::read_watched());
        }
        actions
    }

    /// The saved policy's definition was read, if it still counts.
    ///
    /// The service is ready also where the definition is refused and the old policy stands: what is ordered after it
    /// waits for a host that is protected, and not for a good definition. A start that failed would be tried again and
    /// again, and could do nothing better; that the definition is refused shows as DEGRADED. A host that nothing
    /// protects is not ready.
    pub(super) fn started(&mut self) -> Vec<Action> {
        self.doing = Doing::Nothing;
        let enforces = self.facts.enforced.is_some();
        let ready = if enforces { self.ready() } else { None };
        ready.into_iter().chain([Action::Save]).collect()
    }

    /// Once.
    pub(super) fn ready(&mut self) -> Option<Action> {
        (!std::mem::replace(&mut self.is_ready, true)).then_some(Action::Ready)
    }
}
