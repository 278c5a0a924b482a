//! The ways to the kernel: a plan, whose check runs beside the load and ends before the switch; and a saved ruleset.

use super::base::Host;
use super::facts::host_facts;
use super::report::Failure;
use super::saved::{Refused, SavedRuleset, ruleset_of};
use super::seed::seed;
use crate::netfilter::enforce::{EnforceError, Kernel, Switched};
use crate::policy::{Policy, Reason};
use crate::ruleset::{Generation, Ruleset, Walker, check, compile};
use crate::state::in_force::InForce;
use crate::state::refused_batch;
use crate::state::saved_policy::{CANDIDATE, POLICY, SavedPolicy};
use std::thread::{Builder, ScopedJoinHandle};
use std::time::Instant;
use tracing::{debug, error, warn};

/// What is to be enforced, and after what.
#[derive(Debug)]
pub(super) struct Wanted<'p> {
    /// The policy.
    pub policy: &'p Policy,
    /// Its ruleset, not checked yet.
    pub ruleset: &'p Ruleset,
    /// The least generation that it gets.
    pub at_least: Generation,
    /// Whether nothing is in force yet.
    pub is_first: bool,
}

/// How a saved ruleset comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As far as it differs from what this process has loaded.
    Change,
    /// Whole: what the kernel has is not known.
    Whole,
    /// At once: another program has deleted our table.
    Deleted,
}

impl Host {
    /// Enforces a policy.
    ///
    /// # Errors
    ///
    /// When the check finds a difference, or the kernel or the state directory fails; what was enforced still is.
    pub(super) fn enforce_wanted(&mut self, wanted: &Wanted) -> Result<Switched, Failure> {
        let Wanted {
            policy, ruleset, ..
        } = wanted;
        // Conntrack starts with our first table. Register the flows of now before it is loaded, and again just before
        // the switch.
        let seed = |kernel: &Kernel| {
            if wanted.is_first {
                seed(kernel, |packet| policy.decide(packet).verdict.passes());
            }
        };
        seed(&self.kernel);
        self.assign_labels(ruleset).map_err(|why| {
            Failure::other(format!(
                "cannot write down which labels stand for which interface: {why}"
            ))
        })?;
        self.before_change();
        let switched =
            self.enforce_checked(policy, ruleset, wanted.at_least, || seed(&self.kernel));
        switched.map_err(|failed| {
            // Where something stood in its chains' places, the table went before the policy that was to come.
            if self.closed
                && let Err(open) = self.close()
            {
                error!("this host was closed, and could not be kept so: {open}");
            }
            self.refused(failed, Some(policy))
        })
    }

    /// Enforces a ruleset whose policy need not be known. What was checked when it was saved is not checked again.
    ///
    /// # Errors
    ///
    /// When the kernel fails.
    pub(super) fn enforce_saved(
        &mut self,
        ruleset: &Ruleset,
        at_least: Generation,
        way: Way,
    ) -> Result<Switched, EnforceError> {
        if let Err(why) = self.assign_labels(ruleset) {
            warn!("cannot write down which labels stand for which interface: {why}");
        }
        let walker = Walker::new(ruleset);
        self.before_change();
        let seed = || seed(&self.kernel, |packet| walker.walk(packet).0.passes());
        if way == Way::Deleted
            && let Some(switched) = self.kernel.restore_at_once(ruleset, at_least)
        {
            // Conntrack still has its flows. Register those that opened meanwhile.
            seed();
            return Ok(switched);
        }
        let is_first = matches!(self.kernel.in_force(), Ok(None));
        let seed = || {
            if is_first {
                seed();
            }
        };
        seed();
        match way {
            Way::Change => self.kernel.enforce_with(ruleset, at_least, seed),
            Way::Whole | Way::Deleted => self.kernel.restore_with(ruleset, at_least, seed),
        }
    }

    /// Before anything is changed in the kernel: the record of what it has will no longer hold.
    pub(super) fn before_change(&mut self) {
        self.written.in_force = None;
        if let Err(error) = InForce::set_aside(&self.state) {
            debug!("{error}");
        }
    }

    /// Checked before it counts: what is loaded takes effect once the check, which runs meanwhile, has found no
    /// difference. So no fault of the compiler can open the host.
    fn enforce_checked(
        &self,
        policy: &Policy,
        ruleset: &Ruleset,
        at_least: Generation,
        mut before_switch: impl FnMut(),
    ) -> Result<Switched, EnforceError> {
        let check = || compare(policy, ruleset);
        std::thread::scope(|scope| {
            let thread = Builder::new().name("check".into());
            let mut checking = Some(thread.spawn_scoped(scope, check).ok());
            self.kernel.enforce_if(ruleset, at_least, || {
                before_switch();
                match checking.take() {
                    Some(Some(thread)) => joined(thread),
                    // No thread to be had.
                    Some(None) => check(),
                    // It was right before, and is loaded another way.
                    None => Ok(()),
                }
            })
        })
    }

    /// The ruleset that is enforced, where the kernel's room has forgotten it.
    ///
    /// # Errors
    ///
    /// Why the saved policy cannot be used, where its definition was not read.
    pub(super) fn enforced_ruleset(&self) -> Result<Ruleset, String> {
        let policy = self.enforced_policy().1;
        let compiled = || policy.map(compile);
        match self.is_from_saved() || policy.is_none() {
            // Read again, its definition says nothing of what the host was when it was compiled.
            true => self.saved_ruleset().or_else(|why| compiled().ok_or(why)),
            false => compiled().ok_or_else(|| "nothing is enforced".to_owned()),
        }
    }

    fn saved_ruleset(&self) -> Result<Ruleset, String> {
        self.ruleset_of(&self.read_saved()?)
            .map(|meant| meant.ruleset)
            .map_err(|error| error.to_string())
    }

    /// What a saved policy means now.
    ///
    /// # Errors
    ///
    /// Where neither its ruleset nor its texts can be used.
    pub(super) fn ruleset_of(&self, saved: &SavedPolicy) -> Result<SavedRuleset, Refused> {
        ruleset_of(saved, self.time(), |policy| {
            host_facts(policy, &self.kernel.slots())
        })
    }

    /// The file that holds what is enforced.
    pub(super) fn saved_in(&self) -> &'static str {
        match self.trial {
            Some(_) => CANDIDATE,
            None => POLICY,
        }
    }

    /// A failure of the kernel, with the place of the rule that it refused. The refused batch is written for whoever
    /// looks into it.
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

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Whether a compiled ruleset says what its policy says.
///
/// # Errors
///
/// The first difference.
pub(super) fn compare(policy: &Policy, ruleset: &Ruleset) -> Result<(), String> {
    let begin = Instant::now();
    let compared = check(policy, ruleset);
    debug!("checked in {:.1?}", begin.elapsed());
    let fault =
        |difference| format!("this is a fault of secgroupd, and nothing was changed: {difference}");
    compared.map(|_| ()).map_err(fault)
}
