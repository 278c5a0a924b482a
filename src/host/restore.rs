//! What another program has changed or deleted in our table is enforced again.

use super::base::Host;
use super::enforce::Way;
use super::report::Failure;
use super::resume::Resumed;
use super::seed::seed;
use crate::netfilter::enforce::EnforceError;
use crate::ruleset::{Generation, Walker};

impl Host {
    /// Enforces again, whole, what this process enforces: another program has changed our table, or `deleted` it.
    /// Returns whether it enforces anything.
    ///
    /// # Errors
    ///
    /// When the kernel fails; then another program's change may stand.
    pub fn restore(&mut self, deleted: bool) -> Result<bool, Failure> {
        let Some(enforced) = &self.enforced else {
            return self.restore_nothing();
        };
        let next = Generation(enforced.summary.generation).next();
        let ruleset = match self.kernel.forget() {
            Some(known) => known,
            None => self.enforced_ruleset().map_err(Failure::other)?,
        };
        let way = match deleted {
            true => Way::Deleted,
            false => Way::Whole,
        };
        let switched = self.enforce_saved(&ruleset, next, way);
        if let Ok(switched) = &switched {
            self.commit_again(switched);
        }
        self.settle_hits();
        switched
            .map(|_| true)
            .map_err(|error| self.refused(error, self.enforced_policy().1))
    }

    /// Whether the enforced policy was sent as it was written down, because another program has `deleted` our table;
    /// then [`Self::restored`] has what is left to do.
    pub fn restore_written(&mut self, deleted: bool) -> bool {
        if self.enforced.is_none() {
            return false;
        }
        let switched = self.kernel.restore_written(deleted);
        if let Some(switched) = &switched {
            self.commit_again(switched);
        }
        switched.is_some()
    }

    /// Deferred work after [`Self::restore_written`]: registers flows that opened meanwhile. Returns whether the policy
    /// is in force: it may have been deleted again, or what was sent have answered an earlier deletion.
    ///
    /// Where the table had gone and can be ours now, so that this is not needed again, it is made anew.
    pub fn restored(&mut self, gone: bool) -> bool {
        self.before_change();
        self.kernel.look(|loaded| {
            if let Some(loaded) = loaded {
                let walker = Walker::new(&loaded.ruleset);
                seed(&self.kernel, |packet| walker.walk(packet).0.passes());
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
        if let Some(generation) = anew {
            self.commit_generation(generation);
        }
        true
    }

    /// Makes the messages ready that enforce the policy again, should another program delete the table.
    pub fn stand_by(&self) {
        if self.enforced.is_some() && !self.owns() {
            self.kernel.stand_by();
        }
    }

    /// Restores where this process has enforced nothing: what an earlier one saved, or that the host is closed.
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
}
