//! The policy that was enforced last, for whoever only asks.

use super::directory::State;
use super::latest_time;
use super::saved_policy::{POLICY, SavedPolicy};
use super::trial::Trial;
use crate::policy::Policy;
use crate::source::clock::now;
use crate::source::shown::shown;
use std::path::Path;

/// Reads the policy that was enforced last on this host: the candidate while its trial goes on, else the saved policy.
///
/// # Errors
///
/// A sentence, when none is saved, or it cannot be read.
pub fn last_enforced(directory: &Path) -> Result<Policy, String> {
    let path = directory.join(POLICY);
    let state = State::look(directory).map_err(|error| error.to_string())?;
    let state = state.ok_or_else(|| {
        let directory = shown(directory);
        format!("{directory} does not exist: none was enforced")
    })?;
    let now = latest_time::read(&state).unwrap_or(0).max(now());
    let trial = Trial::read(&state).filter(|trial| !trial.left().is_zero());
    if let Some(saved) = trial.and_then(|trial| trial.candidate(&state)) {
        return saved.policy(now);
    }
    let bytes = state.read(POLICY).map_err(|error| error.to_string())?;
    let saved = bytes
        .map(SavedPolicy::read)
        .ok_or_else(|| format!("no policy is kept in {}: none was enforced", shown(&path)))?;
    saved
        .map_err(|error| format!("{} cannot be used: {error}", shown(&path)))?
        .policy(now)
}
