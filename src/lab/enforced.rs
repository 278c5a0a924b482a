//! An instance enforces its groups, by the same steps as on a VM: compile, check, and load, switch, delete.

use super::node::Inside;
use crate::definition::printable;
use crate::netfilter::enforce::Kernel;
use crate::netfilter::native::Native;
use crate::policy::Policy;
use crate::ruleset::{Generation, check, compile};
use std::sync::Arc;
use std::time::SystemTime;

/// What an instance enforces.
#[derive(Debug, Clone)]
pub struct Enforced {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Its generation.
    pub generation: u64,
    /// Since when that is in force.
    pub since: SystemTime,
    /// How long load and switch took, in ms.
    pub switched_after_ms: f64,
}

/// Enforces a policy in this namespace. Gives nothing where what is in force would be the same.
///
/// # Errors
///
/// One line; what was enforced still is.
pub fn enforce(inside: &mut Inside, policy: &Arc<Policy>) -> Result<Option<Enforced>, String> {
    let ruleset = compile(policy);
    // Rulesets are made of numbers, texts and lists: they can always be written down, and equal ones are equal then.
    let bytes = postcard::to_stdvec(&ruleset).map_err(|error| error.to_string())?;
    if inside.kernel.is_some() && inside.ruleset == bytes {
        return Ok(None);
    }
    check(policy, &ruleset).map_err(|difference| {
        format!("this is a fault of secgroupd, and nothing was changed: {difference}")
    })?;
    let kernel = match inside.kernel.take() {
        Some(kernel) => kernel,
        None => Kernel::new(Native::open().map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?,
    };
    let start = SystemTime::now();
    let result = kernel.enforce_with(&ruleset, Generation(1), || {});
    inside.kernel = Some(kernel);
    let done = result.map_err(|error| printable(&error.to_string()))?;
    inside.ruleset = bytes;
    Ok(Some(Enforced {
        policy: policy.clone(),
        generation: done.generation.0,
        since: start + done.switched_after,
        switched_after_ms: done.switched_after.as_secs_f64() * 1000.0,
    }))
}
