//! A changed rule holds for live flows too (`established: recheck`): the chains that judge packets of tracked flows.
//!
//! Every flow that the policy allows gets a *stamp*, a label of connection tracking, one for each direction. A change of the policy
//! has a new stamp, so the next packet of every flow is judged again, whichever side sends it, and either stamped anew or refused.
//! A stamped packet is let pass at the first question:
//!
//! ```text
//! chain in_0 {                                                          inbound packets of an interface
//!     ct state established ct direction original ct label 64 goto established_in
//!     ct state established ct direction reply ct label 96 goto established_in
//!     jump exempt_in
//!     ct state invalid goto invalid_in
//!     ct state related goto in_0_related
//!     ct direction reply goto out_0_list                                an answer: the outbound list decides about its flow
//!     goto in_0_list
//! }
//! chain in_0_r7 {
//!     ct state established goto passed_in                               judged again, and counted before
//!     counter goto passed_in comment "sg-web/in/7"
//! }
//! chain passed_in { ct direction original ct label set 64 accept; accept; }
//! ```
//!
//! A list judges packets of tracked flows by what their flow was opened with, and not by what stands in the packet, so that it can
//! be asked about answers, and about both sides of a translation: of inbound flows `ct original` address and port, of outbound ones
//! `ct reply` address and source port (the original tuple holds the destination before DNAT). What opens a flow, what a helper expects,
//! and what is not tracked is judged by what stands in it: each such rule stands twice.
//!
//! ```text
//! ct state != established tcp dport vmap @in_0_v4_m1
//! ct state established meta l4proto tcp ct original proto-dst vmap @in_0_v4_m1
//!
//! ct state != established ip saddr 10.0.0.0/8 counter goto passed_in comment "sg-web/in/7"
//! ct original ip saddr 10.0.0.0/8 goto passed_in
//! ```
//!
//! Where the elements of a map count themselves, the map stands twice too: in the one over flows what passes has no comment, and is not
//! counted for its rule.
//!
//! ```text
//! ct state != established ip saddr & 255.255.255.0 . tcp dport vmap @in_0_v4_m1
//! ct state established meta l4proto tcp ct original ip saddr & 255.255.255.0 . ct original proto-dst vmap @in_0_v4_m1f
//! ```
//!
//! An ICMP error about a tracked flow passes: it is no packet of the flow, and whether the flow is allowed cannot be asked where that
//! has no room for labels. What is no error (a redirect) is judged by itself. An answer that is related to a flow and no ICMP is this
//! host's own reset of what came in and was refused by a later chain: it passes too.
//!
//! Only what goes the way of the flow's first packet is stamped. An answer that passes by another interface's list than that
//! one's speaks for itself alone; it is judged again until the opener sends.
//!
//! Flows that were tracked before the first ruleset that stamps have no room for labels: they are judged at every packet.
//! Interfaces that are not bound stamp too, so that what entered there is answered wherever its answers leave.

use super::compile::refuse;
use super::ir::*;
use crate::policy::{Direction, Protocol, Reason};

/// ICMP errors about a tracked flow: unreachable, time exceeded, parameter problem. IPv4's "too big" is a
/// code of unreachable; a redirect (5) is none of them.
pub const ICMP_ERRORS: &[(u8, u8)] = &[(3, 3), (11, 12)];
/// Unreachable, too big, time exceeded, parameter problem.
pub const ICMPV6_ERRORS: &[(u8, u8)] = &[(1, 4)];

/// The chains that all roles of a direction share: what counts packets of stamped flows, those that connection tracking can
/// make nothing of, and those of interfaces that are not bound, apart from chains that are filled anew at every change.
///
/// Where the host observes, what is invalid just passes, since it has no flow; the others are stamped.
pub fn shared_chains(direction: Direction, unbound_refuse: bool, observe: bool) -> Vec<Chain> {
    let deciding = |name, verdict, reason| {
        let rules = vec![NftRule {
            matches: vec![],
            verdict,
            reason: Some(reason),
        }];
        chain(name, rules)
    };
    let mut chains = vec![
        deciding(
            established(direction),
            NftVerdict::Accept,
            Reason::Established,
        ),
        deciding(invalid(direction), refuse(observe), Reason::Invalid),
    ];
    if unbound_refuse {
        let mut related = errors(direction);
        related.push(NftRule::plain(vec![], goto(unmanaged(direction))));
        chains.extend([
            deciding(
                unmanaged(direction),
                refuse_flow(observe, direction),
                Reason::Unmanaged,
            ),
            chain(format!("{}_related", unbound(direction)), related),
        ]);
    }
    chains
}

/// A role's chains, but for its list: `in_0`, `in_0_related` and `in_0_icmp`. `messages` are what the list says about ICMP;
/// what they do not decide is refused, or only observed. A message is no packet of a flow, and stamps none.
pub fn role_chains(
    index: usize,
    direction: Direction,
    messages: Vec<NftRule>,
    observes: bool,
) -> [Chain; 3] {
    let name = role(direction, index);
    let mut rules = known(direction);
    rules.extend([
        NftRule::plain(vec![], NftVerdict::Jump(exempt(direction).into())),
        NftRule::plain(
            vec![Match::State(CtState::Invalid)],
            goto(invalid(direction)),
        ),
        NftRule::plain(
            vec![Match::State(CtState::Related)],
            goto(format!("{name}_related")),
        ),
        NftRule::plain(
            vec![Match::FlowSide(FlowSide::Reply)],
            goto(list(opposite(direction), index)),
        ),
        NftRule::plain(vec![], goto(list(direction, index))),
    ]);
    let mut related = errors(direction);
    related.extend([Protocol::ICMP, Protocol::ICMPV6].map(|protocol| {
        NftRule::plain(
            vec![Match::Protocol(protocol.0)],
            goto(format!("{name}_icmp")),
        )
    }));
    related.extend([
        // The host's own reset, from iptables' REJECT, of what was let in a moment before.
        NftRule::plain(
            vec![Match::FlowSide(FlowSide::Reply)],
            goto(established(direction)),
        ),
        // What a helper expects is a new flow.
        NftRule::plain(vec![], goto(list(direction, index))),
    ]);
    let mut icmp = messages;
    icmp.push(rest(refuse(observes)));
    [
        chain(format!("{name}_icmp"), icmp),
        chain(format!("{name}_related"), related),
        chain(name, rules),
    ]
}

/// The list of a role: what its diagram does not decide is refused. Reached from both of the interface's directions.
pub fn list_chain(
    index: usize,
    direction: Direction,
    diagram: Vec<NftRule>,
    observes: bool,
) -> Chain {
    let mut rules = diagram;
    rules.push(rest(refuse_flow(observes, direction)));
    chain(list(direction, index), rules)
}

/// Interfaces that are not bound and refuse new inbound flows: what comes in, and what answers it.
pub fn unbound_chain(direction: Direction) -> Chain {
    let mut rules = known(direction);
    rules.push(NftRule::plain(
        vec![],
        NftVerdict::Jump(exempt(direction).into()),
    ));
    if direction == Direction::Inbound {
        rules.push(NftRule::plain(
            vec![Match::State(CtState::Invalid)],
            goto(invalid(direction)),
        ));
        rules.push(NftRule::plain(
            vec![
                Match::State(CtState::Established),
                Match::FlowSide(FlowSide::Reply),
            ],
            goto(established(direction)),
        ));
    }
    rules.extend([
        NftRule::plain(
            vec![Match::State(CtState::Related)],
            goto(format!("{}_related", unbound(direction))),
        ),
        NftRule::plain(vec![], goto(unmanaged(direction))),
    ]);
    chain(unbound(direction), rules)
}

/// How packets of interfaces that are not bound go on, at the end of a direction's entry.
pub fn unbound_rules(direction: Direction, refuse: bool) -> Vec<NftRule> {
    let left_alone = NftRule::plain(
        vec![Match::FlowSide(FlowSide::Original)],
        NftVerdict::Pass(direction),
    );
    match (refuse, direction) {
        (false, _) => vec![left_alone],
        (true, Direction::Inbound) => vec![NftRule::plain(vec![], goto(unbound(direction)))],
        (true, Direction::Outbound) => vec![
            left_alone,
            NftRule::plain(
                vec![Match::FlowSide(FlowSide::Reply)],
                goto(unbound(direction)),
            ),
        ],
    }
}

/// The rules of a list, each that has to be as two: for packets that open a flow or are not tracked, and for those of tracked
/// flows, which are judged by what their flow was opened with, and are not counted again where they pass.
pub fn of_flows(rules: Vec<NftRule>, direction: Direction) -> Vec<NftRule> {
    let mut out = Vec::with_capacity(2 * rules.len());
    for mut rule in rules {
        match of_tracked(&rule, direction) {
            Some(tracked) => {
                rule.matches.insert(0, Match::NotEstablished);
                out.extend([rule, tracked]);
            }
            None if matches!(rule.verdict, NftVerdict::Pass(_)) => {
                let mut again = rule.clone();
                again.matches.insert(0, Match::State(CtState::Established));
                out.extend([again, rule]);
            }
            None => out.push(rule),
        }
    }
    out
}

/// The rule over what a packet's flow was opened with; `None` for one that asks for no remote and no port.
fn of_tracked(rule: &NftRule, direction: Direction) -> Option<NftRule> {
    let mut tracked = rule.clone();
    let (mut differs, mut looks_up) = (false, false);
    for each in &mut tracked.matches {
        *each = match each {
            Match::Port(transport, Side::Destination, ports) => {
                looks_up |= ports.intervals().len() > 1;
                Match::FlowPort(direction, *transport, ports.clone())
            }
            Match::Address { with, negated, .. } => {
                looks_up |= match with {
                    AddressMatch::Inline(addresses) => addresses.len() > 1,
                    AddressMatch::Set(..) => true,
                };
                Match::FlowAddress {
                    direction,
                    with: with.clone(),
                    negated: *negated,
                }
            }
            _ => continue,
        };
        differs = true;
    }
    if let NftVerdict::Map(key, map) = &mut tracked.verdict {
        *key = match *key {
            MapKey::Port(transport) => MapKey::FlowPort(direction, transport),
            MapKey::Address(_, family) => MapKey::FlowAddress(direction, family),
            MapKey::Pair(_, family, bits, transport) => {
                *map = twin_map(map);
                MapKey::FlowPair(direction, family, bits, transport)
            }
            key => key,
        };
        (differs, looks_up) = (true, true);
    }
    // What opens a flow has been asked already, and would get the same answer: a lookup costs more than to ask for the state.
    if looks_up {
        tracked
            .matches
            .insert(0, Match::State(CtState::Established));
    }
    differs.then_some(tracked)
}

/// Packets of stamped flows pass.
fn known(direction: Direction) -> Vec<NftRule> {
    let stamped = |side, of| {
        let matches = vec![
            Match::State(CtState::Established),
            Match::FlowSide(side),
            Match::Stamp(of),
        ];
        NftRule::plain(matches, goto(established(direction)))
    };
    vec![
        stamped(FlowSide::Original, direction),
        stamped(FlowSide::Reply, opposite(direction)),
    ]
}

/// ICMP errors, of a packet that is about a flow, pass.
fn errors(direction: Direction) -> Vec<NftRule> {
    [
        Match::IcmpType(ICMP_ERRORS.into()),
        Match::Icmpv6Type(ICMPV6_ERRORS.into()),
    ]
    .map(|error| NftRule::plain(vec![error], goto(established(direction))))
    .into()
}

/// `in_0`
pub fn role(direction: Direction, index: usize) -> String {
    format!("{}_{index}", suffix(direction))
}

fn list(direction: Direction, index: usize) -> String {
    format!("{}_list", role(direction, index))
}

fn established(direction: Direction) -> String {
    format!("established_{}", suffix(direction))
}

fn invalid(direction: Direction) -> String {
    format!("invalid_{}", suffix(direction))
}

fn unmanaged(direction: Direction) -> String {
    format!("unmanaged_{}", suffix(direction))
}

fn unbound(direction: Direction) -> String {
    format!("unbound_{}", suffix(direction))
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

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    }
}

fn chain(name: String, rules: Vec<NftRule>) -> Chain {
    Chain {
        name: name.into(),
        rules,
    }
}

fn goto(chain: String) -> NftVerdict {
    NftVerdict::Goto(chain.into())
}

/// What no entry of a list matches: `counter drop comment "default"`.
fn rest(verdict: NftVerdict) -> NftRule {
    NftRule {
        matches: vec![],
        verdict,
        reason: Some(Reason::Default),
    }
}

/// A refusal of a flow that is stamped where it only observes: `counter goto passed_in`.
fn refuse_flow(observes: bool, direction: Direction) -> NftVerdict {
    match observes {
        true => NftVerdict::Observe(Some(direction)),
        false => NftVerdict::Drop,
    }
}
