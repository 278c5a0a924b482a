//! What the daemon answers without a decision: status, events, and the page of metrics.

use super::actions::Daemon;
use super::control::Response;
use super::metrics::page::Page;
use super::report::{Status, TrialStatus};
use crate::host::Host;
use crate::netfilter::interfaces::Doubt;
use crate::netfilter::tracked::tracked_flows;
use crate::netfilter::{blind, links};
use std::path::PathBuf;

impl Daemon {
    pub(super) async fn status(&self) -> Response {
        let listens = self.table_events.is_some();
        let of_host = move |host: &mut Host| host_status(host, listens);
        let status = match self.enforcer.run(of_host).await {
            Ok(status) => status,
            Err(failure) => {
                let message = failure.message;
                return Response::Error { message };
            }
        };
        let counters = self.machine.counters();
        let status = Status {
            definition: self.definition.clone(),
            held: self.machine.is_asked_to_hold(),
            restorations: counters.restorations,
            last_restoration: self.machine.last_restoration().cloned(),
            last_error: self.machine.last_error().cloned(),
            reloads: counters.reloads,
            failures: counters.failures,
            ..status
        };
        let payload = serde_json::to_value(status).unwrap_or_default();
        Response::Ok { payload }
    }

    pub(super) fn events(&self, after: Option<u64>) -> Response {
        let payload = serde_json::to_value(self.packet_log.after(after)).unwrap_or_default();
        Response::Ok { payload }
    }

    /// What the machine knows of the page of metrics.
    pub(super) fn page(&self) -> Page {
        Page {
            counters: self.machine.counters(),
            failed: self.machine.last_error().is_some(),
            ..Page::default()
        }
    }
}

/// What the host knows of the status; `listens` if other programs' changes are put right.
fn host_status(host: &mut Host, listens: bool) -> Status {
    let mut spots = links::links()
        .map(|links| blind::blind_spots(&links))
        .unwrap_or_default();
    let legacy_is_for_root = blind::legacy_is_for_root();
    if !legacy_is_for_root {
        spots.extend(blind::legacy_spots());
    }
    let tracked = tracked_flows();
    let (degrading, notes): (Vec<Doubt>, Vec<Doubt>) =
        host.doubts().into_iter().partition(|doubt| doubt.degrades);
    let texts = |doubts: Vec<Doubt>| doubts.into_iter().map(|doubt| doubt.text).collect();
    let mut warnings: Vec<String> = texts(degrading);
    warnings.extend(tracked.and_then(|tracked| tracked.warning()));
    let trial = host.trial().map(|trial| TrialStatus {
        candidate: trial.candidate.clone(),
        content: trial.content.clone(),
        seconds_left: trial.left().as_secs_f64(),
    });
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        instance: host.instance().map(str::to_owned),
        enforced: host.enforced().cloned(),
        inherited: host.inherited(),
        unseen: host.unseen(),
        taken_back: host.taken_back().map(PathBuf::from),
        from_kept: host.is_from_saved(),
        closed: host.is_closed(),
        not_kept: host.not_saved().map(str::to_owned),
        trial,
        protection: host.protection(listens),
        hits: host.hits(),
        warnings,
        notes: texts(notes),
        blind_spots: spots.iter().map(ToString::to_string).collect(),
        legacy_is_for_root,
        ended_flows: host.ended.total(),
        judged_again_flows: host.ended.reevaluated(),
        tracked_flows: tracked,
        ..Status::default()
    }
}
