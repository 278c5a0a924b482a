//! The ruleset of a saved policy.

use crate::ruleset::{Ruleset, check, compile};
use crate::state::saved_policy::SavedPolicy;

/// Neither its ruleset nor its texts mean anything to this program.
#[derive(Debug, thiserror::Error)]
#[error("it is of secgroupd {program}, and this version refuses its definition: {why}")]
pub(super) struct Refused {
    /// The version that wrote it.
    program: String,
    /// The first error.
    why: String,
}

/// The ruleset to enforce: the compiled one, or of a program of another version the one that this makes of the texts.
///
/// # Errors
///
/// [`Refused`], where neither can be had.
pub(super) fn ruleset_of(saved: &SavedPolicy) -> Result<Ruleset, Refused> {
    if let Some(ruleset) = saved.compiled() {
        return Ok(ruleset);
    }
    let compiled = saved.policy().and_then(|policy| {
        let ruleset = compile(&policy);
        match check(&policy, &ruleset) {
            Ok(_) => Ok(ruleset),
            Err(difference) => Err(difference.to_string()),
        }
    });
    match compiled {
        Ok(ruleset) => Ok(ruleset),
        // Refused by a stricter version, it is still the last good one.
        Err(why) => saved.decoded().ok_or_else(|| Refused {
            program: saved.program().to_owned(),
            why,
        }),
    }
}

#[cfg(test)]
mod tests;
