//! Which labels say across which interface a flow was opened: kept in the state directory, over restarts and boots.
//! Also what else verdicts ask of this host.

use super::host::Host;
use super::state::State;
use crate::netfilter::enforce::Kernel;
use crate::netfilter::links::links;
use crate::netfilter::slots::Slots;
use crate::policy::{HostFacts, InterfaceName, Interval, Policy};
use crate::ruleset::Ruleset;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

/// The file's name in the state directory.
const FILE: &str = "flow-labels.json";
/// The version of the file. A file of another version is not read: nobody knows then where live flows were opened.
const VERSION: u32 = 1;

/// How many interfaces that are not bound have labels of their own.
const UNBOUND: usize = 6;

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    /// Each interface, with the label of flows that were opened inbound across it and the label of outbound ones.
    slots: Slots,
}

/// Reads what earlier processes have assigned, and returns it. Without it nobody knows where live flows were opened, and the log
/// says so.
pub(super) fn take_over(state: &State, kernel: &Kernel) -> Slots {
    let read = state.read(FILE).map_err(|error| error.to_string());
    let slots = read.and_then(|bytes| {
        let Some(bytes) = bytes else { return Ok(None) };
        let file: File = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        match file.version {
            VERSION if file.slots.is_plain() => Ok(Some(file.slots)),
            VERSION => Err("a label stands in it twice, or is not one of 64 to 127".into()),
            other => Err(format!("it is of version {other}")),
        }
    });
    match slots {
        Ok(Some(slots)) => {
            kernel.know_slots(slots.clone());
            return slots;
        }
        Ok(None) => {}
        Err(why) => warn!(
            "{FILE} in the state directory cannot be used ({why}): nobody knows across which interfaces live flows were opened"
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
            Ok(()) if self.kernel.slots() == self.slots_kept => Ok(()),
            Ok(()) => {
                let slots = self.kernel.slots();
                let file = File {
                    version: VERSION,
                    slots: slots.clone(),
                };
                let bytes = serde_json::to_vec(&file).map_err(|error| error.to_string())?;
                self.state
                    .write_atomically(FILE, &bytes)
                    .map_err(|error| error.to_string())?;
                self.slots_kept = slots;
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
        self.slots_kept = Slots::default();
        if let Err(error) = self.state.remove(FILE) {
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
