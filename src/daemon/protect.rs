//! Who may change what is enforced, and what is done about others who did.

use super::first;
use super::host::{Host, Standing};
use super::report::Failure;
use super::resume::Resumed;
use crate::netfilter::enforce::EnforceError;
use crate::netfilter::events::tables::TableEvents;
use crate::ruleset::{Generation, Walker};
use nix::errno::Errno;
use std::os::fd::BorrowedFd;
use tracing::warn;

impl Host {
    /// Enforces again, whole, what this process enforces: another program has changed our table, or `deleted` it. Gives whether
    /// it enforces anything.
    ///
    /// # Errors
    ///
    /// When the kernel fails; then another program's change may stand.
    pub fn restore(&mut self, deleted: bool) -> Result<bool, Failure> {
        let Some(standing) = &self.enforced else {
            return self.restore_nothing();
        };
        let next = Generation(standing.summary.generation).next();
        let ruleset = match self.kernel.forget() {
            Some(known) => known,
            None => self.enforced_ruleset().map_err(Failure::other)?,
        };
        let enforced = self.enforce_saved(&ruleset, next, deleted);
        self.settle_hits();
        let enforced = enforced.map_err(|error| {
            let policy = self
                .enforced
                .as_ref()
                .and_then(|standing| standing.policy.as_ref());
            self.refused(error, policy)
        })?;
        if let Some(Standing { summary, .. }) = &mut self.enforced {
            summary.generation = enforced.generation.0;
            summary.switched_after_ms = enforced.switched_after.as_secs_f64() * 1000.0;
        }
        Ok(true)
    }

    /// Whether the enforced policy was sent as it was written down, because another program has `deleted` our table; then
    /// [`Self::restored`] has what is left to do.
    pub fn restore_written(&mut self, deleted: bool) -> bool {
        let Some(standing) = &mut self.enforced else {
            return false;
        };
        let Some(enforced) = self.kernel.restore_written(deleted) else {
            return false;
        };
        standing.summary.generation = enforced.generation.0;
        standing.summary.switched_after_ms = enforced.switched_after.as_secs_f64() * 1000.0;
        true
    }

    /// What has time until a policy is enforced again: what opened meanwhile is made known to connection tracking. Gives whether
    /// the policy is in force indeed: it may have been deleted again, or what was sent have answered an earlier deletion.
    ///
    /// Where the table had gone and can be ours now, so that this is not needed again, it is made anew.
    pub fn restored(&mut self, gone: bool) -> bool {
        self.before_change();
        self.kernel.look(|loaded| {
            if let Some(loaded) = loaded {
                let walker = Walker::new(&loaded.ruleset);
                first::seed(|packet| walker.walk(packet).0.passes());
            }
        });
        if !self.kernel.stands() {
            return false;
        }
        let anew = if gone { self.kernel.make_anew() } else { None };
        if anew.is_none() {
            self.kernel.clear_left_over();
        }
        self.settle_hits();
        if let (Some(standing), Some(generation)) = (&mut self.enforced, anew) {
            standing.summary.generation = generation.0;
        }
        true
    }

    /// Writes down what is enforced, for the case that another program deletes it.
    pub fn stand_by(&self) {
        if self.enforced.is_some() && !self.owns() {
            self.kernel.stand_by();
        }
    }

    /// The same where this process has enforced nothing: what an earlier one has, or that the host is closed.
    fn restore_nothing(&mut self) -> Result<bool, Failure> {
        let failed = |error: EnforceError| Failure::other(error.to_string());
        if self.closed {
            return self.close().map_err(failed);
        }
        match self.kernel.in_force() {
            Ok(None) => {
                let resumed = self.resume().map_err(Failure::other)?;
                self.recollect();
                Ok(resumed != Resumed::Nothing)
            }
            _ => Ok(false),
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
    pub fn adopt(&mut self) {
        let before = self.kernel.owns();
        match self.kernel.adopt() {
            Ok(owned) => self.adopted = owned && !before,
            Err(error) => warn!("what is enforced is not protected: {error}"),
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
}
