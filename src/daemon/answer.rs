//! What the daemon does and says when it is asked on the control socket.

use super::control::{Call, Request, Response};
use super::report::{Failure, Status, Summary};
use super::run::{Daemon, read};
use crate::netfilter::{blind, links};
use serde_json::{Value, json};
use tracing::warn;

impl Daemon {
    pub(super) async fn answer(&mut self, call: Call) {
        let response = match call.request.clone() {
            Request::Status => Response::Ok {
                payload: self.status(),
            },
            Request::Reload => respond(self.reload("asked to").await),
            Request::Apply { path, instance } => {
                let watched = path == self.options.definition;
                let loaded = read(path.clone()).await;
                let (loaded, result) = self.enforce(loaded, path, instance, "asked to").await;
                if let (Some(loaded), true) = (loaded, watched) {
                    self.watch.set_files(&loaded.template_files);
                }
                respond(result)
            }
            Request::Remove => self.remove(),
        };
        call.answer(response);
    }

    fn remove(&mut self) -> Response {
        let removed = self.host().remove();
        match removed {
            Ok(removed) => {
                warn!(
                    "the policy was taken off this host on request; the next save or `secgroupd reload` enforces it again"
                );
                self.last_error = None;
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

    fn status(&self) -> Value {
        let host = self.host();
        let spots = links::links()
            .map(|links| blind::blind_spots(&links))
            .unwrap_or_default();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            definition: self.options.definition.clone(),
            enforced: host.enforced().cloned(),
            inherited: host.inherited(),
            from_kept: host.is_from_kept(),
            closed: host.is_closed(),
            not_kept: host.not_kept().map(str::to_owned),
            protection: host.protection(self.guard.is_listening()),
            restorations: self.guard.restorations(),
            last_restoration: self.guard.last().cloned(),
            hits: host.hits(),
            last_error: self.last_error.clone(),
            warnings: host.interface_warnings(),
            blind_spots: spots.iter().map(ToString::to_string).collect(),
            reloads: self.reloads,
            failures: self.failures,
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
