//! The reconcile step: from a definition to what the kernel enforces on this host. The daemon and a single
//! `apply` run the same.

use super::first;
use super::load::Loaded;
use super::report::{Failure, GroupSummary, Hits, InterfaceSummary, Summary, in_one_line, now};
use super::state::{Lock, State, StateError};
use crate::cloud::Ledger;
use crate::definition::{Diagnostic, Severity};
use crate::netfilter::enforce::{EnforceError, Enforced, Kernel};
use crate::netfilter::events::tables::TableEvents;
use crate::netfilter::hits::RuleHits;
use crate::netfilter::{interfaces, links};
use crate::policy::{Account, Action, Direction, Instance, Policy, Reason};
use crate::ruleset::{Generation, check, compile};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Instant;
use tracing::{debug, warn};

/// The file of the unblock ledger in the state directory.
pub const LEDGER: &str = "unblocks.json";
/// The batch that was refused last, in the state directory.
const REFUSED_BATCH: &str = "refused-batch.nft";

/// This host: its state directory, its kernel, and what it enforces.
#[derive(Debug)]
pub struct Host {
    state: State,
    _lock: Lock,
    kernel: Kernel,
    /// The instance asked for on the command line.
    instance: Option<String>,
    enforced: Option<(Policy, Summary)>,
    /// Hits of the generations that are gone, by comment.
    past_hits: BTreeMap<String, (u64, u64)>,
}

impl Host {
    /// Takes the state directory for this process alone.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or another process has it.
    pub fn open(
        state: &Path,
        kernel: Kernel,
        instance: Option<String>,
    ) -> Result<Self, StateError> {
        let state = State::open(state)?;
        let lock = state.lock()?;
        Ok(Host {
            state,
            _lock: lock,
            kernel,
            instance,
            enforced: None,
            past_hits: BTreeMap::new(),
        })
    }

    /// What is enforced by this process.
    pub fn enforced(&self) -> Option<&Summary> {
        self.enforced.as_ref().map(|(_, summary)| summary)
    }

    /// The generation that the kernel has from before this process, while this one has enforced nothing.
    pub fn inherited(&self) -> Option<u64> {
        match self.enforced {
            Some(_) => None,
            None => self
                .kernel
                .in_force()
                .ok()
                .flatten()
                .map(|generation| generation.0),
        }
    }

    /// Enforces again, whole, what this process enforces: another program has changed our table, or `deleted` it. Gives whether
    /// it enforces anything.
    ///
    /// # Errors
    ///
    /// When the kernel fails; then another program's change may stand.
    pub fn restore(&mut self, deleted: bool) -> Result<bool, Failure> {
        let Some((policy, summary)) = &self.enforced else {
            return Ok(false);
        };
        let known = self.kernel.forget();
        let ruleset = known.unwrap_or_else(|| compile(policy));
        let next = Generation(summary.generation).next();
        let at_once = match deleted {
            true => self.kernel.restore_at_once(&ruleset, next),
            false => None,
        };
        if let Some(enforced) = at_once {
            // Flows that connection tracking knew it still knows; those that opened meanwhile it is told of.
            first::seed(policy);
            self.has_restored(&enforced);
            return Ok(true);
        }
        let first = self
            .kernel
            .in_force()
            .is_ok_and(|generation| generation.is_none());
        // Without our table connection tracking may have stood still.
        let seed = || {
            if first {
                first::seed(policy);
            }
        };
        seed();
        let enforced = self
            .kernel
            .restore_with(&ruleset, next, seed)
            .map_err(|error| self.refused(error, policy))?;
        self.has_restored(&enforced);
        Ok(true)
    }

    fn has_restored(&mut self, enforced: &Enforced) {
        self.add_hits(&enforced.replaced_hits);
        if let Some(left) = &enforced.left_behind {
            warn!("the old generation was not cleaned up: {left}");
        }
        if let Some((_, summary)) = &mut self.enforced {
            summary.generation = enforced.generation.0;
            summary.switched_after_ms = enforced.switched_after.as_secs_f64() * 1000.0;
        }
    }

    /// Listens to what other programs change in our table; within the runtime.
    ///
    /// # Errors
    ///
    /// What the kernel has against it.
    pub fn listen(&self) -> Result<TableEvents, Errno> {
        self.kernel.listen()
    }

    /// Whether nobody but us can change our table.
    pub fn owns(&self) -> bool {
        self.kernel.owns()
    }

    /// Whether that will be so once there is a policy.
    pub fn will_own(&self) -> bool {
        self.kernel.will_own()
    }

    /// Lets the next definition be loaded whole, and not as far as it differs.
    pub fn forget_loaded(&self) {
        self.kernel.forget();
    }

    /// Makes the table that an earlier process has left ours, so that nobody else can change it.
    pub fn adopt(&self) {
        if let Err(error) = self.kernel.adopt() {
            warn!("what is enforced is not protected: {error}");
        }
    }

    /// What keeps other programs from changing what is enforced, in one line; `restored` if their changes are put right.
    pub fn protection(&self, restored: bool) -> String {
        match self.kernel.protection() {
            Ok(protection) if restored => protection.where_restored(),
            Ok(protection) => protection.to_string(),
            Err(error) => format!("unknown: {error}"),
        }
    }

    /// The socket by which other programs are kept from changing what is enforced.
    pub fn owning_socket(&self) -> Option<BorrowedFd<'_>> {
        self.kernel.owning_socket()
    }

    /// Enforces a definition that was read from `path`, as this instance if one is named.
    ///
    /// # Errors
    ///
    /// When the definition is refused, or the kernel or the state directory fails; what was enforced still is.
    pub fn reconcile(
        &mut self,
        loaded: &Loaded,
        path: &Path,
        instance: Option<&str>,
    ) -> Result<Summary, Failure> {
        let Some(account) = &loaded.account else {
            let message = format!(
                "the definition is refused: {}",
                count(loaded.counts().0, "error")
            );
            return Err(Failure::of_definition(
                message,
                &loaded.diagnostics,
                &loaded.sources,
            ));
        };
        let instance =
            choose(account, instance.or(self.instance.as_deref())).map_err(Failure::other)?;
        let first = self
            .kernel
            .in_force()
            .is_ok_and(|generation| generation.is_none());
        let (ledger, damaged) = match self.ledger() {
            Ok(ledger) => (ledger, None),
            // What is enforced stays; but a host is not left open for the sake of TCP 25.
            Err(error) if !first => return Err(Failure::other(error)),
            Err(error) => all_spent(account, &error),
        };
        let mut plan = ledger.plan(account);
        plan.refused.extend(damaged.clone());
        let policy = account.policy(&instance.id, &plan.ledger.unblocked);
        let Some(policy) = policy else {
            return Err(Failure::other("the instance has gone".into()));
        };
        let begin = Instant::now();
        let ruleset = compile(&policy);
        let compiled = begin.elapsed();
        for cut in &ruleset.cuts {
            tracing::info!("{cut}");
        }
        // Checked before it counts: no fault of the compiler can open the host.
        check(&policy, &ruleset).map_err(|difference| {
            Failure::other(format!(
                "this is a fault of secgroupd, and nothing was changed: {difference}"
            ))
        })?;
        debug!(
            "compiled in {compiled:.1?}, checked in {:.1?}",
            begin.elapsed() - compiled
        );
        // Nothing is tracked before our first table: flows of now are made known before it is loaded, and those that
        // opened meanwhile before it is switched in.
        let seed = || {
            if first {
                first::seed(&policy);
            }
        };
        seed();
        let next = self.enforced().map_or(Generation(1), |summary| {
            Generation(summary.generation).next()
        });
        let enforced = self
            .kernel
            .enforce_with(&ruleset, next, seed)
            .map_err(|error| self.refused(error, &policy))?;
        self.add_hits(&enforced.replaced_hits);
        if let Some(left) = &enforced.left_behind {
            warn!("the old generation was not cleaned up: {left}");
        }
        // Spent only now that it is enforced. Should this fail, the next reconcile spends it.
        if damaged.is_none()
            && plan.ledger != ledger
            && let Err(error) = self.write_ledger(&plan.ledger)
        {
            warn!("cannot keep the unblock ledger: {error}");
        }
        let remarks = loaded.diagnostics.iter().chain(&plan.refused);
        for refused in &plan.refused {
            tracing::error!("{}", refused.message);
        }
        let summary = Summary {
            generation: enforced.generation.0,
            definition: path.to_owned(),
            instance: policy.instance.to_string(),
            since: now(),
            interfaces: interface_summaries(&policy),
            rules: [
                policy.rule_count(Direction::Inbound),
                policy.rule_count(Direction::Outbound),
            ],
            smtp_blocked: policy.smtp_blocked,
            unblocks: [plan.ledger.spent, policy.platform.unblocks_per_account],
            switched_after_ms: enforced.switched_after.as_secs_f64() * 1000.0,
            remarks: remarks
                .map(|remark| remark.render(&loaded.sources, false))
                .collect(),
        };
        self.enforced = Some((policy, summary.clone()));
        Ok(summary)
    }

    /// Takes the policy off this host. Gives whether there was one.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    pub fn remove(&mut self) -> Result<bool, EnforceError> {
        let removed = self.kernel.remove()?;
        self.enforced = None;
        self.past_hits.clear();
        Ok(removed)
    }

    /// Doubts about the interfaces that the policy binds.
    pub fn interface_warnings(&self) -> Vec<String> {
        let Some((policy, _)) = &self.enforced else {
            return Vec::new();
        };
        interface_warnings(policy)
    }

    /// Hits of every layer and rule that was met, and of every rule of the bound groups.
    pub fn hits(&self) -> Vec<Hits> {
        let Some((policy, _)) = &self.enforced else {
            return Vec::new();
        };
        let mut counts = self.past_hits.clone();
        match self.kernel.hits() {
            Ok(hits) => add(&mut counts, &hits),
            Err(error) => warn!("cannot read the hits: {error}"),
        }
        let rules = [Direction::Inbound, Direction::Outbound]
            .into_iter()
            .flat_map(|direction| {
                let groups = policy.groups();
                groups
                    .into_iter()
                    .flat_map(move |group| group.rules(direction))
                    .collect::<Vec<_>>()
            });
        let mut hits: Vec<Hits> = rules
            .map(|rule| {
                let reason = rule.id.to_string();
                let (packets, bytes) = counts.remove(&reason).unwrap_or_default();
                let action = if rule.action == Action::Allow {
                    "allow"
                } else {
                    "refuse"
                };
                Hits {
                    reason,
                    action: Some(action.into()),
                    place: Some(rule.place.to_string()),
                    packets,
                    bytes,
                }
            })
            .collect();
        // What is left are layers, and rules that the definition no longer has.
        let layers = counts
            .into_iter()
            .filter(|(reason, (packets, _))| !reason.starts_with("sg-") && *packets > 0);
        hits.extend(layers.map(|(reason, (packets, bytes))| Hits {
            reason,
            action: None,
            place: None,
            packets,
            bytes,
        }));
        hits
    }

    /// The ledger as it was kept; none was kept on a new host.
    fn ledger(&self) -> Result<Ledger, String> {
        let bytes = self.state.read(LEDGER).map_err(|error| error.to_string())?;
        Ledger::kept(bytes, &self.state.directory().join(LEDGER)).map_err(|error| error.to_string())
    }

    fn write_ledger(&self, ledger: &Ledger) -> Result<(), String> {
        let bytes = serde_json::to_vec(ledger).map_err(|error| error.to_string())?;
        self.state
            .write_atomically(LEDGER, &bytes)
            .map_err(|error| error.to_string())
    }

    /// A failure of the kernel, with the place of the rule that it refused; the refused batch is kept for whoever looks
    /// into it.
    fn refused(&self, error: EnforceError, policy: &Policy) -> Failure {
        let mut message = error.to_string();
        let EnforceError::Apply(error) = error else {
            return Failure::other(message);
        };
        if let Some(Reason::Rule(id)) = error.reason()
            && let Some(rule) = policy.rule(id)
        {
            message += &format!("\nit is of the rule {id}, {}", rule.place);
        }
        if let Some(batch) = error.batch() {
            match self.state.write_atomically(REFUSED_BATCH, batch.as_bytes()) {
                Ok(()) => {
                    message += &format!(
                        "\nthe refused batch is kept in {}",
                        self.state.directory().join(REFUSED_BATCH).display()
                    )
                }
                Err(error) => message += &format!("\nthe refused batch could not be kept: {error}"),
            }
        }
        Failure::other(message)
    }

    fn add_hits(&mut self, hits: &[RuleHits]) {
        add(&mut self.past_hits, hits);
    }
}

fn add(counts: &mut BTreeMap<String, (u64, u64)>, hits: &[RuleHits]) {
    for hit in hits {
        let Some(comment) = &hit.comment else {
            continue;
        };
        let (packets, bytes) = counts.entry(comment.clone()).or_default();
        *packets += hit.packets;
        *bytes += hit.bytes;
    }
}

/// This host's name, as the kernel has it.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The instance that this host is; else a sentence that says what there is.
///
/// # Errors
///
/// When none is asked for and none fits, several fit, or there is none of that id.
pub fn choose<'a>(account: &'a Account, asked: Option<&str>) -> Result<&'a Instance, String> {
    if account.instances.is_empty() {
        return Err("the definition has no instances: write this host under `instances:`".into());
    }
    account
        .choose(asked, &hostname())
        .map_err(|error| error.to_string())
}

/// In place of a ledger that cannot be read: nothing is left to spend, and nobody is unblocked. The file is left as it is.
fn all_spent(account: &Account, error: &str) -> (Ledger, Option<Diagnostic>) {
    let ledger = Ledger {
        spent: account.platform.unblocks_per_account,
        ..Ledger::default()
    };
    let message = format!("{error}; until then TCP 25 is unblocked for no instance");
    let refused = Diagnostic::new(Severity::Refused, "unblock-ledger", None, message);
    (ledger, Some(refused))
}

/// Doubts about the interfaces that a policy binds, on this host.
pub fn interface_warnings(policy: &Policy) -> Vec<String> {
    let names: Vec<String> = policy
        .bindings
        .iter()
        .map(|binding| binding.interface.to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = links::links().and_then(|links| Ok((links, links::default_route_links()?)));
    match found {
        Ok((links, default_route)) => {
            interfaces::interface_warnings(&names, &links, &default_route)
        }
        Err(error) => vec![format!("the interfaces cannot be checked: {error}")],
    }
}

fn interface_summaries(policy: &Policy) -> Vec<InterfaceSummary> {
    let groups = |binding: &crate::policy::Binding| -> Vec<GroupSummary> {
        binding
            .groups
            .iter()
            .map(|group| GroupSummary {
                id: group.id.to_string(),
                name: group.name.as_deref().map(str::to_owned),
            })
            .collect()
    };
    policy
        .bindings
        .iter()
        .map(|binding| InterfaceSummary {
            name: binding.interface.to_string(),
            groups: groups(binding),
        })
        .collect()
}

/// `1 error`, `3 errors`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl Loaded {
    /// The warnings alone, each in one line with its place, for the log.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Warning)
            .map(|d| in_one_line(&d.to_json(&self.sources)))
    }
}
