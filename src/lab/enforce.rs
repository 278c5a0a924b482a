//! Instances enforce their groups. What is enforced already is not compiled, and instances that are to enforce the same
//! share one ruleset.

use super::enforced::{NodePolicy, compiled, load};
use super::node::{Node, NodeError, PATIENCE};
use crate::policy::Policy;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

/// Instances that are to enforce the same.
struct Alike<'n> {
    policy: Arc<Policy>,
    nodes: Vec<(&'n Node, Arc<Policy>)>,
}

/// Has each of these instances enforce its policy. Returns the names of those that enforce something else than before;
/// the others keep their generation, and nothing of them is touched. What one cannot do keeps no other from it.
pub fn enforce_all(wanted: Vec<(&Node, Arc<Policy>)>) -> (Vec<String>, Vec<NodeError>) {
    let mut lists: Vec<Alike> = Vec::new();
    for (node, policy) in wanted {
        if let Some(before) = node.enforced()
            && before.policy.enforces_like(&policy)
        {
            // The same rules, which may stand in other lines.
            node.set_enforced(NodePolicy { policy, ..before });
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
    Result<Receiver<Result<NodePolicy, String>>, NodeError>,
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
                    Ok(node.ask(move |inside| load(&mut inside.kernel, &ruleset, policy)))
                }
                Err(what) => Err(node.error(what.clone())),
            };
            (*node, answer)
        };
        self.nodes.iter().map(begin).collect()
    }
}
