//! Instances enforce their groups, by the same steps as on a VM: compile, check, and load, switch, delete. What is enforced already is not
//! compiled, and instances that are to enforce the same share one ruleset.

use super::node::{Inside, Node, NodeError, PATIENCE};
use crate::definition::printable;
use crate::netfilter::enforce::Kernel;
use crate::netfilter::native::Native;
use crate::policy::Policy;
use crate::ruleset::{Generation, Ruleset, check, compile};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
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

/// Instances that are to enforce the same.
struct Alike<'n> {
    policy: Arc<Policy>,
    nodes: Vec<(&'n Node, Arc<Policy>)>,
}

/// Has each of these instances enforce its policy. Gives the names of those that enforce something else than before; the others keep
/// their generation, and nothing of them is touched. What one cannot do keeps no other from it.
pub fn enforce_all(wanted: Vec<(&Node, Arc<Policy>)>) -> (Vec<String>, Vec<NodeError>) {
    let mut lists: Vec<Alike> = Vec::new();
    for (node, policy) in wanted {
        if let Some(before) = node.enforced()
            && before.policy.enforces_like(&policy)
        {
            // The same rules, which may stand in other lines.
            node.set_enforced(Enforced { policy, ..before });
            continue;
        }
        let alike = lists
            .iter_mut()
            .find(|list| list.policy.enforces_like(&policy));
        match alike {
            Some(list) => list.nodes.push((node, policy)),
            None => lists.push(Alike {
                policy: policy.clone(),
                nodes: vec![(node, policy)],
            }),
        }
    }
    let begun = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(lists.len()) {
            scope.spawn(|| {
                while let Some(list) = lists.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let loading = list.begin();
                    begun.lock().extend(loading);
                }
            });
        }
    });
    let (mut changed, mut errors) = (Vec::new(), Vec::new());
    for (node, answer) in begun.lock().drain(..) {
        let loaded = answer.and_then(|answer| {
            let loaded = node.wait(&answer, PATIENCE)?;
            loaded.map_err(|what| node.error(what))
        });
        match loaded {
            Ok(enforced) => {
                node.set_enforced(enforced);
                changed.push(node.name().to_owned());
            }
            Err(error) => errors.push(error),
        }
    }
    (changed, errors)
}

/// A node that is loading, and its answer.
type Loading<'n> = (
    &'n Node,
    Result<Receiver<Result<Enforced, String>>, NodeError>,
);

impl<'n> Alike<'n> {
    /// Compiles once, and has each of the nodes begin to load.
    fn begin(&self) -> Vec<Loading<'n>> {
        let ruleset = compiled(&self.policy).map(Arc::new);
        let begin = |(node, policy): &(&'n Node, Arc<Policy>)| {
            let policy = policy.clone();
            let answer = match &ruleset {
                Ok(ruleset) => {
                    let ruleset = ruleset.clone();
                    Ok(node.ask(move |inside| load(inside, &ruleset, policy)))
                }
                Err(what) => Err(node.error(what.clone())),
            };
            (*node, answer)
        };
        self.nodes.iter().map(begin).collect()
    }
}

fn compiled(policy: &Policy) -> Result<Ruleset, String> {
    let ruleset = compile(policy);
    check(policy, &ruleset).map_err(|difference| {
        format!("this is a fault of secgroupd, and nothing was changed: {difference}")
    })?;
    Ok(ruleset)
}

/// Enforces a ruleset in this namespace; where that fails, what was enforced still is.
fn load(inside: &mut Inside, ruleset: &Ruleset, policy: Arc<Policy>) -> Result<Enforced, String> {
    let kernel = match inside.kernel.take() {
        Some(kernel) => kernel,
        None => Kernel::new(Native::open().map_err(|error| error.to_string())?)
            .map_err(|error| error.to_string())?,
    };
    let start = SystemTime::now();
    let result = kernel.enforce_with(ruleset, Generation(1), || {});
    inside.kernel = Some(kernel);
    let done = result.map_err(|error| printable(&error.to_string()))?;
    Ok(Enforced {
        policy,
        generation: done.generation.0,
        since: start + done.switched_after,
        switched_after_ms: done.switched_after.as_secs_f64() * 1000.0,
    })
}
