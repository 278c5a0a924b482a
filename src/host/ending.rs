//! Rules of the enforced policy whose time has come: they are taken out, and nothing else is touched. The definition is
//! not read again: it may say something else by now, or be wrong.

use super::base::Host;
use super::commit::{Commit, NewPolicy, Source};
use super::enforce::Wanted;
use super::facts::host_facts;
use super::report::{Failure, RuleEnd, Summary};
use crate::policy::{Policy, RuleId, Until};
use crate::ruleset::{Generation, compile};
use crate::state::saved_policy::{Origin, SavedPolicy};
use std::time::Duration;

/// What has become of rules whose time has come.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedRules {
    /// The rules, in the order of the groups.
    pub rules: Vec<RuleId>,
    /// What is enforced now.
    pub summary: Summary,
}

impl Host {
    /// The time by which rules end, in seconds since 1970.
    pub fn time(&self) -> u64 {
        self.clock.now()
    }

    /// Writes the latest time that was seen, unless what is on the disk is new enough.
    pub fn keep_time(&mut self) {
        self.clock.keep(&self.state);
    }

    /// Writes the latest time that was seen.
    pub(super) fn write_time(&mut self) {
        self.clock.write(&self.state);
    }

    /// The time that is left until the next rule of the enforced policy ends; zero where one has to be taken out, `None`
    /// where none ends.
    pub fn next_end(&self) -> Option<Duration> {
        let ends = self.enforced.as_ref()?.ends?;
        Some(Duration::from_secs(ends.saturating_sub(self.time())))
    }

    /// Takes out the rules whose time has come; `None` where there are none.
    ///
    /// # Errors
    ///
    /// When the kernel fails, or the policy of another version cannot be read; then they still hold, and this is to be
    /// called again.
    pub fn end_rules(&mut self) -> Result<Option<EndedRules>, Failure> {
        if self.next_end().is_none_or(|left| !left.is_zero()) {
            return Ok(None);
        }
        // Before they end: no start may find an earlier time.
        self.write_time();
        let now = self.time();
        let (policy, rules) = self.policy_without_ended(now)?;
        let ruleset = compile(&policy);
        let origin = self.origin_without_ended(&policy, now);
        let Some(enforced) = &self.enforced else {
            return Ok(None);
        };
        let (said, from_saved) = (enforced.summary.clone(), enforced.from_saved);
        let in_force = !matches!(self.kernel.in_force(), Ok(None));
        let was = self.was(!in_force);
        let wanted = Wanted {
            policy: &policy,
            ruleset: &ruleset,
            at_least: Generation(self.highest).next(),
            is_first: !in_force,
        };
        let switched = self.enforce_wanted(&wanted)?;
        let commit = Commit {
            ends: policy.next_end().map(Until::seconds),
            summary: Summary {
                ending: RuleEnd::of(&policy),
                ..said
            },
            policy: Some(NewPolicy {
                policy,
                ruleset,
                was,
            }),
            source: Source::RulesEnded { origin, from_saved },
        };
        let summary = self.commit(Some(&switched), commit);
        Ok(Some(EndedRules { rules, summary }))
    }

    /// The enforced policy as it is from now on, and the rules that it loses.
    fn policy_without_ended(&self, now: u64) -> Result<(Policy, Vec<RuleId>), Failure> {
        let known = self.enforced_policy().1.cloned();
        let mut policy = match known {
            Some(policy) => policy,
            None => {
                let saved = self.read_saved().map_err(Failure::other)?;
                let policy = saved.policy(saved.at()).map_err(|why| {
                    Failure::other(format!(
                        "rules have ended and still hold: the policy that is enforced is of secgroupd {}, and this version refuses its \
                         definition: {why}. Save a definition that it takes",
                        saved.program()
                    ))
                });
                policy?
            }
        };
        let before: Vec<RuleId> = policy
            .rules_that_end()
            .filter(|rule| rule.ended.is_none())
            .map(|rule| rule.id.clone())
            .collect();
        policy.end_rules(now);
        let has_ended = |id: &RuleId| policy.rule(id).is_some_and(|rule| rule.ended.is_some());
        let rules = before.into_iter().filter(has_ended).collect();
        policy.host = host_facts(&policy, &self.kernel.slots());
        Ok((policy, rules))
    }

    /// What has to be saved for the next start; `None` for a candidate, whose file stays as it is while its trial lasts,
    /// and where the texts are in no file of ours. The next start ends these rules by itself.
    fn origin_without_ended(&self, policy: &Policy, now: u64) -> Option<Origin> {
        if self.trial.is_some() {
            return None;
        }
        match self.enforced.as_ref()?.origin.clone() {
            Some(origin) => Some(origin.as_of(policy, now)),
            None => Some(self.read_saved().ok()?.origin(policy, now)),
        }
    }

    /// What is on the disk of the policy that is enforced.
    pub(super) fn read_saved(&self) -> Result<SavedPolicy, String> {
        let bytes = self.state.read(self.saved_in());
        let bytes = bytes.map_err(|error| error.to_string())?;
        let saved = SavedPolicy::read(bytes.ok_or("the kept policy is gone")?);
        saved.map_err(|error| error.to_string())
    }
}
