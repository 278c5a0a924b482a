//! An instance, a host outside or the router: a network namespace, and the one thread that stands in it.

use super::enforced::NodePolicy;
use super::listen::Servers;
use super::plan::NodePlan;
use super::route::Route;
use crate::netfilter::enforce::Kernel;
use nix::sched::{CloneFlags, unshare};
use parking_lot::Mutex;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// The longest that anything in a node may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce(&mut Inside) + Send>;

/// Something of a lab that could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{node}: {what}")]
pub struct NodeError {
    /// Where.
    pub node: String,
    /// What.
    pub what: String,
}

/// What the node's thread has.
pub struct Inside {
    /// Links, addresses and routes.
    pub route: Route,
    /// nf_tables, once a policy was enforced.
    pub kernel: Option<Kernel>,
}

/// A node. Dropped, its thread ends, and with it all that nobody else holds open.
#[derive(Debug)]
pub struct Node {
    name: String,
    plan: Mutex<NodePlan>,
    namespace: OwnedFd,
    jobs: Sender<Job>,
    enforced: Mutex<Option<NodePolicy>>,
    listening: Mutex<Option<Servers>>,
}

impl Node {
    /// A namespace with nothing but `lo`, which is being made when this returns.
    pub fn begin(plan: NodePlan) -> Beginning {
        let (jobs, todo) = channel::<Job>();
        let (ready, made) = channel();
        let name = plan.name.clone();
        let thread = std::thread::Builder::new().name(name);
        let spawned = thread.spawn(move || match enter() {
            Ok((namespace, mut inside)) => {
                let _ = ready.send(Ok(namespace));
                while let Ok(job) = todo.recv() {
                    job(&mut inside);
                }
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        });
        Beginning {
            plan,
            jobs,
            made: spawned.map(|_| made).map_err(|error| error.to_string()),
        }
    }

    /// The id of the instance, or the name of the host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was made by.
    pub fn plan(&self) -> NodePlan {
        self.plan.lock().clone()
    }

    /// Its network namespace.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// What it enforces.
    pub fn enforced(&self) -> Option<NodePolicy> {
        self.enforced.lock().clone()
    }

    /// Notes what it enforces.
    pub fn set_enforced(&self, enforced: NodePolicy) {
        *self.enforced.lock() = Some(enforced);
    }

    /// Has what is planned listen, in place of what did. Returns whether that is anything else.
    /// Fails where a program that was started by hand has the port.
    pub fn serve(&self, plan: NodePlan) -> Result<bool, NodeError> {
        let same = self.plan.lock().services == plan.services;
        if same && self.listening.lock().is_some() {
            return Ok(false);
        }
        // What listened so far must have let go before.
        *self.listening.lock() = None;
        let (name, services) = (plan.name.clone(), plan.services.clone());
        let result = self.call(move |_| Servers::open(&name, &services))?;
        *self.plan.lock() = plan;
        *self.listening.lock() = Some(result.map_err(|what| self.error(what))?);
        Ok(true)
    }

    /// Does something in the namespace, and waits for it.
    pub fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inside) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        self.wait(&self.ask(work), PATIENCE)
    }

    /// Begins to do something in the namespace.
    pub fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inside) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (done, answer) = channel();
        // If the thread has gone the channel is closed.
        let _ = self.jobs.send(Box::new(move |inside: &mut Inside| {
            let _ = done.send(work(inside));
        }));
        answer
    }

    /// Begins to do something in the namespace that may take long, in a thread of its own: the node's goes on
    /// meanwhile.
    pub fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Receiver<T> {
        let (done, answer) = channel();
        let thread = std::thread::Builder::new().name(format!("{} tries", self.name));
        let _ = self.jobs.send(Box::new(move |_| {
            // A thread begins where the one is that starts it. If none can be had, the channel is closed.
            let _ = thread.spawn(move || {
                let _ = done.send(work());
            });
        }));
        answer
    }

    /// Waits for what was begun.
    pub fn wait<T>(&self, answer: &Receiver<T>, patience: Duration) -> Result<T, NodeError> {
        answer.recv_timeout(patience).map_err(|error| {
            self.error(match error {
                RecvTimeoutError::Timeout => {
                    format!("did not answer within {} s", patience.as_secs())
                }
                RecvTimeoutError::Disconnected => "its thread has ended".into(),
            })
        })
    }

    /// An error of this node.
    pub fn error(&self, what: impl Into<String>) -> NodeError {
        NodeError {
            node: self.name.clone(),
            what: what.into(),
        }
    }
}

/// A node whose namespace is being made: many are made at once.
pub struct Beginning {
    plan: NodePlan,
    jobs: Sender<Job>,
    made: Result<Receiver<Result<OwnedFd, String>>, String>,
}

impl Beginning {
    /// Waits for it.
    pub fn finish(self) -> Result<Node, NodeError> {
        let name = self.plan.name.clone();
        let error = |what: String| NodeError {
            node: name.clone(),
            what: format!("cannot make a network namespace: {what}"),
        };
        let made = self.made.map_err(error)?.recv_timeout(PATIENCE);
        let made = made.map_err(|_| error("it takes too long".into()))?;
        Ok(Node {
            namespace: made.map_err(error)?,
            name: name.clone(),
            plan: Mutex::new(self.plan),
            jobs: self.jobs,
            enforced: Mutex::default(),
            listening: Mutex::default(),
        })
    }
}

/// Moves this thread into a namespace of its own.
fn enter() -> Result<(OwnedFd, Inside), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
    let namespace = File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
    settings();
    let route = Route::open().map_err(|error| error.to_string())?;
    // The loopback interface is the first of each namespace.
    route.up(1).map_err(|error| error.to_string())?;
    let inside = Inside {
        route,
        kernel: None,
    };
    Ok((namespace.into(), inside))
}

/// Addresses count at once, nobody asks for a router, ping needs no privilege, and a closed port is answered as often
/// as it is tried. What this kernel does not have is left.
fn settings() {
    for scope in ["all", "default"] {
        for (knob, value) in [
            ("disable_ipv6", "0"),
            ("accept_dad", "0"),
            ("accept_ra", "0"),
            ("router_solicitations", "0"),
        ] {
            set(&format!("ipv6/conf/{scope}/{knob}"), value);
        }
        set(&format!("ipv4/conf/{scope}/rp_filter"), "0");
    }
    set("ipv4/ping_group_range", "0 0");
    set("ipv4/icmp_ratelimit", "0");
    set("ipv4/icmp_msgs_per_sec", "1000000");
    set("ipv6/icmp/ratelimit", "0");
}

/// Sets what is below `/proc/sys/net`, of this thread's namespace.
pub fn set(path: &str, value: &str) {
    let _ = std::fs::write(format!("/proc/sys/net/{path}"), value);
}

/// What is set there.
pub fn get(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/{path}")).ok()?;
    Some(text.trim().to_owned())
}
