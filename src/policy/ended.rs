//! Rules whose time has come: each matches nothing from then on, and keeps its place and its number.

use super::account::Account;
use super::host::Policy;
use super::id::GroupId;
use super::rule::{Direction, EndedRule, Rule, SecurityGroup};
use super::until::Until;
use std::collections::HashMap;
use std::sync::Arc;

impl Rule {
    /// Ends it, if its time has come, in seconds since 1970.
    fn end(&mut self, now: u64) {
        if self.ends().is_some_and(|until| until.has_come(now)) {
            let remote = self.remote.take();
            self.ended = Some(EndedRule { remote });
        }
    }

    /// When it ends, if it has not.
    pub fn ends(&self) -> Option<Until> {
        self.until.filter(|_| self.ended.is_none())
    }
}

impl SecurityGroup {
    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.inbound.iter().chain(&self.outbound)
    }

    /// When the next of its rules ends.
    fn next_end(&self) -> Option<Until> {
        self.all_rules().filter_map(Rule::ends).min()
    }

    /// The same group, with the rules ended whose time has come.
    fn ended(group: &Arc<Self>, now: u64) -> Arc<Self> {
        let mut group = group.clone();
        if group.next_end().is_some_and(|until| until.has_come(now)) {
            let SecurityGroup {
                inbound, outbound, ..
            } = Arc::make_mut(&mut group);
            inbound
                .iter_mut()
                .chain(outbound)
                .for_each(|rule| rule.end(now));
        }
        group
    }
}

impl Account {
    /// Ends the rules whose time has come, in seconds since 1970. What has ended stays so.
    pub fn end_rules(&mut self, now: u64) {
        for group in self.groups.values_mut() {
            *group = SecurityGroup::ended(group, now);
        }
    }

    /// When the next rule of any group ends.
    pub fn next_end(&self) -> Option<Until> {
        let groups = self.groups.values();
        groups.filter_map(|group| group.next_end()).min()
    }
}

impl Policy {
    /// Ends the rules whose time has come, in seconds since 1970. What has ended stays so.
    pub fn end_rules(&mut self, now: u64) {
        // A group that is bound twice stays one.
        let mut ended: HashMap<GroupId, Arc<SecurityGroup>> = HashMap::new();
        let bindings = self.bindings.iter_mut();
        for group in bindings.flat_map(|binding| &mut binding.groups) {
            let known = ended.entry(group.id.clone());
            *group = known
                .or_insert_with(|| SecurityGroup::ended(group, now))
                .clone();
        }
    }

    /// When the next rule of a bound group ends.
    pub fn next_end(&self) -> Option<Until> {
        let groups = self.groups().into_iter();
        groups.filter_map(|group| group.next_end()).min()
    }

    /// The rules of bound groups that have an end, whether or not it has come.
    pub fn rules_that_end(&self) -> impl Iterator<Item = &Rule> {
        let groups = self.groups().into_iter();
        let rules = groups.flat_map(|group| {
            [Direction::Inbound, Direction::Outbound]
                .into_iter()
                .flat_map(|direction| group.rules(direction))
        });
        rules.filter(|rule| rule.until.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::parse;
    use crate::policy::{Packet, Protocol, Reason, RuleId, Verdict, validate};
    use crate::ruleset::{check, compile};

    const TEXT: &str = "version: 1
security_groups:
  sg-a:
    inbound:
      - { action: refuse, protocol: tcp, port: 22, source: 192.0.2.9, until: 2001-09-09T01:46:42Z }
      - { action: allow, protocol: tcp, port: 22, source: 192.0.2.9, until: 2001-09-09T01:46:41Z }
      - { action: refuse, protocol: tcp, port: 22, source: any }
instances:
  ins-a: { interfaces: { eth0: { security_groups: [sg-a] }, eth1: { security_groups: [sg-a] } } }
";

    fn account() -> Account {
        let parsed = parse([("a.yaml", TEXT)]);
        let validated = validate(&parsed.definition, parsed.diagnostics);
        validated.account.expect("it is valid")
    }

    fn policy_of(account: &Account) -> Policy {
        let instance = account.instances[0].id.clone();
        account.policy(&instance, &Default::default()).unwrap()
    }

    /// The index of the rule that decides, and whether it passes.
    fn decides(policy: &Policy) -> (u32, Verdict) {
        let remote = "192.0.2.9".parse().unwrap();
        let packet = Packet::opening(Direction::Inbound, "eth0", Protocol::TCP, remote, 22);
        let decision = policy.decide(&packet);
        match decision.reason {
            Reason::Rule(RuleId { index, .. }) => (index, decision.verdict),
            reason => panic!("{reason:?} decides"),
        }
    }

    /// A rule that has ended decides nothing, the others keep their numbers, and the ruleset says the same.
    #[test]
    fn rules_end_one_after_the_other_and_keep_their_numbers() {
        let account = account();
        let at = |now| {
            let mut policy = policy_of(&account);
            policy.end_rules(now);
            let ruleset = compile(&policy);
            check(&policy, &ruleset).expect("the ruleset says what the policy says");
            (decides(&policy), policy.next_end().map(Until::seconds))
        };
        let billion = 1_000_000_000;
        assert_eq!(at(0), ((0, Verdict::Refuse), Some(billion + 1)));
        assert_eq!(at(billion), ((0, Verdict::Refuse), Some(billion + 1)));
        assert_eq!(at(billion + 1), ((0, Verdict::Refuse), Some(billion + 2)));
        assert_eq!(at(billion + 2), ((2, Verdict::Refuse), None));
    }

    #[test]
    fn what_has_ended_stays_so_when_the_clock_goes_back() {
        let mut account = account();
        account.end_rules(2_000_000_000);
        let first = account.groups.values().next().unwrap().clone();
        account.end_rules(0);
        assert!(Arc::ptr_eq(&first, account.groups.values().next().unwrap()));
        assert_eq!(account.next_end(), None);
        let mut policy = policy_of(&account);
        assert_eq!(decides(&policy).0, 2);
        policy.end_rules(0);
        assert_eq!(decides(&policy).0, 2);
        let ended: Vec<u32> = policy.rules_that_end().map(|rule| rule.id.index).collect();
        assert_eq!(ended, [0, 1]);
        let groups: Vec<_> = policy.bindings.iter().map(|one| &one.groups[0]).collect();
        assert!(Arc::ptr_eq(groups[0], groups[1]), "bound twice, it is one");
    }
}
