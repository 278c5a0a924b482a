//! The ruleset of a saved policy.

use crate::policy::{HostFacts, Policy};
use crate::ruleset::{Ruleset, check, compile};
use crate::state::saved_policy::SavedPolicy;
use tracing::error;

/// Neither its ruleset nor its texts mean anything to this program.
#[derive(Debug, thiserror::Error)]
#[error("it is of secgroupd {program}, and this version refuses its definition: {why}")]
pub(super) struct Refused {
    /// The version that wrote it.
    program: String,
    /// The first error.
    why: String,
}

/// What a saved policy means now.
#[derive(Debug)]
pub(super) struct SavedRuleset {
    /// The ruleset to enforce.
    pub ruleset: Ruleset,
    /// The policy without the rules that have ended since it was saved, where there are any.
    pub without_ended: Option<Policy>,
}

/// The ruleset to enforce at this time, in seconds since 1970: the compiled one; or, of a program of another version or
/// where rules have ended since, the one that this program makes of the texts. `facts` is what it asks of the host then.
///
/// # Errors
///
/// [`Refused`], where neither can be had.
pub(super) fn ruleset_of(
    saved: &SavedPolicy,
    now: u64,
    facts: impl Fn(&Policy) -> HostFacts,
) -> Result<SavedRuleset, Refused> {
    let has_ended = saved.has_ended_rules(now);
    let as_it_is = |ruleset| SavedRuleset {
        ruleset,
        without_ended: None,
    };
    if let Some(ruleset) = saved.compiled().filter(|_| !has_ended) {
        return Ok(as_it_is(ruleset));
    }
    let compiled = saved.policy(now).and_then(|mut policy| {
        if has_ended {
            policy.host = facts(&policy);
        }
        let ruleset = compile(&policy);
        match check(&policy, &ruleset) {
            Ok(_) => Ok((policy, ruleset)),
            Err(difference) => Err(difference.to_string()),
        }
    });
    match compiled {
        Ok((policy, ruleset)) => Ok(SavedRuleset {
            ruleset,
            without_ended: has_ended.then_some(policy),
        }),
        // Refused by a stricter version, it is still the last good one.
        Err(why) => {
            if has_ended {
                error!(
                    "rules of the kept policy have ended and hold all the same, since this version refuses its definition: {why}"
                );
            }
            saved.decoded().map(as_it_is).ok_or_else(|| Refused {
                program: saved.program().to_owned(),
                why,
            })
        }
    }
}

#[cfg(test)]
mod tests;
