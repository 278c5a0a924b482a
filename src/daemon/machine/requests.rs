//! What the command asks for, on the control socket.

use super::event::Action;
use super::{Doing, Machine};
use crate::daemon::control::{Request, Response};
use crate::host::Attempt;
use crate::host::report::{Failure, Summary};
use crate::host::trial::on_trial_already;
use serde_json::{Value, json};
use tracing::Level;

impl Action {
    /// Answers with what became of a definition.
    pub(super) fn answer_with(result: Result<Summary, Failure>) -> Action {
        Action::Answer(match result {
            Ok(summary) => Response::Ok {
                payload: serde_json::to_value(summary).unwrap_or_default(),
            },
            Err(failure) => Response::Refused {
                message: failure.message.clone(),
                details: serde_json::to_value(failure).unwrap_or_default(),
            },
        })
    }

    fn error(message: String) -> Action {
        Action::Answer(Response::Error { message })
    }
}

impl Machine {
    pub(super) fn asked(&mut self, request: Request) -> Vec<Action> {
        match request {
            Request::Reload { force } => {
                let attempt = match force {
                    true => Attempt::Forced,
                    false => Attempt::Plain,
                };
                self.reload("asked to", attempt, true)
            }
            Request::Hold => vec![Action::WriteHold],
            Request::Apply {
                path,
                texts,
                instance,
                confirm,
            } => {
                // It is no fault of what is enforced that another was asked for.
                if let (Some(trial), Some(_)) = (&self.facts.trial, confirm) {
                    let refused = on_trial_already(&trial.candidate);
                    return vec![Action::answer_with(Err(refused))];
                }
                let candidate = Some(texts);
                self.doing = Doing::Apply {
                    path,
                    instance,
                    confirm,
                };
                let settles = false;
                let read = Action::Read { candidate, settles };
                // What would come back must be on the disk.
                let finish = confirm.map(|_| Action::FinishSaves);
                finish.into_iter().chain([read]).collect()
            }
            Request::Confirm { content } => {
                self.doing = Doing::Confirm;
                vec![Action::FinishSaves, Action::Confirm(content)]
            }
            Request::Remove => {
                self.doing = Doing::Remove;
                // What is being written would be back on the disk after it.
                vec![Action::FinishSaves, Action::Remove]
            }
            // What changes nothing is answered without a decision.
            Request::Status | Request::Events { .. } | Request::Announce { .. } => Vec::new(),
        }
    }

    pub(super) fn hold_written(&mut self, result: Result<(), String>) -> Vec<Action> {
        if let Err(message) = result {
            return vec![Action::error(message)];
        }
        self.held = true;
        let text = "as asked, saves of the definition are not followed until `secgroupd reload`";
        let payload = json!({ "held": true });
        vec![
            Action::Log(Level::WARN, text.into()),
            Action::Answer(Response::Ok { payload }),
        ]
    }

    /// The candidate is the policy for good, and the definition holds it by now.
    pub(super) fn confirmed(&mut self, result: Result<(), String>) -> Vec<Action> {
        if let Err(message) = result {
            self.doing = Doing::Nothing;
            let details = Value::Null;
            return vec![Action::Answer(Response::Refused { message, details })];
        }
        let mut actions = vec![Action::Log(
            Level::INFO,
            "the candidate was confirmed".into(),
        )];
        actions.extend(self.let_go());
        actions.push(Action::read_watched());
        actions
    }

    pub(super) fn removed(&mut self, result: Result<bool, String>) -> Vec<Action> {
        self.doing = Doing::Nothing;
        let removed = match result {
            Ok(removed) => removed,
            Err(message) => return vec![Action::error(message)],
        };
        (self.last_error, self.missed, self.removed) = (None, false, true);
        let text = "the policy was taken off this host on request; the next save or `secgroupd reload` enforces it again";
        let payload = json!({ "removed": removed });
        vec![
            Action::Log(Level::WARN, text.into()),
            Action::Survey { always: true },
            Action::Answer(Response::Ok { payload }),
        ]
    }
}
