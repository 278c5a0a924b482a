//! Which labels say across which interface a flow was opened: assigned here, saved by [`flow_labels`].

use super::base::Host;
use crate::netfilter::slots::Slots;
use crate::ruleset::Ruleset;
use crate::state::flow_labels;
use tracing::{debug, warn};

impl Host {
    /// Assigns labels to the interfaces that are new in a ruleset. Writes them down before the ruleset is enforced: a
    /// later process must not take them for another interface's.
    pub(super) fn assign_labels(&mut self, ruleset: &Ruleset) -> Result<(), String> {
        let assigned = self.kernel.assign_slots(ruleset);
        match assigned.map_err(|error| error.to_string()) {
            // Also what could not be written down the last time.
            Ok(()) if self.kernel.slots() == self.labels_saved => Ok(()),
            Ok(()) => {
                let slots = self.kernel.slots();
                flow_labels::write(&self.state, &slots)?;
                self.labels_saved = slots;
                Ok(())
            }
            // Enforcing says so, and goes on.
            Err(error) => {
                debug!("{error}");
                Ok(())
            }
        }
    }

    /// Forgets all labels, here and on disk: the policy has gone for good.
    pub(super) fn forget_labels(&mut self) {
        self.kernel.forget_slots();
        self.labels_saved = Slots::default();
        if let Err(error) = flow_labels::remove(&self.state) {
            warn!("{error}");
        }
    }
}
