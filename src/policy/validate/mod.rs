//! Judges a definition: values, references and what belongs together. Everything wrong is found in one run.

mod addresses;
mod instances;
pub mod lab;
mod limits;
mod list;
mod network_acls;
mod platform;
mod promises;
mod rules;
mod services;
mod subnets;
mod templates;
mod uses;

use super::account::Account;
use super::quotas;
use crate::definition::{Definition, Diagnostic, Diagnostics, Severity};
use addresses::KnownAddresses;
use services::Services;
use std::sync::Arc;
use uses::GroupUses;

/// What came out of judging a definition.
#[derive(Debug)]
pub struct Validated {
    /// The account, unless an error refuses the definition.
    pub account: Option<Account>,
    /// Errors and warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Judges a definition whose shapes are right, before any of its rules has ended. `earlier` are the diagnostics of
/// parsing: if one of them is an error no account is made, but the rest is judged all the same.
pub fn validate(definition: &Definition, earlier: Vec<Diagnostic>) -> Validated {
    validate_at(definition, earlier, 0)
}

/// The same at this time, in seconds since 1970: rules whose time has come have ended, also for the definition's tests.
pub fn validate_at(definition: &Definition, earlier: Vec<Diagnostic>, now: u64) -> Validated {
    let mut diagnostics = Diagnostics::default();
    let nothing_yet = diagnostics.found();
    if definition.sources.is_empty() && earlier.is_empty() {
        let nothing = Diagnostic::new(Severity::Error, "no-file", None, "there is no definition");
        diagnostics.push(nothing.help("a directory needs at least one `*.yaml` or `*.yml` file"));
    }
    let mut uses = GroupUses::new(definition);
    let room = limits::Room::new();
    let services = Services::new(definition, &room, &mut diagnostics);
    let network_acls = network_acls::network_acls(definition, &mut diagnostics);
    let subnets = subnets::Subnets::new(definition, &network_acls, &mut diagnostics);
    let instances = instances::instances(definition, &subnets, &mut uses, &mut diagnostics);
    let addresses = KnownAddresses::new(definition, &instances, &room, &mut diagnostics);
    let mut context = rules::Context {
        sources: &definition.sources,
        addresses: &addresses,
        services: &services,
        uses: &mut uses,
        diagnostics: &mut diagnostics,
    };
    let groups = rules::groups(definition, &mut context);
    let platform = platform::platform(definition, &instances, &mut context);
    let entries = |id: &_| subnets.entry_count(id);
    limits::instances(definition, &instances, &groups, entries, &mut diagnostics);
    let over = quotas::usages(definition).into_iter();
    for usage in over.filter(quotas::Usage::is_over) {
        let help = "take some away, or write `quotas: none` under `platform` where this is no copy of the cloud";
        diagnostics.error("quota", usage.span, usage.message(), help);
    }
    uses.missing(&mut diagnostics);
    lab::names(definition, &mut diagnostics);
    let promises = promises::promises(definition, &instances, &mut diagnostics);
    let mut account = Account {
        groups,
        instances,
        subnets: subnets.into_subnets(),
        network_acls,
        platform: Arc::new(platform),
        _validated: (),
    };
    account.end_rules(now);
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    // Of rules that are wrong themselves nobody expects anything.
    if !earlier.iter().any(is_error) && !diagnostics.errors_since(nothing_yet) {
        promises::judge::judge(&promises, definition, &account, &mut diagnostics);
    }
    let mut diagnostics = [earlier, diagnostics.into_vec()].concat();
    // In the order in which a person meets them.
    diagnostics.sort_by_key(|diagnostic| diagnostic.span);
    // What an alias repeats is wrong once.
    diagnostics.dedup();
    let refused = diagnostics.iter().any(is_error);
    Validated {
        account: (!refused).then_some(account),
        diagnostics,
    }
}
