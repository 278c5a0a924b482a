//! A definition read for a lab: judged as on a VM, and then as a lab.

use super::addresses::{Given, GivenAddress};
use super::plan::{NodePlan, plan};
use crate::cloud::Ledger;
use crate::definition::{Severity, Span};
use crate::source::load::{Loaded, load_with_text};
use crate::source::read::Trust;
use std::path::Path;

/// What was read.
#[derive(Debug)]
pub struct Reading {
    /// The definition, with everything that is wrong with it, as a lab too.
    pub loaded: Loaded,
    /// The nodes, if nothing refuses it.
    pub nodes: Option<Vec<NodePlan>>,
    /// The addresses that were given.
    pub given: Vec<GivenAddress>,
    /// Requests to unblock TCP 25 that are over the account's limit: those instances stay blocked.
    pub refused: Vec<String>,
}

/// Reads the definition at a path, a file or a directory.
pub fn read(path: &Path, given: &mut Given) -> Reading {
    let (mut loaded, definition) = load_with_text(&path.into(), Trust::Any);
    let outline = given.complete(&definition);
    let mut nodes = None;
    if let Some(account) = &loaded.account {
        match plan(&outline, account) {
            Ok(planned) => nodes = Some(planned),
            Err(errors) => {
                // What is only doubtful on VMs is impossible here, and said once.
                let said = |at: Option<Span>| errors.iter().any(|error| error.span == at);
                (loaded.diagnostics)
                    .retain(|each| each.severity == Severity::Error || !said(each.span));
                loaded.diagnostics.extend(errors);
            }
        }
    }
    // Nothing is spent by a lab: it plays an account that is new.
    let plan = loaded
        .account
        .as_ref()
        .map(|account| Ledger::default().plan(account));
    let refused = plan.into_iter().flat_map(|plan| plan.refused);
    Reading {
        refused: refused.map(|refused| refused.message).collect(),
        loaded,
        nodes,
        given: outline.given,
    }
}
