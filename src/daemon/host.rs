//! The reconcile step: from a definition to what the kernel enforces on this host. The daemon and a single
//! `apply` run the same.

mod bound;

pub(super) use self::bound::interface_summaries;
pub use self::bound::interface_warnings;
use super::checked::compare;
use super::first;
use super::packet_log::PacketLog;
use super::report::{Failure, Summary, now};
use super::save::Written;
use super::slots::{host_facts, take_over};
use super::trial::Attempt;
use crate::cloud::Ledger;
use crate::definition::{Diagnostic, Severity};
use crate::flows::ended::{Before, EndedFlows, PolicyChange};
use crate::netfilter::enforce::{EnforceError, Kernel};
use crate::netfilter::slots::Slots;
use crate::policy::{Account, Direction, Instance, Policy, Reason};
use crate::ruleset::marks::Bits;
use crate::ruleset::{Generation, compile};
use crate::source::content::content;
use crate::source::load::Loaded;
use crate::state::counts::Counts;
use crate::state::directory::{Lock, State, StateError};
use crate::state::saved_policy::Origin;
use crate::state::trial::Trial;
use crate::state::{hits, refused_batch, unblocks, unconfirmed};
use std::path::Path;
use std::time::Instant;
use tracing::{debug, warn};

/// This host: its state directory, its kernel, and what it enforces.
#[derive(Debug)]
pub struct Host {
    pub(super) state: State,
    _lock: Lock,
    pub(super) kernel: Kernel,
    /// The instance asked for on the command line.
    instance: Option<String>,
    pub(super) enforced: Option<Standing>,
    /// What the rules and layers have met.
    pub(super) counts: Counts,
    /// Why that is not kept for the next start.
    pub(super) hits_not_saved: Option<String>,
    /// The live flows that changes end.
    pub ended: EndedFlows,
    /// Whether nobody else could change our table even before this process was started.
    pub(super) owned_at_start: bool,
    /// Whether this process has made its own the table that an earlier one left.
    pub(super) adopted: bool,
    /// Whether this host is closed for want of a policy.
    pub(super) closed: bool,
    /// What the enforced policy was made of, until it is kept.
    pub(super) origin: Option<Origin>,
    pub(super) written: Written,
    pub(super) not_saved: Option<String>,
    /// The labels of interfaces, as they are on the disk.
    pub(super) slots_saved: Slots,
    pub(super) trial: Option<Trial>,
}

/// What is enforced.
#[derive(Debug)]
pub(super) struct Standing {
    /// `None` for a kept policy whose definition was not read again yet.
    pub policy: Option<Policy>,
    pub summary: Summary,
    /// Whether it is the kept policy, and no definition was enforced since.
    pub from_saved: bool,
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
        let is_closed =
            matches!(kernel.in_force(), Ok(None)) && kernel.is_closed().unwrap_or(false);
        let counts = hits::read(&state);
        let slots_saved = take_over(&state, &kernel);
        Ok(Host {
            state,
            _lock: lock,
            owned_at_start: kernel.owns(),
            kernel,
            instance,
            enforced: None,
            counts,
            hits_not_saved: None,
            ended: EndedFlows::default(),
            adopted: false,
            // As the boot unit may have left it.
            closed: is_closed,
            origin: None,
            written: Written::default(),
            not_saved: None,
            slots_saved,
            trial: None,
        })
    }

    /// The instance asked for on the command line.
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// What is enforced by this process.
    pub fn enforced(&self) -> Option<&Summary> {
        self.enforced.as_ref().map(|standing| &standing.summary)
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

    /// Enforces a definition that was read from `path`, as this instance if one is named; a candidate for a while only.
    ///
    /// # Errors
    ///
    /// When the definition is refused, or the kernel or the state directory fails; what was enforced still is.
    pub fn reconcile(
        &mut self,
        loaded: &Loaded,
        path: &Path,
        instance: Option<&str>,
        attempt: Attempt,
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
        if attempt == Attempt::Plain {
            self.judge_unconfirmed(&loaded.sources)?;
        }
        let instance =
            choose(account, instance.or(self.instance.as_deref())).map_err(Failure::other)?;
        let first = self
            .kernel
            .in_force()
            .is_ok_and(|generation| generation.is_none());
        let (ledger, damaged) = match unblocks::read(&self.state) {
            Ok(ledger) => (ledger, None),
            // What is enforced stays; but a host is not left open for the sake of TCP 25.
            Err(error) if !first => return Err(Failure::other(error)),
            Err(error) => all_spent(account, &error),
        };
        let mut plan = ledger.plan(account);
        plan.refused.extend(damaged.clone());
        let policy = account.policy(&instance.id, &plan.ledger.unblocked);
        let Some(mut policy) = policy else {
            return Err(Failure::other("the instance has gone".into()));
        };
        policy.host = host_facts(&policy, &self.kernel.slots());
        let begin = Instant::now();
        let ruleset = compile(&policy);
        debug!("compiled in {:.1?}", begin.elapsed());
        for cut in &ruleset.cuts {
            tracing::info!("{cut}");
        }
        let remarks = loaded.diagnostics.iter().chain(&plan.refused);
        let mut summary = Summary {
            generation: 0,
            definition: path.to_owned(),
            instance: policy.instance.to_string(),
            since: now(),
            interfaces: interface_summaries(&policy),
            rules: [
                policy.rule_count(Direction::Inbound),
                policy.rule_count(Direction::Outbound),
            ],
            smtp_blocked: policy.smtp_blocked,
            observe: policy.platform.observe,
            unblocks: [plan.ledger.spent, policy.platform.unblocks_per_account],
            switched_after_ms: 0.0,
            remarks: remarks
                .map(|remark| remark.render(&loaded.sources, false))
                .collect(),
        };
        let origin = Origin::of(loaded, &policy, &plan.ledger.unblocked);
        let trial = match attempt {
            Attempt::Trial(time) => {
                // It is kept before it is enforced.
                compare(&policy, &ruleset).map_err(Failure::other)?;
                let hashed = origin.clone().hashed();
                Some(self.prepare_trial(&hashed, &summary, &ruleset, time)?)
            }
            _ => None,
        };
        // Nothing is tracked before our first table: flows of now are made known before it is loaded, and those that
        // opened meanwhile before it is switched in.
        let seed = || {
            if first {
                first::seed(|packet| policy.decide(packet).verdict.passes());
            }
        };
        seed();
        let next = self.enforced().map_or(Generation(1), |summary| {
            Generation(summary.generation).next()
        });
        let marks = self.marks();
        self.assign_slots(&ruleset).map_err(|why| {
            Failure::other(format!(
                "cannot write down which labels stand for which interface: {why}"
            ))
        })?;
        self.before_change();
        let enforced = self
            .enforce_checked(&policy, &ruleset, next, seed)
            .map_err(|error| {
                if trial.is_some() {
                    self.end_trial();
                }
                // Where something stood in its chains' places, the table went before the policy that was to come.
                if self.closed
                    && let Err(open) = self.close()
                {
                    tracing::error!("this host was closed, and could not be kept so: {open}");
                }
                self.refused(error, Some(&policy))
            })?;
        self.counts.replaced(&enforced.replaced_hits, now());
        self.follow_rules(&policy, enforced.generation);
        if let Some(left) = &enforced.left_behind {
            warn!("the old generation was not cleaned up: {left}");
        }
        // Spent only now that it is enforced for good. Should this fail, the next reconcile spends it.
        if damaged.is_none()
            && trial.is_none()
            && plan.ledger != ledger
            && let Err(error) = unblocks::write(&self.state, &plan.ledger)
        {
            warn!("cannot keep the unblock ledger: {error}");
        }
        for refused in &plan.refused {
            tracing::error!("{}", refused.message);
        }
        summary.generation = enforced.generation.0;
        summary.since = now();
        summary.switched_after_ms = enforced.switched_after.as_secs_f64() * 1000.0;
        match trial {
            Some(trial) => self.begin_trial(trial),
            None => {
                self.end_trial();
                self.origin = Some(origin);
            }
        }
        if attempt == Attempt::Forced {
            unconfirmed::clear(&self.state, &content(&loaded.sources));
        }
        self.closed = false;
        let before = match self.enforced.take() {
            // No flow was judged again.
            _ if marks.is_some() && marks == self.marks() => Before::Unknown,
            None if first => Before::Nothing,
            old => Before::of(old.and_then(|standing| standing.policy)),
        };
        self.ended.count(PolicyChange {
            before,
            policy: policy.clone(),
            ruleset,
        });
        self.enforced = Some(Standing {
            policy: Some(policy),
            summary: summary.clone(),
            from_saved: false,
        });
        Ok(summary)
    }

    /// What the flows are known by that the policy allows, if it is known what is in force.
    fn marks(&self) -> Option<Bits> {
        self.kernel
            .look(|loaded| Some(loaded?.names.bits().clone()))
    }

    /// Has the packet log follow what is enforced.
    pub(super) fn tell(&self, packet_log: &PacketLog) {
        let enforced = self.enforced.as_ref();
        let generation = enforced.map_or(0, |standing| standing.summary.generation);
        packet_log.follow(
            generation,
            enforced.and_then(|standing| standing.policy.as_ref()),
        );
    }

    /// Takes the policy off this host. Gives whether there was one.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    pub fn remove(&mut self) -> Result<bool, EnforceError> {
        let removed = self.kernel.remove()?;
        self.ended.forget();
        // Neither a candidate's time nor a start brings anything back.
        self.end_trial();
        self.forget_saved();
        self.enforced = None;
        self.closed = false;
        self.forget_hits();
        self.forget_slots();
        Ok(removed)
    }

    /// A failure of the kernel, with the place of the rule that it refused; the refused batch is kept for whoever looks
    /// into it.
    pub(super) fn refused(&self, error: EnforceError, policy: Option<&Policy>) -> Failure {
        let mut message = error.to_string();
        let EnforceError::Apply(error) = error else {
            return Failure::other(message);
        };
        if let Some(Reason::Rule(id)) = error.reason()
            && let Some(rule) = policy.and_then(|policy| policy.rule(id))
        {
            message += &format!("\nit is of the rule {id}, {}", rule.place);
        }
        if let Some(batch) = error.batch() {
            match refused_batch::write(&self.state, batch) {
                Ok(path) => {
                    message += &format!("\nthe refused batch is kept in {}", path.display())
                }
                Err(error) => message += &format!("\nthe refused batch could not be kept: {error}"),
            }
        }
        Failure::other(message)
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

/// `1 error`, `3 errors`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
