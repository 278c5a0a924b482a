//! How often TCP 25 was unblocked: the account has so many changes, for good.
//!
//! A change from blocked to unblocked, once enforced, spends one; again after every re-block. Planning spends
//! nothing: only whoever enforces a plan keeps its ledger.

use crate::definition::{Diagnostic, Severity};
use crate::policy::{Account, InstanceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What was spent, and who is unblocked now. Kept in the state directory as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Changes to unblocked, over all instances, ever.
    pub spent: u32,
    /// The instances whose TCP 25 is unblocked.
    pub unblocked: BTreeSet<InstanceId>,
}

/// A file that holds no ledger. Nobody guesses how many unblocks are left.
#[derive(Debug, thiserror::Error)]
#[error("the unblock ledger {} is damaged ({error}): mend it, or remove it to begin at 0 spent", .path.display())]
pub struct Damaged {
    path: PathBuf,
    error: serde_json::Error,
}

/// What enforcing a definition would do to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerPlan {
    /// The ledger after it is enforced; its `unblocked` is what the policies are made with.
    pub ledger: Ledger,
    /// A request over the limit: the instance stays blocked.
    pub refused: Vec<Diagnostic>,
}

impl Ledger {
    /// What the file at `path` holds, if there is one: an empty ledger is that of a new host.
    pub fn kept(bytes: Option<Vec<u8>>, path: &Path) -> Result<Self, Damaged> {
        let Some(bytes) = bytes else {
            return Ok(Ledger::default());
        };
        serde_json::from_slice(&bytes).map_err(|error| Damaged {
            path: path.to_owned(),
            error,
        })
    }

    /// What enforcing this account's definition would do. Requests are met in the order of the definition;
    /// an instance that is unblocked already stays so and spends nothing.
    pub fn plan(&self, account: &Account) -> LedgerPlan {
        let limit = account.platform.unblocks_per_account;
        let mut ledger = Ledger {
            spent: self.spent,
            unblocked: BTreeSet::new(),
        };
        let mut refused = Vec::new();
        for instance in account
            .instances
            .iter()
            .filter(|instance| instance.smtp_request)
        {
            if !self.unblocked.contains(&instance.id) {
                if ledger.spent >= limit {
                    let message = format!(
                        "{}: TCP 25 of {} stays blocked: {} of the account's {limit} unblocks are spent",
                        instance.place, instance.id, ledger.spent
                    );
                    let diagnostic =
                        Diagnostic::new(Severity::Refused, "unblock-limit", None, message);
                    refused.push(
                        diagnostic.help(
                            "remove `smtp: unblocked` there; the rest of the definition holds",
                        ),
                    );
                    continue;
                }
                ledger.spent += 1;
            }
            ledger.unblocked.insert(instance.id.clone());
        }
        LedgerPlan { ledger, refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse;
    use crate::policy::validate;

    fn account(unblocked: &[&str], blocked: &[&str], options: &str) -> Account {
        let mut text = format!("version: 1\n{options}\ninstances:\n");
        for (names, smtp) in [(unblocked, "unblocked"), (blocked, "blocked")] {
            for name in names {
                text += &format!(
                    "  ins-{name}: {{ billing: prepaid, smtp: {smtp}, interfaces: {{ eth0: {{ security_groups: [] }} }} }}\n"
                );
            }
        }
        let parsed = parse([("x.yaml", text.as_str())]);
        validate(&parsed.definition, parsed.diagnostics)
            .account
            .expect("valid")
    }

    #[test]
    fn five_for_good_and_again_after_every_re_block() {
        let mut ledger = Ledger::default();
        for round in 1..=5 {
            let plan = ledger.plan(&account(&["a"], &[], ""));
            assert_eq!((plan.ledger.spent, plan.refused.len()), (round, 0));
            // Planning again, or enforcing the same again, spends nothing.
            assert_eq!(
                plan.ledger.plan(&account(&["a"], &[], "")).ledger,
                plan.ledger
            );
            ledger = plan.ledger.plan(&account(&[], &["a"], "")).ledger;
            assert!(ledger.unblocked.is_empty());
        }
        let plan = ledger.plan(&account(&["a"], &["b"], ""));
        assert_eq!(plan.ledger.spent, 5);
        assert!(plan.ledger.unblocked.is_empty());
        assert!(
            plan.refused[0].message.contains("ins-a")
                && plan.refused[0].message.contains("5 of the account's 5")
        );
    }

    #[test]
    fn counted_over_all_instances() {
        let plan = Ledger::default().plan(&account(
            &["a", "b", "c"],
            &[],
            "platform: { smtp: { unblocks_per_account: 2 } }",
        ));
        let unblocked: Vec<_> = plan
            .ledger
            .unblocked
            .iter()
            .map(InstanceId::as_str)
            .collect();
        assert_eq!(unblocked, ["ins-a", "ins-b"]);
        assert_eq!(plan.refused.len(), 1);
        // The one that waits is served when the limit rises, and the others are not asked to pay again.
        let plan = plan.ledger.plan(&account(
            &["a", "b", "c"],
            &[],
            "platform: { smtp: { unblocks_per_account: 3 } }",
        ));
        assert_eq!((plan.ledger.spent, plan.refused.len()), (3, 0));
    }
}
