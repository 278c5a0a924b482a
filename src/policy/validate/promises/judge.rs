//! Promises held against the rules of both ends.

use super::Promise;
use crate::definition::{Definition, Diagnostic, Diagnostics};
use crate::policy::account::Account;
use crate::policy::decide::{Decision, Reason, Verdict, matched};
use crate::policy::host::Policy;
use crate::policy::id::InstanceId;
use crate::policy::packet::Packet;
use crate::policy::places::WrittenRules;
use crate::policy::rule::{Direction, RuleId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Pairs of ends and rules that all tests together look at: about a second.
const MOST_LOOKS: usize = 30_000_000;

/// Judges all promises: as if every unblock of TCP 25 that is asked for were granted, for the ledger is no part of a
/// definition.
pub fn judge(
    promises: &[Promise],
    definition: &Definition,
    account: &Account,
    diagnostics: &mut Diagnostics,
) {
    let requests = account.instances.iter().filter(|each| each.smtp_request);
    let unblocked: BTreeSet<InstanceId> = requests.map(|each| each.id.clone()).collect();
    let mut judge = Judge {
        account,
        unblocked,
        policies: BTreeMap::new(),
        looks: MOST_LOOKS,
    };
    let written = (!promises.is_empty()).then(|| WrittenRules::new(definition));
    for promise in promises {
        match judge.broken(promise) {
            Ok(None) => {}
            Ok(Some(broken)) => diagnostics.push(broken.told(promise, written.as_ref())),
            Err(TooMany) => {
                let message = "the tests look at more pairs of addresses and rules than can be judged at every reload";
                let help = "name single addresses instead of instances, or write fewer tests";
                diagnostics.error("too-large", promise.entry.span, message, help);
                return;
            }
        }
    }
}

struct TooMany;

struct Judge<'a> {
    account: &'a Account,
    unblocked: BTreeSet<InstanceId>,
    policies: BTreeMap<usize, Policy>,
    looks: usize,
}

/// What became of a flow at one end.
struct Judged {
    decision: Decision,
    /// `ins-web1 (eth0)`
    place: String,
    direction: Direction,
    /// The first rule that was about it and has ended.
    ended: Option<RuleId>,
}

/// A promise that does not hold.
struct Broken {
    flow: [Option<IpAddr>; 2],
    judged: Vec<Judged>,
}

impl Judge<'_> {
    /// The first pair of ends that fares otherwise than promised.
    fn broken(&mut self, promise: &Promise) -> Result<Option<Broken>, TooMany> {
        for from in &promise.from.list {
            for to in &promise.to.list {
                self.look(1)?;
                if !promise.fits(from, to) {
                    continue;
                }
                let mut judged = Vec::new();
                for (direction, end, other) in [
                    (Direction::Outbound, from, to),
                    (Direction::Inbound, to, from),
                ] {
                    // A bare end of an instance was refused before.
                    if let (Some(at), Some(remote)) = (end.at, other.address) {
                        judged.push(self.judged(
                            promise,
                            direction,
                            at,
                            [end.address, Some(remote)],
                        )?);
                    }
                }
                // A promise is about what the rules say, also while they only observe.
                let refused = |each: &Judged| each.decision.verdict != Verdict::Allow;
                let verdict = match judged.iter().any(refused) {
                    true => Verdict::Refuse,
                    false => Verdict::Allow,
                };
                if verdict != promise.expect {
                    if verdict == Verdict::Refuse {
                        judged.retain(refused);
                    }
                    let flow = [from.address, to.address];
                    return Ok(Some(Broken { flow, judged }));
                }
            }
        }
        Ok(None)
    }

    fn look(&mut self, times: usize) -> Result<(), TooMany> {
        self.looks = self.looks.checked_sub(times).ok_or(TooMany)?;
        Ok(())
    }

    fn judged(
        &mut self,
        promise: &Promise,
        direction: Direction,
        (place, at): (usize, usize),
        [own, remote]: [Option<IpAddr>; 2],
    ) -> Result<Judged, TooMany> {
        let instance = &self.account.instances[place];
        let (account, unblocked) = (self.account, &self.unblocked);
        let policy = match self.policies.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                free.insert(account.policy(&instance.id, unblocked).ok_or(TooMany)?)
            }
        };
        // Bindings stand in the order of the interfaces.
        let binding = &policy.bindings[at];
        let rules = binding
            .groups
            .iter()
            .map(|group| group.rules(direction).len() + 1);
        let acl = binding.acl.as_ref();
        let entries = acl.map_or(0, |acl| acl.acl.inbound.len() + acl.acl.outbound.len());
        let looks = rules.sum::<usize>() + entries;
        let name = binding.interface.to_string();
        let port = promise.port.unwrap_or(0);
        let remote = remote.ok_or(TooMany)?;
        let mut packet = Packet::opening(direction, &name, promise.protocol, remote, port);
        packet.local = own.unwrap_or_else(|| policy.own_address(&name, remote));
        let decision = policy.decide_flow_by(binding, &packet);
        let mut rules = binding
            .groups
            .iter()
            .flat_map(|group| group.rules(direction));
        let ended = rules.find(|rule| matched(rule, &packet));
        let ended = ended.map(|rule| rule.id.clone());
        self.look(looks)?;
        Ok(Judged {
            ended,
            decision,
            place: format!("{} ({name})", instance.id),
            direction,
        })
    }
}

impl Broken {
    fn told(&self, promise: &Promise, written: Option<&WrittenRules>) -> Diagnostic {
        let (is, not) = match promise.expect {
            Verdict::Allow => ("refused", "allowed"),
            Verdict::Refuse | Verdict::Observe => ("allowed", "refused"),
        };
        let whole = |at: usize| match (self.flow[at], InstanceId::is_meant_by(promise.names[at])) {
            (Some(address), true) => format!("{} ({address})", promise.names[at]),
            _ => promise.names[at].to_owned(),
        };
        let decided = self.judged.iter().map(|each| {
            format!(
                "{} at {} by {}",
                each.direction,
                each.place,
                each.decision.reason.words()
            )
        });
        let mut words = promise.words();
        if self.flow.iter().flatten().count() > 0 {
            let names = format!("from {} to {}", promise.names[0], promise.names[1]);
            words = words.replace(&names, &format!("from {} to {}", whole(0), whole(1)));
        }
        let message = format!(
            "this test fails: {words} is {is}, not {not}: {}",
            decided.collect::<Vec<_>>().join(", and ")
        );
        let help = "correct the rules; or the test, if it is promised no longer";
        let failed = Diagnostic::error("test-fails", promise.entry.span, message).help(help);
        self.judged.iter().fold(failed, |failed, each| {
            let at = written.and_then(|written| match &each.decision.reason {
                Reason::Rule(id) => Some((written.rule(id)?.span, "rule")),
                Reason::Acl(id) => Some((written.acl_entry(id)?.span, "entry")),
                _ => None,
            });
            let failed = match at {
                Some((span, what)) => failed.related(span, format!("{is} by this {what}")),
                None => failed,
            };
            let ended = (each.ended.as_ref()).and_then(|id| written?.rule(id));
            match ended {
                Some(rule) => failed.related(rule.span, "this rule has ended"),
                None => failed,
            }
        })
    }
}
