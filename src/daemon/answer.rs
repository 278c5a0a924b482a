//! What the daemon does and says when it is asked on the control socket.

use super::control::{Call, Request, Response};
use super::metrics::page::Page;
use super::report::Status;
use super::run::{Daemon, read};
use crate::host::Attempt;
use crate::host::report::{Failure, Summary};
use crate::netfilter::tracked::tracked_flows;
use crate::netfilter::{blind, links};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tracing::{info, warn};

impl Daemon {
    pub(super) async fn answer(&mut self, call: Call) {
        let response = match call.request.clone() {
            Request::Status => Response::Ok {
                payload: self.status(),
            },
            Request::Events { after } => Response::Ok {
                payload: serde_json::to_value(self.refusals.after(after)).unwrap_or_default(),
            },
            Request::Reload { force } => {
                let attempt = match force {
                    true => Attempt::Forced,
                    false => Attempt::Plain,
                };
                respond(self.reload("asked to", attempt).await)
            }
            Request::Hold => match self.hold() {
                Ok(()) => Response::Ok {
                    payload: json!({ "held": true }),
                },
                Err(message) => Response::Error { message },
            },
            Request::Apply {
                path,
                instance,
                confirm,
            } => respond(self.apply(path, instance, confirm).await),
            Request::Confirm { content } => self.confirm(&content).await,
            Request::Remove => self.remove().await,
        };
        call.answer(response);
    }

    async fn apply(
        &mut self,
        path: PathBuf,
        instance: Option<String>,
        confirm: Option<u32>,
    ) -> Result<Summary, Failure> {
        let attempt = match confirm {
            Some(seconds) => Attempt::Trial(Duration::from_secs(seconds.into())),
            None => Attempt::Plain,
        };
        if confirm.is_some() {
            // What would come back must be on the disk.
            self.saver.finish(&self.host).await;
        }
        let watched = path == self.options.definition;
        let loaded = read(path.clone()).await;
        let (loaded, result) = self
            .enforce(loaded, path, instance, "asked to", attempt)
            .await;
        if let (Some(loaded), true) = (loaded, watched) {
            self.watch.set_files(&loaded.template_files);
        }
        if let (Some(seconds), true) = (confirm, result.is_ok()) {
            warn!(
                "it is on trial: unless it is confirmed within {seconds} s, the policy of before comes back"
            );
        }
        result
    }

    /// The candidate is the policy for good, and the definition holds it by now.
    async fn confirm(&mut self, content: &str) -> Response {
        self.saver.finish(&self.host).await;
        if let Err(message) = self.host().confirm(content) {
            return Response::Refused {
                message,
                details: Value::Null,
            };
        }
        info!("the candidate was confirmed");
        self.time_trial();
        self.let_go();
        let loaded = read(self.options.definition.clone()).await;
        respond(
            self.enforce_watched(loaded, "confirmed", Attempt::Plain)
                .await,
        )
    }

    async fn remove(&mut self) -> Response {
        // What is being written would be back on the disk after it.
        self.saver.finish(&self.host).await;
        self.hits_saver.done().await;
        let removed = self.host().remove();
        match removed {
            Ok(removed) => {
                warn!(
                    "the policy was taken off this host on request; the next save or `secgroupd reload` enforces it again"
                );
                self.last_error = None;
                self.held.missed = false;
                self.time_trial();
                self.tell_state();
                Response::Ok {
                    payload: json!({ "removed": removed }),
                }
            }
            Err(error) => Response::Error {
                message: error.to_string(),
            },
        }
    }

    /// What the loop knows of the page of metrics.
    pub(super) fn metrics(&self) -> Page {
        Page {
            reloads: self.reloads,
            failures: self.failures,
            failed: self.last_error.is_some(),
            durations: self.durations,
            restorations: self.guard.restorations(),
            ..Page::default()
        }
    }

    fn status(&self) -> Value {
        let trial = self.trial_status();
        let mut host = self.host();
        let spots = links::links()
            .map(|links| blind::blind_spots(&links))
            .unwrap_or_default();
        let tracked = tracked_flows();
        let mut warnings = host.interface_warnings();
        warnings.extend(tracked.and_then(|tracked| tracked.warning()));
        let status = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            definition: self.options.definition.clone(),
            instance: host.instance().map(str::to_owned),
            enforced: host.enforced().cloned(),
            inherited: host.inherited(),
            from_kept: host.is_from_saved(),
            closed: host.is_closed(),
            trial,
            held: self.held.asked,
            not_kept: host.not_saved().map(str::to_owned),
            protection: host.protection(self.guard.is_listening()),
            restorations: self.guard.restorations(),
            last_restoration: self.guard.last().cloned(),
            hits: host.hits(),
            last_error: self.last_error.clone(),
            warnings,
            blind_spots: spots.iter().map(ToString::to_string).collect(),
            reloads: self.reloads,
            failures: self.failures,
            ended_flows: host.ended.total(),
            judged_again_flows: host.ended.reevaluated(),
            tracked_flows: tracked,
        };
        serde_json::to_value(status).unwrap_or_default()
    }
}

fn respond(result: Result<Summary, Failure>) -> Response {
    match result {
        Ok(summary) => Response::Ok {
            payload: serde_json::to_value(summary).unwrap_or_default(),
        },
        Err(failure) => Response::Refused {
            message: failure.message.clone(),
            details: serde_json::to_value(failure).unwrap_or_default(),
        },
    }
}
