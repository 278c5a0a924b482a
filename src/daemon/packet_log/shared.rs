//! What the thread and the daemon share.

use super::recent::Recent;
use crate::policy::Policy;
use parking_lot::Mutex;
use std::sync::Arc;

/// The last events, and what is enforced.
#[derive(Debug, Default)]
pub struct State {
    pub(super) recent: Recent,
    /// What is enforced: where its rules stand.
    pub(super) policy: Option<Arc<Policy>>,
    pub(super) generation: u64,
    pub(super) listens: bool,
    /// Why nobody listens.
    pub(super) failed: Option<String>,
}

/// The same, for both.
pub type Shared = Arc<Mutex<State>>;
