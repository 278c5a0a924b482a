//! The reconcile step: from a definition to what the kernel enforces on this host.

use super::base::Host;
use super::commit::{Commit, NewPolicy, Source};
use super::enforce::{Wanted, compare};
use super::facts::host_facts;
use super::instance::{choose, hostname};
use super::plan::{Attempt, Before, Plan, plan};
use super::report::{Failure, Summary, now};
use crate::policy::{Until, same_host};
use crate::source::content::content;
use crate::source::load::Loaded;
use crate::state::trial::Trial;
use crate::state::{unblocks, unconfirmed};
use std::path::Path;
use std::time::Duration;
use tracing::{error, warn};

impl Host {
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
        let author = self.author.take();
        let mut plan = self.plan(loaded, path, instance, attempt)?;
        plan.origin.author = author;
        let trial = match attempt {
            Attempt::Trial(time) => Some(self.prepare(&plan, time)?),
            Attempt::Plain | Attempt::Forced => None,
        };
        match plan.policy.rules_that_end().next() {
            // What has ended is so at the next start, too.
            Some(_) => self.write_time(),
            None => self.keep_time(),
        }
        let was = self.was(plan.is_first);
        let wanted = Wanted {
            policy: &plan.policy,
            ruleset: &plan.ruleset,
            at_least: plan.at_least,
            is_first: plan.is_first,
        };
        let switched = match self.enforce_wanted(&wanted) {
            Ok(switched) => switched,
            Err(failure) => {
                if trial.is_some() {
                    self.end_trial();
                }
                return Err(failure);
            }
        };
        self.spend(&plan, trial.is_some());
        let Plan {
            policy, ruleset, ..
        } = plan;
        let commit = Commit {
            ends: policy.next_end().map(Until::seconds),
            policy: Some(NewPolicy {
                policy,
                ruleset,
                was,
            }),
            summary: Summary {
                since: now(),
                ..plan.summary
            },
            source: match trial {
                Some(trial) => Source::Candidate(trial),
                None => Source::Definition(plan.origin),
            },
        };
        let summary = self.commit(Some(&switched), commit);
        if attempt == Attempt::Forced {
            unconfirmed::clear(&self.state, &content(&loaded.sources));
        }
        Ok(summary)
    }

    fn plan(
        &self,
        loaded: &Loaded,
        path: &Path,
        instance: Option<&str>,
        attempt: Attempt,
    ) -> Result<Plan, Failure> {
        let Some(account) = &loaded.account else {
            return Err(Failure::of_loaded(loaded));
        };
        if attempt == Attempt::Plain {
            self.judge_unconfirmed(&loaded.sources)?;
        }
        let instance_asked = instance.or(self.instance.as_deref());
        let instance = choose(account, instance_asked).map_err(Failure::other)?;
        let before = Before {
            enforced: Some(self.highest).filter(|highest| *highest > 0),
            // One that cannot be asked may have.
            in_force: !matches!(self.kernel.in_force(), Ok(None)),
            ledger: unblocks::read(&self.state),
            now: self.time(),
        };
        let facts = |policy: &_| host_facts(policy, &self.kernel.slots());
        let mut plan =
            plan((loaded, account), path, &instance.id, before, facts).map_err(Failure::other)?;
        let is_asked_for = instance_asked.is_some();
        let by_name = !is_asked_for && same_host(instance.host(), &hostname());
        plan.summary.host = by_name.then(|| instance.host().to_owned());
        Ok(plan)
    }

    /// Saves a candidate and its deadline, before it is enforced.
    fn prepare(&mut self, plan: &Plan, time: Duration) -> Result<Trial, Failure> {
        compare(&plan.policy, &plan.ruleset).map_err(Failure::other)?;
        let hashed = plan.origin.clone().hashed();
        let summary = Summary {
            since: now(),
            ..plan.summary.clone()
        };
        self.prepare_trial(&hashed, &summary, &plan.ruleset, time)
    }

    /// Unblocks are spent only now that they are enforced for good. Should this fail, the next reconcile spends them.
    fn spend(&self, plan: &Plan, on_trial: bool) {
        if let (Some(ledger), false) = (&plan.ledger, on_trial)
            && let Err(error) = unblocks::write(&self.state, ledger)
        {
            warn!("cannot keep the unblock ledger: {error}");
        }
        for refused in &plan.refused {
            error!("{}", refused.message);
        }
    }
}
