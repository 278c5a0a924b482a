//! What a definition means for this host: its policy, the ruleset, what is said of it. Pure: no kernel, no disk.

use super::report::Summary;
use crate::cloud::Ledger;
use crate::cloud::ledger::LedgerPlan as Unblocks;
use crate::definition::{Diagnostic, Severity};
use crate::policy::{Account, HostFacts, InstanceId, Policy};
use crate::ruleset::{Generation, Ruleset, compile};
use crate::source::load::Loaded;
use crate::state::saved_policy::Origin;
use std::path::Path;
use std::time::{Duration, Instant};
use tracing::{debug, info};

/// How a definition is to be enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// For good, unless it was tried and not confirmed.
    Plain,
    /// For good, whatever was tried.
    Forced,
    /// For so long, unless it is confirmed.
    Trial(Duration),
}

/// What a plan starts from.
#[derive(Debug)]
pub struct Before {
    /// The last generation that this process has enforced, if it has.
    pub enforced: Option<u64>,
    /// Whether the kernel has a policy in force, by whomever.
    pub in_force: bool,
    /// The unblocks that were spent, or why they are not known.
    pub ledger: Result<Ledger, String>,
    /// The time by which rules end, in seconds since 1970.
    pub now: u64,
}

/// What is to be enforced.
#[derive(Debug)]
pub struct Plan {
    /// The policy of this host.
    pub policy: Policy,
    /// Its ruleset, not checked yet.
    pub ruleset: Ruleset,
    /// What is said of it; the generation and the time are those of the switch.
    pub summary: Summary,
    /// What it was made of.
    pub origin: Origin,
    /// The least generation that it gets.
    pub at_least: Generation,
    /// Whether nothing is in force yet.
    pub is_first: bool,
    /// The ledger to be written once it is enforced for good; `None` if it stays.
    pub ledger: Option<Ledger>,
    /// Requests for an unblock that are refused.
    pub refused: Vec<Diagnostic>,
}

/// Plans to enforce a definition that was read from `path`, as this instance of its account.
///
/// # Errors
///
/// A sentence, when the ledger of unblocks cannot be read while something is in force, or there is no such instance.
pub fn plan(
    (loaded, account): (&Loaded, &Account),
    path: &Path,
    instance: &InstanceId,
    before: Before,
    facts: impl FnOnce(&Policy) -> HostFacts,
) -> Result<Plan, String> {
    let is_first = !before.in_force;
    let (ledger, damaged) = match before.ledger {
        Ok(ledger) => (ledger, None),
        // What is enforced stays; but a host is not left open for the sake of TCP 25.
        Err(error) if !is_first => return Err(error),
        Err(error) => all_spent(account, &error),
    };
    let mut unblocks = ledger.plan(account);
    let is_spent = damaged.is_none() && unblocks.ledger != ledger;
    unblocks.refused.extend(damaged);
    let policy = account.policy(instance, &unblocks.ledger.unblocked);
    let mut policy = policy.ok_or("the instance has gone")?;
    policy.end_rules(before.now);
    policy.host = facts(&policy);
    let begin = Instant::now();
    let ruleset = compile(&policy);
    debug!("compiled in {:.1?}", begin.elapsed());
    ruleset.cuts.iter().for_each(|cut| info!("{cut}"));
    Ok(Plan {
        summary: summary(loaded, path, &policy, &unblocks),
        origin: Origin::of(loaded, &policy, &unblocks.ledger.unblocked, before.now),
        at_least: before
            .enforced
            .map_or(Generation(1), |enforced| Generation(enforced).next()),
        is_first,
        ledger: is_spent.then_some(unblocks.ledger),
        refused: unblocks.refused,
        policy,
        ruleset,
    })
}

fn summary(loaded: &Loaded, path: &Path, policy: &Policy, unblocks: &Unblocks) -> Summary {
    let remarks = loaded.diagnostics.iter().chain(&unblocks.refused);
    Summary {
        definition: path.to_owned(),
        unblocks: [unblocks.ledger.spent, policy.platform.unblocks_per_account],
        remarks: remarks
            .map(|remark| remark.render(&loaded.sources, false))
            .collect(),
        ..Summary::of(policy)
    }
}

/// In place of a ledger that cannot be read: nothing is left to spend, and nobody is unblocked. The file is left as it
/// is.
fn all_spent(account: &Account, error: &str) -> (Ledger, Option<Diagnostic>) {
    let ledger = Ledger {
        spent: account.platform.unblocks_per_account,
        ..Ledger::default()
    };
    let message = format!("{error}; until then TCP 25 is unblocked for no instance");
    let refused = Diagnostic::new(Severity::Refused, "unblock-ledger", None, message);
    (ledger, Some(refused))
}
