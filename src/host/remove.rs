//! The policy is taken off this host, on request.

use super::base::Host;
use crate::netfilter::enforce::EnforceError;

impl Host {
    /// Takes the policy off this host. Returns whether there was one.
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
        self.forget_labels();
        Ok(removed)
    }
}
