//! Which labels say across which interface a flow was opened: assigned here, saved by [`flow_labels`].
//! Also what else verdicts ask of this host.

use super::host::Host;
use crate::netfilter::enforce::Kernel;
use crate::netfilter::links::links;
use crate::netfilter::slots::Slots;
use crate::policy::{HostFacts, InterfaceName, Interval, Policy};
use crate::ruleset::Ruleset;
use crate::state::directory::State;
use crate::state::flow_labels;
use tracing::{debug, warn};

/// How many interfaces that are not bound have labels of their own.
const UNBOUND: usize = 6;

/// Reads what earlier processes have assigned, and returns it. Without it nobody knows where live flows were opened, and the log
/// says so.
pub(super) fn take_over(state: &State, kernel: &Kernel) -> Slots {
    match flow_labels::read(state) {
        Ok(Some(slots)) => {
            kernel.know_slots(slots.clone());
            return slots;
        }
        Ok(None) => {}
        Err(why) => warn!(
            "{} in the state directory cannot be used ({why}): nobody knows across which interfaces live flows were opened",
            flow_labels::FILE
        ),
    }
    Slots::default()
}

impl Host {
    /// Assigns labels to the interfaces that are new in a ruleset. Writes them down before the ruleset is enforced: a later
    /// process must not take them for another interface's.
    pub(super) fn assign_slots(&mut self, ruleset: &Ruleset) -> Result<(), String> {
        let assigned = self.kernel.assign_slots(ruleset);
        match assigned.map_err(|error| error.to_string()) {
            // Also what could not be written down the last time.
            Ok(()) if self.kernel.slots() == self.slots_saved => Ok(()),
            Ok(()) => {
                let slots = self.kernel.slots();
                flow_labels::write(&self.state, &slots)?;
                self.slots_saved = slots;
                Ok(())
            }
            // Enforcing says so, and goes on.
            Err(error) => {
                debug!("{error}");
                Ok(())
            }
        }
    }
}

impl Host {
    /// Forgets all labels, here and on disk: the policy has gone for good.
    pub(super) fn forget_slots(&mut self) {
        self.kernel.forget_slots();
        self.slots_saved = Slots::default();
        if let Err(error) = flow_labels::remove(&self.state) {
            warn!("{error}");
        }
    }
}

/// What verdicts ask of this host beside the definition.
pub(super) fn host_facts(policy: &Policy, slots: &Slots) -> HostFacts {
    let mut facts = HostFacts::default();
    if let Some(ports) = ephemeral_ports() {
        facts.ephemeral_ports = ports;
    }
    // Where they cannot be listed none has labels of its own.
    let links = links().unwrap_or_default();
    let unbound = links
        .iter()
        .filter(|link| link.name != "lo" && link.master.is_none());
    let names = unbound.filter_map(|link| InterfaceName::parse(&link.name).ok());
    facts.unbound = names
        .filter(|name| !name.is_glob() && policy.binding(&name.to_string()).is_none())
        .take(UNBOUND)
        .collect();
    facts.unbound.sort_unstable();
    let is_bound = |name: &InterfaceName| {
        policy
            .bindings
            .iter()
            .any(|binding| binding.interface == *name)
    };
    let known = slots
        .interfaces()
        .filter(|name| !is_bound(name) && !facts.unbound.contains(name));
    facts.known = known.cloned().collect();
    facts
}

/// `net.ipv4.ip_local_port_range`, which IPv6 has too.
fn ephemeral_ports() -> Option<Interval<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first <= last).then_some(Interval { first, last })
}
