//! Packets of tracked flows: each interface lets pass what it let in or out itself, and judges the rest.
//!
//! A flow that an interface lets pass gets two marks (see [`super::marks`]): the interface, for as long as the flow lives, and the list
//! of groups, until the next change. A packet whose flow has the mark of this list passes at the first question. Of any other packet the
//! opening of its flow is judged. So a flow whose rule has gone ends, whichever side sends:
//!
//! ```text
//! chain in_0 {                                                        inbound packets of the interfaces of list 0
//!     ct state != established goto in_0_others                        an ICMP error is no packet of the flow that its label is of
//!     ct direction original ct label 70 accept                        the inbound rules allow this flow
//!     ct direction reply ct label 71 accept                           the outbound rules do, and this answers
//!     goto in_0_others
//! }
//! chain in_0_others {
//!     meta ipsec exists goto elsewhere_in
//!     meta nfproto ipv4 meta l4proto 6 ct state new goto in_0_new      no TCP is essential
//!     meta l4proto 6 ct state new goto in_0_list
//!     jump exempt_in
//!     ct state invalid goto invalid_in
//!     ct state established jump in_0_tracked
//!     ct state related jump in_0_related                              an ICMP error, or as if it opened a flow
//!     goto in_0_list
//! }
//! chain in_0_tracked {
//!     ct direction original goto in_0_flow                            what refuses it is named by the list
//!     ct label 65 goto in_0_answer                                    opened across an interface of this list
//!     ct label 66,67,68,69 return                                     opened elsewhere: as if this packet opened it
//!     jump out_0_flow                                                 nobody knows where it was opened
//!     fib daddr type local fib daddr . iif type != local return
//!     goto in_0_refused
//! }
//! chain in_0_answer { jump out_0_flow; goto in_0_refused }
//! ```
//!
//! What is to be asked of the list comes back to `in_0_others`, which asks it in one place.
//!
//! Answers may leave though their flow was opened elsewhere (asymmetric routes, direct server return), which the outbound chains ask besides:
//!
//! ```text
//! chain out_0_tracked {
//!     ct direction original goto out_0_flow
//!     ct label 64 goto out_0_answer
//!     ct label 66 jump in_1_still                                     opened across list 1, whose rules must still allow it
//!     ct label 66,67,68,69 goto in_0_flow                             as an answer across this interface, or as if it opened the flow
//!     jump in_0_flow
//!     fib saddr type local fib saddr . oif type != local return
//!     goto out_0_refused
//! }
//! ```
//!
//! `in_0_flow` asks the rules of a list about a flow, by what connection tracking keeps of its opening. It accepts the packet where they
//! allow the flow, and returns where they refuse it. `in_0_still` asks the same, returns where they allow the flow, and refuses else.
//! `in_0_lost` asks them about an outgoing TCP packet without SYN that is new to connection tracking: whether they allow it as an answer.
//!
//! An ICMP error passes where its flow has a mark by which packets pass here, and where its flow has no mark at all. Else it is judged by
//! itself, like every other message. Where a list has no bit for its mark, errors about flows opened across its interfaces pass.

use super::ir::*;
use super::list::{List, unbound_slots};
use crate::policy::{Direction, Policy, Protocol, Reason};
use std::collections::BTreeSet;

/// ICMP errors about a tracked flow: unreachable, time exceeded, parameter problem. IPv4's "too big" is a
/// code of unreachable; a redirect (5) is none of them.
pub const ICMP_ERRORS: &[(u8, u8)] = &[(3, 3), (11, 12)];
/// Unreachable, too big, time exceeded, parameter problem.
pub const ICMPV6_ERRORS: &[(u8, u8)] = &[(1, 4)];

/// The chains of a direction that all lists share.
pub(super) fn shared_chains(policy: &Policy, direction: Direction) -> Vec<Chain> {
    let observes = policy.platform.observe;
    let refusal = |reason| NftRule {
        matches: vec![],
        verdict: if observes {
            NftVerdict::Observe(None)
        } else {
            NftVerdict::Drop
        },
        reason: Some(reason),
    };
    let mut chains = vec![
        chain(invalid(direction), vec![refusal(Reason::Invalid)]),
        opened_chain(elsewhere(direction), direction, Slot::Elsewhere),
        opened_chain(others(direction), direction, Slot::Others),
    ];
    if direction == Direction::Inbound {
        chains.push(chain(ended(), vec![refusal(Reason::Default)]));
    }
    let unbound = unbound_slots(policy);
    chains.extend(unbound.map(|(_, slot)| opened_chain(opened(direction, &slot), direction, slot)));
    chains
}

/// Marks where a flow was opened. The packet opens it, or a helper expects it.
fn opened_chain(name: String, direction: Direction, slot: Slot) -> Chain {
    let marks = vec![Mark::Opened(direction, slot)];
    let mut rules = vec![plain(
        vec![Match::State(CtState::Established)],
        NftVerdict::Accept,
    )];
    rules.extend(marking(vec![], marks));
    rules.push(plain(vec![], NftVerdict::Accept));
    chain(name, rules)
}

/// Marks the flow of a packet that opens one, or goes the same way, and is no message about one:
///
/// ```text
/// ct state new ct label set 64 | 70 accept
/// meta l4proto 1 accept
/// meta l4proto 58 accept
/// ct direction original ct label set 64 | 70 accept
/// ```
fn marking(at: Vec<Match>, marks: Vec<Mark>) -> Vec<NftRule> {
    let set = |first: Match| {
        let matches = [
            vec![first],
            at.clone(),
            vec![Match::SetMarks(marks.clone())],
        ]
        .concat();
        plain(matches, NftVerdict::Accept)
    };
    let message = |protocol: Protocol| plain(vec![Match::Protocol(protocol.0)], NftVerdict::Accept);
    vec![
        set(Match::State(CtState::New)),
        message(Protocol::ICMP),
        message(Protocol::ICMPV6),
        set(Match::FlowSide(FlowSide::Original)),
    ]
}

/// Packets of flows that are known to pass: see the module. Packets that belong to no answered flow go on at `others`: they have nothing
/// to do with marks, and the label of an ICMP error is that of the flow that it is about.
pub(super) fn known(
    list: &List,
    policy: &Policy,
    direction: Direction,
    others: &str,
) -> Vec<NftRule> {
    let side = |side, marks| {
        plain(
            vec![Match::FlowSide(side), Match::Marked(marks)],
            list.ends(direction),
        )
    };
    let mut answers = list.passes(policy, direction.opposite());
    if direction == Direction::Outbound {
        answers.push(Mark::Answers(list.key.clone()));
    }
    vec![
        plain(vec![Match::NotEstablished], goto(others.to_owned())),
        established(side(FlowSide::Original, list.passes(policy, direction))),
        established(side(FlowSide::Reply, answers)),
    ]
}

fn established(rule: NftRule) -> NftRule {
    NftRule {
        reason: Some(Reason::Established),
        ..rule
    }
}

impl List {
    /// Where a packet that the list lets pass goes: outbound the network ACL is asked last.
    fn ends(&self, direction: Direction) -> NftVerdict {
        match (&self.acl, direction) {
            (Some(_), Direction::Outbound) => {
                NftVerdict::Pass(acl_chain(direction, self.index).into())
            }
            _ => NftVerdict::Accept,
        }
    }

    /// The marks of flows that this list lets pass, opened in this direction.
    fn passes(&self, policy: &Policy, direction: Direction) -> Vec<Mark> {
        match policy.platform.recheck {
            true => vec![Mark::Passes(direction, self.key.clone())],
            false => self.opened(direction),
        }
    }

    /// The marks of flows that were opened across an interface of these groups.
    fn opened(&self, direction: Direction) -> Vec<Mark> {
        let opened = self.alike.iter().cloned();
        opened.map(|slot| Mark::Opened(direction, slot)).collect()
    }

    /// All chains of a list in a direction, except its rules.
    pub(super) fn chains(
        &self,
        lists: &[List],
        policy: &Policy,
        direction: Direction,
    ) -> Vec<Chain> {
        let index = self.index;
        let role = role(direction, index);
        let refused = format!("{role}_refused");
        let jump_flow = |direction| plain(vec![], NftVerdict::Jump(flow(direction, index).into()));
        let mut chains = vec![
            chain(
                format!("{role}_answer"),
                vec![
                    jump_flow(direction.opposite()),
                    plain(vec![], goto(refused.clone())),
                ],
            ),
            // What is only counted has been let pass before.
            chain(
                refused.clone(),
                vec![NftRule {
                    matches: vec![],
                    verdict: NftVerdict::Drop,
                    reason: Some(self.rest()),
                }],
            ),
            self.related(direction),
            self.errors(policy, direction),
            self.tracked(lists, direction),
            self.passed(policy, direction),
            self.allowed(policy, direction),
        ];
        chains.extend(self.entry(lists, policy, direction));
        if direction == Direction::Outbound {
            let in_lost = NftVerdict::Jump(lost(index).into());
            let to_list = plain(vec![], goto(list(direction, index)));
            chains.push(chain(
                format!("{role}_lost"),
                vec![plain(vec![], in_lost), to_list],
            ));
        }
        chains
    }

    /// `in_0`, and `in_0_others` where one list alone was asked before its interface.
    fn entry(&self, lists: &[List], policy: &Policy, direction: Direction) -> Vec<Chain> {
        let role = role(direction, self.index);
        let others = self.others(policy, direction);
        if is_asked_first(lists) {
            return vec![chain(role, others)];
        }
        let name = format!("{role}_others");
        let mut rules = known(self, policy, direction, &name);
        rules.push(plain(vec![], goto(name.clone())));
        vec![chain(role, rules), chain(name, others)]
    }

    /// Packets that are not known to pass.
    fn others(&self, policy: &Policy, direction: Direction) -> Vec<NftRule> {
        let role = role(direction, self.index);
        let secured = match direction {
            Direction::Inbound => Match::Decrypted,
            Direction::Outbound => Match::WillEncrypt,
        };
        let mut rules = vec![plain(vec![secured], goto(elsewhere(direction)))];
        let tcp = Match::Protocol(Protocol::TCP.0);
        let new = Match::State(CtState::New);
        if direction == Direction::Outbound {
            // What a process sends from a port that it was asked at, and that opens no connection.
            let matches = vec![
                tcp.clone(),
                Match::WithoutSyn,
                new.clone(),
                Match::PortOutside(policy.host.ephemeral_ports),
                Match::FromProcess,
            ];
            rules.push(plain(matches, goto(format!("{role}_lost"))));
        }
        let state = |state, verdict| plain(vec![Match::State(state)], verdict);
        let jump = |chain: String| NftVerdict::Jump(chain.into());
        let v4 = Match::Family(Family::V4);
        rules.extend([
            plain(
                vec![v4, tcp.clone(), new.clone()],
                goto(opening(direction, self.index)),
            ),
            plain(vec![tcp, new], goto(list(direction, self.index))),
            plain(vec![], NftVerdict::Jump(exempt(direction).into())),
            state(CtState::Invalid, goto(invalid(direction))),
            state(CtState::Established, jump(format!("{role}_tracked"))),
            state(CtState::Related, jump(format!("{role}_related"))),
            plain(vec![], goto(list(direction, self.index))),
        ]);
        rules
    }

    /// `in_0_related`: messages about flows. A redirect is no error, and is judged by itself.
    fn related(&self, direction: Direction) -> Chain {
        let role = role(direction, self.index);
        let errors = [
            Match::IcmpType(ICMP_ERRORS.into()),
            Match::Icmpv6Type(ICMPV6_ERRORS.into()),
        ];
        let mut rules: Vec<NftRule> = errors
            .map(|error| plain(vec![error], goto(format!("{role}_error"))))
            .into();
        // The host's own reset, from iptables' REJECT, of what was let in a moment before: an answer that opens nothing.
        let reset = vec![
            Match::Protocol(Protocol::TCP.0),
            Match::FlowSide(FlowSide::Reply),
        ];
        rules.push(plain(reset, goto(format!("{role}_error"))));
        chain(format!("{role}_related"), rules)
    }

    /// `in_0_error`: errors about flows. They pass by the flow's mark, and where the flow has none.
    fn errors(&self, policy: &Policy, direction: Direction) -> Chain {
        let role = role(direction, self.index);
        let mut known = [Direction::Inbound, Direction::Outbound]
            .map(|direction| self.passes(policy, direction))
            .concat();
        known.push(Mark::Answers(self.key.clone()));
        let passes = |matches| established(plain(matches, self.ends(direction)));
        let here =
            [Direction::Inbound, Direction::Outbound].map(|direction| self.opened(direction));
        let rules = vec![
            passes(vec![Match::MarkedOr(known, here.concat())]),
            plain(vec![Match::OpenedSomewhere], NftVerdict::Return),
            passes(vec![]),
        ];
        chain(format!("{role}_error"), rules)
    }

    /// `in_0_tracked`: packets of established flows without the mark of this list.
    fn tracked(&self, lists: &[List], direction: Direction) -> Chain {
        let role = role(direction, self.index);
        let opened = direction.opposite();
        let mut rules = vec![
            plain(
                vec![Match::FlowSide(FlowSide::Original)],
                goto(flow(direction, self.index)),
            ),
            plain(
                vec![Match::Marked(self.opened(opened))],
                goto(format!("{role}_answer")),
            ),
        ];
        let elsewhere = match direction {
            Direction::Inbound => NftVerdict::Return,
            Direction::Outbound => goto(flow(opened, self.index)),
        };
        if direction == Direction::Outbound {
            // Lists of the same groups ask the same of a flow.
            let others = lists.iter().filter(|list| {
                let first = lists.iter().find(|first| first.key == list.key);
                let is_first = first.is_some_and(|first| first.index == list.index);
                list.key != self.key && list.groups.is_some() && is_first
            });
            rules.extend(others.map(|list| {
                let matches = vec![Match::Marked(list.opened(opened))];
                plain(matches, NftVerdict::Jump(still(list.index).into()))
            }));
        }
        rules.extend([
            plain(vec![Match::OpenedSomewhere], elsewhere),
            plain(vec![], NftVerdict::Jump(flow(opened, self.index).into())),
            plain(vec![Match::OwnOfAnother(direction)], NftVerdict::Return),
            plain(vec![], goto(format!("{role}_refused"))),
        ]);
        chain(format!("{role}_tracked"), rules)
    }

    /// `passed_in_0`: what the rules of this list allow.
    fn passed(&self, policy: &Policy, direction: Direction) -> Chain {
        let mut rules = self.marking(policy, direction);
        if direction == Direction::Outbound {
            // An answer that passed as if it opened the flow, which was opened elsewhere.
            rules.push(self.answers());
        }
        rules.push(plain(vec![], NftVerdict::Accept));
        for rule in &mut rules {
            rule.verdict = self.ends(direction);
        }
        chain(passed(direction, self.index), rules)
    }

    /// `allowed_in_0`: tracked flows whose opening the rules of this list allow.
    fn allowed(&self, policy: &Policy, direction: Direction) -> Chain {
        let mut rules = self.marking(policy, direction);
        // A ping is no message about a flow here.
        rules.retain(|rule| {
            !rule
                .matches
                .iter()
                .any(|each| matches!(each, Match::Protocol(_) | Match::State(CtState::New)))
        });
        if direction == Direction::Inbound {
            // A flow that was lost: now the outbound rules decide.
            let new = Match::State(CtState::New);
            rules.insert(0, plain(vec![new], NftVerdict::Return));
        }
        if policy.platform.recheck {
            let passes = Match::SetMarks(self.passes(policy, direction));
            let here = Match::Marked(self.opened(direction));
            rules.push(plain(vec![here, passes], NftVerdict::Accept));
        }
        if direction == Direction::Inbound {
            rules.push(self.answers());
        }
        rules.push(plain(vec![], NftVerdict::Accept));
        if self.acl.is_some() {
            rules = self.outbound_to_acl(rules, direction);
        }
        chain(allowed(direction, self.index), rules)
    }

    /// Has outbound packets of flows opened in this direction go on to the network ACL. Inbound ones were asked before.
    fn outbound_to_acl(&self, rules: Vec<NftRule>, direction: Direction) -> Vec<NftRule> {
        let (outbound, inbound) = match direction {
            Direction::Inbound => (FlowSide::Reply, FlowSide::Original),
            Direction::Outbound => (FlowSide::Original, FlowSide::Reply),
        };
        let both = |mut rule: NftRule| {
            let is_about = |side| rule.matches.contains(&Match::FlowSide(side));
            if rule.verdict != NftVerdict::Accept || is_about(inbound) {
                return vec![rule];
            }
            let mut to_acl = rule.clone();
            to_acl.verdict = self.ends(Direction::Outbound);
            if is_about(outbound) {
                return vec![to_acl];
            }
            to_acl.matches.insert(0, Match::FlowSide(outbound));
            rule.reason = None;
            vec![to_acl, rule]
        };
        rules.into_iter().flat_map(both).collect()
    }

    fn answers(&self) -> NftRule {
        let set = Match::SetMarks(vec![Mark::Answers(self.key.clone())]);
        plain(
            vec![
                Match::OpenedSomewhere,
                Match::FlowSide(FlowSide::Reply),
                set,
            ],
            NftVerdict::Accept,
        )
    }

    /// Marks a flow with the interface that its packet crosses, and with this list.
    fn marking(&self, policy: &Policy, direction: Direction) -> Vec<NftRule> {
        let side = match direction {
            Direction::Inbound => Side::Source,
            Direction::Outbound => Side::Destination,
        };
        let by_interface = |(name, slot): &(Option<_>, Slot), alone: bool| {
            let name = name.clone().filter(|_| !alone);
            let at = name.map(|name| Match::Interface(side, name));
            let mut marks = vec![Mark::Opened(direction, slot.clone())];
            if policy.platform.recheck {
                marks.extend(self.passes(policy, direction));
            }
            (at.into_iter().collect::<Vec<_>>(), marks)
        };
        let slots: BTreeSet<&Slot> = self.interfaces.iter().map(|(_, slot)| slot).collect();
        let alone = slots.len() == 1;
        let mut all: Vec<(Vec<Match>, Vec<Mark>)> = self
            .interfaces
            .iter()
            .map(|interface| by_interface(interface, alone))
            .collect();
        all.dedup();
        let each = all
            .iter()
            .map(|(at, marks)| marking(at.clone(), marks.clone()));
        let each: Vec<Vec<NftRule>> = each.collect();
        // What opens a flow first, for all interfaces; then messages, once; then what else goes the way of the opening.
        let part = |range: std::ops::Range<usize>| {
            each.iter()
                .flat_map(move |rules| rules[range.clone()].to_vec())
        };
        let messages = each
            .first()
            .map(|rules| rules[1..3].to_vec())
            .unwrap_or_default();
        part(0..1).chain(messages).chain(part(3..4)).collect()
    }
}

/// Whether flows that are known to pass do so before their interface is asked for: where one list alone is bound, and
/// has no network ACL.
pub(super) fn is_asked_first(lists: &[List]) -> bool {
    matches!(lists, [only] if only.acl.is_none())
}

/// `acl_in_0`
pub(super) fn acl_chain(direction: Direction, index: usize) -> String {
    format!("acl_{}", role(direction, index))
}

/// `in_0`
pub(super) fn role(direction: Direction, index: usize) -> String {
    format!("{}_{index}", suffix(direction))
}

/// `in_0_list`
pub(super) fn list(direction: Direction, index: usize) -> String {
    format!("{}_list", role(direction, index))
}

/// `in_0_new`
pub(super) fn opening(direction: Direction, index: usize) -> String {
    format!("{}_new", role(direction, index))
}

/// `in_0_flow`
pub(super) fn flow(direction: Direction, index: usize) -> String {
    format!("{}_flow", role(direction, index))
}

/// `in_0_lost`
pub(super) fn lost(index: usize) -> String {
    format!("{}_lost", role(Direction::Inbound, index))
}

/// `in_0_still`
pub(super) fn still(index: usize) -> String {
    format!("{}_still", role(Direction::Inbound, index))
}

/// `passed_in_0`
pub(super) fn passed(direction: Direction, index: usize) -> String {
    format!("passed_{}", role(direction, index))
}

/// `allowed_in_0`
pub(super) fn allowed(direction: Direction, index: usize) -> String {
    format!("allowed_{}", role(direction, index))
}

/// `elsewhere_in`
pub fn elsewhere(direction: Direction) -> String {
    format!("elsewhere_{}", suffix(direction))
}

/// `others_in`
pub(super) fn others(direction: Direction) -> String {
    format!("others_{}", suffix(direction))
}

/// `opened_in_eth1`
pub(super) fn opened(direction: Direction, slot: &Slot) -> String {
    format!(
        "opened_{}_{}",
        suffix(direction),
        plain_name(&slot.to_string())
    )
}

/// A name of an interface in the letters that names of chains have: `veth.1*` is `veth_2e1_2a`.
fn plain_name(name: &str) -> String {
    let each = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("_{byte:02x}"),
    };
    name.bytes().map(each).collect()
}

/// `invalid_in`
pub(super) fn invalid(direction: Direction) -> String {
    format!("invalid_{}", suffix(direction))
}

/// Refuses an answer whose flow the interface that it was opened across does not allow any more.
pub(super) fn ended() -> String {
    "ended".to_owned()
}

/// `exempt_in`
pub fn exempt(direction: Direction) -> String {
    format!("exempt_{}", suffix(direction))
}

/// `in`, `out`
pub fn suffix(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    }
}

fn chain(name: String, rules: Vec<NftRule>) -> Chain {
    Chain {
        name: name.into(),
        rules,
    }
}

pub(super) fn plain(matches: Vec<Match>, verdict: NftVerdict) -> NftRule {
    NftRule::plain(matches, verdict)
}

pub(super) fn goto(chain: String) -> NftVerdict {
    NftVerdict::Goto(chain.into())
}
