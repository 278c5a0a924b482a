//! What an instance enforces, and how it comes to: by the same steps as on a VM, compile, check, and load, switch,
//! delete.

use crate::definition::printable;
use crate::netfilter::enforce::Kernel;
use crate::netfilter::native::Native;
use crate::policy::Policy;
use crate::ruleset::{Generation, Ruleset, check, compile};
use std::sync::Arc;
use std::time::SystemTime;

/// What an instance enforces.
#[derive(Debug, Clone)]
pub struct NodePolicy {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its generation.
    pub generation: u64,
    /// Since when that is in force.
    pub since: SystemTime,
    /// How long load and switch took, in ms.
    pub switched_after_ms: f64,
}

/// Its ruleset, which was held against it.
pub fn compiled(policy: &Policy) -> Result<Ruleset, String> {
    let ruleset = compile(policy);
    check(policy, &ruleset).map_err(|difference| {
        format!("this is a fault of secgroupd, and nothing was changed: {difference}")
    })?;
    Ok(ruleset)
}

/// Enforces a ruleset in this namespace; where that fails, what was enforced still is.
pub fn load(
    known: &mut Option<Kernel>,
    ruleset: &Ruleset,
    policy: Arc<Policy>,
) -> Result<NodePolicy, String> {
    let kernel = match known.take() {
        Some(kernel) => kernel,
        None => Kernel::new(Native::open().map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?,
    };
    let start = SystemTime::now();
    let result = kernel.enforce_with(ruleset, Generation(1), || {});
    *known = Some(kernel);
    let done = result.map_err(|error| printable(&error.to_string()))?;
    Ok(NodePolicy {
        policy,
        generation: done.generation.0,
        since: start + done.switched_after,
        switched_after_ms: done.switched_after.as_secs_f64() * 1000.0,
    })
}
